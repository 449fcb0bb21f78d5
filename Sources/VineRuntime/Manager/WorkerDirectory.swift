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

  /// Ranks that were given up, registered or not, with the number of answers they got since.
  private var lost: [WorkerID: Int] = [:]
  /// Ranks that have said goodbye.
  private var departed: Set<WorkerID> = []

  /// Workers that registered and neither left nor are lost.
  var live: [WorkerID] { workers.filter { lost[$0] == nil && !departed.contains($0) } }
  var lostRanks: [Int] { lost.keys.map(\.index).sorted() }
  var hasLosses: Bool { !lost.isEmpty }
  func isLost(_ worker: WorkerID) -> Bool { lost[worker] != nil }
  func hasDeparted(_ worker: WorkerID) -> Bool { departed.contains(worker) }
  mutating func markLost(_ worker: WorkerID) { lost[worker] = 0 }
  mutating func markDeparted(_ worker: WorkerID) { departed.insert(worker) }

  /// Whether a lost rank that shows up is told once more to leave: when it is given up, and when
  /// it is heard of for the first time after that. A word to the lost is never got back.
  mutating func isAnswerDue(to worker: WorkerID) -> Bool {
    guard let count = lost[worker], count < 2 else { return false }
    lost[worker] = count + 1
    return true
  }

  /// Whether each of `count` expected workers has registered or is lost.
  func isComplete(_ count: Int) -> Bool {
    workers.count + lost.keys.count { rows[$0] == nil } == count
  }

  /// Whether nobody of `count` expected workers is left.
  func isEmpty(_ count: Int) -> Bool { lost.count + departed.count { lost[$0] == nil } == count }

  subscript(worker: WorkerID) -> Row? { rows[worker] }

  func nodeName(of worker: WorkerID) -> String { rows[worker]?.registration.hostName ?? "?" }

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
