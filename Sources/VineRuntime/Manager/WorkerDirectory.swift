// Who the ranks of a run are: their nodes, clocks and names.

internal import VineCore

struct WorkerDirectory {
  struct Row {
    var registration: Registration
    var node: NodeID = .none
    /// Added to the worker's monotonic clock it gives the manager's.
    var clockOffset: Int64 = 0
    /// Round trip of the best measurement so far.
    var bestRoundTrip = Int64.max
    var pingCount = 0
  }

  private(set) var rows: [WorkerID: Row] = [:]
  /// Executors whose node's agent has not registered yet.
  private var early: [UInt32: [WorkerID]] = [:]
  private var nodeOfKey: [UInt32: NodeID] = [:]
  private(set) var nodeNames: [String] = []
  /// First core of each node in a numbering of all cores of the run.
  private(set) var firstCores: [Int] = []
  private(set) var workers: [WorkerID] = []

  subscript(worker: WorkerID) -> Row? { rows[worker] }

  /// Enters a worker; `place` is told of each worker whose node is known now, the agent first.
  mutating func add(
    _ worker: WorkerID, _ registration: Registration,
    addNode: (Topology) -> NodeID, addExecutor: (WorkerID, NodeID) -> Void
  ) {
    rows[worker] = Row(registration: registration)
    workers.append(worker)
    let key = registration.nodeKey
    if let topology = registration.topology {
      let node = addNode(topology)
      nodeOfKey[key] = node
      nodeNames.append(registration.hostName)
      firstCores.append((firstCores.last ?? 0) + lastCoreCount)
      lastCoreCount = topology.cores.count
      rows[worker]?.node = node
      for other in early.removeValue(forKey: key) ?? [] {
        rows[other]?.node = node
        addExecutor(other, node)
      }
    } else if let node = nodeOfKey[key] {
      rows[worker]?.node = node
      addExecutor(worker, node)
    } else {
      early[key, default: []].append(worker)
    }
  }

  private var lastCoreCount = 0

  mutating func setOffset(_ offset: Int64, of worker: WorkerID) {
    rows[worker]?.clockOffset = offset
  }

  /// A measurement of the worker's clock: `sent` and `received` by the manager's, `there` by its.
  /// The shorter the round trip, the surer the middle.
  mutating func measure(_ worker: WorkerID, sent: Int64, there: Int64, received: Int64) -> Int {
    guard var row = rows[worker] else { return 0 }
    row.pingCount += 1
    if received - sent < row.bestRoundTrip {
      row.bestRoundTrip = received - sent
      row.clockOffset = sent + (received - sent) / 2 - there
    }
    rows[worker] = row
    return row.pingCount
  }
}
