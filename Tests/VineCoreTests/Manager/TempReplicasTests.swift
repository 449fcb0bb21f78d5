import Testing
import VineCore

private let megabyte: Int64 = 1 << 20
private let agents = (0..<4).map { TransferSource.node(agent: WorkerID(index: $0)) }

@Suite struct TempReplicasTests {
  /// Task 0 makes file 0, which task 2 reads once task 1, after task 0, is done. Node 0 makes it.
  private func fixture(
    nodeCount: Int = 3, copies: UInt16 = 2, _ adjust: (inout WorkflowBuilder) -> Void = { _ in }
  ) -> ManagerFixture {
    let run = ManagerFixture(nodes: []) {
      $0.workflow.policy.tempReplicas = copies
      let made = $0.file(.temp)
      $0.task(writes: [made])
      $0.task(after: [task(0)])
      $0.task(reads: [made], after: [task(1)])
      adjust(&$0)
    }
    run.addNode(cores: 1)
    run.turn()
    for _ in 1..<max(nodeCount, 1) { run.addNode(cores: 1) }
    return run
  }

  /// The task that was started last ran where it was told to.
  private func finish(_ run: ManagerFixture, _ task: TaskID) {
    guard let start = run.started.first(where: { $0.task == task }) else {
      Issue.record("\(task) was not started")
      return
    }
    run.turn(run.finished(task, start.number, by: start.worker))
  }

