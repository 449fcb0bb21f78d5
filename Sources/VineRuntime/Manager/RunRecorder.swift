// What a run leaves in files while it goes on: journal, trace, digests, sums.

internal import CLinux
internal import Glibc
internal import VineCore

/// Size and hash of a file.
private struct HashedContent {
  let byteCount: Int64
  let hash: ContentHash
}

final class RunRecorder {
  private let journal: JournalFile
  /// Descriptor of the trace file; -1 when none was asked for.
  private let trace: Int32
  private var traceRows: [UInt8] = []
  private var digests: [FileID: HashedContent] = [:]
  private let digestsPath: String?
  private(set) var firstStart: Instant?
  private(set) var lastEnd = Instant.zero
  private(set) var coreNanoseconds: Double = 0
  private(set) var cpuMicroseconds: Int64 = 0

  init(_ run: RunDirectory, workflowName: String, options: RunOptions) throws(RuntimeError) {
    journal = try JournalFile(directory: "\(run.path)/journal", epoch: 1)
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
    journal.append(.sessionOpen) { frame in
      frame.put(UInt64(time(nil)))
      frame.put(BuildIdentity.text)
      frame.put(hostName())
      frame.put(workflowName)
    }
    try journal.flush()
  }

  deinit { if trace >= 0 { Glibc.close(trace) } }

  func record(_ record: JournalRecord, in workflow: borrowing Workflow, nodeName: String) {
    switch record {
    case .done(let attempt, let worker, _, let completion):
      add(completion, cores: Int(workflow.request(of: attempt.task).cores))
      journal.append(.done) { frame in
        frame.put(bytes: workflow.text.slice(workflow.tasks[attempt.task].id))
        frame.put(attempt.number)
        frame.put(worker.rawValue)
        frame.put(completion)
      }
      if trace >= 0 {
        addTraceRow(
          workflow.name(of: attempt.task), nodeName, completion,
          cores: Int(workflow.request(of: attempt.task).cores))
      }
    case .failed(let attempt, let ending):
      journal.append(.failed) { frame in
        frame.put(bytes: workflow.text.slice(workflow.tasks[attempt.task].id))
        frame.put(attempt.number)
        frame.put(ending)
      }
    case .published(let value):
      journal.append(.published) { frame in
        frame.put(bytes: workflow.text.slice(workflow.files[value.file].location))
      }
    case .hashed(let value, let byteCount, let hash):
      digests[value.file] = HashedContent(byteCount: byteCount, hash: hash)
    case .committed, .invalidated, .publishIntent: break
    }
  }

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

  /// Hands what was recorded to the operating system.
  func flush() throws(RuntimeError) {
    try journal.flush()
    if traceRows.count > 1 << 16 { try flushTrace() }
  }

  private func flushTrace() throws(RuntimeError) {
    if trace < 0 { return }
    let error = traceRows.withUnsafeBytes { writeAll($0, to: trace) }
    traceRows.removeAll(keepingCapacity: true)
    if error != 0 { throw RuntimeError("write the trace", errno: error) }
  }

  /// Ends journal and trace.
  func close(status: Int32) throws(RuntimeError) {
    journal.append(.sessionClose) { frame in frame.put(status) }
    try journal.flush()
    try flushTrace()
  }

  /// A row for each file of the workflow whose content is known, if digests were asked for.
  func writeDigests(of workflow: borrowing Workflow) throws(RuntimeError) {
    guard let path = digestsPath else { return }
    var text = "# file\tbytes\tsha256\n"
    for file in workflow.files.ids where !workflow.files[file].isInternal {
      guard let row = digests[file] ?? sourceDigest(of: file, in: workflow) else { continue }
      text += "\(workflow.name(of: file))\t\(row.byteCount)\t\(row.hash.text)\n"
    }
    try replaceFile(path, with: text)
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
