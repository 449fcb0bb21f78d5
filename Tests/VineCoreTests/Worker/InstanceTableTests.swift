import Testing
import VineCore

@Suite struct InstanceTableTests {
  private let instance = AllocationID(index: 7)

  private func attempt(_ task: Int) -> AttemptID { AttemptID(TaskID(index: task), 1) }

  private func call(_ task: Int, timeoutMilliseconds: UInt32 = 0) -> WorkerEvent {
    .received(
      .startCall(
        attempt(task), allocation: instance, timeoutMilliseconds: timeoutMilliseconds,
        hashesFirst: false))
  }

  private func start(
    slots: UInt16, isolatesCalls: Bool = false, timeoutMilliseconds: UInt32 = 0
  ) -> WorkerEvent {
    .received(
      .startInstance(
        instance, LibraryID(index: 0), slots: slots, isolatesCalls: isolatesCalls,
        timeoutMilliseconds: timeoutMilliseconds))
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

  private var usage: Completion { Completion(.succeeded) }

  @Test func aSetUpThatTakesTooLongHasFailed() {
    var worker = Worker()
    _ = effects(&worker, start(slots: 1, timeoutMilliseconds: 100), call(0))
    #expect(worker.nextDeadline == Instant(nanoseconds: 100_000_000))
    #expect(effects(&worker, at: 99).isEmpty)
    #expect(effects(&worker, at: 100) == [.stopInstance(instance, isKilled: true)])
    #expect(worker.nextDeadline == nil)
    #expect(
      effects(&worker, at: 101, .instanceExited(instance)) == [
        .send(.instanceEnded(instance, .setupFailed)), .forget(attempt(0)),
        .send(.taskReturned(attempt(0))),
      ])
  }

  @Test func aSetUpInTimeHasNoDeadlineAnyMore() {
    var worker = Worker()
    _ = effects(&worker, start(slots: 1, timeoutMilliseconds: 100))
    _ = effects(&worker, at: 99, .instanceReady(instance, setupNanoseconds: 99_000_000))
    #expect(worker.nextDeadline == nil)
    #expect(effects(&worker, at: 200).isEmpty)
  }

  @Test func callsWaitForTheSetUpAndThenForSlots() {
    var worker = Worker()
    #expect(
      effects(&worker, start(slots: 2), call(0), call(1), call(2))
        == [.startInstance(instance, LibraryID(index: 0))])
    #expect(
      effects(&worker, .instanceReady(instance, setupNanoseconds: 9)) == [
        .send(.instanceReady(instance, setupNanoseconds: 9)), .call(attempt(0)), .call(attempt(1)),
      ])
    #expect(
      effects(&worker, .called(attempt(1), usage: usage))
        == [.settle(attempt(1), isSuccess: true), .call(attempt(2))])
    #expect(
      effects(
        &worker, .resultReady(attempt(1), file(4), byteCount: 3), .settled(attempt(1), .succeeded))
        == [
          .send(.resultReady(FileValue(file(4), attempt: 1), byteCount: 3)),
          .send(.taskFinished(attempt(1), usage)),
        ])
  }

  @Test func whatAnInstanceTookDownIsLostAndWhatWaitedComesBack() {
    var worker = Worker()
    _ = effects(
      &worker, start(slots: 1), call(0), call(1), .instanceReady(instance, setupNanoseconds: 1))
    #expect(
      effects(&worker, .instanceExited(instance)) == [
        .send(.instanceEnded(instance, .died)), .forget(attempt(0)),
        .send(.taskFinished(attempt(0), Completion(.instanceLost))), .forget(attempt(1)),
        .send(.taskReturned(attempt(1))),
      ])
    #expect(
      effects(&worker, call(2)) == [.forget(attempt(2)), .send(.taskReturned(attempt(2)))])
  }

  @Test func anInstanceThatEndsBeforeItIsReadyHasFailedItsSetUp() {
    var worker = Worker()
    _ = effects(&worker, start(slots: 1), call(0))
    #expect(
      effects(&worker, .instanceExited(instance)) == [
        .send(.instanceEnded(instance, .setupFailed)), .forget(attempt(0)),
        .send(.taskReturned(attempt(0))),
      ])
  }

  @Test func aCallOverItsTimeIsKilledAloneWhereThatIsPossible() {
    var worker = Worker()
    _ = effects(
      &worker, start(slots: 2, isolatesCalls: true), call(0, timeoutMilliseconds: 100), call(1),
      .instanceReady(instance, setupNanoseconds: 1))
    #expect(effects(&worker, at: 100) == [.cancelCall(attempt(0))])
    #expect(
      effects(&worker, at: 101, .called(attempt(0), usage: Completion(.raised)))
        == [.settle(attempt(0), isSuccess: false)])
    #expect(
      effects(&worker, at: 101, .settled(attempt(0), .succeeded))
        == [.send(.taskFinished(attempt(0), Completion(.timedOut)))])
  }

  @Test func elseItTakesItsInstanceDownAndTheOthersComeBackWithoutCharge() {
    var worker = Worker()
    _ = effects(
      &worker, start(slots: 2), call(0, timeoutMilliseconds: 100), call(1),
      .instanceReady(instance, setupNanoseconds: 1))
    #expect(effects(&worker, at: 100) == [.stopInstance(instance, isKilled: true)])
    #expect(
      effects(&worker, at: 101, .instanceExited(instance)) == [
        .send(.instanceEnded(instance, .overdue)), .forget(attempt(0)),
        .send(.taskFinished(attempt(0), Completion(.timedOut))), .forget(attempt(1)),
        .send(.taskReturned(attempt(1))),
      ])
  }
}
