import Testing
import VineCore

@Suite struct TextArenaTests {
  @Test func textsComeBackAsTheyWere() {
    var arena = TextArena()
    let texts = ["", "a", "two words", "naïve\n\u{1F33F}"]
    let refs = texts.map { arena.append($0) }
    #expect(refs.map { arena.string($0) } == texts)
    let list = arena.append(list: ["x", "", "y z"])
    #expect(arena.list(list) == ["x", "", "y z"])
    #expect(arena.list(arena.append(list: [])) == [])
  }

  @Test func rowsAreFoundByNameAndOnlyOnce() {
    var arena = TextArena()
    var index = TextIndex()
    var names: [TextRef] = []
    for number in 0..<1_000 {
      names.append(arena.append("name-\(number)"))
      #expect(index.insert(number, in: arena) { names[$0] })
    }
    names.append(arena.append("name-7"))
    #expect(!index.insert(1_000, in: arena) { names[$0] })
    #expect(index.find("name-999", in: arena) { names[$0] } == 999)
    #expect(index.find("name-1000", in: arena) { names[$0] } == nil)
    #expect(index.find("", in: arena) { names[$0] } == nil)
  }
}
