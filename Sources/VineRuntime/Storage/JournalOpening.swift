// A session's way to its journal: read what there is, make sure that nobody else runs it, take the
// next epoch.

internal import CLinux
internal import Glibc
internal import VineCore

/// How a run's directory is to be used.
enum JournalMode {
  /// Nobody used it before.
  case newRun
  case resume
  /// Corruption is skipped over and reported.
  case salvage
}

/// What a session says of itself.
struct SessionInfo {
  var jobID = ""
  var workflowPath = ""
  var workflowName = ""
}

/// A journal that this session owns.
struct OpenedJournal {
  var file: JournalFile
  var run: RunIdentity
  /// All that earlier sessions came to.
  var prior: PriorRun
  /// What people should know of the journal that was found.
  var notices: [String]
  /// When earlier sessions last wrote into it.
  var lastWrite: FileTime?
  /// When this one began to.
  var beganAt: FileTime?
}

extension JournalDirectory {
  /// Opens the journal of the run in `runPath` for writing. Throws with exit status 4 when another
  /// manager runs it, 6 when it is corrupt, 9 when it is another run's or version's.
  static func open(
    _ runPath: String, _ mode: JournalMode, _ info: SessionInfo,
    options: JournalOptions = JournalOptions()
  ) throws(RuntimeError) -> OpenedJournal {
    let directory = JournalDirectory("\(runPath)/journal")
    if mkdir(directory.path, 0o700) != 0 && errno != EEXIST {
      throw RuntimeError("make", directory.path, errno: errno)
    }
    let leasePath = "\(runPath)/lease"
    let (prior, reading, plan) = try directory.foldWhenFree(mode, leasePath, options)
    if mode == .newRun && plan.lastEpoch > 0 {
      throw RuntimeError(
        "begin a new run", runPath, detail: "it holds an earlier run", exitStatus: 4)
    }
    let lastWrite = directory.lastWrite
    let epoch = plan.lastEpoch + 1
    let owner = ProcessIdentity.current()
    let open = SessionOpen(
      epoch: epoch, time: UInt64(time(nil)), version: BuildIdentity.version, host: hostName(),
      jobID: info.jobID, workflowPath: info.workflowPath, workflowName: info.workflowName,
      tailEpoch: reading.tail.segment.epoch, tailSegment: reading.tail.segment.number,
      tailByteCount: reading.tail.byteCount, tailRecordNumber: reading.tail.record, owner: owner)
    let run: RunIdentity
    if let known = plan.run { run = known } else { run = try randomIdentity() }
    // A journal whose directory has no durable name is not durable either.
    if epoch == 1 {
      for path in [runPath, parent(of: runPath)] { _ = FileTree.syncDirectory(path) }
    }
    let state = try directory.take(open, run: run, after: reading.tail)
    let beganAt = directory.lastWrite
    let lease = Lease(path: leasePath, epoch: epoch, owner: owner, timing: options.lease)
    lease.renew()
    let lastRecord = state.record
    let file = try JournalFile(
      epoch: epoch,
      writer: SegmentWriter(
        directory: directory.path, run: run, state: state, system: options.system,
        segmentByteCountMax: options.segmentByteCountMax),
      lastRecord: lastRecord, lease: lease, options: options)
    // Where damage was skipped over, the next session must not meet it again.
    if reading.laterEntryCount >= options.snapshotEntryCount || !reading.salvaged.isEmpty {
      var whole = prior
      whole.apply(.sessionOpen(open))
      file.writeSnapshot(of: whole)
    }
    return OpenedJournal(
      file: file, run: run, prior: prior, notices: notices(of: reading, prior),
      lastWrite: lastWrite, beganAt: beganAt)
  }

  private static func parent(of path: String) -> String {
    path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  }

  private static func notices(of reading: JournalReading, _ prior: PriorRun) -> [String] {
    var notices: [String] = []
    if case .tornTail = reading.verdict { notices.append(reading.verdict.text) }
    for damage in reading.salvaged {
      notices.append(
        "skipped \(damage.byteCount) damaged bytes of the journal at \(damage.text): what they "
          + "told is done again")
    }
    for violation in prior.violations {
      notices.append("the journal contradicts itself: \(violation)")
    }
    return notices
  }

  private static func randomIdentity() throws(RuntimeError) -> RunIdentity {
    var words: (UInt64, UInt64) = (0, 0)
    guard getrandom(&words, 16, 0) == 16 else {
      throw RuntimeError("draw a random name", errno: errno)
    }
    return RunIdentity(high: words.0, low: words.1)
  }

