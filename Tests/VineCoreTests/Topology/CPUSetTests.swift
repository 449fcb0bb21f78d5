import Testing
import VineCore

@Suite struct CPUSetTests {
  private func set(_ cores: Int...) -> CPUSet {
    var set = CPUSet()
    for core in cores { set.insert(core) }
    return set
  }

  @Test(arguments: [0, 1, 63, 64, 65, 128, 200])
  func aSetOfTheFirstCoresHasThem(count: Int) {
    let set = CPUSet(count: count)
    #expect(set.count == count)
    #expect(set.cores == Array(0..<count))
    #expect(!set.contains(count))
  }

  @Test func equalSetsAreEqualHoweverTheyCameAbout() {
    var grown = set(3, 100)
    grown.subtract(set(100))
    #expect(grown == set(3))
    #expect(grown.hashValue == set(3).hashValue)
  }

  @Test func unionAndDifferenceUndoEachOther() {
    var union = set(1, 70)
    #expect(union.isDisjoint(with: set(2, 71, 300)))
    union.formUnion(set(2, 71, 300))
    #expect(union.cores == [1, 2, 70, 71, 300])
    #expect(!union.isDisjoint(with: set(300)))
    union.subtract(set(2, 71, 300))
    #expect(union == set(1, 70))
  }

  @Test func neighboursAreChosenBeforeLowerCores() {
    #expect(set(0, 2, 4, 5, 6).choose(3) == set(4, 5, 6))
    #expect(set(0, 2, 4).choose(2) == set(0, 2))
    #expect(set(62, 64, 65).choose(2) == set(64, 65))
    #expect(set(90).choose(1) == set(90))
    #expect(set(1).choose(2) == nil)
    #expect(CPUSet().choose(1) == nil)
    #expect(set(1).choose(0) == CPUSet())
  }
}
