// A set of cores of one node.

/// Cores by their 0-based number in the node's topology.
package struct CPUSet: Hashable, Sendable {
  /// The cores below 64, apart from the others: most nodes and nearly all grants need no array,
  /// and there is a set in each of millions of grants.
  private var first: UInt64 = 0
  /// Further words of 64 cores, without trailing zeros, so that equal sets are equal values.
  private var rest: [UInt64] = []

  package init() {}
  /// The cores `0..<count`.
  package init(count: Int) {
    let words = (count + 63) / 64
    for index in 0..<words {
      let bits = min(count - index * 64, 64)
      self[index] = bits == 64 ? .max : (1 << UInt64(bits)) - 1
    }
  }

  package var isEmpty: Bool { first == 0 && rest.isEmpty }

  package var count: Int {
    var count = first.nonzeroBitCount
    for word in rest { count += word.nonzeroBitCount }
    return count
  }

  package mutating func insert(_ core: Int) { self[core / 64] |= 1 << UInt64(core % 64) }

  package func contains(_ core: Int) -> Bool { self[core / 64] & 1 << UInt64(core % 64) != 0 }

  package mutating func formUnion(_ other: CPUSet) {
    first |= other.first
    for index in other.rest.indices { self[index + 1] |= other.rest[index] }
  }

  package mutating func subtract(_ other: CPUSet) {
    first &= ~other.first
    for index in other.rest.indices where index < rest.count { rest[index] &= ~other.rest[index] }
    while rest.last == 0 { rest.removeLast() }
  }

  package func isDisjoint(with other: CPUSet) -> Bool {
    if first & other.first != 0 { return false }
    for index in rest.indices where index < other.rest.count {
      if rest[index] & other.rest[index] != 0 { return false }
    }
    return true
  }

  /// The cores, ascending.
  package var cores: [Int] {
    var found: [Int] = []
    for index in 0...rest.count {
      var word = self[index]
      while word != 0 {
        found.append(index * 64 + word.trailingZeroBitCount)
        word &= word - 1
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
      guard let index = (0...rest.count).first(where: { self[$0] != 0 }) else { return nil }
      chosen.insert(index * 64 + self[index].trailingZeroBitCount)
      return chosen
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

  /// A word of 64 cores; zero beyond the last.
  private subscript(index: Int) -> UInt64 {
    get { index == 0 ? first : index <= rest.count ? rest[index - 1] : 0 }
    set {
      if index == 0 {
        first = newValue
      } else {
        while rest.count < index { rest.append(0) }
        rest[index - 1] = newValue
      }
    }
  }
}
