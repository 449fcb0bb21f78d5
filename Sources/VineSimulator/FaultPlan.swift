// What goes wrong, drawn from a seed.

import VineCore

/// How the world treats one attempt.
enum AttemptFate: Equatable {
  case succeeds
  case exits(Int32)
  case dies(signal: Int32)
  /// Runs until something kills it.
  case hangs(ignoresTerminate: Bool)
  case cannotLaunch(Ending)
  /// Ends well, but an output (by place) is missing.
  case missesOutput
  /// Ends well, but its outputs find no room in the cache.
  case cannotSettle
}

/// Rates of faults, each in a thousand, and the generator they are drawn with. A swarm: every seed
/// turns a random subset on, so that rare combinations are not drowned by common ones.
package struct FaultPlan: Sendable {
  var exitRate = 0
  var signalRate = 0
  var hangRate = 0
  var launchRate = 0
  var missingOutputRate = 0
  var settleRate = 0
  var transferRate = 0
  var commitRate = 0
  var publishRate = 0
  var duplicateRate = 0
  /// Messages take up to this much longer.
  var jitterNanoseconds = 0
  /// Outputs take up to this long to move into the cache.
  var settleNanoseconds = 0
  private var random: PRNG

  /// A plan without any fault.
  package init(random: PRNG) { self.random = random }

  /// A random subset of faults.
  package static func swarm(_ source: inout PRNG) -> FaultPlan {
    var plan = FaultPlan(random: source.split())
    func rate() -> Int {
      guard source.chance(perMille: 300) else { return 0 }
      return source.pick([5, 50, 200, 500])
    }
    plan.exitRate = rate()
    plan.signalRate = rate()
    plan.hangRate = rate() / 4
    plan.launchRate = rate()
    plan.missingOutputRate = rate()
    plan.settleRate = rate()
    plan.transferRate = rate()
    plan.commitRate = rate()
    plan.publishRate = rate()
    plan.duplicateRate = rate()
    if source.chance(perMille: 600) {
      plan.jitterNanoseconds = source.pick([1_000, 100_000, 10_000_000, 2_000_000_000])
    }
    if source.chance(perMille: 300) {
      plan.settleNanoseconds = source.pick([10_000, 5_000_000])
    }
    return plan
  }

  /// What becomes of the next attempt.
  mutating func fate(hasTimeout: Bool, outputCount: Int) -> AttemptFate {
    if draw(launchRate) {
      return .cannotLaunch(draw(500) ? .sandboxFailed(28) : .notStarted(2))
    }
    if draw(exitRate) { return .exits(Int32(1 + random.below(255))) }
    if draw(signalRate) { return .dies(signal: random.pick([6, 9, 11])) }
    if hasTimeout && draw(hangRate) { return .hangs(ignoresTerminate: draw(500)) }
    if outputCount > 0 && draw(missingOutputRate) { return .missesOutput }
    return draw(settleRate) ? .cannotSettle : .succeeds
  }

  /// Which of so many goes wrong.
  mutating func place(below count: Int) -> Int { random.below(count) }
  /// An errno, or 0.
  mutating func transferError() -> Int32 { draw(transferRate) ? 5 : 0 }
  /// An errno, or 0.
  mutating func commitError() -> Int32 { draw(commitRate) ? 28 : 0 }
  /// An errno, or 0.
  mutating func publishError() -> Int32 { draw(publishRate) ? 5 : 0 }
  /// Whether a report arrives twice.
  mutating func duplicates() -> Bool { draw(duplicateRate) }
  /// How much longer a message takes, in nanoseconds.
  mutating func delay() -> Int64 { jitter(jitterNanoseconds) }
  /// How long outputs take to move into the cache, in nanoseconds.
  mutating func settleDelay() -> Int64 { jitter(settleNanoseconds) }

  private mutating func jitter(_ limit: Int) -> Int64 {
    limit == 0 ? 0 : Int64(random.below(limit))
  }

  private mutating func draw(_ rate: Int) -> Bool {
    rate > 0 && random.chance(perMille: rate)
  }
}
