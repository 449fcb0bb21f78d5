import Testing
import VineCore

@Suite struct GangsTests {
  /// Gangs of the given numbers of ranks, then commands of one core each.
  private func fixture(
    _ gangs: [UInt32], perNode: UInt32 = 0, commands: Int = 0, nodes: [(cores: Int, ranks: Int)]
  ) -> ManagerFixture {
    ManagerFixture(nodes: nodes) { flow in
      var spec = LibrarySpec()
      spec.language = .native
      spec.mode = .inRank
      spec.functions = ["f"]
      let library = flow.workflow.appendLibrary(spec, named: "l")
      for ranks in gangs {
        flow.task {
          $0.commandKind = .call
          $0.library = library
          $0.gangRanks = ranks
          $0.ranksPerNode = perNode
        }
      }
      for _ in 0..<commands { flow.task() }
    }
  }

  /// The instances that were ordered, with their workers.
  private func begun(_ run: ManagerFixture) -> [(allocation: AllocationID, worker: Int)] {
    run.effects.compactMap { effect in
      guard case .send(.startInstance(let allocation, _, _, _, _), let worker) = effect else {
        return nil
      }
      return (allocation, worker.index)
    }
  }

  private func called(_ run: ManagerFixture) -> [Int] {
    run.effects.compactMap { effect in
      guard case .send(.startCall, let worker) = effect else { return nil }
      return worker.index
    }
  }

  private func ready(_ instance: (allocation: AllocationID, worker: Int)) -> ManagerEvent {
    .received(
      .instanceReady(instance.allocation, setupNanoseconds: 1),
      from: WorkerID(index: instance.worker))
  }

  private func ended(
    _ instance: (allocation: AllocationID, worker: Int), _ end: InstanceEnd = .stopped
  ) -> ManagerEvent {
    .received(.instanceEnded(instance.allocation, end), from: WorkerID(index: instance.worker))
  }

  @Test func aCallThatRunsForTooLongFails() {
    let run = fixture([2], nodes: [(2, 2)])
    run.turn(.registrationClosed)
    let members = begun(run)
    for member in members { run.turn(ready(member)) }
    // Its instances end before its report comes.
    run.turn(ended(members[0], .overdue), run.finished(task(0), 1, .timedOut, by: 0))
    #expect(run.reports == [.taskFailed(AttemptID(task(0), 1), .timedOut)])
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func aGangStartsOnAllItsRanksAndEndsWithTheLast() {
    let run = fixture([3], nodes: [(2, 2), (2, 2)])
    run.turn(.registrationClosed)
    let members = begun(run)
    #expect(members.map(\.worker) == [0, 1, 2])
    #expect(called(run) == [0, 1, 2])
    for member in members { run.turn(ready(member)) }
    run.turn(run.finished(task(0), by: 2), run.finished(task(0), by: 2))
    run.turn(run.finished(task(0), by: 0))
    #expect(run.outcome == nil)
    run.turn(run.finished(task(0), by: 1))
    #expect(run.outcome?.doneCount == 1)
    #expect(run.manager.setupCounts == [1])
  }

  @Test func ranksPerNodeAreABound() {
    let run = fixture([2], perNode: 1, nodes: [(4, 4), (4, 4)])
    run.turn(.registrationClosed)
    #expect(begun(run).map(\.worker) == [0, 4])
  }

  @Test func aGangThatWaitsGetsTheRoomThatOthersGiveUp() {
    let run = ManagerFixture(nodes: [(2, 2)]) { flow in
      var spec = LibrarySpec()
      spec.mode = .inRank
      spec.functions = ["f"]
      let library = flow.workflow.appendLibrary(spec, named: "l")
      for _ in 0..<2 { flow.task { $0.priority = 2 } }
      flow.task {
        $0.commandKind = .call
        $0.library = library
        $0.gangRanks = 2
        $0.priority = 1
      }
      for _ in 0..<4 { flow.task() }
    }
    run.turn(.registrationClosed)
    #expect(run.started.map(\.task) == [task(0), task(1)])
    run.turn(run.finished(task(0)))
    // One core is free, and stays so: the gang comes before the other tasks.
    #expect(run.started.isEmpty && begun(run).isEmpty)
    run.turn(run.finished(task(1), by: 1))
    #expect(begun(run).map(\.worker) == [0, 1])
  }

  @Test func whenOneRankFailsTheCallFailsAndAllCoresComeBack() {
    let run = fixture([2], commands: 2, nodes: [(2, 2)])
    run.turn(.registrationClosed)
    let members = begun(run)
    for member in members { run.turn(ready(member)) }
    run.turn(run.finished(task(0), 1, .raised, by: 1))
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(0), 1), .raised))))
    for member in members {
      #expect(run.orders(.stopInstance(member.allocation)) == [member.worker])
    }
    #expect(run.started.isEmpty)
    run.turn(ended(members[0]))
    #expect(run.started.isEmpty)
    run.turn(ended(members[1]))
    #expect(run.started.count == 2)
  }

  @Test func aRankThatDoesNotComeBackIsGivenUp() {
    let run = fixture([2], nodes: [(2, 2)])
    run.turn(.registrationClosed)
    let members = begun(run)
    for member in members { run.turn(ready(member)) }
    run.turn(run.finished(task(0), 1, .raised, by: 1))
    run.turn(ended(members[1]))
    run.turn(after: Limits.gangGraceNanoseconds / 1_000_000 + 1)
    #expect(run.effects.contains(.retire(WorkerID(index: 0))))
  }

  @Test func aLostRankIsALossForTheCall() {
    let run = fixture([2], nodes: [(1, 1), (1, 1), (1, 1)])
    run.turn(.registrationClosed)
    let members = begun(run)
    for member in members { run.turn(ready(member)) }
    run.turn(.workerLost(WorkerID(index: 1)))
    #expect(
      run.effects.contains(.report(.taskTriedAgain(AttemptID(task(0), 1), .lost))))
    run.turn(ended(members[0]))
    #expect(begun(run).map(\.worker) == [0, 2])
  }

  @Test func aGangLargerThanTheRunFailsAtOnce() {
    let run = fixture([5], nodes: [(4, 4)])
    run.turn(.registrationClosed)
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(0), 0), .fitsNoNode))))
  }
}
