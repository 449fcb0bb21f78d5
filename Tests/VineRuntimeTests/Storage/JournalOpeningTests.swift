// Who may open a journal, and what is found in it.

import Glibc
import Synchronization
import Testing
import VineCore

@testable import VineRuntime

struct JournalOpeningTests {
  private func status(of body: () throws -> Void) -> Int32? {
    do { try body() } catch let error as RuntimeError { return error.exitStatus } catch {}
    return nil
  }

  /// One session with ten tasks, each its own flush.
  private func tenTasks(_ directory: TemporaryDirectory) throws {
    let file = try openJournal(directory, .newRun).file
    for task in 0..<10 as Range<UInt32> {
      file.append(definition(task))
      file.append(done(task))
      file.syncNow()
    }
  }

  private func change(_ directory: TemporaryDirectory, _ body: (inout [UInt8]) -> Void) throws {
    let path = "\(directory.path)/journal/1-0.vj"
    var bytes = try readFile(path)
    body(&bytes)
    let file = try OwnedDescriptor.open(path, O_WRONLY | O_TRUNC)
    _ = bytes.withUnsafeBytes { writeAll($0, to: file.number) }
  }

  @Test func theNextSessionGoesOnWhereTheLastOneWasCutOff() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    try change(directory) { $0.removeLast(5) }
    let next = try openJournal(directory)
    #expect(next.prior.doneCount == 9)
    #expect(next.notices.count == 1)
    #expect(next.notices[0].contains("1-0.vj"))
    next.file.append(done(9))
    try next.file.close(ended)
    let last = try openJournal(directory)
    #expect(last.prior.doneCount == 10)
    #expect(last.notices.isEmpty)
    #expect(last.file.epoch == 3)
  }

  @Test func aLogCutAtAnyByteOfItsLastFramesOpensAndGoesOn() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    let whole = try readFile("\(directory.path)/journal/1-0.vj")
    // Within the last flush: what was synced, a definition and a task done.
    for dropped in stride(from: 0, through: 200, by: 7) {
      for name in ["2-0.vj", "2-1.vj"] { unlink("\(directory.path)/journal/\(name)") }
      try change(directory) { $0 = Array(whole.dropLast(dropped)) }
      let next = try openJournal(directory)
      #expect(next.prior.doneCount == (dropped == 0 ? 10 : 9))
      next.file.append(definition(UInt32(next.prior.tasks.count)))
      try next.file.close(ended)
      let (prior, reading, _) = try JournalDirectory("\(directory.path)/journal").fold()
      #expect(reading.verdict == .clean)
      #expect(prior.malformedCount + prior.violationCount == 0)
      #expect(prior.lastClose == ended)
    }
  }

  @Test func corruptionIsRefusedAndCanBeSalvaged() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    try change(directory) { $0[$0.count / 2] ^= 4 }
    #expect(status { _ = try openJournal(directory) } == 6)
    do {
      let salvaged = try openJournal(directory, .salvage)
      #expect(salvaged.notices.count == 1)
      #expect((8...9).contains(salvaged.prior.doneCount))
      try salvaged.file.close(ended)
    }
    // It stands on a snapshot now: nobody meets the damage again.
    let next = try openJournal(directory)
    #expect(next.notices.isEmpty)
    #expect((8...9).contains(next.prior.doneCount))
  }

  @Test func aJournalOfAnotherFormatOrRunIsRefusedWithNine() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    let other = try TemporaryDirectory()
    try tenTasks(other)
    #expect(rename("\(other.path)/journal/1-0.vj", "\(directory.path)/journal/2-0.vj") == 0)
    #expect(status { _ = try openJournal(directory) } == 9)
    unlink("\(directory.path)/journal/2-0.vj")
    try change(directory) { $0[8] = 1 }
    #expect(status { _ = try openJournal(directory) } == 9)
  }

  @Test func aNewRunIsNotBegunInAnOldOne() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    #expect(throws: RuntimeError.self) { _ = try openJournal(directory, .newRun) }
  }

  @Test func aLongLogGetsASnapshotToBeginAt() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    let next = try openJournal(directory) { $0.snapshotEntryCount = 5 }
    try next.file.close(ended)
    let journal = JournalDirectory("\(directory.path)/journal")
    let plan = try journal.plan()
    #expect(plan.starts == [1, 0])
    let (prior, reading, _) = try journal.fold()
    #expect(prior.doneCount == 10)
    #expect(prior.sessionCount == 2)
    #expect(prior.lastClose == ended)
    #expect(reading.verdict == .clean)
    unlink("\(directory.path)/journal/1-0.vj")
    #expect(try journal.fold().prior.doneCount == 10)
  }

  @Test func aSnapshotIsNotWrittenAgainForItsOwnEntries() throws {
    let directory = try TemporaryDirectory()
    try tenTasks(directory)
    for _ in 0..<3 { try openJournal(directory) { $0.snapshotEntryCount = 5 }.file.close(ended) }
    let journal = JournalDirectory("\(directory.path)/journal")
    #expect(try journal.plan().starts == [1, 0])
    let (prior, reading, _) = try journal.fold()
    #expect(prior.doneCount == 10)
    // The opening and the closing of the session that wrote it and of the two since.
    #expect(reading.laterEntryCount == 6)
  }

  @Test func ofManyTakersOfAnEpochOneWins() throws {
    let directory = try TemporaryDirectory()
    do { try openJournal(directory, .newRun).file.close(ended) }
    let path = directory.path
    let results = Mutex<[Int32?]>([])
    let kept = Mutex<[Int]>([])
    let queue = try BlockingQueue<Bool>(threadCount: 50)
    for _ in 0..<50 {
      queue.submit {
        do throws(RuntimeError) {
          let journal = try JournalDirectory.open(path, .resume, SessionInfo())
          // Who comes later must find it open.
          usleep(300_000)
          kept.withLock { $0.append(Int(journal.file.epoch)) }
          results.withLock { $0.append(0) }
        } catch { results.withLock { $0.append(error.exitStatus) } }
        return true
      }
    }
    while queue.pendingCount > 0 {
      _ = queue.drain()
      usleep(1000)
    }
    #expect(results.withLock { $0.filter { $0 == 0 }.count } == 1)
    #expect(results.withLock { $0.filter { $0 == 4 }.count } == 49)
    #expect(kept.withLock { $0 } == [2])
  }

  @Test func aManagerThatIsAliveIsNotReplaced() throws {
    let directory = try TemporaryDirectory()
    let first = try openJournal(directory, .newRun).file
    #expect(status { _ = try openJournal(directory) { $0.isAlive = { $0.isAlive } } } == 4)
    try first.close(ended)
    let second = try openJournal(directory) { $0.isAlive = { $0.isAlive } }
    #expect(second.file.epoch == 2)
  }

  @Test func aManagerElsewhereIsReplacedOnceItsLeaseStandsStill() throws {
    let directory = try TemporaryDirectory()
    let first = try openJournal(directory, .newRun) { options in
      options.lease.renewal = 5_000_000
    }.file
    let isOver = Mutex(false)
    let queue = try BlockingQueue<Int32>(threadCount: 1)
    let path = directory.path
    queue.submit {
      defer { isOver.withLock { $0 = true } }
      var options = JournalOptions()
      options.isAlive = { _ in nil }
      options.lease.takeover = 300_000_000
      options.lease.look = 10_000_000
      do throws(RuntimeError) {
        _ = try JournalDirectory.open(path, .resume, SessionInfo(), options: options)
        return 0
      } catch { return error.exitStatus ?? 1 }
    }
    // It renews its lease: the newcomer leaves.
    while !isOver.withLock({ $0 }) {
      _ = first.poll()
      usleep(1000)
    }
    usleep(10_000)
    #expect(queue.drain() == [4])
    // It renews it no more.
    let second = try openJournal(directory) { options in
      options.isAlive = { _ in nil }
      options.lease.takeover = 50_000_000
      options.lease.look = 5_000_000
    }
    #expect(second.file.epoch == 2)
  }

  @Test func aLeaseIsJudgedByTheNewcomersClock() {
    var timing = LeaseTiming()
    timing.takeover = 60
    let lease = LeaseFile(
      host: "h", bootID: "b", processNamespace: 1, pid: 2, epoch: 1, counter: 7)
    let watch = LeaseWatch(first: lease, at: 1000, timing: timing)
    var renewed = lease
    renewed.counter = 8
    #expect(watch.verdict(of: lease, at: 1059) == .unknown)
    #expect(watch.verdict(of: renewed, at: 1059) == .taken)
    #expect(watch.verdict(of: lease, at: 1060) == .free)
    #expect(watch.verdict(of: nil, at: 1001) == .taken)
  }

  @Test func aProcessIsKnownByItsStart() {
    let me = ProcessIdentity.current()
    #expect(me.isAlive == true)
    var earlier = me
    earlier.startTick += 1
    #expect(earlier.isAlive == false)
    var elsewhere = me
    elsewhere.bootID = "another"
    #expect(elsewhere.isAlive == nil)
    var gone = me
    gone.number = 0x3FFF_FFFF
    #expect(gone.isAlive == false)
  }
}
