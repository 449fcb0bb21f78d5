// Movements of files that are under way.

struct TransferRow {
  let replica: UInt32
  let file: FileID
  let node: NodeID
  let source: TransferSource
  /// The replica it reads; `.max` when it does not read a node.
  let sourceReplica: UInt32
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
}
