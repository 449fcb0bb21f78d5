// Which node holds which file, or is about to.

/// The life of a replica.
///
///     planned -> creating -> ready -> (removed)
///        ^___________|  (the transfer failed: another source)
///
/// Others may read it from `creating` on, so `planned` again it may have readers: they wait until it
/// has found another source.
package enum ReplicaState: UInt8, Sendable {
  /// Wanted, but no source is free yet.
  case planned
  /// A transfer writes it.
  case creating
  /// Any attempt of the node may link it, any node may read it.
  case ready
}

struct ReplicaRow {
  let file: FileID
  let node: NodeID
  var state: ReplicaState
  /// As it lies there, or as it is expected to: what it takes of the node's disk.
  fileprivate(set) var byteCount: Int64
  /// Which value it is a copy of: the attempt that made it, 0 for a source.
  var attempt: UInt32
  /// Attempts and transfers that need it where it is.
  var pinCount: UInt32 = 0
  var failureCount: UInt8 = 0
  /// A task changed it in place, or its producer made another value since: those that run keep what
  /// they have, nobody gets it any more.
  var isDamaged = false
  /// What writes it while it is `creating`.
  var transfer = TransferID(rawValue: .max)
  /// While it is `creating`: others may read along.
  var isRelayable = false
  /// Transfers that read it.
  var readerCount: UInt16 = 0
  /// Stands among the sources of its file's demand.
  var isOffered = false
  /// A `planned` one that waits for its turn in a queue.
  var isQueued = false
  /// A transfer into it failed, and its node may keep what came for the next one.
  var hasPart = false
  /// Attempts (rows of the attempt table) that start when it is ready.
  var waiters: [UInt32] = []
  /// Derived replicas of the same node that wait for it as an input.
  var dependants: [UInt32] = []
  /// A derived replica: its inputs are pinned, and so many are not there yet.
  var isGatheringInputs = false
  var missingInputCount: UInt32 = 0
  /// Next replica of the same file; `.max` ends the list.
  var next: UInt32 = .max
  /// Its neighbours among the replicas of its node; `.max` ends the list.
  fileprivate(set) var nextOnNode: UInt32 = .max
  fileprivate(set) var previousOnNode: UInt32 = .max
  /// Its latest entry among what the node may evict; 0: none.
  var evictionStamp: UInt64 = 0
  /// A copy for safety's sake: nobody waits for it.
  var isSpare = false

  /// Whether attempts may link it and nodes may read it.
  var isUsable: Bool { state == .ready && !isDamaged }

  /// Whether transfers may read it: what is not whole yet is passed on as it comes.
  var isServable: Bool { isUsable || (state == .creating && isRelayable) }

  var value: FileValue { FileValue(file, attempt: attempt) }
}

/// What the replicas of one node take of its disk.
struct NodeUsage {
  var byteCount: Int64 = 0
  /// Of that, intermediate files, which lie on nodes only.
  var madeByteCount: Int64 = 0
  /// Each has one name in the cache at least.
  var replicaCount: Int64 = 0
  /// The most that there ever was.
  var peakByteCount: Int64 = 0
  fileprivate var first: UInt32 = .max

  fileprivate mutating func grow(by byteCount: Int64, isMade: Bool) {
    self.byteCount &+= byteCount
    if isMade { madeByteCount &+= byteCount }
    peakByteCount = max(peakByteCount, self.byteCount)
  }
}

struct ReplicaTable {
  private struct Key: Hashable {
    let file: FileID
    let node: NodeID
  }

  private var pool = Pool<ReplicaRow>()
  private var index: [Key: UInt32] = [:]
  /// Head of each file's list of replicas.
  private var first: [UInt32]
  /// By node, as far as one has ever had a replica.
  private var usages: [NodeUsage] = []
  /// Rows removed so far.
  private(set) var removalCount = 0
  /// Somebody wants to know of which files a replica went.
  var isWatched = false
  private var removedFiles: [FileID] = []
  /// Of all replicas together.
  private(set) var byteCount: Int64 = 0

  /// Which files are intermediate ones.
  private let isMade: BitArray

  init(fileCount: Int, isMade: BitArray) {
    first = Array(repeating: .max, count: fileCount)
    self.isMade = isMade
  }

