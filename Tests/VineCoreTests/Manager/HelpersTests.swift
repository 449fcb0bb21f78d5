import Testing
import VineCore

@Suite struct HelpersTests {
  private let large = Limits.stripedByteCountMin

  /// A further source of a transfer, and the agent that is told.
  private struct Assisted: Equatable {
    let transfer: Int
    let source: TransferSource
    let worker: Int
    init(_ transfer: Int, from source: TransferSource, to worker: Int) {
      self.transfer = transfer
      self.source = source
      self.worker = worker
    }
  }

  private func assisted(_ run: ManagerFixture) -> [Assisted] {
    run.effects.compactMap { effect in
      guard case .send(.assist(_, let transfer, let source), let worker) = effect else {
        return nil
      }
      return Assisted(transfer.index, from: source, to: worker.index)
    }
  }

  private func relay(_ agent: Int, _ transfer: Int) -> TransferSource {
    .relay(agent: WorkerID(index: agent), transfer: TransferID(index: transfer))
  }

  private func oneForAll(
    _ count: Int, byteCount: Int64, sources: UInt16 = 4
  ) -> ManagerFixture {
    let run = ManagerFixture(nodes: Array(repeating: (1, 1), count: count)) {
      $0.workflow.policy.sourcesPerTransfer = sources
      let input = $0.file(byteCount: byteCount)
      for _ in 0..<count { $0.task(reads: [input]) }
    }
    run.turn()
    return run
  }

  @Test func theFirstOfAChainReadTheSharedFileSystemTogether() {
    let run = oneForAll(4, byteCount: large, sources: 3)
    #expect(
      run.fetched.map(\.source) == [.sharedFileSystem, relay(0, 0), relay(1, 1), relay(2, 2)])
    #expect(
      assisted(run) == [
        Assisted(1, from: .sharedFileSystem, to: 1), Assisted(0, from: relay(1, 1), to: 0),
        Assisted(2, from: .sharedFileSystem, to: 2), Assisted(0, from: relay(2, 2), to: 0),
      ])
    // Whoever will be asked to read hears so before its order.
    let first = run.effects.firstIndex {
      if case .send(.assist(_, TransferID(index: 1), .sharedFileSystem), _) = $0 { return true }
      return false
    }
    let order = run.effects.firstIndex {
      if case .send(.fetch(_, TransferID(index: 1), _, _), _) = $0 { return true }
      return false
    }
    if let first, let order { #expect(first < order) } else { Issue.record("not ordered") }
  }

  @Test func aFileOfUnknownSizeMayBeLarge() {
    #expect(assisted(oneForAll(2, byteCount: -1)).count == 2)
  }

  @Test func smallFilesAndSingleSourcesNeedNoHelp() {
    #expect(assisted(oneForAll(4, byteCount: large - 1)).isEmpty)
    #expect(assisted(oneForAll(4, byteCount: large, sources: 1)).isEmpty)
  }

  @Test func whoTakesOverReadingKeepsTheHelpers() {
    let run = oneForAll(4, byteCount: large)
    run.turn(
      .workerLost(WorkerID(index: 0)), run.transferred(1, error: sourceGoneError, by: 1))
    #expect(run.fetched == [Fetched(file(0), transfer: 4, from: .sharedFileSystem, to: 1)])
    #expect(
      assisted(run) == [
        Assisted(4, from: relay(3, 3), to: 1), Assisted(4, from: relay(2, 2), to: 1),
      ])
  }

  /// Nodes 0 to 2 have a file; then a task on node 3, which is larger, wants it.
  private func fourthReader(sources: UInt16 = 4) -> ManagerFixture {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1), (1, 1)]) {
      $0.workflow.policy.sourcesPerTransfer = sources
      let input = $0.file(lifetime: .worker, byteCount: large)
      for _ in 0..<3 { $0.task(reads: [input]) }
      $0.task(reads: [input]) { $0.request.cores = 2 }
    }
    run.turn()
    for index in 0..<3 { run.turn(run.transferred(index, byteCount: large, by: index)) }
    for index in 0..<3 { run.turn(run.finished(task(index), by: index)) }
    run.addNode(cores: 2)
    run.turn()
    return run
  }

  @Test func allIdleHoldersAreSources() {
    let run = fourthReader()
    let sources = run.fetched.map(\.source) + assisted(run).map(\.source)
    #expect(Set(sources) == Set((0..<3).map { .node(agent: WorkerID(index: $0)) }))
    #expect(assisted(run).allSatisfy { $0.transfer == run.fetched[0].transfer && $0.worker == 3 })
    run.turn(run.transferred(run.fetched[0].transfer, byteCount: large, by: 3))
    #expect(run.started == [Started(task(3), on: 3)])
  }

  @Test func thePolicyLimitsTheSources() {
    #expect(assisted(fourthReader(sources: 2)).count == 1)
  }

  @Test func aHelperThatIsLostEndsNothing() {
    let run = fourthReader()
    let transfer = run.fetched[0].transfer
    guard case .node(let helper)? = assisted(run).first?.source else {
      Issue.record("no helper")
      return
    }
    run.turn(.workerLost(helper))
    #expect(run.fetched.isEmpty)
    // Its receiver has found out, too.
    run.turn(
      .received(
        .helperFailed(
          TransferID(index: transfer), agent: helper, error: sourceGoneError),
        from: WorkerID(index: 3)))
    run.turn(run.transferred(transfer, byteCount: large, by: 3))
    #expect(run.started == [Started(task(3), on: 3)])
  }

  @Test func aHelperThatSendsDamageLosesItsReplica() {
    let run = fourthReader()
    let transfer = TransferID(index: run.fetched[0].transfer)
    guard case .node(let helper)? = assisted(run).first?.source else {
      Issue.record("no helper")
      return
    }
    let failed = ManagerEvent.received(
      .helperFailed(transfer, agent: helper, error: damagedSourceError),
      from: WorkerID(index: 3))
    run.turn(failed, failed)
    #expect(run.orders(.unlink(value(0, 0))) == [helper.index])
    run.turn(run.transferred(transfer.index, byteCount: large, by: 3))
    #expect(run.started == [Started(task(3), on: 3)])
  }
}
