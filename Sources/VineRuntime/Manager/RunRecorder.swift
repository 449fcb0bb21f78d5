// What a run leaves in files while it goes on: journal, trace, digests, sums.

internal import CLinux
internal import DequeModule
internal import Glibc
internal import VineCore

final class RunRecorder {
  private let journal: JournalFile
  let run: RunDirectory
  private let keys: WorkflowKeys
  /// The journal's numbers of the tasks that were named in it.
  private var numbers: [TaskNumber]
  private var nextNumber: UInt32
  private var sourceNumbers: [FileID: SourceNumber] = [:]
  private var nextSource: UInt32
  /// The core's records that are not durable yet, by the journal's numbers.
  private var unsynced: Deque<(record: RecordNumber, count: Int)> = []
  private var recordCount = 0
  /// Descriptor of the trace file; -1 when none was asked for.
  private let trace: Int32
  private var traceRows: [UInt8] = []
  private var digests: [FileID: HashedContent] = [:]
  private let digestsPath: String?
  private(set) var firstStart: Instant?
  private(set) var lastEnd = Instant.zero
  private(set) var coreNanoseconds: Double = 0
  private(set) var cpuMicroseconds: Int64 = 0

  private let results: ResultStore

  init(
    _ session: Session, options: RunOptions, results: ResultStore
  ) throws(RuntimeError) {
    self.results = results
    journal = session.journal
    run = session.run
    keys = session.keys
    numbers = session.continuation.numbers
    nextNumber = UInt32(session.priorTaskCount)
    nextSource = UInt32(session.priorSourceCount)
    digests = session.continuation.contents
    if let path = options.tracePath {
      trace = try OwnedDescriptor.open(
        path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644, to: "write the trace"
      ).release()
      traceRows.append(contentsOf: "# id\tnode\tstart\tend\tcores\n".utf8)
    } else {
      trace = -1
    }
    digestsPath = options.digestsPath
    if let path = digestsPath {
      // Written at the end, but a path that cannot be written is said now.
      _ = try OwnedDescriptor.open(
        path, O_WRONLY | O_CREAT, mode: 0o644, to: "write the digests")
    }
  }

  deinit { if trace >= 0 { Glibc.close(trace) } }

  /// Readable when something of the journal became durable.
  var descriptor: Int32 { journal.descriptor }
  var epoch: UInt32 { journal.epoch }
  func nanosecondsToDeadline() -> Int64? { journal.nanosecondsToDeadline() }
  func requestSync() { journal.requestSync() }
  /// Whether another manager may soon take the run for abandoned: half of the time has passed.
  var isLeaseOld: Bool { journal.leaseAge >= journal.leaseTakeover / 2 }
  func beginGroup() { journal.beginGroup() }
  func endGroup() { journal.endGroup() }

  func record(_ record: JournalRecord, of core: borrowing Manager, nodeName: String) {
    let last: RecordNumber
    switch record {
    case .done(let attempt, let worker, _, let completion):
      let cores = Int(core.workflow.request(of: attempt.task).cores)
      add(completion, cores: cores)
      last = appendDone(attempt, worker, completion, of: core)
      if trace >= 0 {
        addTraceRow(core.workflow.name(of: attempt.task), nodeName, completion, cores: cores)
      }
    case .reused(let attempt):
      // Stands under its new key from now on, with the inputs it would have read.
      last = appendDone(attempt, WorkerID(rawValue: 0), Completion(.succeeded), of: core)
      restate(attempt.task, of: core)
    case .failed(let attempt, let ending):
      last = journal.append(
        .failed(
          FailedEntry(
            task: number(of: attempt.task, in: core.workflow), attempt: attempt.number,
            ending: ending, failureCount: UInt16(core.failureCount(of: attempt.task)))))
    case .invalidated(let attempt, let cause):
      last = journal.append(
        .invalidate(
          number(of: attempt.task, in: core.workflow), attempt: attempt.number,
          cause: number(of: cause, in: core.workflow)))
    case .hashed(let value, let byteCount, let hash):
      digests[value.file] = HashedContent(byteCount: byteCount, hash: hash)
      last = journal.append(
        .hashed(place(of: value.file, of: core), byteCount: byteCount, hash: hash))
    case .committed(let value, let byteCount):
      last = appendCommit(value, byteCount, of: core)
    case .publishIntent(let value):
      last = journal.append(
        .publishIntent(
          place(of: value.file, of: core), hash: core.hash(of: value.file) ?? .unknown,
          path: core.workflow.locationText(value.file)))
    case .published(let value):
      last = journal.append(.published(place(of: value.file, of: core)))
    case .result(let value, _):
      last = journal.append(
        .result(place(of: value.file, of: core), results.bytes(of: value.file)))
    }
    recordCount += 1
    unsynced.append((last, recordCount))
  }

