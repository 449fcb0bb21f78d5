// Numbers and names for people.

import Testing
import VineCore

@testable import VineRuntime

struct RunReportTests {
  @Test func decimalsAreRounded() {
    #expect(decimal(1.25, 1) == "1.3")
    #expect(decimal(0.05, 2) == "0.05")
    #expect(decimal(-2.5, 1) == "-2.5")
    #expect(decimal(9.999, 2) == "10.00")
    #expect(decimal(3, 0) == "3")
  }

  @Test func sizesAndDurationsHaveUnits() {
    #expect(bytesText(1023) == "1023 B")
    #expect(bytesText(1536) == "1.5 KB")
    #expect(bytesText(3 << 30) == "3.0 GB")
    #expect(durationText(3.14) == "3.1 s")
    #expect(durationText(200) == "3 min 20 s")
    #expect(durationText(7500) == "2 h 5 min")
  }

  @Test func cpuListsJoinNeighbours() {
    #expect(listText([0, 1, 2, 3, 8]) == "0-3,8")
    #expect(listText([5]) == "5")
    #expect(listText([]) == "")
    #expect(listText([9, 1, 2]) == "1-2,9")
  }

  @Test func aMissingOutputIsNamed() throws {
    var workflow = Workflow()
    let file = try workflow.appendFile(id: "out", kind: .temp)
    var draft = TaskDraft(id: "t")
    draft.command = ["true"]
    draft.outputs = [BindingDraft(file, name: "result.txt")]
    let task = try workflow.appendTask(draft)
    #expect(workflow.endingText(.missingOutput(0), of: task) == "missing output result.txt")
    #expect(workflow.endingText(.signaled(11), of: task) == "killed by SIGSEGV")
  }
}
