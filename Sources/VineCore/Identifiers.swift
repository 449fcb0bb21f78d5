// The identifiers of everything that crosses a seam. Each is its own type over a dense index, so
// that a task cannot be mistaken for a file and every table is an array.

/// A dense, append-only identifier: the index of a row in its table.
package protocol TableID: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The 0-based row.
  var index: Int { get }
  init(index: Int)
}

extension TableID {
  package static func < (left: Self, right: Self) -> Bool { left.index < right.index }
  package var description: String { "\(Self.self)(\(index))" }
}

/// A declared unit of work.
package struct TaskID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
  /// Stands for "no task" in packed rows.
  package static let none = TaskID(rawValue: .max)
}

/// A declared file, of any kind.
package struct FileID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
  /// Stands for "no file" in packed rows.
  package static let none = FileID(rawValue: .max)
}

/// A set of ranks that share memory, one pool of cores and one cache.
package struct NodeID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
  /// Stands for "no node" in packed rows.
  package static let none = NodeID(rawValue: .max)
}

/// A worker; its index is its MPI rank.
package struct WorkerID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
  /// Stands for "no worker" in packed rows.
  package static let none = WorkerID(rawValue: .max)
}

/// One movement of one file to one node.
package struct TransferID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
}

/// Resources granted on a node to a lane of attempts.
package struct AllocationID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
  /// Stands for "no allocation" in packed rows.
  package static let none = AllocationID(rawValue: .max)
}

/// One try at a task; tries are numbered from 1.
package struct AttemptID: Hashable, Sendable {
  package let task: TaskID
  package let number: UInt32
  @inlinable package init(_ task: TaskID, _ number: UInt32) {
    self.task = task
    self.number = number
  }
}

/// A file as one attempt of its producer made it; attempt 0 is a file that no task makes.
///
/// A task that runs again may make another value, so caches, transfers and commits name values:
/// an order about the old one can never hit the new one.
package struct FileValue: Hashable, Sendable {
  package let file: FileID
  package let attempt: UInt32
  @inlinable package init(_ file: FileID, attempt: UInt32) {
    self.file = file
    self.attempt = attempt
  }
}
