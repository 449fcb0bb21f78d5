import Testing
import VineCore

@Suite struct SchedulerTests {
  @Test func tasksStartWhereCoresAreFreeAndTheRestWaits() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) { for _ in 0..<3 { $0.task() } }
    run.turn()
    #expect(run.started == [Started(task(0), on: 0), Started(task(1), on: 1)])
    run.turn(run.finished(task(1), by: 1))
    #expect(run.started == [Started(task(2), on: 1)])
  }

  @Test func aTaskThatDoesNotFitLetsSmallerOnesPass() {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      $0.task()
      $0.task { $0.request.cores = 2 }
      $0.task()
    }
    run.turn()
    #expect(run.started == [Started(task(0)), Started(task(2))])
    run.turn(run.finished(task(0)), run.finished(task(2)))
    #expect(run.started == [Started(task(1))])
  }

  @Test func executorsOfANodeTakeTurns() {
    let run = ManagerFixture(nodes: [(3, 2)]) { for _ in 0..<3 { $0.task() } }
    run.turn()
    #expect(run.started.map(\.worker) == [0, 1, 0])
  }

  @Test func higherPriorityComesFirst() {
    let run = ManagerFixture {
      $0.task()
      $0.task { $0.priority = 5 }
    }
    run.turn()
    #expect(run.started == [Started(task(1))])
  }

  @Test func aTaskThatFitsNoNodeFailsOnceNoFurtherNodeCanCome() {
    let run = ManagerFixture {
      $0.task { $0.request.cores = 2 }
      $0.task(after: [task(0)])
      $0.task()
    }
    run.turn()
    #expect(run.started == [Started(task(2))])
    run.turn(.registrationClosed)
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(0), 0), .fitsNoNode))))
    run.turn(run.finished(task(2)))
    #expect(run.outcome?.failedCount == 1)
    #expect(run.outcome?.cancelledCount == 1)
    #expect(run.outcome?.doneCount == 1)
  }

  @Test func aLateNodeTakesTheTaskThatWaitedForIt() {
    let run = ManagerFixture { $0.task { $0.request.cores = 2 } }
    run.turn()
    #expect(run.started.isEmpty)
    run.addNode(cores: 2)
    run.turn()
    #expect(run.started == [Started(task(0), on: 1)])
  }

  // MARK: Lanes

  /// One core, on which a first task took `milliseconds`.
  private func lane(of count: Int, milliseconds: Int64) -> ManagerFixture {
    let run = ManagerFixture { for _ in 0..<count { $0.task() } }
    run.turn()
    run.turn(run.finished(task(0), milliseconds: milliseconds))
    return run
  }

  @Test func shortTasksAreSentAhead() {
    let run = lane(of: 20, milliseconds: 1)
    #expect(run.started.count == 5)
  }

  @Test func longTasksAreNot() {
    let run = lane(of: 20, milliseconds: 100)
    #expect(run.started.count == 1)
  }

  @Test func whatWaitsBehindALongAttemptComesBackForAFreeCore() {
    let run = lane(of: 3, milliseconds: 1)
    #expect(run.started == [Started(task(1)), Started(task(2))])
    #expect(run.manager.nextDeadline != nil)
    run.addNode(cores: 1)
    run.turn(after: 100)
    #expect(run.orders(.takeBack(AttemptID(task(2), 1))) == [0])
    run.turn(.received(.taskReturned(AttemptID(task(2), 1)), from: WorkerID(index: 0)))
    #expect(run.started == [Started(task(2), on: 1)])
  }

  @Test func anInputThatNothingPinsAnyMoreIsRemovedWhenAnAttemptComesBack() {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      let text = $0.file(.buffer, lifetime: .task)
      $0.workflow.policy.order = .file
      $0.task()
      $0.task(reads: [text])
      $0.task()
      $0.task(reads: [text])
    }
    run.turn()
    run.turn(run.transferred(0), run.finished(task(0), milliseconds: 1))
    #expect(run.started == [Started(task(1)), Started(task(2)), Started(task(3))])
    run.turn(run.finished(task(1), milliseconds: 1))
    run.turn(after: 100)
    #expect(run.orders(.takeBack(AttemptID(task(3), 1))) == [0])
    run.turn(.received(.taskReturned(AttemptID(task(3), 1)), from: WorkerID(index: 0)))
    #expect(run.orders(.unlink(value(0, 0))) == [0])
    #expect(run.fetched.map(\.file) == [file(0)])
  }

  @Test func withoutAFreeCoreNothingComesBackAndNothingIsAskedFor() {
    let run = lane(of: 3, milliseconds: 1)
    run.turn(after: 100)
    #expect(run.effects.isEmpty)
    #expect(run.manager.nextDeadline == nil)
  }

  @Test func aTakeBackThatCameTooLateIsOnlyAFinish() {
    let run = lane(of: 3, milliseconds: 1)
    run.addNode(cores: 1)
    run.turn(after: 100)
    run.turn(run.finished(task(1)), run.finished(task(2)))
    #expect(run.outcome?.doneCount == 3)
  }

  @Test func aDrainedRunTakesBackAndAsksForNoDeadline() {
    let run = lane(of: 9, milliseconds: 1)
    run.turn(.drainRequested)
    #expect(run.orders(.takeBack(AttemptID(task(2), 1))) == [0])
    #expect(run.manager.nextDeadline == nil)
    for index in 2...5 {
      run.turn(.received(.taskReturned(AttemptID(task(index), 1)), from: WorkerID(index: 0)))
    }
    run.turn(run.finished(task(1)))
    #expect(run.started.isEmpty)
    #expect(run.outcome?.doneCount == 2)
    #expect(run.outcome?.leftCount == 7)
    #expect(run.outcome?.exitStatus == 3)
  }

  @Test func aStopFoundWhilePlacingLeavesNoDeadlineBehind() {
    let run = ManagerFixture {
      $0.workflow.policy.onFailure = .stop
      $0.workflow.policy.order = .file
      for _ in 0..<9 { $0.task() }
      $0.task(after: [task(0)]) { $0.request.cores = 9 }
    }
    run.turn(.registrationClosed)
    run.turn(run.finished(task(0), milliseconds: 1))
    #expect(run.manager.nextDeadline == nil)
    run.turn(run.finished(task(1)), after: 50)
    #expect(run.outcome?.failedCount == 1)
  }
}
