// Processes of attempts: started on their cores, in groups of their own, with the environment of
// operations.md; and the strays they leave.

internal import CLinux
internal import Glibc
internal import VineCore

/// A process that runs, with all that belongs to it.
final class ChildProcess {
  let order: AttemptOrder
  let sandbox: Sandbox?
  let processID: Int32
  /// Monotonic nanoseconds at exec.
  let start: Int64
  let output: OutputCapture
  let error: OutputCapture

  init(
    order: AttemptOrder, sandbox: Sandbox?, processID: Int32, start: Int64, output: OutputCapture,
    error: OutputCapture
  ) {
    self.order = order
    self.sandbox = sandbox
    self.processID = processID
    self.start = start
    self.output = output
    self.error = error
  }

  /// Signals the whole group, and the main process itself, which may have left its group.
  func signal(_ number: Int32) {
    kill(-processID, number)
    kill(processID, number)
  }

  /// Signals what is left of the group once the main process was reaped: its number may stand for
  /// a stranger by now, that of its group cannot while a member lives.
  func signalGroup(_ number: Int32) { kill(-processID, number) }
}

/// Starts processes. One per rank, used by the loop thread alone.
final class ProcessLauncher {
  /// How the variable begins that marks all processes of this rank.
  let markPrefix: String
  private let runName: String
  private let umask: mode_t
  private let submitDirectory: Int32
  private let nullDevice: Int32
  /// The manager's environment, as C strings that live as long as the launcher.
  private var base: [UnsafeMutablePointer<CChar>] = []
  private var pathPlace: Int?
  private var temporaryPlace: Int?
  private var hasThreadCount = false
  /// `/proc/self/task/TID/children` (proc(5)); -1 where the kernel has it not.
  private let childrenFile: Int32
  private var outputCount = 0
  private let spillPath: String

  init(_ welcome: Welcome, rank: Int, spillPath: String) {
    markPrefix = "VINE_MARK=\(welcome.token).\(rank)."
    runName = welcome.runName
    umask = mode_t(welcome.umask)
    self.spillPath = spillPath
    submitDirectory = clinux_open_at(
      AT_FDCWD, welcome.submitDirectory, O_RDONLY | O_DIRECTORY, 0)
    nullDevice = clinux_open_at(AT_FDCWD, "/dev/null", O_RDONLY, 0)
    childrenFile = clinux_open_at(
      AT_FDCWD, "/proc/self/task/\(getpid())/children", O_RDONLY, 0)
    for entry in welcome.environment {
      guard let text = strdup(entry) else { continue }
      if entry.hasPrefix("PATH=") { pathPlace = base.count }
      if entry.hasPrefix("TMPDIR=") { temporaryPlace = base.count }
      if entry.hasPrefix("OMP_NUM_THREADS=") { hasThreadCount = true }
      base.append(text)
    }
  }

  /// Starts the command of `order`; `watch` registers the read ends of its pipes.
  func start(_ order: AttemptOrder, in sandbox: Sandbox?) throws(SandboxProblem) -> ChildProcess {
    if sandbox == nil && submitDirectory < 0 {
      throw SandboxProblem(
        ending: .sandboxFailed(-submitDirectory),
        reason: "cannot open the submit directory on this node: \(errorText(-submitDirectory))")
    }
    let (output, outputEnd) = try makePipe()
    defer { close(outputEnd) }
    let (error, errorEnd) = try makePipe()
    defer { close(errorEnd) }
    let start = monotonicNanoseconds()
    let result = spawn(
      order, directory: sandbox?.descriptor ?? submitDirectory, sandboxPath: sandbox?.path,
      output: outputEnd, error: errorEnd)
    if result < 0 {
      throw SandboxProblem(
        ending: .notStarted(-result), reason: startProblem(order, errno: -result))
    }
    return ChildProcess(
      order: order, sandbox: sandbox, processID: result, start: start, output: output,
      error: error)
  }

  private func startProblem(_ order: AttemptOrder, errno code: Int32) -> String {
    let program = arguments(of: order).first ?? ""
    switch code {
    case ENOENT:
      return program.contains("/")
        ? "command not found: \(program) (in the sandbox only declared inputs exist)"
        : "command not found: \(program) is not in PATH"
    case E2BIG:
      return "the arguments or the environment of \(program) are too long for the system: "
        + "pass long lists in a file"
    default:
      return "cannot execute \(program): \(errorText(code))"
    }
  }

