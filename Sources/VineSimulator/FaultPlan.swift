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
  /// Set-ups of instances that fail, and calls under which their instance dies.
  var setupFailureRate = 0
  var instanceDeathRate = 0
  /// Set-ups take up to this long.
  var setupNanoseconds = 0
  /// Messages take up to this much longer.
  var jitterNanoseconds = 0
  /// Outputs take up to this long to move into the cache.
  var settleNanoseconds = 0
  /// A worker or a node is lost at one event in this many; 0: never.
  var lossInterval = 0
  /// Losses still to come.
  var lossCountMax = 0
  /// Whether every node may die; else one is spared.
  var sparesNone = false
  /// The manager hears of a loss up to this much later.
  var noticeNanoseconds = 0
  /// Further values that come out as the first one did.
  var stableRate = 1_000
  /// Tasks that are not as deterministic as they are said to be.
  var liarRate = 0
  /// Outputs whose hash is told some time after the end.
  var hashRate = 0
  var hashNanoseconds = 0
  /// Caches that do not outlive the crash of their session, and files in them that something happens
  /// to before the next one looks.
  var cacheLossRate = 0
  var cacheDamageRate = 0
  private var random: PRNG

  /// Whether reads, commits or renames may fail.
  var hasFileErrors: Bool { transferRate > 0 || commitRate > 0 || publishRate > 0 }

  /// A plan without any fault.
  package init(random: PRNG) { self.random = random }

  /// A random subset of faults.
  package static func swarm(_ source: inout PRNG) -> FaultPlan {
    var plan = FaultPlan(random: source.split())
    // Tasks that fail leave little to recover, so in many seeds they do not.
    let isCalm = source.chance(perMille: 500)
    func rate() -> Int {
      guard !isCalm, source.chance(perMille: 300) else { return 0 }
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
    plan.drawLosses(&source)
    // Of a generator of its own: other draws stay what they are without it.
    var caches = source
    caches = PRNG(seed: caches.next())
    plan.cacheLossRate = caches.pick([0, 0, 300, 1_000])
    plan.cacheDamageRate = caches.pick([0, 0, 100, 500])
    plan.setupFailureRate = rate()
    plan.instanceDeathRate = rate() / 2
    plan.setupNanoseconds = source.pick([0, 1_000_000, 500_000_000, 60_000_000_000])
    return plan
  }

  /// A task that lies may contradict itself, and after that nobody goes on.
  package mutating func makeHonest() { liarRate = 0 }

  private mutating func drawLosses(_ source: inout PRNG) {
    stableRate = source.pick([0, 0, 300, 900])
    if source.chance(perMille: 30) { liarRate = 300 }
    hashRate = source.pick([0, 300, 1_000])
    hashNanoseconds = source.pick([0, 1_000_000, 10_000_000_000])
    guard source.chance(perMille: 700) else { return }
    lossInterval = source.pick([4, 12, 40, 40, 150])
    lossCountMax = source.within(1...source.pick([2, 8, 20]))
    sparesNone = source.chance(perMille: 100)
    noticeNanoseconds = source.pick([0, 10_000, 10_000_000, 30_000_000_000])
  }

  /// What becomes of the next attempt.
  mutating func fate(hasTimeout: Bool, outputCount: Int) -> AttemptFate {
    if draw(launchRate) {
      return .cannotLaunch(draw(500) ? .sandboxFailed(5) : .notStarted(2))
    }
    if draw(exitRate) { return .exits(Int32(1 + random.below(255))) }
    if draw(signalRate) { return .dies(signal: random.pick([6, 9, 11])) }
    if hasTimeout && draw(hangRate) { return .hangs(ignoresTerminate: draw(500)) }
    if outputCount > 0 && draw(missingOutputRate) { return .missesOutput }
    return draw(settleRate) ? .cannotSettle : .succeeds
  }

  /// What becomes of the next call.
  mutating func callFate(hasTimeout: Bool, outputCount: Int) -> AttemptFate {
    if draw(launchRate) { return .cannotLaunch(.sandboxFailed(5)) }
    if draw(exitRate) { return .exits(1) }
    if draw(instanceDeathRate) { return .dies(signal: 11) }
    if hasTimeout && draw(hangRate) { return .hangs(ignoresTerminate: true) }
    if outputCount > 1 && draw(missingOutputRate) { return .missesOutput }
    return draw(settleRate) ? .cannotSettle : .succeeds
  }

  /// Whether an instance cannot be set up.
  mutating func failsSetup() -> Bool { draw(setupFailureRate) }
  /// How long a set-up takes, in nanoseconds.
  mutating func setupDelay() -> Int64 { 1 + jitter(setupNanoseconds) }

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

  /// Whether something is lost now.
  mutating func strikes() -> Bool {
    guard lossInterval > 0, lossCountMax > 0, random.below(lossInterval) == 0 else { return false }
    lossCountMax -= 1
    return true
  }

  /// What of a log outlives a crash.
  mutating func crash(_ log: inout SimulatedLog, _ report: (String) -> Void) {
    log.crash(&random, report)
  }
  /// How long the manager does not notice a loss, in nanoseconds.
  mutating func noticeDelay() -> Int64 { jitter(noticeNanoseconds) }
  /// How long it takes until a hash is told, in nanoseconds; nil: never.
  mutating func hashDelay() -> Int64? { draw(hashRate) ? jitter(hashNanoseconds) : nil }
  /// Whether a cache does not outlive its session.
  mutating func losesCache() -> Bool { draw(cacheLossRate) }
  /// Whether something happens to a file in a cache that nobody looks after.
  mutating func damagesCache() -> Bool { draw(cacheDamageRate) }
  /// A coin.
  mutating func coin() -> Bool { random.below(2) == 0 }
  /// What chance adds to the value of an attempt; 0 is what it adds most often.
  mutating func drift(isDeterministic: Bool) -> UInt64 {
    let mayDrift = isDeterministic ? draw(liarRate) : !draw(stableRate)
    return mayDrift ? random.next() | 1 : 0
  }

  private mutating func jitter(_ limit: Int) -> Int64 {
    limit == 0 ? 0 : Int64(random.below(limit))
  }

  private mutating func draw(_ rate: Int) -> Bool {
    rate > 0 && random.chance(perMille: rate)
  }
}
