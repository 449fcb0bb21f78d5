import Testing
import VineCore

@Suite struct StripeBookTests {
  private let size = Limits.chunksPerStripe

  @Test func stripesAreHandedOutInOrderAndOnce() {
    var book = StripeBook(chunkCount: 2 * size + 3)
    #expect(book.take(for: 1) == 0)
    #expect(book.take(for: 2) == 1)
    #expect(book.take(for: 1) == 2)
    #expect(book.take(for: 2) == nil)
    #expect(book.chunks(of: 2) == 2 * size..<2 * size + 3)
  }

  @Test func whatHasComeGrowsFromTheFrontAndIsNotTakenTwice() {
    var book = StripeBook(chunkCount: 2 * size)
    for chunk in size..<2 * size { #expect(book.accept(chunk) == true) }
    #expect(book.accept(size) == false)
    #expect(book.prefixCount == 0)
    #expect(book.heldCount == size)
    #expect(book.take(for: 1) == 0)
    #expect(book.take(for: 1) == nil)
    for chunk in 0..<size { #expect(book.accept(chunk) == true) }
    #expect(book.prefixCount == 2 * size)
    #expect(book.isComplete)
  }

  @Test func aSourceThatFailsGivesItsStripesBack() {
    var book = StripeBook(chunkCount: 4 * size)
    for source in [1, 2, 1, 2] { _ = book.take(for: source) }
    _ = book.accept(0)
    book.giveBack(allOf: 1)
    // Half of the first was there, which is no reason not to ask for the rest.
    #expect(book.take(for: 2) == 0)
    #expect(book.take(for: 2) == 2)
    #expect(book.take(for: 2) == nil)
  }

  @Test func oneStripeIsGivenBackByWhoHasItAlone() {
    var book = StripeBook(chunkCount: 2 * size)
    _ = book.take(for: 1)
    book.giveBack(0..<size, of: 2)
    #expect(book.take(for: 2) == 1)
    book.giveBack(0..<size, of: 1)
    #expect(book.take(for: 2) == 0)
  }

  @Test func aSlowSourcesStripeIsTakenOverOnce() {
    var book = StripeBook(chunkCount: 2 * size)
    _ = book.take(for: 1)
    _ = book.take(for: 1)
    #expect(book.takeOver(for: 2) == 1)
    #expect(book.takeOver(for: 2) == 0)
    // Each is asked of two at most.
    #expect(book.takeOver(for: 1) == nil)
    #expect(book.takeOver(for: 3) == nil)
  }

  @Test func whatSomebodyElseReadsIsNotHandedOut() {
    var book = StripeBook(chunkCount: 3 * size)
    book.assign(size..<2 * size, to: 9)
    #expect(book.take(for: 1) == 0)
    #expect(book.take(for: 1) == 2)
    book.giveBack(allOf: 9)
    #expect(book.take(for: 1) == 1)
  }

  @Test func nonsenseIsIgnored() {
    var book = StripeBook(chunkCount: 1)
    #expect(book.accept(-1) == false)
    #expect(book.accept(1) == false)
    #expect(!book.holds(1))
    book.assign(5..<9, to: 1)
    book.giveBack(-3..<0, of: 1)
    #expect(book.take(for: 1) == 0)
    #expect(StripeBook(chunkCount: 0).isComplete)
    #expect(StripeBook(chunkCount: -1).isComplete)
  }

  @Test func whatIsMissingOfAStripeIsAskedForWithoutItsEnds() {
    var book = StripeBook(chunkCount: 2 * size)
    for chunk in [size, size + 1, size + 4, 2 * size - 1] { _ = book.accept(chunk) }
    #expect(book.missingChunks(of: 0) == 0..<size)
    #expect(book.missingChunks(of: 1) == size + 2..<2 * size - 1)
    for chunk in size..<2 * size { _ = book.accept(chunk) }
    #expect(book.missingChunks(of: 1).isEmpty)
  }
}
