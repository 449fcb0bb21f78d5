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
  var byteCount: Int64
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

  /// Whether attempts may link it and nodes may read it.
  var isUsable: Bool { state == .ready && !isDamaged }

  /// Whether transfers may read it: what is not whole yet is passed on as it comes.
  var isServable: Bool { isUsable || (state == .creating && isRelayable) }

  var value: FileValue { FileValue(file, attempt: attempt) }
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

  init(fileCount: Int) { first = Array(repeating: .max, count: fileCount) }

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
    let replica = pool.add(
      ReplicaRow(
        file: file, node: node, state: state, byteCount: byteCount, attempt: attempt,
        next: first[file.index]))
    first[file.index] = replica
    index[Key(file: file, node: node)] = replica
    return replica
  }

  mutating func remove(_ replica: UInt32) {
    let row = pool[replica]
    invariant(
      row.pinCount == 0 && row.waiters.isEmpty && row.dependants.isEmpty,
      "a replica in use is removed")
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

  func hasReplica(_ file: FileID) -> Bool { first[file.index] != .max }

  /// All replicas on `node`, in the order of the table; walks everything.
  func replicas(on node: NodeID) -> [UInt32] {
    pool.rows.indices.map { UInt32($0) }.filter { row in
      pool[row].node == node && index[Key(file: pool[row].file, node: node)] == row
    }
  }
}
