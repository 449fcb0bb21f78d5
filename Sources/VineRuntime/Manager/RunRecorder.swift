// What a run leaves in files while it goes on: journal, trace, digests, sums.

internal import CLinux
internal import Glibc
internal import VineCore

final class RunRecorder {
  private let journal: JournalFile
  /// The journal's numbers of the tasks that were named in it.
  private var numbers: [TaskID: TaskNumber] = [:]
  /// Descriptor of the trace file; -1 when none was asked for.
  private let trace: Int32
  private var traceRows: [UInt8] = []
  private var digests: [FileID: HashedFile] = [:]
  private let digestsPath: String?
  private(set) var firstStart: Instant?
  private(set) var lastEnd = Instant.zero
  private(set) var coreNanoseconds: Double = 0
  private(set) var cpuMicroseconds: Int64 = 0

  init(_ run: RunDirectory, workflowName: String, options: RunOptions) throws(RuntimeError) {
    journal = try JournalDirectory.open(
      run.path, .newRun, SessionInfo(workflowName: workflowName)
    ).file
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

  func record(_ record: JournalRecord, in workflow: borrowing Workflow, nodeName: String) {
    switch record {
    case .done(let attempt, let worker, _, let completion):
      add(completion, cores: Int(workflow.request(of: attempt.task).cores))
      journal.append(
        .done(
          DoneEntry(
            task: number(of: attempt.task, in: workflow), attempt: attempt.number,
            rank: worker.rawValue, completion: completion, inputs: [], outputByteCounts: [])))
      if trace >= 0 {
        addTraceRow(
          workflow.name(of: attempt.task), nodeName, completion,
          cores: Int(workflow.request(of: attempt.task).cores))
      }
    case .failed(let attempt, let ending):
      journal.append(
        .failed(
          FailedEntry(
            task: number(of: attempt.task, in: workflow), attempt: attempt.number, ending: ending,
            failureCount: 0)))
    // Outputs have no place in the journal yet.
    case .published: break
    }
  }

  /// The task's number in the journal, which names it when it is first needed.
  private func number(of task: TaskID, in workflow: borrowing Workflow) -> TaskNumber {
    if let known = numbers[task] { return known }
    let number = TaskNumber(UInt32(numbers.count))
    numbers[task] = number
    journal.append(
      .taskDefinition(
        TaskDefinition(
          task: number, key: .unknown, definition: .unknown, isDeterministic: false,
          name: workflow.name(of: task))))
    return number
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

  func add(_ digest: HashedFile) { digests[digest.file] = digest }

  /// Hands what was recorded to the operating system.
  func flush() throws(RuntimeError) {
    for event in journal.poll() {
      switch event {
      case .synced: break
      case .failed(let failure):
        throw RuntimeError("go on", detail: failure.description, exitStatus: 7)
      case .superseded:
        throw RuntimeError("go on", detail: "another vine-mpi took the run over", exitStatus: 4)
      }
    }
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
    do throws(JournalFailure) {
      try journal.close(
        SessionClose(reason: .ended, status: status, doneCount: 0, failedCount: 0),
        // An interrupted run has less than a second.
        timeoutNanoseconds: status == 3 ? 400_000_000 : .max)
    } catch { throw RuntimeError("end the journal", detail: error.description, exitStatus: 7) }
    try flushTrace()
  }

  /// A row for each file of the workflow whose content is known, if digests were asked for.
  func writeDigests(of workflow: borrowing Workflow) throws(RuntimeError) {
    guard let path = digestsPath else { return }
    var text = "# file\tbytes\tsha256\n"
    for file in workflow.files.ids where !workflow.files[file].isInternal {
      guard let row = digests[file] ?? sourceDigest(of: file, in: workflow) else { continue }
      let hex = row.digest.map { byte in
        let digits = String(byte, radix: 16)
        return byte < 16 ? "0\(digits)" : digits
      }
      text += "\(workflow.name(of: file))\t\(row.byteCount)\t\(hex.joined())\n"
    }
    try replaceFile(path, with: text)
  }

  private func sourceDigest(of file: FileID, in workflow: borrowing Workflow) -> HashedFile? {
    let row = workflow.files[file]
    guard row.kind == .path, row.producer == .none, !row.isDirectory else { return nil }
    let descriptor = clinux_open_at(
      AT_FDCWD, workflow.text.string(row.location), O_RDONLY, 0)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    let (byteCount, digest) = sha256(of: descriptor)
    return HashedFile(file: file, byteCount: byteCount, digest: digest)
  }
}