  /// The fold, once no other manager runs it: its session is closed, its process is gone, or its
  /// lease has not changed for long enough.
  private func foldWhenFree(
    _ mode: JournalMode, _ leasePath: String, _ options: JournalOptions
  ) throws(RuntimeError) -> (prior: PriorRun, reading: JournalReading, plan: JournalPlan) {
    var watched: UInt32?
    while true {
      let found = try fold(salvages: mode == .salvage)
      let status = found.reading.verdict.exitStatus
      if status != 0 {
        throw RuntimeError(
          "resume from", path, detail: found.reading.verdict.text, exitStatus: status)
      }
      guard let open = found.prior.lastOpen, found.prior.lastClose == nil else { return found }
      // A session that began while an older one was watched lives.
      let epoch = found.plan.lastEpoch
      if let watched {
        if watched == epoch { return found }
        throw taken(by: open)
      }
      switch options.isAlive(open.owner) {
      case false?: return found
      case true?: throw taken(by: open)
      case nil: break
      }
      try waitForLease(leasePath, of: open, epoch: epoch, options)
      watched = epoch
    }
  }

  /// Looks at the lease until it turns out to be abandoned.
  private func waitForLease(
    _ leasePath: String, of open: SessionOpen, epoch: UInt32, _ options: JournalOptions
  ) throws(RuntimeError) {
    complain(
      "vine-mpi: the last session of this run (\(open.host), process \(open.owner.number)) did "
        + "not end in order; looking for a sign of it for a while")
    let watch = LeaseWatch(
      first: Lease.read(leasePath), at: monotonicNanoseconds(), timing: options.lease)
    while true {
      switch watch.verdict(of: Lease.read(leasePath), at: monotonicNanoseconds()) {
      case .free: return
      case .taken: throw taken(by: open)
      case .unknown: usleep(UInt32(clamping: max(options.lease.look / 1000, 1)))
      }
      if access("\(path)/\(SegmentName(epoch: epoch &+ 1, number: 0))", F_OK) == 0 {
        throw taken(by: open)
      }
    }
  }

  private func taken(by open: SessionOpen) -> RuntimeError {
    RuntimeError(
      "run this workflow", path,
      detail: "another vine-mpi runs it: host \(open.host), process \(open.owner.number)",
      exitStatus: 4)
  }

  /// Creates the epoch's first segment, whole or not at all. Of several who try, one can.
  private func take(
    _ open: SessionOpen, run: RunIdentity, after tail: JournalTail
  ) throws(RuntimeError) -> SegmentWriter.State {
    let name = SegmentName(epoch: open.epoch, number: 0)
    let header = SegmentHeader(
      run: run, name: name, previousRecord: tail.record, previousChecksum: tail.checksum)
    var encoder = JournalEncoder(lastRecord: tail.record)
    encoder.append(.sessionOpen(open))
    guard let flush = encoder.takeFlush(syncedRecord: tail.record) else {
      throw RuntimeError("begin the journal", path)
    }
    let bytes = header.bytes + flush.bytes
    let target = "\(path)/\(name)"
    let temporary = "\(path)/.\(name)-\(hostName())-\(getpid())-\(unpredictable())"
    let descriptor = try OwnedDescriptor.open(
      temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600, to: "begin the journal")
    var error = bytes.withUnsafeBytes { writeAll($0, to: descriptor.number) }
    if error == 0 && fsync(descriptor.number) != 0 { error = errno }
    if error == 0 && link(temporary, target) != 0 { error = errno }
    // Over NFS the answer of a link that was made may be lost: two names say that it was.
    var info = stat()
    if error != 0 && fstat(descriptor.number, &info) == 0 && info.st_nlink == 2 { error = 0 }
    unlink(temporary)
    if error == EEXIST {
      throw RuntimeError(
        "run this workflow", path, detail: "another vine-mpi has just begun to", exitStatus: 4)
    }
    if error == 0 { error = FileTree.syncDirectory(path) }
    if error != 0 {
      throw RuntimeError(
        "begin the journal", target, errno: error,
        detail: error == ENOSPC || error == EDQUOT ? "free space there, then run again" : "",
        exitStatus: 7)
    }
    return SegmentWriter.State(
      descriptor: descriptor.release(), name: name, byteCount: bytes.count,
      record: flush.lastRecord, checksum: flush.lastChecksum)
  }

  private func unpredictable() -> String { String(UInt64.random(in: 0...(.max)), radix: 16) }
}
