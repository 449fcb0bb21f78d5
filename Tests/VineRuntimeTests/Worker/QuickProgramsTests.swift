import Testing

@testable import VineRuntime

struct QuickProgramsTests {
  @Test func aProgramIsQuickAsLongAsItsLastStartWas() {
    var programs = QuickPrograms()
    let copy = Array("/usr/bin/cp".utf8)
    #expect(!programs.contains(copy))
    programs.note(copy, isQuick: true)
    #expect(programs.contains(copy))
    #expect(!programs.contains("/usr/bin/c".utf8))
    programs.note(copy, isQuick: false)
    #expect(!programs.contains(copy))
  }

  @Test func manyProgramsDoNotGrowTheTable() {
    var programs = QuickPrograms()
    for number in 0...QuickPrograms.limit {
      programs.note("program-\(number)".utf8, isQuick: true)
    }
    #expect(!programs.contains("program-0".utf8))
    #expect(programs.contains("program-\(QuickPrograms.limit)".utf8))
  }
}