  private func makePipe() throws(SandboxProblem) -> (OutputCapture, writeEnd: Int32) {
    var ends: [Int32] = [-1, -1]
    let error = clinux_pipe(&ends)
    if error < 0 {
      throw SandboxProblem(
        ending: .sandboxFailed(-error), reason: "cannot make a pipe: \(errorText(-error))")
    }
    outputCount += 1
    return (OutputCapture(descriptor: ends[0], spillPath: "\(spillPath)-\(outputCount)"), ends[1])
  }

  private func arguments(of order: AttemptOrder) -> [String] {
    switch order.commandKind {
    case .shell: ["/bin/sh", "-c", String(decoding: order.command, as: UTF8.self)]
    case .bash: ["bash", "-c", String(decoding: order.command, as: UTF8.self)]
    case .argv:
      order.command.split(separator: 0, omittingEmptySubsequences: false).dropLast()
        .map { String(decoding: $0, as: UTF8.self) }
    }
  }

  private func spawn(
    _ order: AttemptOrder, directory: Int32, sandboxPath: String?, output: Int32, error: Int32
  ) -> Int32 {
    // One buffer of NUL-ended texts: arguments, then variables.
    var text: [UInt8] = []
    var argumentOffsets: [Int] = []
    for argument in arguments(of: order) {
      argumentOffsets.append(text.count)
      text.append(contentsOf: argument.utf8)
      text.append(0)
    }
    var variableOffsets: [Int] = []
    appendVariables(of: order, sandboxPath: sandboxPath, to: &text, &variableOffsets)
    let firstOwn = variableOffsets.count
    appendOwnVariables(of: order, to: &text, &variableOffsets)
    var cpus: [UInt64] = []
    for unit in order.processingUnits {
      while cpus.count <= Int(unit) / 64 { cpus.append(0) }
      cpus[Int(unit) / 64] |= 1 << UInt64(unit % 64)
    }
    return text.withUnsafeMutableBytes { bytes in
      let start = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
      var argv: [UnsafeMutablePointer<CChar>?] = argumentOffsets.map { start + $0 }
      argv.append(nil)
      var (envp, path) = mergedEnvironment(
        start, variableOffsets, ownFrom: firstOwn)
      return cpus.withUnsafeBufferPointer { cpus in
        argv.withUnsafeMutableBufferPointer { argv in
          envp.withUnsafeMutableBufferPointer { envp in
            var request = clinux_spawn()
            request.program = UnsafePointer(argv[0])
            request.path = path
            request.argv = UnsafePointer(argv.baseAddress)
            request.envp = UnsafePointer(envp.baseAddress)
            request.directory = directory
            request.input = nullDevice
            request.output = output
            request.error = error
            request.cpus = cpus.isEmpty ? nil : cpus.baseAddress
            request.cpu_words = cpus.count
            request.umask = umask
            return clinux_spawn(&request)
          }
        }
      }
    }
  }

  /// The variables that differ from attempt to attempt.
  private func appendVariables(
    of order: AttemptOrder, sandboxPath: String?, to text: inout [UInt8], _ offsets: inout [Int]
  ) {
    func add(_ variable: String) {
      offsets.append(text.count)
      text.append(contentsOf: variable.utf8)
      text.append(0)
    }
    add("VINE_TASK_ID=\(order.taskName)")
    add("VINE_ATTEMPT=\(order.attempt.number)")
    add("VINE_RUN=\(runName)")
    add("VINE_CORES=\(order.coreCount)")
    add("VINE_CPUSET=\(listText(order.processingUnits))")
    add("VINE_MEMORY_MB=\(order.memoryMB)")
    add(mark(of: order.attempt))
    if let sandboxPath { add("TMPDIR=\(sandboxPath)") }
    if !hasThreadCount { add("OMP_NUM_THREADS=\(max(order.coreCount, 1))") }
  }

  /// What the task declares; it wins.
  private func appendOwnVariables(
    of order: AttemptOrder, to text: inout [UInt8], _ offsets: inout [Int]
  ) {
    var start = 0
    for index in order.environment.indices where order.environment[index] == 0 {
      offsets.append(text.count)
      text.append(contentsOf: order.environment[start...index])
      start = index + 1
    }
  }

