// The one writer of a session's journal: takes entries from the loop, which never waits for a disk.
//
// Entries gather until 20 ms have passed since the first, or 1 MiB is there, or somebody asks; then
// they are written and synced as one flush on a thread of its own, while further ones gather.

internal import Glibc
package import VineCore

/// What became of what was appended.
package enum JournalEvent: Equatable, Sendable {
  /// All records up to this one survive a crash.
  case synced(RecordNumber)
  /// Another session has taken the run over: stop at once, with status 4.
  case superseded
  /// Nothing can become durable any more: start nothing more, drain, leave with status 7.
  case failed(JournalFailure)
}

/// How the journal behaves; tests shorten times and sizes.
struct JournalOptions: Sendable {
  var flushNanoseconds: Int64 = 20_000_000
  var flushByteCount = 1 << 20
  var segmentByteCountMax = 64 << 20
  /// Entries read at a start, behind the snapshot it began at, beyond which the next start gets a snapshot to begin at.
  var snapshotEntryCount = 200_000
  var lease = LeaseTiming()
  var system = JournalSystem.real
  /// Whether the manager of an earlier session runs; nil when it cannot be told.
  var isAlive: @Sendable (ProcessIdentity) -> Bool? = { $0.isAlive }
}

final class JournalFile {
  let epoch: UInt32
  private let options: JournalOptions
  private let writer: SegmentWriter
  private let lease: Lease?
  private let queue: BlockingQueue<SegmentWriter.Outcome>
  private var encoder: JournalEncoder
  /// When the oldest entry that waits was appended.
  private var gatheringSince: Int64?
  private var isWriting = false
  private var isRenewing = false
  private var isSyncWanted = false
  private var events: [JournalEvent] = []
  /// All up to this record is durable.
  private(set) var syncedUpTo: RecordNumber
  /// Why nothing can be written any more.
  private(set) var end: JournalEvent?

  init(
    epoch: UInt32, writer: SegmentWriter, lastRecord: UInt64, lease: Lease?,
    options: JournalOptions
  ) throws(RuntimeError) {
    self.epoch = epoch
    self.writer = writer
    self.lease = lease
    self.options = options
    queue = try BlockingQueue(threadCount: 1)
    encoder = JournalEncoder(lastRecord: lastRecord)
    syncedUpTo = RecordNumber(lastRecord)
  }

  /// Readable when `poll` has something to say.
  var descriptor: Int32 { queue.descriptor }

  /// Nanoseconds since other managers could last see that this one is alive.
  var leaseAge: Int64 { lease?.age ?? 0 }
  /// Silence after which another manager may take the run.
  var leaseTakeover: Int64 { lease?.timing.takeover ?? .max }

  // MARK: Entries

  @discardableResult
  func append(_ entry: JournalEntry) -> RecordNumber {
    let record = RecordNumber(encoder.append(entry))
    noteGathering()
    return record
  }

  /// Up to the matching `endGroup`, all entries count or none.
  func beginGroup() {
    encoder.beginGroup()
    noteGathering()
  }

  func endGroup() { encoder.endGroup() }

  /// The last record appended: durable once `syncedUpTo` has reached it.
  var lastRecord: RecordNumber { RecordNumber(encoder.lastRecord) }

  /// Somebody waits for what was appended so far.
  func requestSync() {
    isSyncWanted = encoder.byteCount > 0
    startIfDue()
  }

  private func noteGathering() {
    if gatheringSince == nil { gatheringSince = monotonicNanoseconds() }
    // Nobody will ever write it.
    if end != nil { _ = encoder.takeFlush(syncedRecord: syncedUpTo.rawValue) }
  }

  // MARK: Turns

