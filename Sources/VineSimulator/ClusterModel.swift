// The cluster that is simulated, and how a simulation is asked for.

package import VineCore

/// One simulated node.
package struct NodeModel: Sendable, Equatable {
  package var coreCount: Int
  package var memoryMB: UInt32
  /// Worker ranks; the first is the agent.
  package var rankCount: Int
  /// Durations on this node, in per cent of the expected ones.
  package var slownessPercent = 100
  /// What it registers as the limit of its cache.
  package var disk = DiskCapacity.unlimited
  /// Bytes that its disk really holds.
  package var diskByteCount = Int64.max
  /// When its ranks register.
  package var registersAt = Instant.zero

  package init(coreCount: Int, memoryMB: UInt32, rankCount: Int = 1) {
    self.coreCount = coreCount
    self.memoryMB = memoryMB
    self.rankCount = rankCount
  }
}

/// Nodes and what lies between them.
package struct ClusterModel: Sendable {
  package var nodes: [NodeModel]
  /// One way between manager and worker.
  package var messageLatencyNanoseconds: Int64 = 20_000
  /// To set up one transfer.
  package var transferLatencyNanoseconds: Int64 = 200_000
  /// To make the journal durable.
  package var syncNanoseconds: Int64 = 1_000_000
  /// Each way of each node's link, bytes per second.
  package var nodeBandwidth: Int64 = 1_250_000_000
  /// Of the whole shared file system, bytes per second.
  package var sharedBandwidth: Int64 = 5_000_000_000

  package init(nodes: [NodeModel]) { self.nodes = nodes }

  /// Equal nodes.
  package init(
    nodeCount: Int, coresPerNode: Int, memoryMB: UInt32 = 1 << 20, ranksPerNode: Int = 1
  ) {
    let node = NodeModel(coreCount: coresPerNode, memoryMB: memoryMB, rankCount: ranksPerNode)
    self.init(nodes: Array(repeating: node, count: nodeCount))
  }

  /// `coreCount` cores on `nodeCount` nodes, what does not divide on the first ones.
  package init(nodeCount: Int, totalCoreCount: Int) {
    self.init(
      nodes: (0..<nodeCount).map { node in
        let extra = node < totalCoreCount % nodeCount ? 1 : 0
        return NodeModel(coreCount: totalCoreCount / nodeCount + extra, memoryMB: 1 << 20)
      })
  }

  /// Disks hold whatever is put there.
  package mutating func forgetDisks() {
    for place in nodes.indices {
      nodes[place].disk = .unlimited
      nodes[place].diskByteCount = .max
    }
  }

  /// Nothing takes time but the tasks.
  package mutating func makeIdeal() {
    messageLatencyNanoseconds = 0
    transferLatencyNanoseconds = 0
    syncNanoseconds = 0
  }
}

/// How a workflow is simulated.
package struct SimulationOptions: Sendable {
  /// The theory's list scheduling: no data, no latency, no work sent ahead, the roomiest node.
  package var isIdeal = false
  /// Short tasks are sent ahead of the cores they will run on.
  package var usesLanes = true
  /// Tasks wait for a busy node that has their inputs.
  package var waitsForInputs = true
  /// Stands for a task whose duration nobody knows.
  package var defaultMicroseconds: Int64 = 1_000_000
  /// Files are up to so many times as large as their hints say, or as small; 1: the hints are right.
  package var sizeSpread: Int64 = 1
  /// Watch from outside that every promise is kept; costs memory and time.
  package var checks = false
  /// Compare the manager's tables after every turn; for small runs.
  package var checksEveryTurn = false
  /// Chance, from this seed; nil is none.
  package var faults: FaultPlan?
  /// When the manager hears that no further node will come; not before the last one came.
  package var registrationClosesAt = Instant.zero
  /// When the run is asked to drain.
  package var drainsAt: Instant?
  /// When the first job's time is over; nil: never.
  package var jobEndsAt: Instant?
  /// Events after which the job is killed; nil: never.
  package var crashAfter: Int?
  /// The sessions that go on where the one before crashed, or ended with something to do.
  package var restarts: [Restart] = []
  /// More events than this is a run that does not end.
  package var eventCountMax = Int.max
  /// Gets a line for all that the manager hears and orders.
  package var log: (@Sendable (String) -> Void)?

  package init() {}
}

/// One more session.
package struct Restart: Sendable {
  package var cluster: ClusterModel
  package var crashAfter: Int?
  package var jobEndsAt: Instant?

  package init(cluster: ClusterModel, crashAfter: Int? = nil, jobEndsAt: Instant? = nil) {
    self.cluster = cluster
    self.crashAfter = crashAfter
    self.jobEndsAt = jobEndsAt
  }
}

/// What a simulation found.
package struct SimulationResult: Sendable {
  /// From the start until the last output was written.
  package var makespan = Instant.zero
  /// Between 0 and 1: cores that did accepted work, over all cores all the time.
  package var coreUtilisation = 0.0
  package var bytes = RouteBytes()
  /// How the manager ended the run; nil when it did not.
  package var outcome: Outcome?
  package var attemptCount = 0
  package var transferCount = 0
  /// Instances of libraries that were begun.
  package var instanceCount = 0
  package var messageCount = 0
  package var eventCount = 0
  package var turnCount = 0
  /// Copies made for `temp_replicas`.
  package var spareCount = 0
  /// Tasks that waited for a busy node that has their inputs.
  package var patientCount = 0
  /// Values that were taken out of caches of dead sessions, and those that were not.
  package var adoptedCount = 0
  package var refusedCount = 0
  /// Replicas that the manager gave up for room.
  package var evictionCount = 0
  package var evictedByteCount: Int64 = 0
  /// Transfers and outputs that found a disk full.
  package var fullDiskCount = 0
  /// The most bytes that ever lay in the caches of all nodes together, by the manager's account.
  package var peakCacheByteCount: Int64 = 0
  /// Of all that the manager heard and ordered, with times: equal runs have equal hashes.
  package var traceHash: UInt64 = 0
  /// The first broken promise.
  package var violation: String?
}

/// Bytes that were moved, by route.
package struct RouteBytes: Sendable, Equatable {
  package var sharedToNode: Int64 = 0
  package var nodeToNode: Int64 = 0
  package var nodeToShared: Int64 = 0
  package var managerToNode: Int64 = 0
}
