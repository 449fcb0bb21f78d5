// The nodes of the run, their pools and their ranks, and the order in which they are offered work.

import DequeModule
import HeapModule

struct NodeRow {
  var topology: Topology
  var pool: NodePool
  var agent: WorkerID
  /// The ranks that run attempts, the agent among them.
  var executors: [WorkerID]
  /// All its ranks were lost: nothing is placed there, and nothing said to it.
  var isDead = false
  /// Its agent looks for what earlier runs have left there.
  var isRecalling = false
  /// Planned derived replicas that wait for the end of that: nobody fetches what they are made of
  /// before.
  var recallReplicas: [UInt32] = []
  /// Whose turn it is.
  var nextExecutor = 0
  /// Transfers this node sends and receives now, in shares of one (`Manager.cost`).
  var serveLoad = 0
  var receiveLoad = 0
  /// How many it may send at once, once that was learnt.
  var serveLimit: ServeLimit?
  /// Files that wait until this node has room to serve them.
  var waitingFiles: Deque<FileID> = []
  var disk: NodeDisk
  /// What it has of dead sessions.
  var offers = NodeOffers()
  /// Planned replicas that wait until this node has room to receive them.
  var waitingReplicas: Deque<UInt32> = []
}

struct NodeTable {
  private(set) var rows = IndexedTable<NodeID, NodeRow>()
  /// Nodes with free cores, most of them first, lowest node first among equals. Entries are
  /// checked against the pool when they surface: a node is entered anew at each change.
  private var offers = Heap<UInt64>()
  private(set) var coreCount = 0

  var count: Int { rows.count }

  mutating func append(_ topology: Topology, agent: WorkerID) -> NodeID {
    let node = rows.append(
      NodeRow(
        topology: topology, pool: NodePool(topology), agent: agent, executors: [agent],
        disk: NodeDisk(topology.disk)))
    coreCount += topology.cores.count
    offer(node)
    return node
  }

  subscript(node: NodeID) -> NodeRow {
    get { rows[node] }
    _modify { yield &rows[node] }
  }

  /// Takes resources on `node`; they must fit.
  mutating func grant(_ request: Request, on node: NodeID) -> Grant {
    guard let grant = rows[node].pool.grant(request) else {
      invariant(false, "a request is granted that does not fit")
      return Grant(cpuset: CPUSet(), memoryMB: 0)
    }
    offer(node)
    return grant
  }

  mutating func release(_ grant: Grant, on node: NodeID) {
    rows[node].pool.release(grant)
    offer(node)
  }

  /// A rank of `node` is gone. The next one becomes its agent if need be; without any, it is dead.
  mutating func removeExecutor(_ worker: WorkerID, of node: NodeID) {
    rows[node].executors.removeAll { $0 == worker }
    rows[node].nextExecutor = 0
    if let first = rows[node].executors.first {
      if rows[node].agent == worker { rows[node].agent = first }
    } else {
      rows[node].isDead = true
      coreCount -= rows[node].topology.cores.count
    }
  }

  /// Nodes that are alive.
  var liveCount: Int { rows.rows.count { !$0.isDead } }

  /// The executor whose turn it is on `node`.
  mutating func takeExecutor(of node: NodeID) -> WorkerID {
    let turn = rows[node].nextExecutor
    let executor = rows[node].executors[turn]
    rows[node].nextExecutor = turn + 1 == rows[node].executors.count ? 0 : turn + 1
    return executor
  }

  /// The node with most free cores among those where `request` fits now.
  mutating func roomiest(for request: Request) -> NodeID? {
    var aside: [UInt64] = []
    defer { offers.insert(contentsOf: aside) }
    while let entry = offers.min {
      let node = NodeID(index: Int(entry & 0xFFFF_FFFF))
      let free = Int(0xFFFF_FFFF - (entry >> 32))
      if free != rows[node].pool.freeCoreCount || rows[node].isDead {
        offers.removeMin()
      } else if rows[node].pool.fits(request) {
        return node
      } else if free < Int(request.cores) {
        return nil
      } else {
        // Cores but no memory: the next may have both.
        aside.append(offers.removeMin())
      }
    }
    return nil
  }

  /// Whether an attempt with `request` could start on `node` now.
  func fits(_ request: Request, on node: NodeID) -> Bool {
    !rows[node].isDead && rows[node].pool.fits(request)
  }

  func couldFitSomewhere(_ request: Request) -> Bool {
    rows.rows.contains { !$0.isDead && $0.pool.couldFit(request) && $0.disk.couldHold(request) }
  }

  /// What the largest disk of a living node may hold, in bytes.
  var largestDisk: Int64 {
    rows.rows.reduce(0) { $1.isDead ? $0 : max($0, $1.disk.registered.byteCountMax) }
  }

  /// Takes the node that `roomiest(for:)` named out of the offers; to be given back.
  mutating func takeOffer() -> UInt64? { offers.popMin() }
  mutating func giveBack(_ taken: [UInt64]) { offers.insert(contentsOf: taken) }

  private mutating func offer(_ node: NodeID) {
    let free = rows[node].pool.freeCoreCount
    if free == 0 || rows[node].isDead { return }
    if offers.count > 4 * rows.count + 1024 { forgetStaleOffers() }
    offers.insert(UInt64(0xFFFF_FFFF - free) << 32 | UInt64(node.index))
  }

  private mutating func forgetStaleOffers() {
    offers = Heap()
    for node in rows.ids where rows[node].pool.freeCoreCount > 0 && !rows[node].isDead {
      offers.insert(UInt64(0xFFFF_FFFF - rows[node].pool.freeCoreCount) << 32 | UInt64(node.index))
    }
  }
}
