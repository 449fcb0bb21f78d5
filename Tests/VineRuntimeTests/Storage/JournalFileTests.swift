// The journal on a disk that fails, lags, or belongs to somebody else.

import Glibc
import Synchronization
import Testing
import VineCore

@testable import VineRuntime

/// Opens the journal of the run in `directory`; the earlier session's process counts as dead.
func openJournal(
  _ directory: TemporaryDirectory, _ mode: JournalMode = .resume,
  _ change: (inout JournalOptions) -> Void = { _ in }
) throws -> OpenedJournal {
  var options = JournalOptions()
  options.isAlive = { _ in false }
  change(&options)
  return try JournalDirectory.open(directory.path, mode, SessionInfo(), options: options)
}

func definition(_ number: UInt32) -> JournalEntry {
  .taskDefinition(
    TaskDefinition(
      task: TaskNumber(number), key: ContentHash(words: (UInt64(number) + 1, 2, 3, 4)),
      definition: ContentHash(words: (9, 9, 9, UInt64(number))), isDeterministic: true,
      name: "task-\(number)"))
}

func done(_ number: UInt32) -> JournalEntry {
  .done(
    DoneEntry(
      task: TaskNumber(number), attempt: 1, rank: 1, completion: Completion(.succeeded),
      inputs: [.inline], outputByteCounts: [1]))
}

let ended = SessionClose(reason: .ended, status: 0, doneCount: 0, failedCount: 0)

struct JournalFileTests {
  private func fold(_ directory: TemporaryDirectory) throws -> (PriorRun, JournalReading) {
    let folded = try JournalDirectory("\(directory.path)/journal").fold()
    return (folded.prior, folded.reading)
  }

  /// Appends `count` tasks, one flush each.
  private func write(_ count: UInt32, to file: JournalFile, from start: UInt32 = 0) {
    for task in start..<start + count {
      file.append(definition(task))
      file.append(done(task))
      file.syncNow()
    }
  }

  @Test func whatWasSyncedIsReadBack() throws {
    let directory = try TemporaryDirectory()
    let journal = try openJournal(directory, .newRun)
    write(5, to: journal.file)
    #expect(journal.file.syncedUpTo == journal.file.lastRecord)
    try journal.file.close(ended)
    let (prior, reading) = try fold(directory)
    #expect(reading.verdict == .clean)
    #expect(prior.doneCount == 5)
    #expect(prior.lastClose == ended)
    #expect(journalNames(task: "task-4", in: "\(directory.path)/journal") == true)
    #expect(journalNames(task: "task-5", in: "\(directory.path)/journal") == false)
    #expect(journalNames(task: "task-5", in: "\(directory.path)/no") == nil)
  }

  @Test func theLoopNeverWaitsForASlowDisk() throws {
    let directory = try TemporaryDirectory()
    let syncs = Mutex(0)
    let file = try openJournal(directory, .newRun) { options in
      options.system.sync = { _ in
        syncs.withLock { $0 += 1 }
        usleep(20_000)
        return 0
      }
    }.file
    let start = monotonicNanoseconds()
    var longest: Int64 = 0
    var task: UInt32 = 0
    var synced = RecordNumber(0)
    while monotonicNanoseconds() - start < 500_000_000 {
      let before = monotonicNanoseconds()
      for _ in 0..<20 {
        file.append(definition(task))
        file.append(done(task))
        task += 1
      }
      for event in file.poll() {
        if case .synced(let record) = event { synced = record }
      }
      longest = max(longest, monotonicNanoseconds() - before)
      usleep(1000)
    }
    #expect(synced > RecordNumber(0))
    try file.close(ended)
    #expect(syncs.withLock { $0 } < 40)
    #expect(task > 2500, "5,000 tasks a second are to be taken")
    #expect(longest < 200_000_000)
    #expect(try fold(directory).0.doneCount == Int(task))
  }

