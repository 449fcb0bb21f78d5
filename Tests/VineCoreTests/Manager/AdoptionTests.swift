// What becomes of values that a dead session left in the caches of its nodes.

import Testing
import VineCore

@Suite struct AdoptionTests {
  /// A chain of four tasks with temporary files between them, of which the first three are done, and
  /// a task that stands alone.
  private func chain(
    done: Int = 3, hashed: [Int] = [0, 1, 2], nodes: [(cores: Int, ranks: Int)] = [(4, 1)]
  ) -> ManagerFixture {
    let run = ManagerFixture(nodes: []) {
      let files = [$0.file(.temp), $0.file(.temp), $0.file(.temp), $0.file(.temp)]
      $0.task(writes: [files[0]])
      for index in 1..<4 { $0.task(reads: [files[index - 1]], writes: [files[index]]) }
      $0.task()
    }
    var restored = RestoredRun(taskCount: 5)
    for index in 0..<done {
      restored.reuse[index] = .whole
      restored.accepted[index] = 1
    }
    for index in hashed {
      restored.hashes[file(index)] = ContentHash(words: (UInt64(index) + 1, 0, 0, 0))
      restored.byteCounts[file(index)] = 10
    }
    run.restore(restored)
    for node in nodes { run.addNode(cores: node.cores, ranks: node.ranks) }
    return run
  }

  private func offered(_ value: FileValue, byteCount: Int64 = 10, by worker: Int = 0)
    -> ManagerEvent
  {
    .received(.replicaOffered(value, byteCount: byteCount), from: WorkerID(index: worker))
  }
  private func found(_ value: FileValue, by worker: Int = 0) -> ManagerEvent {
    .received(.replicaFound(value, byteCount: 10), from: WorkerID(index: worker))
  }
  private func refused(
    _ value: FileValue, _ refusal: AdoptionRefusal, by worker: Int = 0
  ) -> ManagerEvent {
    .received(.replicaRefused(value, refusal), from: WorkerID(index: worker))
  }
  private func offersEnded(by worker: Int = 0) -> ManagerEvent {
    .received(.offersEnded, from: WorkerID(index: worker))
  }

  @Test func whatIsFoundIsNotMadeAgain() {
    let run = chain()
    run.turn(.registrationClosed, offered(value(2)), offersEnded())
    #expect(run.orders(.adopt(value(2), as: 1)) == [0])
    // What needs nothing of it does not wait.
    #expect(run.started.map(\.task) == [task(4)])
    run.turn(found(value(2)))
    #expect(run.started.map(\.task) == [task(3)])
    #expect(run.orders(.dropOffers) == [0])
    #expect(run.reports == [.adoptionEnded])
    #expect(run.manager.adoptionCounts.adoptedCount == 1)
    #expect(run.manager.adoptionCounts.adoptedByteCount == 10)
  }

