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
}

struct TransferTable {
  private var pool = Pool<TransferRow?>()

  var count: Int { pool.liveCount }

  mutating func add(_ row: TransferRow) -> TransferID { TransferID(rawValue: pool.add(row)) }

  /// The transfer's row, which is gone afterwards; nil when it is not under way.
  mutating func take(_ transfer: TransferID) -> TransferRow? {
    guard transfer.index < pool.rows.count, let row = pool[transfer.rawValue] else { return nil }
    pool[transfer.rawValue] = nil
    pool.remove(transfer.rawValue)
    return row
  }

  /// The transfers under way, by their numbers.
  var ids: [TransferID] {
    pool.rows.indices.filter { pool.rows[$0] != nil }.map { TransferID(index: $0) }
  }

  subscript(transfer: TransferID) -> TransferRow? {
    get { pool[transfer.rawValue] }
    set { pool[transfer.rawValue] = newValue }
  }
}
