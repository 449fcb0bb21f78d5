import Testing
import VineCore

@Suite struct FoundReplicasTests {
  private func found(_ file: FileID, by worker: Int) -> ManagerEvent {
    .received(
      .replicaFound(FileValue(file, attempt: 0), byteCount: 10), from: WorkerID(index: worker))
  }

  @Test func whatANodeHasIsNotFetchedAndOthersGetItFromThere() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      let input = $0.file(lifetime: .forever)
      for _ in 0..<2 { $0.task(reads: [input]) }
    }
    run.turn(found(file(0), by: 1))
    #expect(run.started.map(\.worker) == [1])
    #expect(
      run.fetched == [
        Fetched(file(0), transfer: 0, from: .node(agent: WorkerID(index: 1)), to: 0)
      ])
  }

  @Test func aReportThatComesWhileTheFileIsFetchedChangesNothing() {
    let run = ManagerFixture {
      let input = $0.file(lifetime: .forever)
      $0.task(reads: [input])
    }
    run.turn()
    #expect(run.fetched.count == 1)
    run.turn(found(file(0), by: 0))
    #expect(run.started.isEmpty)
    run.turn(run.transferred(0))
    #expect(run.started == [Started(task(0))])
  }

  @Test func whatADerivedFileIsMadeOfIsNotFetchedBeforeTheNodeHasLooked() {
    let run = ManagerFixture(nodes: []) {
      let source = $0.file()
      let made = $0.file(.derived, lifetime: .forever)
      var draft = DerivationDraft(.miniTask)
      draft.command = ["make"]
      draft.inputs = [BindingDraft(source)]
      $0.workflow.setDerivation(of: made, draft)
      $0.task(reads: [made])
    }
    run.addNode(cores: 1, isRecalling: true)
    run.turn()
    #expect(run.fetched.isEmpty)
    run.turn(found(file(1), by: 0))
    #expect(run.started == [Started(task(0))])
    run.turn(.received(.recallEnded, from: WorkerID(index: 0)))
    #expect(run.fetched.isEmpty)
  }

  @Test func whatTheNodeHasNotIsMadeOnceItHasLooked() {
    let run = ManagerFixture(nodes: []) {
      let made = $0.file(.derived, lifetime: .forever)
      var draft = DerivationDraft(.url)
      draft.command = ["http://x/y"]
      $0.workflow.setDerivation(of: made, draft)
      $0.task(reads: [made])
    }
    run.addNode(cores: 1, isRecalling: true)
    run.turn()
    #expect(run.fetched.isEmpty)
    run.turn(.received(.recallEnded, from: WorkerID(index: 0)))
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .derivation)])
  }
}
