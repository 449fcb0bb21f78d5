import Testing
import VineCore

@Suite struct TransferPlannerTests {
  private let agents = (0..<8).map { TransferSource.node(agent: WorkerID(index: $0)) }

  @Test func anInputIsBroughtToTheNodeBeforeTheTaskStarts() {
    let run = ManagerFixture {
      let input = $0.file()
      $0.task(reads: [input])
    }
    run.turn()
    #expect(run.started.isEmpty)
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .sharedFileSystem)])
    run.turn(run.transferred(0))
    #expect(run.started == [Started(task(0))])
  }

  private func relay(_ agent: Int, _ transfer: Int) -> TransferSource {
    .relay(agent: WorkerID(index: agent), transfer: TransferID(index: transfer))
  }

  @Test func theSharedFileSystemIsReadOnceAndNodesPassTheFileOnWhileItComes() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1), (1, 1)]) {
      let input = $0.file()
      for _ in 0..<3 { $0.task(reads: [input]) }
    }
    run.turn()
    #expect(
      run.fetched == [
        Fetched(file(0), transfer: 0, from: .sharedFileSystem, to: 0),
        Fetched(file(0), transfer: 1, from: relay(0, 0), to: 1),
        Fetched(file(0), transfer: 2, from: relay(1, 1), to: 2),
      ])
  }

  @Test func aFileOfOneChunkGoesFromOneToAll() {
    let run = ManagerFixture(nodes: Array(repeating: (1, 1), count: 4)) {
      let input = $0.file(byteCount: Limits.chunkByteCount)
      for _ in 0..<4 { $0.task(reads: [input]) }
    }
    run.turn()
    #expect(
      run.fetched.map(\.source) == [
        .sharedFileSystem, relay(0, 0), relay(0, 0), relay(1, 1),
      ])
  }

  /// Node 1 has three files that a task on the larger node 2 needs.
  private func threeFiles(byteCount: Int64, limit: UInt16) -> ManagerFixture {
    let run = ManagerFixture(nodes: [(3, 1)]) {
      $0.workflow.policy.transfersPerSource = limit
      var made: [FileID] = []
      for index in 0..<3 {
        made.append($0.file(.temp))
        $0.task(writes: [made[index]])
      }
      $0.task(reads: made) { $0.request.cores = 8 }
    }
    run.turn()
    run.addNode(cores: 8)
    for index in 0..<3 {
      run.turn(run.ready(file(index), byteCount: byteCount), run.finished(task(index)))
    }
    return run
  }

  @Test func aSourceServesAsManyAtOnceAsThePolicySays() {
    let run = threeFiles(byteCount: 1 << 30, limit: 2)
    #expect(run.fetched.map(\.source) == [agents[0], agents[0]])
    run.turn(run.transferred(run.fetched[0].transfer, by: 1))
    #expect(run.fetched.map(\.source) == [agents[0]])
  }

  @Test func smallFilesShareTheirPlaceAtASource() {
    #expect(threeFiles(byteCount: 4096, limit: 1).fetched.count == 3)
  }

  @Test func aChainWhoseHeadIsLostGoesOnFromTheSharedFileSystem() {
    let run = ManagerFixture(nodes: Array(repeating: (1, 1), count: 4)) {
      let input = $0.file()
      for _ in 0..<4 { $0.task(reads: [input]) }
    }
    run.turn()
    run.turn(.workerLost(WorkerID(index: 0)))
    // The second does not know yet, and those behind it wait for it.
    #expect(run.fetched.isEmpty)
    run.turn(run.transferred(1, error: sourceGoneError, by: 1))
    #expect(run.fetched == [Fetched(file(0), transfer: 4, from: .sharedFileSystem, to: 1)])
  }

  @Test func theMiddleOfAChainIsBypassed() {
    let run = ManagerFixture(nodes: Array(repeating: (1, 1), count: 4)) {
      let input = $0.file()
      for _ in 0..<4 { $0.task(reads: [input]) }
    }
    run.turn()
    run.turn(.workerLost(WorkerID(index: 1)), run.transferred(2, error: sourceGoneError, by: 2))
    // Node 3 reads node 2, so node 2 must not read node 3.
    #expect(run.fetched == [Fetched(file(0), transfer: 4, from: relay(0, 0), to: 2)])
  }

  @Test func whatANodeDoesNotFindIsReadByRankZerosNode() {
    let run = ManagerFixture(nodes: [(1, 1), (2, 1), (1, 1)]) {
      let input = $0.file()
      $0.task(reads: [input]) { $0.request.cores = 2 }
    }
    run.turn()
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .sharedFileSystem, to: 1)])
    run.turn(run.transferred(0, error: 2, by: 1))
    #expect(
      run.fetched == [
        Fetched(file(0), transfer: 1, from: .sharedFileSystem, to: 0),
        Fetched(file(0), transfer: 2, from: relay(0, 1), to: 1),
      ])
    // Nobody needs it there once it was passed on.
    run.turn(run.transferred(1), run.transferred(2, by: 1))
    #expect(run.started == [Started(task(0), on: 1)])
  }

  @Test func whatNobodyFindsFailsItsTask() {
    let run = ManagerFixture(nodes: [(1, 1), (2, 1)]) {
      let input = $0.file()
      $0.task(reads: [input]) { $0.request.cores = 2 }
    }
    run.turn()
    var pending = run.fetched
    for _ in 0..<50 where run.outcome == nil && !pending.isEmpty {
      // Whoever reads along hears of it when the other has given up.
      let place = pending.firstIndex { $0.source == .sharedFileSystem } ?? 0
      let next = pending.remove(at: place)
      let error = next.source == .sharedFileSystem ? 2 : sourceGoneError
      run.turn(run.transferred(next.transfer, error: error, by: next.worker))
      pending += run.fetched
    }
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func aReaderOfALostChainIsNotChargedForIt() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let input = $0.file()
      for _ in 0..<2 { $0.task(reads: [input]) }
    }
    run.turn()
    for _ in 0..<2 * Limits.fetchRetryMax {
      let transfer = run.fetched.last?.transfer ?? 0
      run.turn(run.transferred(transfer, error: sourceGoneError, by: 1))
      #expect(run.fetched.map(\.worker) == [1])
    }
  }

  @Test func readersOfAFileThatCannotBeHadAllFail() {
    let run = ManagerFixture(nodes: Array(repeating: (1, 1), count: 3)) {
      let input = $0.file()
      for _ in 0..<3 { $0.task(reads: [input]) }
    }
    run.turn()
    var pending = run.fetched
    for _ in 0..<100 {
      guard let next = pending.first else { break }
      pending.removeFirst()
      run.turn(run.transferred(next.transfer, error: 5, by: next.worker))
      pending += run.fetched
    }
    #expect(run.outcome?.failedCount == 3)
  }

  @Test func aSourceThatSendsDamagedBytesIsGivenUp() {
    let run = ManagerFixture(nodes: [(1, 1)]) {
      let input = $0.file()
      for _ in 0..<2 { $0.task(reads: [input]) }
    }
    run.turn()
    run.turn(run.transferred(0))
    run.addNode(cores: 1)
    run.turn()
    #expect(run.fetched == [Fetched(file(0), transfer: 1, from: agents[0], to: 1)])
    run.turn(run.transferred(1, error: damagedSourceError, by: 1))
    #expect(run.fetched == [Fetched(file(0), transfer: 2, from: .sharedFileSystem, to: 1)])
  }

  @Test func aFailingFetchIsTriedAgainAndThenEndsTheTask() {
    let run = ManagerFixture {
      let input = $0.file()
      $0.task(reads: [input]) { $0.retries = 5 }
    }
    run.turn()
    for _ in 1..<Limits.fetchRetryMax {
      run.turn(run.transferred(run.fetched[0].transfer, error: 5))
      #expect(run.fetched.count == 1)
    }
    run.turn(run.transferred(run.fetched[0].transfer, error: 5))
    #expect(
      run.effects.contains(
        .report(.taskFailed(AttemptID(task(0), 1), .inputUnavailable(file(0), 5)))))
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func aFailedFetchThatNobodyWaitsForIsNotTriedAgain() {
    let run = ManagerFixture {
      let first = $0.file()
      let second = $0.file()
      $0.task(reads: [first, second])
      $0.task()
    }
    run.turn()
    // The numbers of transfers are never used again: the two are 0 and 1.
    for transfer in [0] + (2..<Limits.fetchRetryMax + 1) {
      run.turn(run.transferred(transfer, error: 5))
    }
    #expect(run.manager.state(of: task(0)) == .failed)
    run.turn(run.transferred(1, error: 5))
    #expect(run.fetched.isEmpty)
  }

  @Test func aNodeReceivesFewAtOnceAndTheRestFollows() {
    let count = Limits.transfersPerReceiverMax + 3
    let run = ManagerFixture {
      var inputs: [FileID] = []
      for _ in 0..<count { inputs.append($0.file()) }
      $0.task(reads: inputs)
    }
    run.turn()
    #expect(run.fetched.count == Limits.transfersPerReceiverMax)
    var pending = run.fetched.map(\.transfer)
    var receivedCount = 0
    while let transfer = pending.popLast() {
      run.turn(run.transferred(transfer))
      receivedCount += 1
      pending += run.fetched.map(\.transfer)
    }
    #expect(receivedCount == count)
    #expect(run.started == [Started(task(0))])
  }

  @Test func aTaskGoesWhereItsInputIs() {
    let run = ManagerFixture(nodes: [(1, 1), (4, 1)]) {
      let made = $0.file(.temp)
      $0.task(writes: [made]) { $0.request.cores = 1 }
      $0.task(reads: [made])
    }
    run.turn()
    let node = run.started[0].worker
    run.turn(run.ready(file(0), by: node), run.finished(task(0), by: node))
    #expect(run.started == [Started(task(1), on: node)])
  }

  @Test func anOutputWithAPathIsCommittedThenPublished() {
    let run = ManagerFixture {
      let made = $0.file(.path)
      $0.task(writes: [made])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.orders(.commit(value(0))) == [0])
    #expect(run.outcome == nil)
    run.turn(
      run.committed(value(0)))
    #expect(run.orders(.unlink(value(0))) == [0])
    #expect(run.effects.contains(.append(.publishIntent(value(0)))))
    #expect(run.effects.contains(.sync))
    #expect(!run.effects.contains(.publish(value(0))))
    run.turn(run.synced)
    #expect(run.effects == [.publish(value(0))])
    run.turn(.published(file(0), error: 0))
    #expect(run.effects.first == .append(.published(value(0))))
    #expect(run.outcome?.doneCount == 1)
  }

  @Test func aConsumerOutsideASandboxWaitsForThePublishedFile() {
    let run = ManagerFixture {
      let made = $0.file(.path)
      $0.task(writes: [made])
      $0.task(reads: [made]) { $0.usesSandbox = false }
      $0.task(reads: [made])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.started == [Started(task(2))])
    run.turn(run.finished(task(2)))
    run.turn(
      run.committed(value(0)))
    #expect(run.started.isEmpty)
    run.turn(run.synced)
    run.turn(.published(file(0), error: 0))
    #expect(run.started == [Started(task(1))])
  }

  @Test func anOutputThatCannotBeWrittenFailsTheConsumersThatWaitForIt() {
    let run = ManagerFixture {
      let made = $0.file(.path)
      $0.task(writes: [made])
      $0.task(reads: [made]) { $0.usesSandbox = false }
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    for _ in 0..<Limits.fetchRetryMax {
      run.turn(
        run.committed(value(0), error: 28))
    }
    #expect(run.effects.contains(.report(.outputNotWritten(file(0), 28))))
    #expect(run.outcome?.failedCount == 1)
    #expect(run.outcome?.unwrittenOutputCount == 1)
  }

  @Test func anIntermediateIsDroppedAfterItsLastConsumer() {
    let run = ManagerFixture {
      let made = $0.file(.temp)
      $0.task(writes: [made])
      $0.task(reads: [made])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.orders(.unlink(value(0))).isEmpty)
    run.turn(run.finished(task(1)))
    #expect(run.orders(.unlink(value(0))) == [0])
  }

  @Test func anOutputOutlivesTheCancellationOfItsConsumerUntilItsTaskIsDone() {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      let made = $0.file(.path)
      $0.task(writes: [made])
      $0.task()
      $0.task(reads: [made], after: [task(1)])
    }
    run.turn()
    run.turn(run.ready(file(0)))
    run.turn(run.finished(task(1), 1, .exited(1)))
    #expect(run.manager.state(of: task(2)) == .cancelled)
    #expect(run.orders(.unlink(value(0))).isEmpty)
    run.turn(run.finished(task(0)))
    #expect(run.orders(.commit(value(0))) == [0])
  }

  @Test func aBufferComesFromTheManagerToEachNode() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let text = $0.file(.buffer)
      for _ in 0..<2 { $0.task(reads: [text]) }
    }
    run.turn()
    #expect(run.fetched.map(\.source) == [.manager, .manager])
  }

  @Test func oneAttemptWithTwoFailingInputsFailsOnce() {
    let run = ManagerFixture {
      let first = $0.file()
      let second = $0.file()
      $0.task(reads: [first, second, first])
    }
    run.turn()
    var pending = run.fetched.map(\.transfer)
    for _ in 0..<Limits.fetchRetryMax {
      let ended = pending
      pending = []
      for transfer in ended {
        run.turn(run.transferred(transfer, error: 5))
        pending += run.fetched.map(\.transfer)
      }
    }
    #expect(run.manager.state(of: task(0)) == .failed)
  }

  @Test func aChangedInputIsDiscardedAndFetchedAgain() {
    let run = ManagerFixture {
      let input = $0.file()
      $0.task(reads: [input]) { $0.retries = 1 }
    }
    run.turn()
    run.turn(run.transferred(0))
    run.turn(run.finished(task(0), 1, .changedInput(0)))
    #expect(run.orders(.unlink(value(0, 0))) == [0])
    #expect(run.fetched == [Fetched(file(0), transfer: 1, from: .sharedFileSystem)])
    #expect(run.started.isEmpty)
    run.turn(run.transferred(1))
    #expect(run.started == [Started(task(0), 2)])
  }

  @Test func aChangedInputIsKeptFromNewAttemptsWhileOldOnesUseIt() {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      let input = $0.file()
      for _ in 0..<3 { $0.task(reads: [input]) }
    }
    run.turn()
    run.turn(run.transferred(0))
    #expect(run.started.count == 2)
    run.turn(run.finished(task(0), 1, .changedInput(0)))
    // Task 1 still reads the damaged replica, so task 2 waits for it to go.
    #expect(run.started.isEmpty && run.fetched.isEmpty)
    run.turn(run.finished(task(1), 1, .changedInput(0)))
    #expect(run.orders(.unlink(value(0, 0))) == [0])
    #expect(run.fetched.count == 1)
    run.turn(run.transferred(run.fetched[0].transfer))
    #expect(run.started == [Started(task(2))])
  }

  @Test func aValueWhoseLastReplicaWasDamagedIsMadeAnew() {
    let run = ManagerFixture {
      let made = $0.file(.temp)
      $0.task(writes: [made])
      for _ in 0..<2 { $0.task(reads: [made]) }
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.started == [Started(task(1))])
    run.turn(run.finished(task(1), 1, .changedInput(0)))
    #expect(run.effects.contains(.report(.valueLost(task(0)))))
    #expect(run.started == [Started(task(0), 2)])
    run.turn(run.ready(file(0), attempt: 2), run.finished(task(0), 2))
    #expect(run.started == [Started(task(2), 2)])
    run.turn(run.finished(task(2), 2))
    #expect(run.outcome?.failedCount == 1)
    #expect(run.outcome?.doneCount == 2)
  }

  @Test func anOutputChangedBeforeItsCommitEndedIsMadeAnewInsteadOfPublished() {
    let run = ManagerFixture {
      let output = $0.file()
      $0.task(writes: [output])
      $0.task(reads: [output])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.orders(.commit(value(0))) == [0])
    run.turn(
      .received(.replicaDamaged(value(0)), from: WorkerID(index: 0)),
      run.finished(task(1), 1, .changedInput(0)))
    run.turn(
      run.committed(value(0)))
    #expect(run.effects.contains(.discard(value(0))))
    #expect(run.started == [Started(task(0), 2)])
    run.turn(run.ready(file(0), attempt: 2), run.finished(task(0), 2))
    #expect(run.orders(.commit(value(0, 2))) == [0])
    run.turn(run.committed(value(0, 2)))
    run.turn(run.synced)
    #expect(run.effects.contains(.publish(value(0, 2))))
    run.turn(.published(file(0), error: 0))
    #expect(run.outcome?.exitStatus == 1)
  }
}
