import Testing

@testable import VineCore

@Suite struct ServeLimitTests {
  /// A node of which more is always wanted, and which sends `rate(streams)` bytes a second.
  private func learn(
    _ limit: inout ServeLimit, transfers: Int, rate: (Int) -> Double, isWanted: Bool = true
  ) -> [Int] {
    var now = Instant.zero
    var counts: [Int] = []
    for _ in 0..<transfers {
      let seconds = Double(64 << 20) / rate(limit.count)
      now = now.adding(nanoseconds: Int64(seconds * 1e9))
      limit.served(64 << 20, at: now, isWanted: isWanted)
      counts.append(limit.count)
    }
    return counts
  }

  @Test func aQuickNodeServesMore() {
    var limit = ServeLimit(4)
    let counts = learn(&limit, transfers: 3_000) { min(Double($0) * 1e8, 1.2e9) }
    #expect(counts.max() ?? 0 >= 12)
    // It rests where it gains nothing more, but for a trial now and then.
    let late = counts.suffix(2_000)
    #expect(late.count { (11...13).contains($0) } > 1_400)
  }

  @Test func itStaysWithinItsBounds() {
    var limit = ServeLimit(4)
    let counts = learn(&limit, transfers: 2_000) { Double($0) * 1e8 }
    #expect(counts.max() == 16)
    var slow = ServeLimit(4)
    let fewer = learn(&slow, transfers: 2_000) { 1e8 / Double($0) }
    #expect(fewer.min() == 2)
    #expect(fewer.suffix(500).count { $0 == 2 } > 400)
  }

  @Test func aNodeThatSeeksGetsFewerAndOneNeverNone() {
    var limit = ServeLimit(1)
    let counts = learn(&limit, transfers: 500) { 1e8 / Double($0) }
    #expect(counts.min() == 1)
    #expect(counts.suffix(100).count { $0 == 1 } > 80)
  }

  @Test func whatIsNotWantedTeachesNothing() {
    var limit = ServeLimit(4)
    let counts = learn(&limit, transfers: 200, rate: { Double($0) * 1e8 }, isWanted: false)
    #expect(Set(counts) == [4])
  }

  @Test func timeThatStandsStillIsNoRate() {
    var limit = ServeLimit(2)
    for _ in 0..<100 { limit.served(.max, at: .zero, isWanted: true) }
    #expect(limit.count == 2)
  }
}