  /// Nanoseconds until `poll` has something to do; nil when only `descriptor` will tell.
  func nanosecondsToDeadline() -> Int64? {
    if end != nil { return nil }
    let now = monotonicNanoseconds()
    var due: Int64?
    if let since = gatheringSince, !isWriting {
      let isDue = isSyncWanted || encoder.byteCount >= options.flushByteCount
      due = isDue ? 0 : max(since + options.flushNanoseconds - now, 0)
    }
    if let lease, !isRenewing {
      due = min(due ?? .max, max(lease.timing.renewal - lease.age, 0))
    }
    return due
  }

  /// To be called in every turn of the loop; never blocks.
  func poll() -> [JournalEvent] {
    for outcome in queue.drain() { take(outcome) }
    startIfDue()
    if let lease, !isRenewing, end == nil, lease.age >= lease.timing.renewal {
      isRenewing = true
      queue.submit {
        lease.renew()
        return .renewed
      }
    }
    let events = events
    self.events = []
    return events
  }

  private func take(_ outcome: SegmentWriter.Outcome) {
    switch outcome {
    case .renewed:
      isRenewing = false
      return
    case .synced(let record):
      syncedUpTo = RecordNumber(record)
      events.append(.synced(syncedUpTo))
    case .superseded: stop(.superseded)
    case .failed(let failure): stop(.failed(failure))
    }
    isWriting = false
  }

  private func stop(_ event: JournalEvent) {
    if end != nil { return }
    end = event
    events.append(event)
  }

  private func startIfDue() {
    guard !isWriting, end == nil, let since = gatheringSince else { return }
    guard
      isSyncWanted || encoder.byteCount >= options.flushByteCount
        || monotonicNanoseconds() - since >= options.flushNanoseconds
    else { return }
    guard let flush = takeFlush() else { return }
    isWriting = true
    queue.submit { [writer, lease] in
      // The lease is looked at in memory; only one that may have run out costs a write.
      if let lease, lease.age >= lease.timing.takeover { lease.renew() }
      return writer.write(flush)
    }
  }

  private func takeFlush() -> JournalFlush? {
    guard let flush = encoder.takeFlush(syncedRecord: syncedUpTo.rawValue) else { return nil }
    gatheringSince = nil
    isSyncWanted = false
    return flush
  }

  // MARK: Waiting

  /// Makes all that was appended durable while the caller waits; false when that did not work in
  /// time. What happened is still told by `poll`.
  @discardableResult
  func syncNow(timeoutNanoseconds: Int64 = .max) -> Bool {
    let start = monotonicNanoseconds()
    let wanted = RecordNumber(encoder.byteCount > 0 ? encoder.lastRecord : syncedUpTo.rawValue)
    while end == nil {
      for outcome in queue.drain() { take(outcome) }
      if !isWriting && encoder.byteCount == 0 { break }
      requestSync()
      // A group that is open cannot be flushed.
      if !isWriting { break }
      let rest = timeoutNanoseconds - (monotonicNanoseconds() - start)
      if rest <= 0 { break }
      var entry = pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)
      _ = Glibc.poll(&entry, 1, Int32(clamping: min(rest / 1_000_000 + 1, 60_000)))
    }
    return end == nil && !isWriting && encoder.byteCount == 0 && syncedUpTo >= wanted
  }

  /// Appends the session's end and waits until it is durable; false when that took too long.
  @discardableResult
  func close(
    _ close: SessionClose, timeoutNanoseconds: Int64 = .max
  ) throws(JournalFailure) -> Bool {
    append(.sessionClose(close))
    let isSynced = syncNow(timeoutNanoseconds: timeoutNanoseconds)
    if case .failed(let failure)? = end { throw failure }
    return isSynced
  }

  /// Writes what stands for all that was read, while the caller waits.
  func writeSnapshot(of prior: PriorRun) {
    encoder.beginSnapshot()
    noteGathering()
    prior.snapshotEntries { entry in
      append(entry)
      if encoder.byteCount >= options.flushByteCount { syncNow() }
    }
    encoder.endSnapshot()
    syncNow()
  }
}
