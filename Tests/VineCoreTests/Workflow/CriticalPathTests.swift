import Testing
import VineCore

@Suite struct CriticalPathTests {
  @Test func aBottomLevelIsTheHeaviestChainBelow() {
    var builder = WorkflowBuilder()
    let made = builder.file(.temp)
    builder.task(writes: [made]) { $0.estimateMicroseconds = 5 }
    builder.task(reads: [made]) { $0.estimateMicroseconds = 10 }
    builder.task(after: [task(0)])
    #expect(builder.workflow.bottomLevels(defaultMicroseconds: 100) == [105, 10, 100])
  }

  @Test func aCycleIsNamedInItsOrder() {
    var builder = WorkflowBuilder()
    builder.task()
    builder.task(after: [task(0)])
    builder.task(after: [task(1)])
    builder.workflow.appendControlEdge(from: task(2), to: task(1))
    #expect(builder.workflow.bottomLevels(defaultMicroseconds: 1) == nil)
    guard case .cycle(let cycle) = builder.workflow.topologicalOrder() else {
      Issue.record("the cycle is not seen")
      return
    }
    #expect(Set(cycle) == [task(1), task(2)])
  }
}
