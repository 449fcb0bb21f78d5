// A set of cores of one node.

/// Cores by their 0-based number in the node's topology.
package struct CPUSet: Hashable, Sendable {
  private var words: [UInt64] = []

  package init() {}
  /// The cores `0..<count`.
  package init(count: Int) {
    words = Array(repeating: .max, count: count / 64)
    if count % 64 > 0 { words.append((1 << UInt64(count % 64)) - 1) }
  }

  package var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  package mutating func insert(_ core: Int) {
    while words.count <= core / 64 { words.append(0) }
    words[core / 64] |= 1 << UInt64(core % 64)
  }

  package func contains(_ core: Int) -> Bool {
    core / 64 < words.count && words[core / 64] & 1 << UInt64(core % 64) != 0
  }

  package mutating func formUnion(_ other: CPUSet) {
    while words.count < other.words.count { words.append(0) }
    for index in other.words.indices { words[index] |= other.words[index] }
  }

  package mutating func subtract(_ other: CPUSet) {
    for index in other.words.indices where index < words.count {
      words[index] &= ~other.words[index]
    }
  }

  package func isDisjoint(with other: CPUSet) -> Bool {
    zip(words, other.words).allSatisfy { $0 & $1 == 0 }
  }

  /// The cores, ascending.
  package var cores: [Int] {
    var found: [Int] = []
    for (index, word) in words.enumerated() {
      var rest = word
      while rest != 0 {
        found.append(index * 64 + rest.trailingZeroBitCount)
        rest &= rest - 1
      }
    }
    return found
  }

  /// `count` cores of this set: the first run of neighbours that is long enough, since
  /// neighbours share caches; else the lowest ones. Nil when there are fewer.
  package func choose(_ count: Int) -> CPUSet? {
    var chosen = CPUSet()
    if count == 0 { return chosen }
    if count == 1 {
      for (index, word) in words.enumerated() where word != 0 {
        chosen.insert(index * 64 + word.trailingZeroBitCount)
        return chosen
      }
      return nil
    }
    let all = cores
    guard all.count >= count else { return nil }
    var start = 0
    for index in 0...(all.count - count) where all[index + count - 1] - all[index] == count - 1 {
      start = index
      break
    }
    for core in all[start..<start + count] { chosen.insert(core) }
    return chosen
  }
}
