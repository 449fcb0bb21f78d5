import Testing
import VineCore

@Suite struct DerivationsTests {
  /// Appends a file made of `inputs`.
  private func derived(
    _ builder: inout WorkflowBuilder, of inputs: [FileID], _ kind: DerivationKind = .miniTask
  ) -> FileID {
    let file = builder.file(.derived)
    var draft = DerivationDraft(kind)
    draft.command = ["make"]
    draft.inputs = inputs.map { BindingDraft($0) }
    builder.workflow.setDerivation(of: file, draft)
    return file
  }

  @Test func inputsComeFirstThenTheFileIsMadeThenTheTaskStarts() {
    let run = ManagerFixture {
      let source = $0.file()
      let made = derived(&$0, of: [source])
      $0.task(reads: [made])
    }
    run.turn()
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .sharedFileSystem)])
    run.turn(run.transferred(0))
    #expect(run.fetched == [Fetched(file(1), transfer: 1, from: .derivation)])
    run.turn(run.transferred(1))
    #expect(run.started == [Started(task(0))])
    run.turn(run.finished(task(0)))
    // Nobody needs either any more.
    #expect(Set(run.orders(.unlink(value(0, 0))) + run.orders(.unlink(value(1, 0)))) == [0])
    #expect(run.outcome?.exitStatus == 0)
  }

  @Test func chainsAreMadeLinkByLink() {
    let run = ManagerFixture {
      let page = derived(&$0, of: [], .url)
      let tree = derived(&$0, of: [page], .untar)
      let index = derived(&$0, of: [tree])
      $0.task(reads: [index])
    }
    run.turn()
    #expect(run.fetched.map(\.file) == [file(0)])
    run.turn(run.transferred(0))
    #expect(run.fetched.map(\.file) == [file(1)])
    run.turn(run.transferred(1))
    #expect(run.fetched.map(\.file) == [file(2)])
    run.turn(run.transferred(2))
    #expect(run.started == [Started(task(0))])
  }

  @Test func aDownloadIsMadeOnceAndMovedThen() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let page = derived(&$0, of: [], .url)
      for _ in 0..<2 { $0.task(reads: [page]) }
    }
    run.turn()
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .derivation)])
    run.turn(run.transferred(0), after: 1_000)
    #expect(run.fetched.map(\.source) == [.node(agent: WorkerID(index: 0))])
  }

  /// Two nodes; the second wants the file when the first has made it, `milliseconds` after the order.
  private func second(milliseconds: Int64, byteCount: Int64) -> [TransferSource] {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let made = derived(&$0, of: [])
      for _ in 0..<2 { $0.task(reads: [made]) }
    }
    run.turn()
    #expect(run.fetched.count == 1)
    let end = WorkerMessage.transferEnded(TransferID(index: 0), byteCount: byteCount, error: 0)
    run.turn(.received(end, from: WorkerID(index: 0)), after: milliseconds)
    return run.fetched.map(\.source)
  }

  @Test func whatIsQuicklyMadeIsMadeAgainAndWhatIsQuicklyMovedIsMoved() {
    let moved = [TransferSource.node(agent: WorkerID(index: 0))]
    #expect(second(milliseconds: 10_000, byteCount: 1_000) == moved)
    #expect(second(milliseconds: 10, byteCount: 1_000_000_000) == [.derivation])
  }

  @Test func aFileThatCannotBeMadeFailsItsReadersOnce() {
    let run = ManagerFixture {
      let bad = derived(&$0, of: [])
      for _ in 0..<2 { $0.task(reads: [bad]) }
      $0.task()
    }
    run.turn()
    run.turn(run.transferred(0, error: derivationFailedError))
    // The second is not tried for.
    #expect(run.fetched.isEmpty)
    run.turn(run.finished(task(2)))
    #expect(run.outcome?.failedCount == 2)
    #expect(run.outcome?.doneCount == 1)
  }

  @Test func aMissingInputIsBlamedAndNotWhatIsMadeOfIt() {
    let run = ManagerFixture {
      let source = $0.file()
      let made = derived(&$0, of: [source])
      $0.task(reads: [made])
    }
    run.turn()
    for transfer in 0..<Limits.fetchRetryMax { run.turn(run.transferred(transfer, error: 2)) }
    #expect(
      run.effects.contains(
        .report(.taskFailed(AttemptID(task(0), 1), .inputUnavailable(file(0), 2)))))
  }

  @Test func whatItIsMadeOfIsMadeAgainWhenItsNodeIsLost() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let raw = $0.file(.temp)
      $0.task(writes: [raw])
      let made = derived(&$0, of: [raw])
      $0.task(reads: [made])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    #expect(run.fetched == [Fetched(file(1), transfer: 0, from: .derivation)])
    run.turn(.workerLost(WorkerID(index: 0)))
    #expect(run.started == [Started(task(0), 2, on: 1)])
  }

  @Test func anotherValueOfTheInputMakesAnotherFile() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let raw = $0.file(.temp)
      $0.task(writes: [raw])
      let made = derived(&$0, of: [raw])
      $0.task(reads: [made])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(run.transferred(0))
    #expect(run.started == [Started(task(1))])
    run.turn(.workerLost(WorkerID(index: 0)))
    #expect(run.started == [Started(task(0), 2, on: 1)])
    run.turn(run.ready(file(0), attempt: 2, by: 1), run.finished(task(0), 2, by: 1))
    let made = run.effects.compactMap { effect -> FileValue? in
      guard case .send(.fetch(let value, _, .derivation, _), _) = effect else { return nil }
      return value
    }
    #expect(made.map(\.file) == [file(1)])
    #expect(made.first?.attempt ?? 0 > 0)
  }
}
