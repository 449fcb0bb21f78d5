// In which order a node reads the chunks of a file of the shared file system: first those that peers
// have claimed, then its own stripes; and no chunk twice.

internal import DequeModule

/// The reads of one file, those under way among them.
package struct OriginalReads: Sendable {
  /// What peers wait for, first come first read.
  private var claims: Deque<Range<Int>> = []
  /// The rest of the claim or stripe that is being read.
  private var current = 0..<0
  /// Chunks that were begun and have not ended. A peer that asks for one of them again, since what it
  /// got was damaged, waits for that read.
  private var underWay: [Int] = []

  package init() {}

  package var underWayCount: Int { underWay.count }

  /// A peer wants these chunks.
  package mutating func claim(_ chunks: Range<Int>) { claims.append(chunks) }

  /// Begins the next read of what `book` does not hold; nil if there is none. `ownTaker`: reads its
  /// own stripes, too, which it takes from the book as this one; nil: only claims.
  package mutating func begin(_ book: inout StripeBook, ownTaker: Int?) -> Int? {
    while true {
      while let index = current.first {
        current = index + 1..<current.upperBound
        if book.holds(index) || underWay.contains(index) { continue }
        underWay.append(index)
        return index
      }
      if let claim = claims.popFirst() {
        current = claim
      } else if let ownTaker, let stripe = book.take(for: ownTaker) {
        current = book.chunks(of: stripe)
      } else {
        return nil
      }
    }
  }

  /// A read has ended, whatever came of it.
  package mutating func end(_ index: Int) { underWay.removeAll { $0 == index } }

  /// Nothing is read for peers any more. `isCurrentKept`: what is being read is this node's own.
  package mutating func dropClaims(isCurrentKept: Bool) {
    claims = []
    if !isCurrentKept { current = 0..<0 }
  }

  /// Begins nothing more of what was asked for.
  package mutating func stop() { dropClaims(isCurrentKept: false) }
}
