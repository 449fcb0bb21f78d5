// Movements of files that are under way.

struct TransferRow {
  /// What it writes; `.max` when nobody wants that any more.
  var replica: UInt32
  let file: FileID
  /// Of the value it moves.
  let attempt: UInt32
  let node: NodeID
  let source: TransferSource
  /// The replica it reads; `.max` when it does not read a node.
  var sourceReplica: UInt32
  /// What it takes of its nodes' limits.
  let cost: Int
  /// When it was ordered.
  var began = Instant.zero
  /// Who served it is gone: that it fails says nothing about the file.
  var isSourceLost = false
  /// Whole replicas that its receiver may ask for ranges too: pinned, and charged like its source.
  var helpers: [UInt32] = []
  /// Receivers of the same file that were named to a reader of the shared file system.
  var readerCount = 0
  /// Its receiver reads ranges of the original for others.
  var isReader = false
  /// It makes a copy for safety's sake: it takes nothing of its nodes' limits.
  var isSpare = false
  /// The node that sends it such a copy.
  var server = NodeID.none
}

struct TransferTable {
  // Numbers are never used again: a report that comes twice must not be taken for another's.
  private var rows: [TransferID: TransferRow] = [:]
  private var nextIndex = 0

  var count: Int { rows.count }

  mutating func add(_ row: TransferRow) -> TransferID {
    let transfer = TransferID(index: nextIndex)
    nextIndex += 1
    rows[transfer] = row
    return transfer
  }

  /// The transfer's row, which is gone afterwards; nil when it is not under way.
  mutating func take(_ transfer: TransferID) -> TransferRow? {
    rows.removeValue(forKey: transfer)
  }

  /// The transfers under way, by their numbers.
  var ids: [TransferID] { rows.keys.sorted() }

  subscript(transfer: TransferID) -> TransferRow? {
    get { rows[transfer] }
    set { rows[transfer] = newValue }
  }
}
