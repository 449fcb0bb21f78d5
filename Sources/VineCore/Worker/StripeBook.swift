// Which chunks of a file have come, and who was asked for the rest. A file that comes from several
// sources is cut into stripes of a few chunks, handed out in order: whoever is quick gets more of
// them, and what has come grows from the front, so that others can read along.

/// The chunks of one file on its way into a cache. Sources are numbers that the adapter chooses.
package struct StripeBook: Sendable {
  private static let nobody = Int.min
  package let chunkCount: Int
  private var held: BitArray
  package private(set) var heldCount = 0
  /// Chunks from the first on without a gap.
  package private(set) var prefixCount = 0
  /// By stripe: chunks that have not come, and who was asked for them.
  private var missingCounts: [UInt8]
  private var takers: [Int]
  private var wasTakenOver: BitArray
  /// No stripe before this one is free.
  private var firstFree = 0

  package init(chunkCount: Int) {
    let count = max(chunkCount, 0)
    self.chunkCount = count
    held = BitArray(count: count)
    let stripeCount = (count + Limits.chunksPerStripe - 1) / Limits.chunksPerStripe
    missingCounts = (0..<stripeCount).map {
      UInt8(min(Limits.chunksPerStripe, count - $0 * Limits.chunksPerStripe))
    }
    takers = Array(repeating: Self.nobody, count: stripeCount)
    wasTakenOver = BitArray(count: stripeCount)
  }

  package var isComplete: Bool { heldCount == chunkCount }

  package func holds(_ chunk: Int) -> Bool {
    chunk >= 0 && chunk < chunkCount && held[chunk]
  }

  package func chunks(of stripe: Int) -> Range<Int> {
    let first = stripe * Limits.chunksPerStripe
    return first..<min(first + Limits.chunksPerStripe, chunkCount)
  }

  /// The chunks of a stripe without those at its ends that have come.
  package func missingChunks(of stripe: Int) -> Range<Int> {
    let all = chunks(of: stripe)
    guard let first = all.first(where: { !held[$0] }), let last = all.last(where: { !held[$0] })
    else { return all.lowerBound..<all.lowerBound }
    return first..<last + 1
  }

  /// A chunk has come; false: it was there.
  package mutating func accept(_ chunk: Int) -> Bool {
    guard chunk >= 0, chunk < chunkCount, !held[chunk] else { return false }
    held[chunk] = true
    heldCount += 1
    while prefixCount < chunkCount, held[prefixCount] { prefixCount += 1 }
    let stripe = chunk / Limits.chunksPerStripe
    missingCounts[stripe] -= 1
    if missingCounts[stripe] == 0 { takers[stripe] = Self.nobody }
    return true
  }

  /// The next stripe that nobody was asked for: `source` is.
  package mutating func take(for source: Int) -> Int? {
    while firstFree < takers.count,
      missingCounts[firstFree] == 0 || takers[firstFree] != Self.nobody
    { firstFree += 1 }
    guard firstFree < takers.count else { return nil }
    takers[firstFree] = source
    return firstFree
  }

  /// The last stripe that another source was asked for and has not brought, once for each stripe:
  /// that one may be slow.
  package mutating func takeOver(for source: Int) -> Int? {
    for stripe in takers.indices.reversed()
    where missingCounts[stripe] > 0 && takers[stripe] != source && takers[stripe] != Self.nobody
      && !wasTakenOver[stripe]
    {
      wasTakenOver[stripe] = true
      takers[stripe] = source
      return stripe
    }
    return nil
  }

  /// `source` is asked for the stripes with these chunks, whoever was before.
  package mutating func assign(_ chunks: Range<Int>, to source: Int) {
    for stripe in stripes(of: chunks) where missingCounts[stripe] > 0 { takers[stripe] = source }
  }

  /// What `source` was asked for and has not brought of these chunks is free again.
  package mutating func giveBack(_ chunks: Range<Int>, of source: Int) {
    for stripe in stripes(of: chunks) where takers[stripe] == source { free(stripe) }
  }

  /// What `source` was asked for and has not brought is free again.
  package mutating func giveBack(allOf source: Int) {
    for stripe in takers.indices where takers[stripe] == source { free(stripe) }
  }

  private mutating func free(_ stripe: Int) {
    takers[stripe] = Self.nobody
    firstFree = min(firstFree, stripe)
  }

  private func stripes(of chunks: Range<Int>) -> Range<Int> {
    let chunks = chunks.clamped(to: 0..<chunkCount)
    if chunks.isEmpty { return 0..<0 }
    return chunks.lowerBound / Limits.chunksPerStripe..<(chunks.upperBound - 1)
      / Limits.chunksPerStripe + 1
  }
}