  private func appendDone(
    _ attempt: AttemptID, _ worker: WorkerID, _ completion: Completion, of core: borrowing Manager
  ) -> RecordNumber {
    let task = attempt.task
    let number = number(of: task, in: core.workflow)
    var inputs: [InputValue] = []
    for input in core.workflow.inputs(of: task) {
      let file = core.workflow.files[input.file]
      if file.producer != .none {
        inputs.append(.output(place(of: input.file, of: core)))
      } else if file.kind == .path {
        inputs.append(.source(sourceNumber(of: input.file, in: core.workflow)))
      } else {
        inputs.append(.inline)
      }
    }
    let sizes = core.workflow.outputs(of: task).map { core.byteCount(of: $0.file) }
    return journal.append(
      .done(
        DoneEntry(
          task: number, attempt: attempt.number, rank: worker.rawValue, completion: completion,
          inputs: inputs, outputByteCounts: sizes)))
  }

  private func appendCommit(
    _ value: FileValue, _ byteCount: Int64, of core: borrowing Manager
  ) -> RecordNumber {
    let isObject = !core.workflow.files[value.file].isPublished
    return journal.append(
      .commit(
        place(of: value.file, of: core), byteCount: byteCount, mode: 0,
        hash: core.hash(of: value.file) ?? .unknown,
        at: isObject ? .objects : .temporary(run.temporary(of: value, in: core.workflow))))
  }

  /// Says again where the outputs of a task lie whose value is taken over under another number.
  private func restate(_ task: TaskID, of core: borrowing Manager) {
    for output in core.workflow.outputs(of: task) {
      guard let (value, standing) = core.durableValue(of: output.file) else { continue }
      if standing == .journaled {
        journal.append(
          .result(place(of: output.file, of: core), results.bytes(of: output.file)))
        continue
      }
      let byteCount = fileByteCount(at: run.readablePath(of: output.file, in: core))
      _ = appendCommit(value, byteCount, of: core)
      guard standing == .published else { continue }
      let place = place(of: output.file, of: core)
      journal.append(
        .publishIntent(
          place, hash: core.hash(of: output.file) ?? .unknown,
          path: core.workflow.locationText(output.file)))
      journal.append(.published(place))
    }
  }

  private func fileByteCount(at path: String) -> Int64 {
    var info = stat()
    return stat(path, &info) == 0 ? Int64(info.st_size) : 0
  }

  /// Where the accepted value of an output stands in the journal.
  private func place(of file: FileID, of core: borrowing Manager) -> OutputPlace {
    let producer = core.workflow.files[file].producer
    return OutputPlace(
      task: number(of: producer, in: core.workflow),
      attempt: core.acceptedValue(of: file).attempt,
      output: core.workflow.outputOrdinal(of: file))
  }

  /// The task's number in the journal, which defines it when it is first needed.
  private func number(of task: TaskID, in workflow: borrowing Workflow) -> TaskNumber {
    let known = numbers[task.index]
    if known != .none { return known }
    let number = TaskNumber(nextNumber)
    nextNumber += 1
    numbers[task.index] = number
    journal.append(
      .taskDefinition(
        TaskDefinition(
          task: number, key: keys.keys[task.index], definition: keys.definitions[task.index],
          isDeterministic: workflow.tasks[task].isDeterministic, name: workflow.name(of: task))))
    return number
  }

