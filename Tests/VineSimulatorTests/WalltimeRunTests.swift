// What the end of a job's time does to a run, in virtual time (case 32 of the fault cases).

import Synchronization
import Testing
import VineCore
import VineSimulator

@Suite struct WalltimeRunTests {
  /// A line of the simulation's log: when, and what.
  private struct Line {
    let seconds: Double
    let text: String
  }

  /// Independent tasks of so many seconds on 16 cores, in a job of five minutes and one without end.
  /// Returns the result and what the first session's manager heard and ordered.
  private func play(
    taskCount: Int, seconds: Int64, isKnown: Bool = true
  ) throws -> (result: SimulationResult, first: [Line]) {
    var workflow = Workflow()
    for index in 0..<taskCount {
      var draft = TaskDraft(id: "task-\(index)")
      if isKnown { draft.estimateMicroseconds = seconds * 1_000_000 }
      draft.outputs = [
        BindingDraft(
          try workflow.appendFile(id: "out-\(index)", kind: .path, byteCountHint: 1_000))
      ]
      try workflow.appendTask(draft)
    }
    let cluster = ClusterModel(nodeCount: 4, coresPerNode: 4)
    var options = SimulationOptions()
    options.checks = true
    options.defaultMicroseconds = seconds * 1_000_000
    options.jobEndsAt = Instant(nanoseconds: 300_000_000_000)
    options.restarts = [Restart(cluster: cluster)]
    let lines = Mutex<[String]>([])
    options.log = { line in lines.withLock { $0.append(line) } }
    let result = Simulation.run(workflow, on: cluster, options: options)
    let first = lines.withLock { $0 }.prefix { !$0.hasPrefix("session") }.compactMap { line in
      line.split(separator: " ", maxSplits: 1).first.flatMap { Double($0) }
        .map { Line(seconds: $0 / 1e9, text: line) }
    }
    return (result, first)
  }

  @Test func theNextJobDoesTheRestOnly() throws {
    let (result, first) = try play(taskCount: 500, seconds: 10)
    #expect(result.violation == nil)
    #expect(result.outcome?.doneCount == 500)
    #expect(result.attemptCount == 500)
    let starts = first.filter { $0.text.contains("orders") && $0.text.contains("startTask") }
    #expect(starts.count >= 300 && starts.count < 500)
    #expect(starts.allSatisfy { $0.seconds <= 240 })
    // It waits for what runs, and for nothing else.
    let end = try #require(first.last?.seconds)
    #expect(end > 240 && end < 255)
    #expect(!first.contains { $0.text.contains("killTask") })
  }

  /// Tasks of a known length that does not fit are not begun at all.
  @Test func whatCannotEndIsNotBegun() throws {
    let (result, first) = try play(taskCount: 20, seconds: 1_000)
    #expect(result.violation == nil)
    #expect(result.outcome?.doneCount == 20)
    #expect(result.attemptCount == 20)
    #expect(!first.contains { $0.text.contains("startTask") })
  }

  /// Of tasks that nobody knows anything of, those that run are ended in time for the rest.
  @Test func whatDoesNotEndIsKilled() throws {
    let (result, first) = try play(taskCount: 20, seconds: 1_000, isKnown: false)
    #expect(result.violation == nil)
    #expect(result.outcome?.doneCount == 20)
    #expect(result.attemptCount == 16 + 20)
    let kills = first.filter { $0.text.contains("killTask") }
    #expect(kills.count == 16)
    #expect(kills.allSatisfy { $0.seconds >= 275 })
    #expect(try #require(first.last?.seconds) <= 290)
  }
}
