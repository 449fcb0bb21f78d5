import Testing
import VineCore

@Suite struct OriginalReadsTests {
  private let size = Limits.chunksPerStripe
  private static let own = -1

  @Test func claimsAreReadBeforeItsOwnStripes() {
    var book = StripeBook(chunkCount: 2 * size)
    var reads = OriginalReads()
    #expect(reads.begin(&book, ownTaker: nil) == nil)
    book.assign(size..<2 * size, to: 7)
    reads.claim(size..<2 * size)
    let order = (0..<2 * size).map { _ in reads.begin(&book, ownTaker: Self.own) }
    #expect(order == Array(size..<2 * size) + Array(0..<size))
    #expect(reads.begin(&book, ownTaker: Self.own) == nil)
    #expect(reads.underWayCount == 2 * size)
  }

  @Test func aClaimOfWhatIsBeingReadBeginsNoSecondRead() {
    var book = StripeBook(chunkCount: size)
    var reads = OriginalReads()
    reads.claim(0..<size)
    let begun = (0..<size).compactMap { _ in reads.begin(&book, ownTaker: nil) }
    #expect(begun == Array(0..<size))
    for index in 0..<size - 2 {
      reads.end(index)
      _ = book.accept(index)
    }
    // The peer got a damaged chunk, and asks for the stripe again.
    reads.claim(0..<size)
    #expect(reads.begin(&book, ownTaker: nil) == nil)
    #expect(reads.underWayCount == 2)
  }

  @Test func whatCouldNotBeReadIsReadWhenClaimedAgain() {
    var book = StripeBook(chunkCount: size)
    var reads = OriginalReads()
    reads.claim(3..<4)
    #expect(reads.begin(&book, ownTaker: nil) == 3)
    reads.end(3)
    #expect(reads.begin(&book, ownTaker: nil) == nil)
    reads.claim(3..<4)
    #expect(reads.begin(&book, ownTaker: nil) == 3)
  }

  @Test func claimsAreDroppedAndItsOwnGoOn() {
    var book = StripeBook(chunkCount: 3 * size)
    var reads = OriginalReads()
    #expect(reads.begin(&book, ownTaker: Self.own) == 0)
    reads.claim(size..<2 * size)
    reads.dropClaims(isCurrentKept: true)
    #expect(reads.begin(&book, ownTaker: Self.own) == 1)
    reads.stop()
    #expect(reads.begin(&book, ownTaker: nil) == nil)
    #expect(reads.underWayCount == 2)
  }
}