  var count: Int { pool.liveCount }

  subscript(replica: UInt32) -> ReplicaRow {
    get { pool[replica] }
    _modify { yield &pool[replica] }
  }

  func find(_ file: FileID, on node: NodeID) -> UInt32? {
    // Most files have no replica or one: the list answers before the hash does.
    let head = first[file.index]
    if head == .max { return nil }
    if pool[head].node == node { return head }
    if pool[head].next == .max { return nil }
    return index[Key(file: file, node: node)]
  }

  mutating func add(
    _ file: FileID, on node: NodeID, state: ReplicaState, byteCount: Int64, attempt: UInt32 = 0
  ) -> UInt32 {
    let byteCount = min(max(byteCount, 0), Limits.fileByteCountMax)
    let replica = pool.add(
      ReplicaRow(
        file: file, node: node, state: state, byteCount: byteCount, attempt: attempt,
        next: first[file.index]))
    first[file.index] = replica
    index[Key(file: file, node: node)] = replica
    while usages.count <= node.index { usages.append(NodeUsage()) }
    usages[node.index].grow(by: byteCount, isMade: isMade[file.index])
    self.byteCount &+= byteCount
    usages[node.index].replicaCount += 1
    let head = usages[node.index].first
    pool[replica].nextOnNode = head
    if head != .max { pool[head].previousOnNode = replica }
    usages[node.index].first = replica
    return replica
  }

  /// What a replica takes turned out to be another size.
  mutating func resize(_ replica: UInt32, to byteCount: Int64) {
    let row = pool[replica]
    pool[replica].byteCount = byteCount
    usages[row.node.index].grow(by: byteCount - row.byteCount, isMade: isMade[row.file.index])
    self.byteCount &+= byteCount - row.byteCount
  }

  func usage(of node: NodeID) -> NodeUsage {
    node.index < usages.count ? usages[node.index] : NodeUsage()
  }

  mutating func remove(_ replica: UInt32) {
    let row = pool[replica]
    invariant(
      row.pinCount == 0 && row.waiters.isEmpty && row.dependants.isEmpty,
      "a replica in use is removed")
    usages[row.node.index].grow(by: -row.byteCount, isMade: isMade[row.file.index])
    byteCount &-= row.byteCount
    usages[row.node.index].replicaCount -= 1
    removalCount += 1
    if isWatched { removedFiles.append(row.file) }
    if row.previousOnNode == .max {
      usages[row.node.index].first = row.nextOnNode
    } else {
      pool[row.previousOnNode].nextOnNode = row.nextOnNode
    }
    if row.nextOnNode != .max { pool[row.nextOnNode].previousOnNode = row.previousOnNode }
    index[Key(file: row.file, node: row.node)] = nil
    if first[row.file.index] == replica {
      first[row.file.index] = row.next
    } else {
      var previous = first[row.file.index]
      while pool[previous].next != replica { previous = pool[previous].next }
      pool[previous].next = row.next
    }
    pool.remove(replica)
  }

  /// Files of which a replica went since this was last asked, if they are watched.
  mutating func takeRemoved() -> [FileID] {
    let files = removedFiles
    removedFiles = []
    return files
  }

  /// The first `limit` replicas of `file`, newest first.
  func replicas(of file: FileID, limit: Int = .max) -> [UInt32] {
    var found: [UInt32] = []
    var next = first[file.index]
    while next != .max && found.count < limit {
      found.append(next)
      next = pool[next].next
    }
    return found
  }

  /// The latest replica of `file`; the others follow by `next`.
  func firstReplica(of file: FileID) -> UInt32? {
    first[file.index] == .max ? nil : first[file.index]
  }

  func hasReplica(_ file: FileID) -> Bool { first[file.index] != .max }

  /// The latest replica on `node`; the others follow by `nextOnNode`.
  func firstReplica(on node: NodeID) -> UInt32? {
    let head = usage(of: node).first
    return head == .max ? nil : head
  }

  /// All replicas on `node`, in the order of the table.
  func replicas(on node: NodeID) -> [UInt32] {
    var found: [UInt32] = []
    var next = usage(of: node).first
    while next != .max {
      found.append(next)
      next = pool[next].nextOnNode
    }
    return found.sorted()
  }
}