  @Test func anErrorOnceCostsASegmentAndNoRecord() throws {
    for (failing, error) in [("sync", EIO), ("sync", ENOSPC), ("write", ENOSPC), ("write", EIO)] {
      let directory = try TemporaryDirectory()
      let count = Mutex(0)
      let file = try openJournal(directory, .newRun) { options in
        let real = options.system
        if failing == "sync" {
          options.system.sync = { descriptor in
            count.withLock {
              $0 += 1; return $0
            } == 3 ? error : real.sync(descriptor)
          }
        } else {
          options.system.write = { descriptor, bytes in
            count.withLock {
              $0 += 1; return $0
            } == 3 ? -Int(error) : real.write(descriptor, bytes)
          }
        }
      }.file
      write(6, to: file)
      try file.close(ended)
      let (prior, reading) = try fold(directory)
      #expect(reading.verdict == .clean)
      #expect(prior.doneCount == 6)
      #expect(prior.duplicateCount == 0)
      #expect(try JournalDirectory("\(directory.path)/journal").segments().count == 2)
    }
  }

  @Test func anErrorForEverIsReportedAndHarmsNothingEarlier() throws {
    let directory = try TemporaryDirectory()
    let fails = Mutex(false)
    let file = try openJournal(directory, .newRun) { options in
      options.system.sync = { fails.withLock { $0 } ? ENOSPC : fdatasync($0) }
    }.file
    write(3, to: file)
    fails.withLock { $0 = true }
    file.append(definition(3))
    #expect(!file.syncNow())
    let events = file.poll()
    guard case .failed(let failure)? = events.last else {
      Issue.record("\(events)")
      return
    }
    #expect(failure.errno == ENOSPC)
    #expect("\(failure)".contains("free space"))
    #expect(throws: JournalFailure.self) { try file.close(ended) }
    #expect(try fold(directory).0.doneCount == 3)
    // The next session goes on.
    let next = try openJournal(directory).file
    write(1, to: next, from: 4)
    try next.close(ended)
    let (prior, reading) = try fold(directory)
    #expect(prior.doneCount == 4)
    #expect(reading.verdict == .clean)
  }

  @Test func shortWritesAreGoneOnWith() throws {
    let directory = try TemporaryDirectory()
    let file = try openJournal(directory, .newRun) { options in
      options.system.write = { Glibc.write($0, $1.baseAddress, min($1.count, 7)) }
    }.file
    write(4, to: file)
    try file.close(ended)
    #expect(try fold(directory).0.doneCount == 4)
  }

  @Test func segmentsOfAFewBytesMakeOneLog() throws {
    let directory = try TemporaryDirectory()
    let file = try openJournal(directory, .newRun) { $0.segmentByteCountMax = 500 }.file
    write(20, to: file)
    try file.close(ended)
    #expect(try JournalDirectory("\(directory.path)/journal").segments().count > 5)
    let (prior, reading) = try fold(directory)
    #expect(prior.doneCount == 20)
    #expect(reading.verdict == .clean)
  }

  @Test func aGroupIsNotFlushedBeforeItsEnd() throws {
    let directory = try TemporaryDirectory()
    let file = try openJournal(directory, .newRun).file
    file.append(definition(0))
    file.beginGroup()
    file.append(done(0))
    #expect(!file.syncNow(timeoutNanoseconds: 10_000_000))
    file.endGroup()
    #expect(file.syncNow())
    #expect(try fold(directory).0.doneCount == 1)
  }

  @Test func aSessionIsCutOffWhenAnotherTakesOver() throws {
    let directory = try TemporaryDirectory()
    let old = try openJournal(directory, .newRun).file
    write(2, to: old)
    let new = try openJournal(directory).file
    #expect(new.epoch == 2)
    old.append(definition(2))
    #expect(!old.syncNow())
    #expect(old.poll().last == .superseded)
    write(1, to: new, from: 2)
    #expect(try fold(directory).0.doneCount == 3)
  }
}