  @Test func oneCopyIsEnoughUnlessAskedFor() {
    let run = fixture(copies: 1)
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.fetched.isEmpty)
  }

  @Test func copiesGoToDistinctNodes() {
    let run = fixture(nodeCount: 4, copies: 3)
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: agents[0], to: 1)])
    run.turn(run.transferred(0, by: 1))
    // A node sends one at a time.
    #expect(run.fetched.map(\.worker) == [2])
    run.turn(run.transferred(1, by: 2))
    #expect(run.fetched.isEmpty)
    #expect(run.manager.spareCount == 2)
  }

  @Test func noMoreNodesThanThereAre() {
    let run = fixture(nodeCount: 2, copies: 3)
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.fetched.map(\.worker) == [1])
    run.turn(run.transferred(0, by: 1))
    #expect(run.fetched.isEmpty)
    run.addNode(cores: 1)
    run.turn()
    #expect(run.fetched.map(\.worker) == [2])
  }

  @Test func whatNobodyWillReadIsNotCopied() {
    let run = fixture {
      let unread = $0.file(.temp)
      let published = $0.file()
      $0.task(writes: [unread, published])
      $0.task(reads: [published], after: [task(1)])
    }
    // Task 3 runs on node 1.
    run.turn()
    #expect(run.started == [Started(task(3), on: 1)])
    run.turn(
      run.ready(file(1), by: 1), run.ready(file(2), by: 1), run.finished(task(3), by: 1))
    #expect(run.fetched.isEmpty)
  }

  @Test func losingTheNodeThatMadeItExecutesNothingAgain() {
    let run = fixture()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    let first = run.started
    run.turn(run.transferred(0, by: 1))
    run.turn(.workerLost(WorkerID(index: 0)))
    #expect(!run.effects.contains(.report(.valueLost(task(0)))))
    #expect(run.manager.state(of: task(0)) == .done)
    // The lost copy is replaced.
    #expect(run.fetched == [Fetched(file(0), transfer: 1, from: agents[1], to: 2)])
    // Task 1 ran on the lost node or goes on elsewhere.
    let running = run.started.first ?? first[0]
    run.turn(
      run.transferred(1, by: 2),
      run.finished(task(1), running.number, by: running.worker))
    finish(run, task(2))
    #expect(run.outcome?.doneCount == 3)
    #expect(run.manager.attemptCount(of: task(0)) == 1)
  }

  @Test func aSourceThatDiesMeanwhileCostsTheValue() {
    let run = fixture()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(.workerLost(WorkerID(index: 0)))
    run.turn(run.transferred(0, error: 5, by: 1))
    #expect(run.effects.contains(.report(.valueLost(task(0)))))
  }

  @Test func aCopyIsDroppedWithTheLastReader() {
    let run = fixture()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    let second = run.started[0]
    run.turn(run.transferred(0, by: 1))
    run.turn(run.finished(task(1), second.number, by: second.worker))
    let third = run.started[0]
    run.turn(run.finished(task(2), third.number, by: third.worker))
    #expect(Set(run.orders(.unlink(value(0)))) == [0, 1])
    #expect(run.outcome?.doneCount == 3)
  }

  @Test func theEndDoesNotWaitForACopy() {
    let run = fixture()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.fetched.count == 1)
    let second = run.started[0]
    run.turn(run.finished(task(1), second.number, by: second.worker))
    finish(run, task(2))
    #expect(run.outcome?.doneCount == 3)
  }

  @Test func nothingIsCopiedWhileATaskWaitsForASource() {
    let run = ManagerFixture(nodes: [(4, 1)]) {
      $0.workflow.policy.tempReplicas = 2
      $0.workflow.policy.transfersPerSource = 1
      var files: [FileID] = []
      for _ in 0..<3 { files.append($0.file(.temp, byteCount: megabyte)) }
      $0.task(writes: files)
      $0.task(after: [task(0)]) {
        $0.request.cores = 4; $0.priority = 9
      }
      for file in files.prefix(2) { $0.task(reads: [file], after: [task(0)]) }
      $0.task(reads: files, after: [task(2)])
    }
    run.turn()
    run.addNode(cores: 3)
    run.addNode(cores: 1)
    for index in 0..<3 { run.turn(run.ready(file(index), byteCount: megabyte)) }
    run.turn(run.finished(task(0)))
    // One reader gets its file, and the other waits for node 0 to have sent that.
    #expect(run.fetched.count == 1)
    let first = run.fetched[0]
    run.turn(run.transferred(first.transfer, byteCount: megabyte, by: first.worker))
    // Now the other reader gets its own, and what nobody waits for is copied beside it.
    #expect(run.fetched.count == 2)
  }

  @Test func copiesThatFailAreNotTriedForEver() {
    let run = fixture(nodeCount: 2)
    run.turn(run.ready(file(0)), run.finished(task(0)))
    for transfer in 0..<Limits.fetchRetryMax {
      #expect(run.fetched.map(\.transfer) == [transfer])
      run.turn(run.transferred(transfer, error: 5, by: 1))
    }
    #expect(run.fetched.isEmpty)
    #expect(run.manager.state(of: task(0)) == .done)
  }

  @Test func aCopyIsTheFirstToBeEvictedAndDoesNotComeBack() {
    let run = ManagerFixture(nodes: []) {
      $0.workflow.policy.tempReplicas = 2
      let made = $0.file(.temp)
      let source = $0.file(byteCount: 3 * megabyte)
      $0.task(reads: [source], writes: [made])
      $0.task(reads: [source], after: [task(0)]) { $0.request.cores = 2 }
      $0.task(reads: [$0.file(byteCount: 6 * megabyte)], after: [task(1)]) { $0.request.cores = 2 }
      $0.task(reads: [made, source], after: [task(2)])
    }
    run.addNode(cores: 1)
    run.turn()
    run.turn(run.transferred(0, byteCount: 3 * megabyte))
    run.addNode(cores: 2, disk: DiskCapacity(byteCountMax: 12 * megabyte))
    run.turn(run.ready(file(0), byteCount: 5 * megabyte), run.finished(task(0)))
    // The input of task 1, then the copy.
    #expect(run.fetched.map(\.file) == [file(1), file(0)])
    run.turn(run.transferred(2, byteCount: 5 * megabyte, by: 1))
    run.turn(run.transferred(1, byteCount: 3 * megabyte, by: 1))
    run.turn(run.finished(task(1), by: 1))
    // Node 0 has both, and the source lies here for longer.
    #expect(run.orders(.unlink(value(0))) == [1])
    #expect(run.orders(.unlink(value(1, 0))) == [])
    #expect(run.fetched.map(\.file) == [file(2)])
    run.turn(run.transferred(3, byteCount: 6 * megabyte, by: 1))
    #expect(run.fetched.isEmpty)
  }
}
