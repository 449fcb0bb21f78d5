// Chance, from a seed. Every draw of a simulation comes from here, so that a seed is the whole run.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): a
/// counter with a strong mix. Small, good enough for tests, and the same on every machine.
package struct PRNG: Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }

  /// A number of `0..<bound`; 0 when `bound` is not positive.
  package mutating func below(_ bound: Int) -> Int {
    if bound <= 0 { return 0 }
    // The high half of a full product: no division, and a bias far below anything a test sees.
    return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// A number of `range`.
  package mutating func within(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + below(range.count)
  }

  /// True this many times in a thousand.
  package mutating func chance(perMille: Int) -> Bool { below(1000) < perMille }

  /// One of `choices`, which must not be empty.
  package mutating func pick<Choice>(_ choices: [Choice]) -> Choice {
    choices[below(choices.count)]
  }

  /// A generator of its own for one subject, so that its draws do not shift those of another.
  package mutating func split() -> PRNG { PRNG(seed: next()) }
}
