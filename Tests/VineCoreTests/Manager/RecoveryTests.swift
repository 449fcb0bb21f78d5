import Testing
import VineCore

@Suite struct RecoveryTests {
  // MARK: Attempts

  @Test func aTaskOfALostWorkerRunsElsewhereAndIsNotToBlame() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) { $0.task() }
    run.turn()
    #expect(run.started == [Started(task(0), on: 0)])
    run.turn(.workerLost(worker(0)))
    #expect(run.reports == [.taskTriedAgain(AttemptID(task(0), 1), .lost)])
    #expect(run.started == [Started(task(0), 2, on: 1)])
  }

  @Test func aTaskUnderWhichThreeRanksDieFails() {
    let run = ManagerFixture(nodes: Array(repeating: (1, 1), count: 4)) { $0.task() }
    run.turn()
    run.turn(.workerLost(worker(0)))
    run.turn(.workerLost(worker(1)))
    run.turn(.workerLost(worker(2)))
    #expect(run.reports == [.taskFailed(AttemptID(task(0), 3), .lost)])
    #expect(run.started.isEmpty)
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func ofALaneTheFirstTwoMayHaveRunOnALostWorker() {
    // The second begins while the outputs of the first are moved.
    let run = ManagerFixture(nodes: [(1, 1)]) { for _ in 0..<4 { $0.task() } }
    run.turn()
    run.turn(run.finished(task(0), milliseconds: 1))
    #expect(run.started == [Started(task(1)), Started(task(2)), Started(task(3))])
    run.addNode(cores: 4)
    run.turn(.workerLost(worker(0)))
    #expect(
      run.reports == [
        .taskTriedAgain(AttemptID(task(1), 1), .lost),
        .taskTriedAgain(AttemptID(task(2), 1), .lost),
      ])
    #expect(run.started.count == 3)
  }

  @Test func whatALostWorkerSaysLateIsNotHeard() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let output = $0.file(.temp)
      $0.task(writes: [output])
      $0.task(reads: [output])
    }
    run.turn()
    run.turn(.workerLost(worker(0)))
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.effects.isEmpty)
    #expect(run.manager.state(of: task(0)) == .sent)
  }

  @Test func anEndThatIsReportedTwiceCountsOnce() {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      let output = $0.file(.temp)
      $0.task(writes: [output])
      $0.task(reads: [output])
    }
    run.turn()
    let end = run.finished(task(0))
    run.turn(run.ready(file(0)), run.ready(file(0)), end, end)
    #expect(run.doneRecords == [AttemptID(task(0), 1)])
    #expect(run.started == [Started(task(1))])
    run.turn(run.ready(file(0)), end)
    #expect(run.effects.isEmpty)
  }

  @Test func tasksThatFitNoNodeAnyMoreFail() {
    let run = ManagerFixture(nodes: [(2, 1), (1, 1)]) {
      $0.task { $0.request.cores = 2 }
    }
    run.turn(.registrationClosed)
    run.turn(.workerLost(worker(0)))
    #expect(run.reports.last == .taskFailed(AttemptID(task(0), 1), .fitsNoNode))
  }

  @Test func aFetchWhoseSourceWasLostIsNotHeldAgainstTheFile() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let input = $0.file()
      $0.task(reads: [input])
      $0.task(reads: [input])
    }
    run.turn()
    #expect(run.fetched.map(\.worker) == [0, 1])
    run.turn(run.transferred(0))
    run.turn(.workerLost(worker(0)))
    run.turn(run.transferred(1, error: 5, by: 1))
    for failure in 1..<Limits.fetchRetryMax {
      #expect(run.fetched.map(\.source) == [.sharedFileSystem])
      run.turn(run.transferred(1 + failure, error: 5, by: 1))
    }
    #expect(run.manager.state(of: task(1)) == .staging)
  }

  // MARK: Agents

  @Test func theNextRankOfANodeFetchesAndCommitsForItsLostAgent() {
    let run = ManagerFixture(nodes: [(1, 3)]) {
      let input = $0.file()
      let output = $0.file()
      $0.task(writes: [output])
      $0.task(reads: [input])
    }
    run.turn()
    run.turn(run.ready(file(1)), run.finished(task(0)))
    #expect(run.orders(.commit(value(1))) == [0])
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .sharedFileSystem, to: 0)])
    run.turn(.workerLost(worker(0)))
    #expect(run.orders(.commit(value(1))) == [1])
    #expect(run.fetched == [Fetched(file(0), transfer: 1, from: .sharedFileSystem, to: 1)])
  }

  @Test func aCommitThatIsReportedTwiceKeepsItsCopy() {
    let run = ManagerFixture {
      let output = $0.file()
      $0.task(writes: [output])
      $0.task()
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(run.committed(value(0)), run.committed(value(0)))
    #expect(!run.effects.contains(.discard(value(0))))
    #expect(run.effects.contains(.append(.committed(value(0), byteCount: 10))))
  }

  // MARK: Lost values

  /// A chain of tasks that each make a file for the next, the second one for the world.
  private func chain() -> ManagerFixture {
    ManagerFixture {
      let files = [$0.file(.temp), $0.file(), $0.file(.temp), $0.file(.temp)]
      $0.task(writes: [files[0]])
      for index in 1..<4 { $0.task(reads: [files[index - 1]], writes: [files[index]]) }
      $0.task(reads: [files[3]])
    }
  }

  @Test func onlyWhatIsLostAndNeededIsMadeAgain() {
    let run = chain()
    run.turn()
    for index in 0..<4 {
      run.turn(run.ready(file(index)), run.finished(task(index)))
      if index == 1 { run.turn(run.committed(value(1))) }
    }
    #expect(run.started == [Started(task(4))])
    run.addNode(cores: 1)
    run.turn(.workerLost(worker(0)))
    #expect(run.reports.filter(\.isLoss) == [.valueLost(task(3)), .valueLost(task(2))])
    #expect(run.fetched.map(\.file) == [file(1)])
    run.turn(run.transferred(0, by: 1))
    #expect(run.started == [Started(task(2), 2, on: 1)])
  }

  @Test func aValueOfWhichAReplicaIsLeftIsNotMadeAgain() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let shared = $0.file(.temp)
      $0.task(writes: [shared])
      $0.task(reads: [shared])
      $0.task(reads: [shared])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.fetched.map(\.worker) == [1])
    run.turn(run.transferred(0, by: 1))
    run.turn(.workerLost(worker(0)))
    #expect(run.reports == [.taskTriedAgain(AttemptID(task(1), 1), .lost)])
  }

  // MARK: Other values

  /// A value that one task has used, a running task depends on and a third one waits for is made
  /// again after its node was lost.
  private func remade(
    isDeterministic: Bool = false, first: UInt64, second: UInt64
  ) -> ManagerFixture {
    let run = ManagerFixture {
      let files = [$0.file(.temp), $0.file(.temp)]
      $0.task(writes: [files[0]]) { $0.isDeterministic = isDeterministic }
      $0.task(reads: [files[0]], writes: [files[1]])
      $0.task(reads: [files[0]]) { $0.request.cores = 4 }
      $0.task(reads: [files[1]]) { $0.request.cores = 2 }
    }
    run.turn()
    run.turn(
      run.hashed(value(0), first), run.ready(file(0)), run.finished(task(0)))
    run.addNode(cores: 3)
    run.turn(run.ready(file(1)), run.finished(task(1)))
    let transfer = run.fetched.first { $0.file == file(1) }?.transfer ?? -1
    run.turn(run.transferred(transfer, by: 1))
    run.turn(.workerLost(worker(0)))
    run.turn(
      run.hashed(value(0, 2), second, by: 1), run.ready(file(0), attempt: 2, by: 1),
      run.finished(task(0), 2, by: 1))
    return run
  }

  @Test func allThatUsedAValueWhichComesOutDifferentlyRunsAgain() {
    let run = remade(first: 1, second: 2)
    #expect(run.reports == [.invalidated(task(1), cause: task(0))])
    #expect(run.orders(.killTask(AttemptID(task(3), 1))) == [1])
    // Its end was under way already, and is no success.
    run.turn(run.finished(task(3), by: 1))
    #expect(run.doneRecords.isEmpty)
    #expect(run.manager.state(of: task(3)) == .waiting)
  }

  @Test func anEqualContentCutsTheRepetitionOff() {
    let run = remade(first: 1, second: 1)
    #expect(run.reports.isEmpty)
    #expect(run.manager.state(of: task(1)) == .done)
    #expect(run.manager.state(of: task(3)) == .sent)
  }

  @Test func aDeterministicTaskWithTwoContentsEndsTheRun() {
    let run = remade(isDeterministic: true, first: 1, second: 2)
    #expect(run.reports.first == .contradiction(task(0), seenThrough: task(0)))
    run.turn(run.finished(task(3), 1, .killed, by: 1))
    // What a next session may read is saved first.
    run.turn(run.committed(value(0, 2), by: 1))
    #expect(run.outcome?.exitStatus == 8)
    #expect(run.outcome?.contradiction == task(0))
  }

  @Test func aTaskThatWaitsToRunAgainPassesAnotherInputOn() {
    // The second task's value was lost with the first one's. What used it is made again at once,
    // not only when the second task, which is deterministic, comes out as its inputs make it.
    let run = ManagerFixture {
      let files = [$0.file(.temp), $0.file(.temp), $0.file()]
      $0.task(writes: [files[0]])
      $0.task(reads: [files[0]], writes: [files[1]]) { $0.isDeterministic = true }
      $0.task(reads: [files[1]], writes: [files[2]])
      $0.task(reads: [files[1]])
    }
    run.turn()
    for index in 0..<3 { run.turn(run.ready(file(index)), run.finished(task(index))) }
    run.turn(run.committed(value(2)))
    run.addNode(cores: 1)
    run.turn(.workerLost(worker(0)))
    #expect(run.reports.filter(\.isLoss) == [.valueLost(task(1)), .valueLost(task(0))])
    run.turn(run.ready(file(0), attempt: 2, by: 1), run.finished(task(0), 2, by: 1))
    #expect(
      run.reports == [1, 2].map { .invalidated(task($0), cause: task(0)) })
    #expect(run.effects.contains(.discard(value(2))))
  }
}

extension ManagerFixture {
  var reports: [Report] {
    effects.compactMap { effect in
      guard case .report(let report) = effect else { return nil }
      return report
    }
  }

  /// The attempts that were written down as done.
  var doneRecords: [AttemptID] {
    effects.compactMap { effect in
      guard case .append(.done(let attempt, _, _, _)) = effect else { return nil }
      return attempt
    }
  }
}

extension Report {
  var isLoss: Bool {
    if case .valueLost = self { return true }
    return false
  }
}

/// The `index`-th worker.
func worker(_ index: Int) -> WorkerID { WorkerID(index: index) }