  @Test func whatIsNotFoundIsMadeAgainFromWhatIs() {
    let run = chain()
    run.turn(
      .registrationClosed, offered(value(1)), offered(value(2)), offersEnded(), found(value(1)))
    #expect(run.started.map(\.task) == [task(4)])
    run.turn(refused(value(2), .damaged))
    #expect(
      run.reports == [
        .adoptionRefused(file(2), .damaged, on: NodeID(index: 0)), .valueLost(task(2)),
        .adoptionEnded,
      ])
    #expect(run.started == [Started(task(2), 2)])
    #expect(run.manager.adoptionCounts[.damaged] == 1)
  }

  @Test func withoutAnyCacheAllIsMadeAgain() {
    let run = chain()
    run.turn(.registrationClosed)
    #expect(run.started.map(\.task) == [task(4)])
    run.turn(offersEnded())
    #expect(run.started == [Started(task(0), 2)])
  }

  @Test func onlyWhatTheJournalKnowsIsCompared() {
    let run = chain(hashed: [2])
    run.turn(
      offered(value(0)), offered(value(2), byteCount: 11), offered(value(3)),
      offered(FileValue(FileID(index: 77), attempt: 1)),
      refused(FileValue(.none, attempt: 0), .foreign))
    #expect(run.orders(.adopt(value(0), as: 1)).isEmpty)
    #expect(run.orders(.adopt(value(2), as: 1)).isEmpty)
    let counts = run.manager.adoptionCounts
    #expect(counts[.unknownContent] == 1)
    #expect(counts[.otherSize] == 1)
    #expect(counts[.foreign] == 3)
    #expect(counts.refusedCount == 5)
  }

  @Test func theSameValueOfALaterAttemptGoesByTheNameInTheJournal() {
    let run = chain()
    run.turn(.registrationClosed, offered(value(2, 3)), offersEnded())
    #expect(run.orders(.adopt(value(2, 3), as: 1)) == [0])
    run.turn(found(value(2, 1)))
    #expect(run.started.map(\.task) == [task(3)])
  }

  @Test func aValueThatNobodyNeedsIsForgottenAtTheEnd() {
    let run = chain()
    run.turn(.registrationClosed, offered(value(0)), offered(value(2)), offersEnded())
    run.turn(found(value(0)))
    // It would be needed if the other one were damaged.
    #expect(run.orders(.unlink(value(0))).isEmpty)
    run.turn(found(value(2)))
    #expect(run.orders(.unlink(value(0))) == [0])
    #expect(run.orders(.unlink(value(2))).isEmpty)
  }

  @Test func theWaitIsBoundedAndLateAnswersAreDropped() {
    let run = chain()
    run.turn(.registrationClosed, offered(value(2)), offersEnded())
    let wait = Limits.adoptionWaitNanoseconds / 1_000_000
    #expect(run.manager.nextDeadline == Instant(nanoseconds: Limits.adoptionWaitNanoseconds))
    run.turn(after: wait - 1)
    #expect(run.started.isEmpty)
    run.turn(after: 1)
    #expect(run.started == [Started(task(0), 2)])
    run.turn(found(value(2)))
    #expect(run.orders(.unlink(value(2))) == [0])
    #expect(run.orders(.dropOffers) == [0])
    #expect(run.manager.adoptionCounts[.late] == 1)
    #expect(run.manager.adoptionCounts.adoptedCount == 0)
  }

  @Test func aLostNodeIsNotWaitedFor() {
    let run = chain(nodes: [(1, 1), (1, 1)])
    run.turn(.registrationClosed, offered(value(2)), offersEnded(by: 1))
    run.turn(.workerLost(WorkerID(index: 0)))
    #expect(run.started.map(\.task) == [task(0)] || run.started.map(\.task) == [task(4)])
    #expect(run.manager.isSeekingValues == false)
  }

  @Test func aLostNodeTakesWhatWasFoundThereWithIt() {
    let run = chain(nodes: [(1, 1), (1, 1)])
    run.turn(.registrationClosed, offered(value(2)), offersEnded(), offersEnded(by: 1))
    run.turn(found(value(2)), .workerLost(WorkerID(index: 0)))
    #expect(run.started.map(\.task).contains(task(3)) == false)
    #expect(run.reports.contains(.valueLost(task(2))))
  }

  @Test func theRunDoesNotEndBeforeItsOutputIsFoundOrMadeAgain() {
    let run = ManagerFixture(nodes: []) { $0.task(writes: [$0.file()]) }
    var restored = RestoredRun(taskCount: 1)
    restored.reuse[0] = .whole
    restored.accepted[0] = 1
    restored.hashes[file(0)] = ContentHash(words: (1, 0, 0, 0))
    restored.byteCounts[file(0)] = 10
    run.restore(restored)
    run.addNode(cores: 1)
    run.turn(.registrationClosed, offered(value(0)), offersEnded())
    #expect(run.outcome == nil)
    run.turn(found(value(0)))
    #expect(run.orders(.commit(value(0))) == [0])
    #expect(run.started.isEmpty)
  }

  @Test func whatTheNodeHadAlreadyIsNotChargedToItsDisk() {
    for isFixed in [true, false] {
      var options = ManagerOptions()
      options.hasFixedCacheLimit = isFixed
      let run = ManagerFixture(options: options, nodes: []) {
        let input = $0.file(.temp)
        $0.task(writes: [input])
        $0.task(reads: [input]) { $0.request.diskMB = 1 }
      }
      var restored = RestoredRun(taskCount: 2)
      restored.reuse[0] = .whole
      restored.accepted[0] = 1
      restored.hashes[file(0)] = ContentHash(words: (1, 0, 0, 0))
      restored.byteCounts[file(0)] = 1 << 20
      run.restore(restored)
      run.addNode(cores: 1, disk: DiskCapacity(byteCountMax: 3 << 19))
      run.turn(offered(value(0), byteCount: 1 << 20), offersEnded())
      run.turn(
        .received(.replicaFound(value(0), byteCount: 1 << 20), from: WorkerID(index: 0)))
      #expect(run.started.isEmpty == isFixed)
    }
  }

  @Test func whatWasFoundDoesNotOverflowADiskOfUnlimitedBytes() {
    var options = ManagerOptions()
    options.hasFixedCacheLimit = false
    let run = ManagerFixture(options: options, nodes: []) {
      let input = $0.file(.temp)
      $0.task(writes: [input])
      $0.task(reads: [input])
      for _ in 0..<2 { $0.task { $0.request.diskMB = 1 } }
    }
    var restored = RestoredRun(taskCount: 4)
    restored.reuse[0] = .whole
    restored.accepted[0] = 1
    restored.hashes[file(0)] = ContentHash(words: (1, 0, 0, 0))
    restored.byteCounts[file(0)] = 10
    run.restore(restored)
    run.addNode(cores: 1, disk: DiskCapacity(inodeCountMax: 100))
    run.turn(.registrationClosed, offered(value(0)), offersEnded())
    #expect(run.started.map(\.task) == [task(2)])
    run.turn(found(value(0)))
    run.turn(run.finished(task(2)), after: 1_000)
    run.turn(run.finished(task(1)), after: 1_000)
    run.turn(run.finished(task(3)), after: 1_000)
    #expect(run.outcome?.failedCount == 0)
    #expect(run.outcome?.doneCount == 4)
  }
}
