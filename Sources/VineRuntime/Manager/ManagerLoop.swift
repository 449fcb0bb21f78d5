// Rank 0's manager: feeds the core with what workers report, encodes what it orders, records what
// it decides and tells people.

internal import CLinux
internal import Glibc
internal import VineCore

package final class ManagerLoop {
  let mpi: MPIEnvironment?
  let mailbox: Mailbox
  private let poll: EventPoll
  let options: RunOptions
  let run: RunDirectory
  private let forever: ForeverKeys
  let recorder: RunRecorder
  let results: ResultStore
  var calls: CallAccounts
  /// When a call was last sent or came back, on the monotonic clock.
  private(set) var lastCallTraffic: Int64 = 0
  private let clock = SystemClock()
  let startedAt = monotonicNanoseconds()
  private let token: String
  private let record: CacheRecord
  let isContinued: Bool
  private let beganAt: FileTime?
  /// Files that this session has published, or tried to.
  private var ownPaths: BitArray
  private let environment: [String]
  private let queue: BlockingQueue<Published?>
  var core: Manager
  var directory = WorkerDirectory()
  let workerCount: Int
  var events: [ManagerEvent] = []
  private var effects: [ManagerEffect] = []
  private var sentAt: [TaskID: Instant] = [:]
  var notes: [TaskID: AttemptNote] = [:]
  /// Why the last set-up of a library failed.
  var libraryNotes: [LibraryID: LibraryNote] = [:]
  /// The worker in this very rank does not come back from a function: only a new job can go on.
  private(set) var isStuck = false
  var failures: [String] = []
  var failedCount = 0
  /// By their records.
  var heldFailures: [HeldFailure] = []
  /// Records of the journal so far.
  var appendedCount = 0
  var triedAgainCount = 0
  var unwritten: [String] = []
  var outcome: Outcome?
  var totals = WorkerTotals()
  var outputOffset: Int64 = 0
  var hasOrderedLeaving = false
  var repeatedCount = 0
  /// The nodes on which failed attempts ran.
  var failedNodes: [TaskID: String] = [:]
  private var nextStopCheck: Int64 = 0
  let traffic: Traffic
  let times: HeartbeatTimes
  var nextHeartbeat: Int64 = 0
  var liveness: Liveness
  var groups: SiblingGroups
  let processes: ProcessWatch
  var isRegistrationClosed = false
  /// Whether somebody was lost, or the last one has registered, since this was looked at.
  var mayBeDeserted = false
  /// Workers that have said goodbye and wait for the last word.
  var departing: [WorkerID] = []
  /// Until when the last words may be on their way.
  var partingDeadline: Int64?
  var finalStatus: Int32 = 1
  /// Ended before its time, whatever the figures say.
  var isInterrupted = false
  var progress: ProgressLine
  /// The exit status, once everything is over.
  package var exitStatus: Int32?
  /// Whether some rank was lost, so that MPI_Finalize must not be called.
  var hasLosses: Bool { directory.hasLosses }
  var ownRank: Int { mpi?.rank ?? 0 }

  /// A renamed output.
  struct Published: Sendable {
    let file: FileID
    let error: Int32
  }

  /// Opens the run's files and waits for `workerCount` workers.
  init(
    _ workflow: consuming Workflow, session: Session, options: RunOptions,
    environment: [String], mpi: MPIEnvironment?,
    mailbox: Mailbox, poll: EventPoll, workerCount: Int
  ) throws(RuntimeError) {
    self.mpi = mpi
    self.mailbox = mailbox
    self.poll = poll
    self.options = options
    self.workerCount = workerCount
    run = session.run
    record = session.record
    isContinued = session.isContinued
    beganAt = session.beganAt
    ownPaths = BitArray(count: workflow.files.count)
    results = ResultStore(session.continuation.results)
    calls = try CallAccounts(tablePath: options.callsPath)
    recorder = try RunRecorder(session, options: options, results: results)
    traffic = try Traffic(options)
    poll.add(recorder.descriptor, token: PollToken.managerHelpers)
    queue = try BlockingQueue(threadCount: 2)
    poll.add(queue.descriptor, token: PollToken.managerHelpers)
    token = try unpredictableName()
    self.environment = environment
    progress = ProgressLine(isLive: options.hasLiveProgress, isQuiet: options.isQuiet)
    closing = Closing(endTime: options.endTime)
    var managerOptions = ManagerOptions()
    let origin = clock.origin
    managerOptions.endsAt = closing.tasksEndBy?.adding(nanoseconds: -origin)
    managerOptions.hasFixedCacheLimit = options.cacheLimitMB != nil
    forever = ForeverKeys(workflow)
    core = Manager(workflow, options: managerOptions)
    times = HeartbeatTimes(nodeTimeout: options.nodeTimeoutNanoseconds)
    liveness = Liveness(times, at: startedAt)
    for rank in 1..<max(mpi?.size ?? 1, 1) { liveness.add(rank) }
    groups = SiblingGroups(
      manager: SiblingGroups.Key(bootID: bootID(), processNamespace: processNamespace()))
    processes = ProcessWatch(poll: poll)
    var info = stat()
    if stat(run.outputPack, &info) == 0 { outputOffset = Int64(info.st_size) }
    if session.isContinued {
      core.restore(session.continuation.restored, seeksValues: true, effects: &effects)
    }
    tellBeginning(session)
  }

  /// Nanoseconds until something is due.
  package func nanosecondsToDeadline() -> Int64? {
    var due = max(nextStopCheck - monotonicNanoseconds(), 0)
    if let deadline = core.nextDeadline { due = min(due, max(deadline.since(clock.now), 0)) }
    if let journal = recorder.nanosecondsToDeadline() { due = min(due, journal) }
    return due
  }

  // MARK: Turns

  /// One round: gather, decide, record, act. Returns whether anything happened.
  package func turn() throws(RuntimeError) -> Bool {
    let count = try gather()
    giveUpIfDeserted()
    decide()
    try act()
    try recorder.flush()
    moveEnding(at: monotonicNanoseconds())
    mailbox.flush()
    return count > 0
  }

  private func gather() throws(RuntimeError) -> Int {
    var wireFailure: Int?
    var count = try mailbox.poll { rank, frame in
      do throws(WireError) {
        try hear(frame, from: WorkerID(index: rank))
      } catch { wireFailure = rank }
    }
    if let rank = wireFailure { onWireFailure(of: rank) }
    let now = monotonicNanoseconds()
    lookAfterWorkers(at: now, heardNobody: count == 0)
    for published in queue.drain() {
      guard let published else { continue }
      events.append(.published(published.file, error: published.error))
      count += 1
    }
    count += try hearJournal()
    if now >= nextStopCheck {
      nextStopCheck = now + 1_000_000_000
      if access(run.stopFile, F_OK) == 0 { drain(because: "\(run.stopFile) exists") }
      watchTime(at: now)
      if !hasOrderedLeaving { progress.show(core.progress, at: clock.now) }
    }
    return count
  }

  /// What became durable, or that nothing can any more.
  private func hearJournal() throws(RuntimeError) -> Int {
    let news = recorder.takeEvents()
    if recorder.isSuperseded {
      throw RuntimeError(
        "go on with", run.path, detail: "another vine-mpi has taken the run over", exitStatus: 4)
    }
    if let failure = recorder.failure, !hasToldJournalFailure {
      hasToldJournalFailure = true
      progress.interrupt()
      complain(
        "vine-mpi: \(failure)\nvine-mpi: nothing more is started or published; what is durable "
          + "already stays. Free space there or see to the file system, then run again.")
    }
    for case .journalSynced(let record) in news { showFailures(upTo: record) }
    events.append(contentsOf: news)
    return news.count
  }

  private var hasToldJournalFailure = false
  /// Renames that were ordered and not begun.
  private var heldPublishes: [FileValue] = []
  var closing: Closing

  private func tellBeginning(_ session: Session) {
    for notice in session.notices { complain("vine-mpi: \(notice)") }
    if options.isQuiet { return }
    let count = core.progress.reusedCount
    if !session.isContinued {
      tell("vine-mpi: run directory \(run.path)")
    } else {
      tell(
        "vine-mpi: going on with \(run.path): \(count) of \(core.workflow.tasks.count) tasks are "
          + "done (--fresh starts anew)")
    }
  }

  private func decide() {
    let now = clock.now
    // Without a node the core would call every task one that fits nowhere.
    if isInterrupted { events.removeAll() }
    for event in events { core.handle(event, at: now, effects: &effects) }
    events.removeAll(keepingCapacity: true)
    if core.nodeCount > 0 && !hasOrderedLeaving { core.schedule(at: now, effects: &effects) }
  }

  private func act() throws(RuntimeError) {
    for effect in effects {
      switch effect {
      case .send(let message, let worker): send(message, to: worker)
      case .append(let record):
        if case .result(let value, _) = record { results.accept(value) }
        let node: String =
          if case .done(_, _, let node, _) = record {
            directory.nodeNames[node.index]
          } else {
            ""
          }
        recorder.record(record, of: core, nodeName: node)
        appendedCount += 1
      case .beginGroup: recorder.beginGroup()
      case .endGroup: recorder.endGroup()
      case .sync: recorder.requestSync()
      case .publish(let value): heldPublishes.append(value)
      case .discard(let value): discard(value)
      case .report(let report): show(report)
      case .retire(let worker):
        if worker.index == ownRank { isStuck = true }
        lose(worker.index, because: "it does not come back from the function of a gang")
      case .finish(let outcome):
        self.outcome = outcome
        orderLeaving()
      }
    }
    effects.removeAll(keepingCapacity: true)
    publishHeld()
  }

  // MARK: Messages in

  /// The one place where the lost are told from the living.
  private func hear(
    _ frame: UnsafeRawBufferPointer, from worker: WorkerID
  ) throws(WireError) {
    guard !directory.isLost(worker) else { return answerLost(worker) }
    liveness.heard(worker.index)
    try receive(frame, from: worker)
  }

  private func receive(
    _ frame: UnsafeRawBufferPointer, from worker: WorkerID
  ) throws(WireError) {
    var reader = WireReader(frame)
    guard let kind = FrameKind(rawValue: try reader.take()) else { throw WireError() }
    if let message = try reader.takeWorkerMessage(kind) {
      if case .resultReady(let value, _) = message {
        results.keep(value, Array(try reader.takeBytes()))
      }
      if case .transferEnded(let transfer, let byteCount, let error) = message {
        traffic.ended(
          transfer, byteCount: byteCount, error: error, at: clock.now, in: core.workflow)
      }
      if case .taskFinished(let attempt, let completion) = message,
        completion.ending != .succeeded
      {
        failedNodes[attempt.task] = directory[worker]?.registration.hostName
      }
      let copies = copyCount(of: message)
      if copies == 0 { return }
      let message = onManagersClock(message, of: worker)
      account(message)
      let event = ManagerEvent.received(message, from: worker)
      for _ in 0..<copies { events.append(event) }
      return
    }
    switch kind {
    case .registration: register(worker, try reader.takeRegistration())
    case .note: keep(try reader.takeNote(), of: worker)
    case .libraryNote:
      let note = try reader.takeLibraryNote()
      libraryNotes[note.library] = note
    case .pong:
      let sent = try reader.take(Int64.self)
      let there = try reader.take(Int64.self)
      let pings = directory.measure(
        worker, sent: sent, there: there, received: monotonicNanoseconds())
      if pings < 8 { ping(worker) }
    case .leaving: onLeaving(worker, try reader.takeTotals())
    case .goodbye: onGoodbye(of: worker)
    case .alive: break
    case .moved: traffic.moved(try reader.takeMovedBytes())
    case .siblingLost: onSiblingLost(try reader.takeSiblingLoss(), from: worker)
    default: throw WireError()
    }
  }

  private func account(_ message: WorkerMessage) {
    switch message {
    case .taskFinished(let attempt, let completion):
      if calls.isOpen(attempt.task) { lastCallTraffic = monotonicNanoseconds() }
      calls.ended(attempt, completion, in: core.workflow, at: clock.now)
    case .instanceReady(let allocation, _): calls.instanceReady(allocation, at: clock.now)
    default: break
    }
  }

  /// 1, unless a test wants a message lost or delivered twice.
  private func copyCount(of message: WorkerMessage) -> Int {
    guard case .taskFinished(let attempt, _) = message, !FaultHooks.shared.isIdle else { return 1 }
    let name = core.workflow.name(of: attempt.task)
    switch FaultHooks.shared.action(at: "message.taskFinished", name: name) {
    case .drop?: return 0
    case .dup?: return 2
    default: return 1
    }
  }

  private func register(_ worker: WorkerID, _ registration: Registration) {
    guard registration.build == BuildIdentity.text else {
      refuse(
        "rank \(worker.index) on \(registration.hostName) runs vine-mpi \(registration.build), "
          + "rank 0 runs \(BuildIdentity.text): install the same build on all nodes")
      return
    }
    directory.add(
      worker, registration,
      addNode: { core.addNode($0, agent: worker, isRecalling: !forever.rows.isEmpty) },
      addExecutor: { core.addExecutor($0, on: $1) })
    let isSameBoot = registration.bootID == bootID()
    // A worker hosted here needs no bell: its messages are handed over within the process.
    let isReachable =
      isSameBoot && registration.processNamespace == processNamespace()
      && worker.index != mpi?.rank ?? 0
    if isReachable {
      mailbox.doorbells[worker.index] = registration.processID
    }
    if !isSameBoot { ping(worker) }
    welcome(worker, isReachable: isReachable)
    if registration.topology != nil { recall(on: worker) }
    lookAfter(worker, registration)
    // A rank that was slow to start may find everything done.
    if hasOrderedLeaving { mailbox.send(WireWriter(.leave), to: worker.index, .worker) }
    closeRegistrationIfComplete()
  }

  private func ping(_ worker: WorkerID) {
    var frame = WireWriter(.ping)
    frame.put(monotonicNanoseconds())
    mailbox.send(frame, to: worker.index, .worker)
  }

  private func welcome(_ worker: WorkerID, isReachable: Bool) {
    let welcome = Welcome(
      token: token, runName: run.name, scratch: options.scratch,
      submitDirectory: absolutePath("."), environment: environment, umask: currentUmask(),
      // What has no digest cannot be taken over by the next session.
      wantsHashes: options.digestsPath != nil || options.keepsCaches,
      managerProcessID: isReachable ? getpid() : 0,
      outputPath: run.outputPack, nodeTimeoutNanoseconds: times.nodeTimeout, record: record,
      seeksValues: isContinued)
    mailbox.send(WireWriter(welcome), to: worker.index, .worker)
  }

  /// Asks a node's agent for what earlier runs left there.
  private func recall(on worker: WorkerID) {
    if forever.rows.isEmpty { return }
    var frame = WireWriter(.recall)
    frame.put(UInt32(forever.rows.count))
    for (file, key) in forever.rows.sorted(by: { $0.key < $1.key }) {
      frame.put(ForeverOrder(core.acceptedValue(of: file), key))
    }
    mailbox.send(frame, to: worker.index, .worker)
  }

  /// Puts a finish on the manager's clock. An attempt cannot have begun before it was sent nor
  /// have ended after it was reported: that bounds what is left of the error of clocks.
  private func onManagersClock(_ message: WorkerMessage, of worker: WorkerID) -> WorkerMessage {
    guard case .taskFinished(let attempt, var completion) = message,
      completion.start.nanoseconds > 0, let row = directory[worker]
    else { return message }
    let sent = sentAt.removeValue(forKey: attempt.task) ?? .zero
    let shift = row.clockOffset - clock.origin
    let start = max(completion.start.adding(nanoseconds: shift), sent)
    let end = min(completion.end.adding(nanoseconds: shift), clock.now)
    completion.start = start
    completion.end = max(start, end)
    return .taskFinished(attempt, completion)
  }

  private func keep(_ note: AttemptNote, of worker: WorkerID) {
    if note.attempt.task != .none {
      notes[note.attempt.task] = note
      return
    }
    if note.attempt.number == .max {
      refuse(note.reason)
    } else {
      complain("vine-mpi: \(note.reason)")
    }
  }

  // MARK: Messages out

  private func send(_ message: ManagerMessage, to worker: WorkerID) {
    let rank = worker.index
    switch message {
    case .startCall(let attempt, let allocation, let timeout, let hashesFirst):
      startCall(
        attempt, allocation, timeoutMilliseconds: timeout, hashesFirst: hashesFirst, to: rank)
    case .startInstance(let allocation, let library, _, _, _):
      mailbox.send(
        WireWriter(InstanceOrder(allocation, library, of: core)), to: rank, .worker)
    case .stopInstance(let allocation):
      var frame = WireWriter(.stopInstance)
      frame.put(allocation.rawValue)
      mailbox.send(frame, to: rank, .worker)
    case .startTask(let attempt, let allocation, let timeout, let hashesFirst)
    where core.workflow.tasks[attempt.task].commandKind.hasResult:
      startCall(
        attempt, allocation, timeoutMilliseconds: timeout, hashesFirst: hashesFirst, to: rank)
    case .startTask(let attempt, let allocation, let timeout, let hashesFirst):
      sentAt[attempt.task] = clock.now
      let order = AttemptOrder(
        attempt, allocation, timeoutMilliseconds: timeout, hashesFirst: hashesFirst, of: core,
        in: directory)
      mailbox.send(WireWriter(order), to: rank, .worker)
    case .takeBack(let attempt): sendAttempt(.takeBack, attempt, to: rank)
    case .killTask(let attempt): sendAttempt(.killTask, attempt, to: rank)
    case .fetch(let value, let transfer, let source, let byteCount):
      traffic.ordered(
        transfer, of: value.file, from: source, to: directory.nodeName(of: worker), at: clock.now,
        sourceName: source.agent.map { directory.nodeName(of: $0) })
      let order = FetchOrder(
        value, transfer: transfer, from: source, byteCount: byteCount, on: core.node(of: worker),
        of: core, run: run, forever: forever)
      mailbox.send(WireWriter(order), to: rank, .worker)
    case .assist(let value, let transfer, let source):
      let location =
        source == .sharedFileSystem ? Array(run.readablePath(of: value.file, in: core).utf8) : []
      let order = AssistOrder(
        value: value, transfer: transfer, source: source, location: location)
      mailbox.send(WireWriter(order), to: rank, .worker)
    case .unlink(let value):
      var frame = WireWriter(.unlink)
      frame.put(value)
      mailbox.send(frame, to: rank, .worker)
    case .commit(let value):
      mailbox.send(
        WireWriter(CommitOrder(value, of: core.workflow, run: run)), to: rank, .worker)
    case .adopt(let value, let attempt):
      let order = AdoptOrder(
        value: value, attempt: attempt, byteCount: core.restoredByteCount(of: value.file),
        hash: core.hash(of: value.file) ?? .unknown)
      mailbox.send(WireWriter(order), to: rank, .worker)
    case .dropOffers: mailbox.send(WireWriter(.dropOffers), to: rank, .worker)
    case .leave: mailbox.send(WireWriter(.leave), to: rank, .worker)
    }
  }

  private func startCall(
    _ attempt: AttemptID, _ allocation: AllocationID, timeoutMilliseconds: UInt32,
    hashesFirst: Bool, to rank: Int
  ) {
    let now = clock.now
    sentAt[attempt.task] = now
    lastCallTraffic = monotonicNanoseconds()
    calls.sent(attempt, allocation, of: core, at: now)
    let order = CallOrder(
      attempt, allocation, timeoutMilliseconds: timeoutMilliseconds, hashesFirst: hashesFirst,
      of: core, results: results)
    mailbox.send(WireWriter(order), to: rank, .worker)
  }

  private func sendAttempt(_ kind: FrameKind, _ attempt: AttemptID, to rank: Int) {
    var frame = WireWriter(kind)
    frame.put(attempt)
    mailbox.send(frame, to: rank, .worker)
  }

  // MARK: Publishing

  /// An owner whose last sign of life is old may have been taken for dead, and another may publish:
  /// it waits until it has shown that it lives.
  private func publishHeld() {
    if heldPublishes.isEmpty || recorder.isLeaseOld { return }
    for value in heldPublishes { publish(value) }
    heldPublishes.removeAll(keepingCapacity: true)
  }

  private func publish(_ value: FileValue) {
    let file = value.file
    let path = core.workflow.locationText(file)
    let temporary = run.temporary(of: value, in: core.workflow)
    let isDirectory = core.workflow.files[file].isDirectory
    let name = core.workflow.name(of: core.workflow.files[file].producer)
    let beganAt = ownPaths[file.index] ? nil : beganAt
    ownPaths[file.index] = true
    queue.submit {
      _ = FaultHooks.shared.action(at: "publish.before", name: name)
      defer { _ = FaultHooks.shared.action(at: "publish.after", name: name) }
      let error = VineRuntime.publish(
        temporary, at: path, isDirectory: isDirectory, unlessChangedSince: beganAt)
      return Published(file: file, error: error)
    }
  }

  /// The durable copy of a value that does not count any more. Objects stay: another value may have
  /// the same content.
  func discard(_ value: FileValue) {
    guard core.workflow.files[value.file].isPublished else { return }
    let temporary = run.temporary(of: value, in: core.workflow)
    queue.submit {
      FileTree.remove(temporary)
      return nil
    }
  }

  func interruptProgress() { progress.interrupt() }

  // MARK: Ending

  /// The run is refused: nothing more happens.
  private func refuse(_ text: String) {
    complain("vine-mpi: \(text)")
    try? run.write(OutcomeFile(status: 2, epoch: Int(recorder.epoch), text: statusText(2)))
    exitStatus = 2
  }

  func refuseBuild(of rank: Int) {
    refuse(
      "rank \(rank) sends messages of another build of vine-mpi: install the same on all nodes")
  }
}

/// 128 random bits as text.
private func unpredictableName() throws(RuntimeError) -> String {
  var bytes = [UInt8](repeating: 0, count: 16)
  guard getrandom(&bytes, bytes.count, 0) == bytes.count else {
    throw RuntimeError("draw a random name", errno: errno)
  }
  return bytes.map { byte in
    let digits = String(byte, radix: 16)
    return byte < 16 ? "0\(digits)" : digits
  }.joined()
}

private func currentUmask() -> UInt32 {
  let mask = umask(0o077)
  umask(mask)
  return UInt32(mask)
}
