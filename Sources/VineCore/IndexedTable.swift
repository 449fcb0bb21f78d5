// An array addressed by its own identifier type.

/// Rows addressed by `ID`; append-only, so an identifier never dangles.
package struct IndexedTable<ID: TableID, Row> {
  @usableFromInline package var rows: [Row] = []

  package init() {}
  package init(repeating row: Row, count: Int) { rows = Array(repeating: row, count: count) }

  @inlinable package var count: Int { rows.count }
  @inlinable package var isEmpty: Bool { rows.isEmpty }
  package var ids: some Sequence<ID> { (0..<rows.count).lazy.map { ID(index: $0) } }

  @discardableResult
  package mutating func append(_ row: Row) -> ID {
    rows.append(row)
    return ID(index: rows.count - 1)
  }

  package mutating func reserveCapacity(_ count: Int) { rows.reserveCapacity(count) }
  package func contains(_ id: ID) -> Bool { id.index < rows.count }

  package subscript(id: ID) -> Row {
    get { rows[id.index] }
    _modify { yield &rows[id.index] }
  }
}

extension IndexedTable: Sendable where Row: Sendable {}
