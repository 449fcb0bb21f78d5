// Time as the core sees it: a number that adapters hand in. The core has no clock of its own.

/// Nanoseconds since the run began, on the manager's monotonic clock (or the simulator's).
package struct Instant: Hashable, Comparable, Sendable {
  package let nanoseconds: Int64
  @inlinable package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
  @inlinable package static func < (left: Instant, right: Instant) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
  @inlinable package func adding(nanoseconds: Int64) -> Instant {
    Instant(nanoseconds: self.nanoseconds &+ nanoseconds)
  }
  /// Nanoseconds from `earlier` to `self`.
  @inlinable package func since(_ earlier: Instant) -> Int64 {
    nanoseconds &- earlier.nanoseconds
  }
  package static let zero = Instant(nanoseconds: 0)
}