  /// The manager's environment with the variables at `offsets` of `text` in place of its own.
  private func mergedEnvironment(
    _ text: UnsafeMutablePointer<CChar>, _ offsets: [Int], ownFrom firstOwn: Int
  ) -> (envp: [UnsafeMutablePointer<CChar>?], path: UnsafePointer<CChar>?) {
    var entries: [UnsafeMutablePointer<CChar>?] = []
    entries.reserveCapacity(base.count + offsets.count + 1)
    entries.append(contentsOf: base)
    var path = pathPlace
    // The manager leaves out its own VINE_ variables, so ours replace nothing, but for TMPDIR.
    for offset in offsets[..<firstOwn] {
      if let place = temporaryPlace, strncmp(text + offset, "TMPDIR=", 7) == 0 {
        entries[place] = text + offset
      } else {
        entries.append(text + offset)
      }
    }
    for offset in offsets[firstOwn...] {
      let entry = text + offset
      let length = nameLength(of: entry)
      let place = entries.firstIndex { other in
        other.map { strncmp($0, entry, length + 1) == 0 } ?? false
      }
      if let place {
        entries[place] = entry
      } else {
        entries.append(entry)
      }
      if length == 4, strncmp(entry, "PATH=", 5) == 0 { path = place ?? entries.count - 1 }
    }
    let pathEntry = path.flatMap { entries[$0] }
    entries.append(nil)
    return (entries, pathEntry.map { UnsafePointer($0 + 5) })
  }

  private func nameLength(of entry: UnsafeMutablePointer<CChar>) -> Int {
    var count = 0
    while entry[count] != 0 && entry[count] != 61 { count += 1 }
    return count
  }

  /// By this a stray is known to belong to an attempt.
  private func mark(of attempt: AttemptID) -> String {
    "\(markPrefix)\(attempt.task.rawValue).\(attempt.number)"
  }

  // MARK: Strays

  /// Kills orphans that came to this process as subreaper: those that carry the mark of an attempt
  /// that is over, and, when no attempt lives here, those without any mark (a task may clear its
  /// environment).
  func killStrays(besides children: [Int32: ChildProcess]) {
    let found = childIDs()
    if found.count == children.count { return }
    let living = Set(children.values.map { mark(of: $0.order.attempt) })
    for processID in found where children[processID] == nil {
      let environment = (try? readFile("/proc/\(processID)/environ")) ?? []
      let own = environment.split(separator: 0).lazy
        .map { String(decoding: $0, as: UTF8.self) }.first { $0.hasPrefix(markPrefix) }
      if own.map({ !living.contains($0) }) ?? children.isEmpty { kill(processID, SIGKILL) }
    }
  }

  /// Whether any child, main process or stray, is left.
  var hasChildren: Bool { !childIDs().isEmpty }

  /// The children of this process, by one read of a file kept open where the kernel has it, else by
  /// a look at every process.
  private func childIDs() -> [Int32] {
    if childrenFile < 0 { return childIDsOfProc() }
    var text = [UInt8](repeating: 0, count: 4096)
    var ids: [Int32] = []
    var number: Int32 = 0
    var offset = 0
    while true {
      let count = text.withUnsafeMutableBytes {
        pread(childrenFile, $0.baseAddress, $0.count, off_t(offset))
      }
      if count <= 0 { return ids }
      offset += count
      for byte in text[..<count] {
        if byte == 32 {
          ids.append(number)
          number = 0
        } else {
          number = number &* 10 &+ Int32(byte &- 48)
        }
      }
    }
  }

  private func childIDsOfProc() -> [Int32] {
    var ids: [Int32] = []
    for entry in FileTree.entries(of: "/proc").entries {
      guard let processID = Int32(entry.name),
        let status = try? readFile("/proc/\(processID)/stat")
      else { continue }
      // pid (name) state parent: a name may hold anything, so count from its last parenthesis.
      let line = String(decoding: status, as: UTF8.self)
      guard let end = line.lastIndex(of: ")") else { continue }
      let fields = line[line.index(after: end)...].split(separator: " ")
      if fields.count > 1, Int32(fields[1]) == getpid() { ids.append(processID) }
    }
    return ids
  }
}

/// `0-3,8` for 0, 1, 2, 3 and 8 (cpuset(7), "List format").
func listText(_ numbers: [UInt32]) -> String {
  var parts: [String] = []
  var index = 0
  let sorted = numbers.sorted()
  while index < sorted.count {
    var end = index
    while end + 1 < sorted.count && sorted[end + 1] == sorted[end] + 1 { end += 1 }
    parts.append(end == index ? "\(sorted[index])" : "\(sorted[index])-\(sorted[end])")
    index = end + 1
  }
  return parts.joined(separator: ",")
}
