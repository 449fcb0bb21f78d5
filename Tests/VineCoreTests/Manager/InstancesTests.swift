import Testing
import VineCore

@Suite struct InstancesTests {
  /// Calls of libraries with the given slots, all on nodes of one core.
  private func fixture(
    _ slots: [UInt16] = [1], calls: Int, cores: UInt16 = 1, nodes: [(cores: Int, ranks: Int)],
    _ more: (inout WorkflowBuilder) -> Void = { _ in }
  ) -> ManagerFixture {
    ManagerFixture(nodes: nodes) { flow in
      var libraries: [LibraryID] = []
      for slots in slots {
        var spec = LibrarySpec()
        spec.slots = slots
        spec.request = Request(cores: cores)
        spec.functions = ["f\(libraries.count)"]
        libraries.append(flow.workflow.appendLibrary(spec, named: "l\(libraries.count)"))
      }
      for index in 0..<calls {
        flow.task {
          $0.commandKind = .call
          $0.library = libraries[index % libraries.count]
        }
      }
      more(&flow)
    }
  }

  private func ready(_ instance: Int, by worker: Int = 0, milliseconds: Int64 = 5) -> ManagerEvent {
    .received(
      .instanceReady(
        AllocationID(index: instance), setupNanoseconds: milliseconds * 1_000_000),
      from: WorkerID(index: worker))
  }

  private func ended(_ instance: Int, _ end: InstanceEnd, by worker: Int = 0) -> ManagerEvent {
    .received(
      .instanceEnded(AllocationID(index: instance), end), from: WorkerID(index: worker))
  }

  private func returned(_ task: TaskID, _ number: UInt32 = 1) -> ManagerEvent {
    .received(.taskReturned(AttemptID(task, number)), from: WorkerID(index: 0))
  }

  private func begun(_ run: ManagerFixture) -> [AllocationID] {
    run.effects.compactMap { effect in
      guard case .send(.startInstance(let allocation, _, _, _, _), _) = effect else { return nil }
      return allocation
    }
  }

  private func called(_ run: ManagerFixture) -> [TaskID] {
    run.effects.compactMap { effect in
      guard case .send(.startCall(let attempt, _, _, _), _) = effect else { return nil }
      return attempt.task
    }
  }

  @Test func oneInstanceServesAllCallsOnItsCore() {
    let run = fixture(calls: 3, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    #expect(begun(run) == [AllocationID(index: 0)])
    #expect(called(run) == [task(0)])
    run.turn(ready(0))
    #expect(called(run).isEmpty)
    run.turn(run.finished(task(0), milliseconds: 500))
    #expect(begun(run).isEmpty && called(run) == [task(1)])
    run.turn(run.finished(task(1), milliseconds: 500))
    run.turn(run.finished(task(2), milliseconds: 500))
    #expect(run.outcome?.doneCount == 3)
    #expect(run.manager.setupCounts == [1])
  }

  @Test func anInstanceRunsAsManyCallsAsItHasSlots() {
    let run = fixture([3], calls: 4, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    #expect(begun(run).count == 1)
    #expect(called(run) == [task(0), task(1), task(2)])
  }

  @Test func shortCallsWaitBehindThoseThatRun() {
    let run = fixture(calls: 20, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    run.turn(ready(0))
    run.turn(run.finished(task(0), milliseconds: 0))
    #expect(called(run).count > 8)
  }

  @Test func anotherInstanceStartsWhereThereIsRoomAndItPays() {
    let run = fixture(calls: 4, nodes: [(2, 1)])
    run.turn(.registrationClosed)
    #expect(begun(run).count == 2)
    let busy = fixture(calls: 40, nodes: [(1, 1)])
    busy.turn(.registrationClosed)
    busy.turn(ready(0, milliseconds: 60_000))
    busy.turn(busy.finished(task(0), milliseconds: 100))
    busy.addNode(cores: 1)
    busy.turn()
    // 38 calls of 100 ms are less than a minute.
    #expect(begun(busy).isEmpty)
  }

  @Test func anIdleInstanceGivesItsRoomToOthers() {
    let run = fixture([1, 1], calls: 2, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    run.turn(ready(0))
    run.turn(run.finished(task(0)))
    #expect(run.orders(.stopInstance(AllocationID(index: 0))) == [0])
    #expect(begun(run).isEmpty)
    run.turn(ended(0, .stopped))
    #expect(called(run) == [task(1)])
    #expect(begun(run).count == 1)
  }

  @Test func anInstanceIsKeptWhileItsCallsWait() {
    let run = fixture([1, 1], calls: 4, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    run.turn(ready(0))
    run.turn(run.finished(task(0)))
    // The library's other call comes before that of the other library.
    #expect(called(run) == [task(2)])
    #expect(run.orders(.stopInstance(AllocationID(index: 0))).isEmpty)
  }

  @Test func callsOfADeadInstanceAreTriedAgainInAnother() {
    let run = fixture([2], calls: 2, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    run.turn(ready(0))
    run.turn(
      ended(0, .died), run.finished(task(0), 1, .instanceLost),
      run.finished(task(1), 1, .instanceLost))
    #expect(begun(run).count == 1)
    #expect(called(run) == [task(0), task(1)])
    #expect(run.manager.failureCount(of: task(0)) == 0)
  }

  @Test func aCallUnderWhichInstancesDieFailsInTheEnd() {
    let run = fixture(calls: 1, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    for number in 1...UInt32(Limits.lossRetryMax + 1) {
      run.turn(ready(0))
      run.turn(ended(0, .died), run.finished(task(0), number, .instanceLost))
    }
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func aSetUpThatAlwaysFailsFailsItsCallsAfterABoundedNumberOfTries() {
    let run = fixture(calls: 3, nodes: [(1, 1)])
    run.turn(.registrationClosed)
    var tries = 0
    while run.outcome == nil && tries < 20 {
      tries += 1
      run.turn(ended(0, .setupFailed), returned(task(0)))
    }
    #expect(tries == Limits.setupFailuresMax)
    #expect(run.outcome?.failedCount == 3)
  }

  @Test func aLibraryLargerThanAnyNodeFailsItsCallsAtOnce() {
    let run = fixture(calls: 1, cores: 3, nodes: [(2, 1)])
    run.turn(.registrationClosed)
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(0), 0), .fitsNoNode))))
  }

  @Test func aResultIsDurableWithItsRecordAndNeedsNoReplica() {
    let run = ManagerFixture { flow in
      var spec = LibrarySpec()
      spec.functions = ["f"]
      let library = flow.workflow.appendLibrary(spec, named: "l")
      let first = flow.task {
        $0.commandKind = .call
        $0.library = library
      }
      let result = flow.workflow.resultFile(of: first)
      flow.task {
        $0.commandKind = .call
        $0.library = library
        $0.inputs = [BindingDraft(result, use: .reference)]
      }
    }
    run.turn(.registrationClosed)
    run.turn(ready(0))
    run.turn(
      .received(.resultReady(value(0), byteCount: 7), from: WorkerID(index: 0)),
      run.finished(task(0)))
    #expect(run.effects.contains(.append(.result(value(0), byteCount: 7))))
    #expect(called(run) == [task(1)])
    #expect(run.manager.standing(of: file(0)) == .journaled)
  }
}