  private func sourceNumber(
    of file: FileID, in workflow: borrowing Workflow
  ) -> SourceNumber {
    if let known = sourceNumbers[file] { return known }
    let number = SourceNumber(nextSource)
    nextSource += 1
    sourceNumbers[file] = number
    let state = keys.sources[file]
    journal.append(
      .sourceDefinition(
        SourceDefinition(
          source: number, path: workflow.locationText(file), byteCount: state?.byteCount ?? -1,
          modificationTime: state?.modificationTime ?? 0)))
    return number
  }

  /// What became of the journal since the last call.
  func takeEvents() -> [ManagerEvent] {
    var events: [ManagerEvent] = []
    for event in journal.poll() {
      switch event {
      case .synced(let record):
        var count = 0
        while let first = unsynced.first, first.record <= record {
          count = first.count
          unsynced.removeFirst()
        }
        if count > 0 { events.append(.journalSynced(upTo: count)) }
      case .failed(let failure):
        self.failure = failure.description
        events.append(.journalFailed)
      case .superseded: isSuperseded = true
      }
    }
    return events
  }

  /// Why nothing can be made durable any more; nil while it can.
  private(set) var failure: String?
  /// Another session has taken the run over.
  private(set) var isSuperseded = false

  private func add(_ completion: Completion, cores: Int) {
    firstStart = min(firstStart ?? completion.start, completion.start)
    lastEnd = max(lastEnd, completion.end)
    coreNanoseconds += Double(completion.end.since(completion.start)) * Double(cores)
    cpuMicroseconds += completion.cpuMicroseconds
  }

  private func addTraceRow(_ task: String, _ node: String, _ completion: Completion, cores: Int) {
    let start = decimal(Double(completion.start.nanoseconds) / 1e9, 9)
    let end = decimal(Double(completion.end.nanoseconds) / 1e9, 9)
    traceRows.append(contentsOf: "\(task)\t\(node)\t\(start)\t\(end)\t\(cores)\n".utf8)
  }

  /// Hands the rows of the trace to the operating system.
  func flush() throws(RuntimeError) {
    if traceRows.count > 1 << 16 { try flushTrace() }
  }

  private func flushTrace() throws(RuntimeError) {
    if trace < 0 { return }
    let error = traceRows.withUnsafeBytes { writeAll($0, to: trace) }
    traceRows.removeAll(keepingCapacity: true)
    if error != 0 { throw RuntimeError("write the trace", errno: error) }
  }

  /// Ends journal and trace, within `timeoutNanoseconds`.
  func close(
    _ close: SessionClose, timeoutNanoseconds: Int64 = 30_000_000_000
  ) throws(RuntimeError) {
    do throws(JournalFailure) {
      try journal.close(close, timeoutNanoseconds: timeoutNanoseconds)
    } catch { failure = error.description }
    try flushTrace()
  }

  /// A row for each file of the workflow whose content is known, if digests were asked for.
  func writeDigests(of core: borrowing Manager) throws(RuntimeError) {
    guard let path = digestsPath else { return }
    var text = "# file\tbytes\tsha256\n"
    for file in core.workflow.files.ids where !core.workflow.files[file].isInternal {
      guard let row = digest(of: file, in: core) else { continue }
      text += "\(core.workflow.name(of: file))\t\(row.byteCount)\t\(row.hash.text)\n"
    }
    try replaceFile(path, with: text)
  }

  /// What an earlier session hashed may have been replaced by a value with no hash.
  private func digest(of file: FileID, in core: borrowing Manager) -> HashedContent? {
    guard core.workflow.files[file].producer != .none else {
      return sourceDigest(of: file, in: core.workflow)
    }
    return digests[file].flatMap { $0.hash == core.hash(of: file) ? $0 : nil }
  }

  private func sourceDigest(of file: FileID, in workflow: borrowing Workflow) -> HashedContent? {
    let row = workflow.files[file]
    guard row.kind == .path, row.producer == .none, !row.isDirectory else { return nil }
    let descriptor = clinux_open_at(
      AT_FDCWD, workflow.text.string(row.location), O_RDONLY, 0)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    let (byteCount, hash) = contentHash(of: descriptor)
    return HashedContent(byteCount: byteCount, hash: hash)
  }
}
