import Testing
import VineCore

@Suite struct SettlingTests {
  /// A task makes a value for two others, the first of which makes an output for the world. All is
  /// done and committed but the second reader.
  private func waiting(isDeterministic: Bool = false) -> ManagerFixture {
    let run = ManagerFixture(nodes: [(2, 1)]) {
      let ancestor = $0.file(.temp)
      let output = $0.file()
      $0.task(writes: [ancestor]) { $0.isDeterministic = isDeterministic }
      $0.task(reads: [ancestor], writes: [output]) { $0.isDeterministic = isDeterministic }
      $0.task(reads: [ancestor])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(run.ready(file(1)), run.finished(task(1)), after: 1)
    run.turn(run.committed(value(1)), after: 1)
    return run
  }

  @Test func anOutputWaitsForAnAncestorThatMayComeOutDifferently() {
    let run = waiting()
    #expect(run.intents.isEmpty)
    run.turn(run.finished(task(2)), after: 1)
    #expect(run.intents == [value(1)])
    #expect(run.effects.contains(.sync))
    #expect(!run.effects.contains(.publish(value(1))))
    run.turn(run.synced)
    #expect(run.effects.contains(.publish(value(1))))
  }

  @Test func whatComesOutTheSameEveryTimeIsPublishedAtOnce() {
    #expect(waiting(isDeterministic: true).intents == [value(1)])
  }

  @Test func anAncestorThatHoldsAnOutputBackForLongIsCommitted() {
    let run = waiting()
    run.turn(after: Limits.publishWaitNanoseconds / 1_000_000 + 1)
    #expect(run.orders(.commit(value(0))) == [0])
    run.turn(run.committed(value(0)), after: 1)
    #expect(run.intents == [value(1)])
  }

  /// One output waits for an ancestor that a slow task reads; others come and are published all the time.
  @Test func whatIsPublishedMeanwhileDoesNotMakeAnOutputWaitLonger() {
    let count = 12
    let run = ManagerFixture(nodes: [(count + 3, 1)]) {
      let ancestor = $0.file(.temp)
      let output = $0.file()
      $0.task(writes: [ancestor])
      $0.task(reads: [ancestor], writes: [output])
      $0.task(reads: [ancestor])
      for _ in 0..<count {
        let other = $0.file()
        $0.task(writes: [other])
      }
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(run.ready(file(1)), run.finished(task(1)), after: 1)
    run.turn(run.committed(value(1)), after: 1)
    let step = Limits.publishWaitNanoseconds / 1_000_000 / Int64(count - 2)
    var orderedAt: Int?
    for index in 0..<count {
      run.turn(run.ready(file(index + 2)), run.finished(task(index + 3)), after: step)
      if !run.orders(.commit(value(0))).isEmpty { orderedAt = orderedAt ?? index }
      run.turn(run.committed(value(index + 2)), after: 1)
      #expect(run.intents == [value(index + 2)])
    }
    #expect(orderedAt == count - 3)
  }

  @Test func anAncestorThatHoldsManyOutputsBackIsCommitted() {
    let count = Limits.publishWaitingMax + 1
    let run = ManagerFixture(nodes: [(count + 1, 1)]) {
      let ancestor = $0.file(.temp)
      $0.task(writes: [ancestor])
      for _ in 0..<count {
        let output = $0.file()
        $0.task(reads: [ancestor], writes: [output])
      }
      $0.task(reads: [ancestor])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    for index in 1...count {
      run.turn(run.ready(file(index)), run.finished(task(index)), after: 1)
      run.turn(run.committed(value(index)), after: 1)
      #expect(run.orders(.commit(value(0))) == (index < count ? [] : [0]))
    }
  }

  @Test func siblingsOfOneValueAreNotPublishedOneByOne() {
    // A -> B -> E and A -> Y: committing what E reads is not enough, since Y reads what A makes.
    let run = ManagerFixture(nodes: [(2, 1)]) {
      let files = [$0.file(.temp), $0.file(.temp), $0.file(), $0.file()]
      $0.task(writes: [files[0]])
      $0.task(reads: [files[0]], writes: [files[1]])
      $0.task(reads: [files[1]], writes: [files[2]])
      $0.task(reads: [files[0]], writes: [files[3]])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(run.ready(file(1)), run.finished(task(1)), after: 1)
    run.turn(run.ready(file(2)), run.finished(task(2)), after: 1)
    run.turn(run.committed(value(2)), after: 1)
    #expect(run.intents.isEmpty)
    run.turn(run.ready(file(3)), run.finished(task(3)), after: 1)
    #expect(run.intents.isEmpty)
    run.turn(run.committed(value(3)), after: 1)
    #expect(run.intents == [value(2), value(3)])
  }

  @Test func anOutputThatNobodyNeedsAgainHoldsNothingBack() {
    // The task outside a sandbox waits for the published file; the other output of its producer is
    // gone, and not needed.
    let run = ManagerFixture {
      let dropped = $0.file(.temp)
      let output = $0.file()
      $0.task(writes: [dropped, output])
      $0.task(reads: [dropped])
      $0.task(reads: [output]) { $0.usesSandbox = false }
    }
    run.turn()
    run.turn(run.ready(file(0)), run.ready(file(1)), run.finished(task(0)))
    run.turn(run.finished(task(1)), after: 1)
    run.turn(run.committed(value(1)), after: 1)
    #expect(run.intents == [value(1)])
  }

  @Test func anOutputThatCannotBeRenamedIsStillThereToBeRead() {
    let run = ManagerFixture {
      let output = $0.file()
      $0.task(writes: [output])
      $0.task(reads: [output])
    }
    run.turn()
    run.turn(run.ready(file(0)), run.finished(task(0)))
    run.turn(run.committed(value(0)), after: 1)
    run.turn(run.synced)
    run.turn(.published(file(0), error: 18))
    #expect(run.reports == [.outputNotWritten(file(0), 18)])
    run.addNode(cores: 1)
    run.turn(.workerLost(worker(0)))
    #expect(run.reports == [.taskTriedAgain(AttemptID(task(1), 1), .lost)])
    #expect(run.fetched.map(\.source) == [.sharedFileSystem])
  }
}

extension ManagerFixture {
  /// The outputs that are going to be published.
  var intents: [FileValue] {
    effects.compactMap { effect in
      guard case .append(.publishIntent(let value)) = effect else { return nil }
      return value
    }
  }
}
