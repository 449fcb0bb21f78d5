import Testing
import VineCore

private let megabyte: Int64 = 1 << 20

@Suite struct CapacityTests {
  /// A fixture with nodes of `cores` cores and disks of so many MB.
  private func fixture(
    disks: [Int64], cores: Int = 4, waits: Bool = true,
    _ build: (inout WorkflowBuilder) -> Void
  ) -> ManagerFixture {
    var options = ManagerOptions()
    options.waitsForInputs = waits
    let run = ManagerFixture(options: options, nodes: [], build)
    for disk in disks { run.addNode(cores: cores, disk: limit(disk)) }
    return run
  }

  private func limit(_ megabytes: Int64) -> DiskCapacity {
    DiskCapacity(byteCountMax: megabytes * megabyte)
  }

  @Test func declaredDiskIsPartOfTheRequest() {
    let run = fixture(disks: [10]) {
      for _ in 0..<3 { $0.task { $0.request.diskMB = 4 } }
    }
    run.turn()
    #expect(run.started.map(\.task) == [task(0), task(1)])
    run.turn(run.finished(task(0)))
    #expect(run.started.map(\.task) == [task(2)])
  }

  @Test func moreDiskThanAnyNodeHasFailsAtOnceByName() {
    let run = fixture(disks: [10, 20]) { $0.task { $0.request.diskMB = 21 } }
    run.turn(.registrationClosed)
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(0), 0), .fitsNoNode))))
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func inputsThatFitNowhereTogetherFailAtOnce() {
    let run = fixture(disks: [10]) {
      let inputs = [$0.file(byteCount: 6 * megabyte), $0.file(byteCount: 6 * megabyte)]
      $0.task(reads: inputs)
    }
    run.turn(.registrationClosed)
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(0), 0), .noRoom(13)))))
  }

  @Test func allInputsAreReservedBeforeTheFirstMoves() {
    // Each of the two fits by itself. Were half of each fetched, neither could ever start.
    let run = fixture(disks: [10]) {
      for _ in 0..<2 {
        $0.task(reads: [$0.file(byteCount: 4 * megabyte), $0.file(byteCount: 4 * megabyte)])
      }
    }
    run.turn(.registrationClosed)
    #expect(run.fetched.map(\.file) == [file(0), file(1)])
    run.turn(
      run.transferred(0, byteCount: 4 * megabyte), run.transferred(1, byteCount: 4 * megabyte))
    #expect(run.started == [Started(task(0))])
    #expect(run.fetched.isEmpty)
    run.turn(run.finished(task(0)))
    #expect(run.fetched.map(\.file) == [file(2), file(3)])
  }

  @Test func whatIsOnTheSharedFileSystemIsEvictedForATask() {
    let run = fixture(disks: [10], cores: 1) {
      let first = $0.file(byteCount: 6 * megabyte)
      $0.task(reads: [first]) { $0.priority = 9 }
      $0.task(reads: [$0.file(byteCount: 6 * megabyte)])
      // Keeps the first file needed.
      $0.task(reads: [first], after: [task(1)])
    }
    run.turn(.registrationClosed)
    run.turn(run.transferred(0, byteCount: 6 * megabyte))
    run.turn(run.finished(task(0)))
    #expect(run.orders(.unlink(value(0, 0))) == [0])
    #expect(run.fetched.map(\.file) == [file(1)])
  }

  @Test func theLastCopyOfWhatMayNotBeMadeAgainStays() {
    let run = fixture(disks: [10], cores: 1) {
      let made = $0.file(.temp, byteCount: 6 * megabyte)
      $0.task(writes: [made])
      $0.task(reads: [$0.file(byteCount: 6 * megabyte)], after: [task(0)])
      $0.task(reads: [made], after: [task(1)])
    }
    run.turn(.registrationClosed)
    run.turn(run.ready(file(0), byteCount: 6 * megabyte), run.finished(task(0)))
    #expect(run.orders(.unlink(value(0))) == [])
    // Nothing will ever make room: the run says what fills the disk and goes on to its end.
    #expect(
      run.effects.contains(
        .report(.diskHolds(file(0), byteCount: 6 * megabyte, on: NodeID(index: 0)))))
    #expect(run.effects.contains(.report(.taskFailed(AttemptID(task(1), 0), .noRoom(7)))))
  }

  @Test func aCheapDeterministicProducerMayRunAgain() {
    let run = fixture(disks: [10], cores: 1) {
      let made = $0.file(.temp, byteCount: 6 * megabyte)
      $0.task(writes: [made]) { $0.isDeterministic = true }
      $0.task(reads: [$0.file(byteCount: 6 * megabyte)], after: [task(0)])
      $0.task(reads: [made], after: [task(1)])
    }
    run.turn(.registrationClosed)
    run.turn(run.ready(file(0), byteCount: 6 * megabyte), run.finished(task(0)))
    #expect(run.orders(.unlink(value(0))) == [0])
    run.turn(run.transferred(0, byteCount: 6 * megabyte))
    run.turn(run.finished(task(1)))
    #expect(run.started == [Started(task(0), 2)])
    run.turn(
      run.ready(file(0), attempt: 2, byteCount: 6 * megabyte), run.finished(task(0), 2))
    #expect(run.started == [Started(task(2), 2)])
  }

  @Test func anotherCopyGoesBeforeWhatWouldBeReadAgain() {
    let run = fixture(disks: [100, 20], cores: 1, waits: false) {
      let made = $0.file(.temp, byteCount: 6 * megabyte)
      let source = $0.file(byteCount: 6 * megabyte)
      $0.task(writes: [made]) { $0.request.diskMB = 50 }
      // Occupies the first node, so that the others run on the second.
      $0.task(after: [task(0)]) {
        $0.request.diskMB = 80; $0.priority = 9
      }
      $0.task(reads: [source], after: [task(0)]) { $0.priority = 5 }
      $0.task(reads: [made], after: [task(2)]) { $0.priority = 5 }
      $0.task(reads: [$0.file(byteCount: 12 * megabyte)], after: [task(3)])
      $0.task(reads: [made, source], after: [task(4)])
    }
    run.turn(.registrationClosed)
    run.turn(run.ready(file(0), byteCount: 6 * megabyte), run.finished(task(0)))
    run.turn(run.transferred(0, byteCount: 6 * megabyte, by: 1))
    run.turn(run.finished(task(2), by: 1))
    #expect(run.fetched.map(\.file) == [file(0)])
    run.turn(run.transferred(1, byteCount: 6 * megabyte, by: 1))
    run.turn(run.finished(task(3), by: 1))
    // The source was used longer ago, but node 0 has the other one.
    #expect(run.orders(.unlink(value(0))) == [1])
    #expect(run.orders(.unlink(value(1, 0))) == [])
  }

  @Test func aFullDiskSendsTheTaskElsewhereAtNobodysCharge() {
    let run = fixture(disks: [100, 100], cores: 1) {
      let input = $0.file(byteCount: 6 * megabyte)
      $0.task(reads: [input])
    }
    run.turn(.registrationClosed)
    #expect(run.fetched == [Fetched(file(0), transfer: 0, from: .sharedFileSystem, to: 0)])
    run.turn(run.measured(free: 1 * megabyte), run.transferred(0, error: 28, byteCount: 0))
    #expect(run.fetched == [Fetched(file(0), transfer: 1, from: .sharedFileSystem, to: 1)])
    #expect(run.manager.failureCount(of: task(0)) == 0)
  }

  @Test func noInodesAreNoRoom() {
    let run = fixture(disks: [100, 100], cores: 1) { $0.task() }
    run.turn(.registrationClosed)
    run.turn(
      run.measured(free: 90 * megabyte, inodes: 0), run.finished(task(0), 1, .sandboxFailed(28)))
    #expect(run.started == [Started(task(0), 2, on: 1)])
  }

  @Test func aNodeThatWasFullIsTriedAgainWhenNothingElseIsLeft() {
    let run = fixture(disks: [100], cores: 1) { $0.task() }
    run.turn(.registrationClosed)
    for number in 1...UInt32(Limits.limitRestoresMax) {
      run.turn(run.measured(free: 0), run.finished(task(0), number, .sandboxFailed(28)))
      #expect(run.started == [Started(task(0), number + 1)])
    }
    run.turn(
      run.measured(free: 0),
      run.finished(task(0), UInt32(Limits.limitRestoresMax) + 1, .sandboxFailed(28)))
    #expect(run.outcome?.failedCount == 1)
  }

  @Test func whatFoundNoRoomTogetherIsTriedOneByOne() {
    // The node says 100 MB and has 30; nobody knows that the files have 20 each.
    let run = fixture(disks: [100], cores: 2) {
      for _ in 0..<2 { $0.task(reads: [$0.file()]) }
    }
    run.turn(.registrationClosed)
    #expect(run.fetched.map(\.file) == [file(0), file(1)])
    run.turn(run.measured(free: 0), run.transferred(1, error: 28, byteCount: 20 * megabyte))
    #expect(run.fetched.isEmpty)
    run.turn(run.measured(free: 0), run.transferred(0, error: 28, byteCount: 20 * megabyte))
    #expect(run.fetched.count == 1)
    let first = run.fetched[0].file
    run.turn(run.transferred(2, byteCount: 20 * megabyte))
    #expect(run.started.count == 1)
    // The other one tries once more, finds how much there is, and waits.
    if !run.fetched.isEmpty {
      run.turn(
        run.measured(free: 10 * megabyte), run.transferred(3, error: 28, byteCount: 20 * megabyte))
      #expect(run.fetched.isEmpty)
    }
    run.turn(
      run.finished(task(first.index), UInt32(run.manager.attemptCount(of: task(first.index)))))
    #expect(run.fetched.count == 1)
    #expect(run.outcome == nil)
  }

  @Test func outputsBeyondTheLimitPushOthersOut() {
    let run = fixture(disks: [10], cores: 2) {
      let source = $0.file(byteCount: 6 * megabyte)
      let made = $0.file(.temp)
      $0.task(reads: [source])
      $0.task(writes: [made])
      $0.task(reads: [made], after: [task(0)])
      $0.task(reads: [source], after: [task(2)])
    }
    run.turn(.registrationClosed)
    run.turn(run.transferred(0, byteCount: 6 * megabyte))
    run.turn(run.finished(task(0)))
    #expect(run.orders(.unlink(value(0, 0))) == [])
    // Nobody had said how much it would be.
    run.turn(run.ready(file(1), byteCount: 8 * megabyte), run.finished(task(1)))
    #expect(run.orders(.unlink(value(0, 0))) == [0])
    #expect(run.manager.peakCacheByteCount(of: NodeID(index: 0)) == 14 * megabyte)
  }

  @Test func absurdHintsEndNothing() {
    let run = fixture(disks: [10], cores: 2) {
      var files: [FileID] = []
      for _ in 0..<4 { files.append($0.file(byteCount: .max)) }
      $0.task(reads: files)
      $0.task { $0.request.diskMB = .max }
    }
    run.turn(.registrationClosed)
    #expect(run.outcome?.failedCount == 2)
  }
}
