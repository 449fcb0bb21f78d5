import Testing
import VineCore

@Suite struct WorkerTests {
  private func start(
    _ task: Int, lane: Int = 0, number: UInt32 = 1, timeoutMilliseconds: UInt32 = 0
  ) -> WorkerEvent {
    .received(
      .startTask(
        AttemptID(TaskID(index: task), number), allocation: AllocationID(index: lane),
        timeoutMilliseconds: timeoutMilliseconds, hashesFirst: false))
  }

  private func attempt(_ task: Int, _ number: UInt32 = 1) -> AttemptID {
    AttemptID(TaskID(index: task), number)
  }

  private func effects(
    _ worker: inout Worker, at milliseconds: Int64 = 0, _ events: WorkerEvent...
  ) -> [WorkerEffect] {
    var effects: [WorkerEffect] = []
    let now = Instant(nanoseconds: milliseconds * 1_000_000)
    for event in events { worker.handle(event, at: now, effects: &effects) }
    worker.handleDeadlines(at: now, effects: &effects)
    return effects
  }

  @Test func aLaneRunsOneAttemptAtATimeAndLanesRunBesideEachOther() {
    var worker = Worker()
    #expect(
      effects(&worker, start(0), start(1), start(2, lane: 1), start(3))
        == [.launch(attempt(0)), .launch(attempt(2))])
    let usage = Completion(.succeeded)
    #expect(
      effects(&worker, .exited(attempt(0), .exited(0), usage: usage))
        == [.launch(attempt(1)), .settle(attempt(0), isSuccess: true)])
    #expect(
      effects(&worker, .settled(attempt(0), .succeeded))
        == [.send(.taskFinished(attempt(0), usage))])
    #expect(
      effects(&worker, .exited(attempt(1), .exited(0), usage: usage))
        == [.launch(attempt(3)), .settle(attempt(1), isSuccess: true)])
  }

  @Test func anAttemptWhoseOutputsAreStillBeingMovedKeepsNobodyWaiting() {
    var worker = Worker()
    _ = effects(&worker, start(0))
    _ = effects(&worker, .exited(attempt(0), .exited(0), usage: Completion(.succeeded)))
    #expect(effects(&worker, start(1), start(2)) == [.launch(attempt(1))])
    // Nor does its end start a second one.
    #expect(
      effects(&worker, .settled(attempt(0), .succeeded))
        == [.send(.taskFinished(attempt(0), Completion(.succeeded)))])
  }

  @Test func theNextOfALaneMayEndInAnyWayBeforeTheLastIsSettled() {
    let usage = Completion(.succeeded)
    var worker = Worker()
    _ = effects(&worker, start(0), start(1), start(2), start(3))
    _ = effects(&worker, .exited(attempt(0), .exited(0), usage: usage))
    #expect(
      effects(&worker, .launchFailed(attempt(1), .notStarted(2)))
        == [.send(.taskFinished(attempt(1), Completion(.notStarted(2)))), .launch(attempt(2))])
    // What runs is not given back, but can be killed.
    #expect(effects(&worker, .received(.takeBack(attempt(2)))).isEmpty)
    #expect(effects(&worker, .received(.killTask(attempt(2)))) == [.signal(attempt(2), 9)])
    #expect(
      effects(&worker, .exited(attempt(2), .signaled(9), usage: usage))
        == [.launch(attempt(3)), .settle(attempt(2), isSuccess: false)])
    #expect(
      effects(&worker, .settled(attempt(2), .succeeded), .settled(attempt(0), .succeeded))
        == [
          .send(.taskFinished(attempt(2), Completion(.killed))),
          .send(.taskFinished(attempt(0), usage)),
        ])
    #expect(worker.attemptCount == 1)
  }

  @Test func whatFollowsInALaneIsNotBegunByARankThatLeaves() {
    var worker = Worker()
    _ = effects(&worker, start(0), start(1), .received(.leave))
    #expect(
      effects(&worker, .exited(attempt(0), .exited(0), usage: Completion(.succeeded)))
        == [.settle(attempt(0), isSuccess: true)])
  }

  @Test func outputsAreReportedTogetherBeforeTheEnd() {
    var worker = Worker()
    _ = effects(&worker, start(0))
    let usage = Completion(.succeeded)
    _ = effects(&worker, .exited(attempt(0), .exited(0), usage: usage))
    #expect(effects(&worker, .outputReady(attempt(0), file(3), byteCount: 7)).isEmpty)
    #expect(
      effects(&worker, .settled(attempt(0), .succeeded))
        == [
          .send(.replicaReady(FileValue(file(3), attempt: 1), byteCount: 7)),
          .send(.taskFinished(attempt(0), usage)),
        ])
  }

  @Test func aFailedAttemptRemovesItsOutputsAndReportsNone() {
    var worker = Worker()
    _ = effects(&worker, start(0))
    _ = effects(&worker, .exited(attempt(0), .exited(0), usage: Completion(.succeeded)))
    #expect(
      effects(
        &worker, .outputReady(attempt(0), file(3), byteCount: 7),
        .settled(attempt(0), .missingOutput(1)))
        == [
          .unlink(FileValue(file(3), attempt: 1)),
          .send(.taskFinished(attempt(0), Completion(.missingOutput(1)))),
        ])
  }

  @Test func onlyWhatHasNotBegunIsGivenBack() {
    var worker = Worker()
    _ = effects(&worker, start(0), start(1))
    #expect(effects(&worker, .received(.takeBack(attempt(0)))).isEmpty)
    #expect(effects(&worker, .received(.takeBack(attempt(1, 2)))).isEmpty)
    #expect(
      effects(&worker, .received(.takeBack(attempt(1))))
        == [.forget(attempt(1)), .send(.taskReturned(attempt(1)))])
  }

  @Test func aTimeLimitTerminatesThenKills() {
    var worker = Worker()
    _ = effects(&worker, start(0, timeoutMilliseconds: 100))
    #expect(worker.nextDeadline == Instant(nanoseconds: 100_000_000))
    #expect(effects(&worker, at: 99).isEmpty)
    #expect(effects(&worker, at: 100) == [.signal(attempt(0), 15)])
    #expect(effects(&worker, at: 200).isEmpty)
    #expect(effects(&worker, at: 5_100) == [.signal(attempt(0), 9)])
    #expect(worker.nextDeadline == nil)
    _ = effects(
      &worker, at: 5_101, .exited(attempt(0), .signaled(9), usage: Completion(.succeeded)))
    #expect(
      effects(&worker, at: 5_102, .settled(attempt(0), .succeeded))
        == [.send(.taskFinished(attempt(0), Completion(.timedOut)))])
  }

  @Test func theTimeLimitOfAQueuedAttemptBeginsWithItsProcess() {
    var worker = Worker()
    _ = effects(&worker, start(0), start(1, timeoutMilliseconds: 100))
    #expect(worker.nextDeadline == nil)
    _ = effects(&worker, at: 500, .launchFailed(attempt(0), .notStarted(2)))
    #expect(worker.nextDeadline == Instant(nanoseconds: 600_000_000))
  }

  @Test func anAttemptThatCannotBeLaunchedMakesRoomForTheNext() {
    var worker = Worker()
    _ = effects(&worker, start(0), start(1))
    #expect(
      effects(&worker, .launchFailed(attempt(0), .notStarted(2)))
        == [
          .send(.taskFinished(attempt(0), Completion(.notStarted(2)))), .launch(attempt(1)),
        ])
  }

  @Test func aKilledAttemptSaysSo() {
    var worker = Worker()
    _ = effects(&worker, start(0))
    #expect(effects(&worker, .received(.killTask(attempt(0)))) == [.signal(attempt(0), 9)])
    _ = effects(&worker, .exited(attempt(0), .signaled(9), usage: Completion(.succeeded)))
    #expect(
      effects(&worker, .settled(attempt(0), .succeeded))
        == [.send(.taskFinished(attempt(0), Completion(.killed)))])
  }
}
