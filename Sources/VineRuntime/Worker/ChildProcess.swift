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
  /// What it reads before it executes its program; nobody else's until it was reaped.
  let space: LaunchSpace
  /// The inputs that it changed, by their places.
  var changedInputs: [Int] = []
  /// It failed, and its disk was full then.
  var foundDiskFull = false

  init(
    order: AttemptOrder, sandbox: Sandbox?, processID: Int32, start: Int64, output: OutputCapture,
    error: OutputCapture, space: LaunchSpace
  ) {
    self.order = order
    self.sandbox = sandbox
    self.processID = processID
    self.start = start
    self.output = output
    self.error = error
    self.space = space
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
  let runName: String
  let umask: mode_t
  private let submitDirectory: Int32
  let nullDevice: Int32
  /// The manager's environment, as C strings that live as long as the launcher.
  private(set) var base: [UnsafeMutablePointer<CChar>] = []
  /// The value of its PATH, or the system's default.
  private(set) var path: [UInt8] = Array("/usr/local/bin:/usr/bin:/bin".utf8)
  private(set) var hasThreadCount = false
  /// `/proc/self/task/TID/children` (proc(5)); -1 where the kernel has it not.
  private let childrenFile: Int32
  let spillPath: String
  /// For how long hosts of libraries look for more calls before they sleep.
  var lookingNanoseconds: Int64 = 0
  var text = LaunchText()
  private var quickPrograms = QuickPrograms()
  var spareSpaces: [LaunchSpace] = []
  private var sparePipes: [OutputPipe] = []
  /// Host processes of library instances, by their ids, and the marks in their environments: they
  /// and what they started are no strays while they live.
  var hostMarks: [Int32: String] = [:]

  init(_ welcome: Welcome, rank: Int, spillPath: String) {
    // A lane has the ends of two pipes and sandboxes, and MPI its sockets.
    clinux_need_descriptors(256 + 8 * UInt(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1)))
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
      if entry.hasPrefix("PATH=") { path = Array(entry.utf8.dropFirst(5)) }
      if entry.hasPrefix("OMP_NUM_THREADS=") { hasThreadCount = true }
      base.append(text)
    }
  }

  /// Starts the command of `order`. Whether its program could be executed is known when the
  /// process was reaped (`startProblem`).
  func start(
    _ order: AttemptOrder, in sandbox: Sandbox?, isOnly: Bool
  ) throws(SandboxProblem) -> ChildProcess {
    if sandbox == nil && submitDirectory < 0 {
      throw SandboxProblem(
        ending: .sandboxFailed(-submitDirectory),
        reason: "cannot open the submit directory on this node: \(errorText(-submitDirectory))")
    }
    let output = try takePipe()
    let error = try takePipe()
    let space = spareSpaces.popLast() ?? LaunchSpace()
    gatherText(of: order, sandboxPath: sandbox?.path)
    space.fill(text, base: base)
    space.bind(to: order.processingUnits)
    space.request.pointee.directory = sandbox?.descriptor ?? submitDirectory
    space.request.pointee.input = nullDevice
    space.request.pointee.output = output.writeEnd
    space.request.pointee.error = error.writeEnd
    space.request.pointee.umask = umask
    let wasQuick = quickPrograms.contains(text.program)
    space.request.pointee.waits = wasQuick ? 1 : 0
    space.request.pointee.stays = isOnly ? 1 : 0
    let start = monotonicNanoseconds()
    let result = clinux_spawn(space.request)
    if result < 0 {
      spareSpaces.append(space)
      throw problem(order, errno: -result)
    }
    let isQuick = space.request.pointee.is_quick != 0
    if isQuick != wasQuick { quickPrograms.note(text.program, isQuick: isQuick) }
    return ChildProcess(
      order: order, sandbox: sandbox, processID: result, start: start,
      output: OutputCapture(output, spillPath: spillPath),
      error: OutputCapture(error, spillPath: spillPath), space: space)
  }

  /// To be called with each process that was reaped: why its program could not be executed, if so.
  func startProblem(of child: ChildProcess) -> SandboxProblem? {
    let failure = child.space.failure
    spareSpaces.append(child.space)
    return failure == 0 ? nil : problem(child.order, errno: failure)
  }

  private func problem(_ order: AttemptOrder, errno code: Int32) -> SandboxProblem {
    SandboxProblem(ending: .notStarted(code), reason: reason(order, errno: code))
  }

  private func reason(_ order: AttemptOrder, errno code: Int32) -> String {
    let program =
      switch order.commandKind {
      case .shell: "/bin/sh"
      case .bash: "bash"
      case .argv: String(decoding: order.command.prefix { $0 != 0 }, as: UTF8.self)
      case .call, .chunk, .gather: "a call"
      }
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

  private func takePipe() throws(SandboxProblem) -> OutputPipe {
    while let spare = sparePipes.popLast() { if spare.renew() { return spare } }
    do throws(RuntimeError) { return try OutputPipe() } catch {
      throw SandboxProblem(ending: .sandboxFailed(error.errno), reason: "\(error)")
    }
  }

  /// The pipes of an attempt that has ended, for the next one. Only while no stray lives: one would
  /// go on to write into them. (So would a stranger that the attempt handed its output to, over a
  /// socket. Nobody can see that.)
  func recyclePipes(of child: ChildProcess) {
    for pipe in [child.output.pipe, child.error.pipe] { if let pipe { sparePipes.append(pipe) } }
  }

  private func gatherText(of order: AttemptOrder, sandboxPath: String?) {
    text.removeAll()
    switch order.commandKind {
    case .shell: text.addArgument("/bin/sh".utf8)
    case .bash: text.addArgument("bash".utf8)
    case .argv:
      for argument in order.command.split(separator: 0, omittingEmptySubsequences: false).dropLast()
      {
        text.addArgument(argument)
      }
    case .call, .chunk, .gather: return
    }
    if order.commandKind != .argv {
      text.addArgument("-c".utf8)
      text.addArgument(order.command)
    }
    // The manager leaves out its own VINE_ variables.
    text.addVariable("VINE_TASK_ID=", order.taskName)
    text.addVariable("VINE_ATTEMPT=", order.attempt.number)
    text.addVariable("VINE_RUN=", runName)
    text.addVariable("VINE_CORES=", order.coreCount)
    text.addVariable("VINE_CPUSET=", listText(order.processingUnits))
    text.addVariable("VINE_MEMORY_MB=", order.memoryMB)
    text.addVariable("", mark(of: order.attempt))
    if let sandboxPath { text.addVariable("TMPDIR=", sandboxPath) }
    if !hasThreadCount { text.addVariable("OMP_NUM_THREADS=", max(order.coreCount, 1)) }
    // What the task declares comes last: it wins.
    for variable in order.environment.split(separator: 0) { text.addVariable(variable) }
    text.addPrograms(path: text.value(of: "PATH=") ?? path)
  }

  /// By this a stray is known to belong to an attempt.
  private func mark(of attempt: AttemptID) -> String {
    "\(markPrefix)\(attempt.task.rawValue).\(attempt.number)"
  }

  // MARK: Strays

  /// Kills orphans that came to this process as subreaper: those that carry the mark of an attempt
  /// that is over, and, when no attempt lives here, those without any mark (a task may clear its
  /// environment). Returns whether there is no child but `children` and hosts.
  @discardableResult
  func killStrays(besides children: [Int32: ChildProcess]) -> Bool {
    let found = childIDs()
    if found.count == children.count + hostMarks.count { return true }
    var living = Set(children.values.map { mark(of: $0.order.attempt) })
    living.formUnion(hostMarks.values)
    for processID in found where children[processID] == nil && hostMarks[processID] == nil {
      let environment = (try? readFile("/proc/\(processID)/environ")) ?? []
      let own = environment.split(separator: 0).lazy
        .map { String(decoding: $0, as: UTF8.self) }.first { $0.hasPrefix(markPrefix) }
      if own.map({ !living.contains($0) }) ?? living.isEmpty { kill(processID, SIGKILL) }
    }
    return false
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
      // The kernel stops only where the next number has no room.
      if count < text.count - 16 { return ids }
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
  if numbers.count == 1 { return String(numbers[0]) }
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
