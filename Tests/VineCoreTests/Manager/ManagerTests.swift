import Testing
import VineCore

@Suite struct ManagerTests {
  @Test func aStaleFinishIsIgnored() {
    let run = ManagerFixture {
      $0.task { $0.retries = 1 }
    }
    run.turn()
    let late = run.finished(task(0), 1, .exited(1))
    run.turn(late)
    #expect(run.started == [Started(task(0), 2)])
    run.turn(late, run.finished(task(0), 1))
    #expect(run.effects.isEmpty)
    run.turn(run.finished(task(0), 2))
    #expect(run.outcome?.doneCount == 1)
  }

  @Test func aTaskFailsWhenItsOwnRetriesAreUsedUp() {
    let run = ManagerFixture { $0.task { $0.retries = 1 } }
    run.turn()
    run.turn(run.finished(task(0), 1, .exited(1)))
    run.turn(run.finished(task(0), 2, .signaled(11)))
    #expect(run.effects.contains(.append(.failed(AttemptID(task(0), 2), .signaled(11)))))
    #expect(run.outcome?.exitStatus == 1)
  }

  @Test func lossesAreNotChargedToTheTask() {
    let run = ManagerFixture { $0.task() }
    run.turn()
    for loss in 1...UInt32(Limits.lossRetryMax) {
      run.turn(run.finished(task(0), loss, .sandboxFailed(5)))
      #expect(run.started == [Started(task(0), loss + 1)])
    }
    run.turn(run.finished(task(0), UInt32(Limits.lossRetryMax) + 1, .sandboxFailed(5)))
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func whateverNeedsAFailedTaskIsCancelledAndTheRestRuns() {
    let run = ManagerFixture {
      let made = $0.file(.temp)
      $0.task(writes: [made])
      $0.task(reads: [made])
      $0.task(after: [task(1)])
      $0.task()
    }
    run.turn()
    run.turn(run.finished(task(0), 1, .exited(1)))
    #expect(run.manager.state(of: task(1)) == .cancelled)
    #expect(run.manager.state(of: task(2)) == .cancelled)
    #expect(run.started == [Started(task(3))])
  }

  @Test func onFailureStopLetsRunningTasksEndAndStartsNoOthers() {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      $0.workflow.policy.onFailure = .stop
      for _ in 0..<4 { $0.task() }
    }
    run.turn()
    run.turn(run.finished(task(0), 1, .exited(1)))
    #expect(run.started.isEmpty)
    #expect(run.outcome == nil)
    run.turn(run.finished(task(1)))
    #expect(run.outcome?.doneCount == 1)
    #expect(run.outcome?.failedCount == 1)
    #expect(run.outcome?.cancelledCount == 2)
    #expect(run.outcome?.leftCount == 0)
  }

  @Test func maxFailuresStopsAtThatFailure() {
    let run = ManagerFixture {
      $0.workflow.policy.failuresMax = 2
      for _ in 0..<4 { $0.task() }
    }
    run.turn()
    run.turn(run.finished(task(0), 1, .exited(1)))
    #expect(run.started.count == 1)
    run.turn(run.finished(task(1), 1, .exited(1)))
    #expect(run.outcome?.cancelledCount == 2)
  }

  @Test func heftStartsTheHeadOfTheHeaviestChainFirst() {
    let run = ManagerFixture {
      $0.workflow.policy.order = .heft
      $0.task { $0.estimateMicroseconds = 50 }
      $0.task { $0.estimateMicroseconds = 10 }
      $0.task(after: [task(1)]) { $0.estimateMicroseconds = 60 }
    }
    run.turn()
    #expect(run.started == [Started(task(1))])
  }
}
