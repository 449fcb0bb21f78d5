// Makes derived files: downloads, unpacked archives and outputs of mini_tasks. Each is a process of the
// node's agent in a sandbox of its own, in no allocation: the manager starts few at a time.

internal import CLinux
internal import Glibc
internal import VineCore

/// Runs derivations. One per rank, used by the loop thread alone.
final class DerivationRunner {
  private struct Running {
    let order: FetchOrder
    let derivation: DerivationOrder
    /// When the next signal is due, on the monotonic clock.
    var deadline: Int64?
    var isTimedOut = false
  }

  /// Why a file could not be made.
  private struct Problem: Error {
    let text: String
    /// An errno where another try may help.
    var error = derivationFailedError
  }

  private let room: SandboxRoom
  private let launcher: ProcessLauncher
  private let cachePath: String
  private let queue: BlockingQueue<HelperResult>
  private let keeper: Keeper?
  /// What servers said of downloads that just ended.
  private var validators: [TransferID: Download.Validators] = [:]
  /// By process.
  private var running: [Int32: Running] = [:]
  private var isGivingUp = false

  init(
    room: SandboxRoom, launcher: ProcessLauncher, cachePath: String,
    queue: BlockingQueue<HelperResult>, keeper: Keeper?
  ) {
    self.keeper = keeper
    self.room = room
    self.launcher = launcher
    self.cachePath = cachePath
    self.queue = queue
  }

  var isIdle: Bool { running.isEmpty }
  /// Whether a process is one of these.
  static func isDerivation(_ child: ChildProcess) -> Bool { child.order.attempt.task == .none }

  // MARK: Starting

  /// The process that makes what `order` asks for; else the event of its failure and its text.
  func start(_ order: FetchOrder) -> Result<ChildProcess, DerivationFailure> {
    guard let derivation = order.derivation else {
      return .failure(DerivationFailure(order.transfer, EINVAL, "an order without a derivation"))
    }
    let attempt = attemptOrder(order, derivation)
    do throws(SandboxProblem) {
      let sandbox = try room.make(for: attempt)
      do throws(SandboxProblem) {
        let child = try launcher.start(attempt, in: sandbox, isOnly: false)
        var row = Running(order: order, derivation: derivation)
        if derivation.timeoutMilliseconds > 0 {
          row.deadline = child.start + Int64(derivation.timeoutMilliseconds) * 1_000_000
        }
        running[child.processID] = row
        return .success(child)
      } catch {
        room.recycle(sandbox, attempt)
        throw error
      }
    } catch {
      return .failure(failure(order, derivation, problem(with: error)))
    }
  }

  private func attemptOrder(_ order: FetchOrder, _ derivation: DerivationOrder) -> AttemptOrder {
    var command = derivation.command
    var kind = derivation.commandKind
    switch derivation.kind {
    case .miniTask: break
    case .url:
      kind = .argv
      command = list(
        Download.arguments(
          url: String(decoding: derivation.command, as: UTF8.self), output: derivation.outputName,
          validators: keeper?.validators(of: order)))
    case .untar:
      kind = .argv
      // This program itself, so that no archive is trusted to another one's care.
      let archive = derivation.inputs.first?.name ?? ""
      command = list(["/proc/self/exe", "untar", archive, derivation.outputName])
    }
    return AttemptOrder(
      attempt: AttemptID(.none, order.transfer.rawValue), allocation: .none,
      timeoutMilliseconds: derivation.timeoutMilliseconds, hashesFirst: false,
      taskName: derivation.name, commandKind: kind, command: command,
      environment: derivation.environment, usesSandbox: true, coreCount: 1, memoryMB: 0,
      processingUnits: derivation.processingUnits, inputs: derivation.inputs,
      outputs: [
        FileOrder(
          value: order.value, name: derivation.outputName, isCopy: false,
          isDirectory: order.isDirectory)
      ])
  }

  private func list(_ arguments: [String]) -> [UInt8] { arguments.flatMap { Array($0.utf8) + [0] } }

  // MARK: Ending

  /// The process of a derivation has ended: events, and what people should know.
  func onExit(
    of child: ChildProcess, _ exit: clinux_exit, startProblem: SandboxProblem?
  ) -> (event: WorkerEvent?, text: String) {
    guard let row = running.removeValue(forKey: child.processID), let sandbox = child.sandbox
    else { return (nil, "") }
    defer { room.recycle(sandbox, child.order) }
    do throws(Problem) {
      if let startProblem { throw problem(with: startProblem) }
      try checkEnd(of: child, exit, row)
      if row.derivation.kind == .url && isUnchanged(row, in: sandbox) {
        keeper?.takeUnchanged(row.order)
        return (nil, "")
      }
      let sizes: [Int64]
      do throws(SandboxProblem) { sizes = try room.collect(child.order, from: sandbox) } catch {
        throw problem(with: error)
      }
      return (conclude(row, byteCount: sizes.first ?? 0), "")
    } catch {
      let failure = failure(row.order, row.derivation, error)
      return (failure.event, isGivingUp ? "" : failure.text)
    }
  }

  /// Whether the server answered that a kept download is what it has.
  private func isUnchanged(_ row: Running, in sandbox: Sandbox) -> Bool {
    guard let headers = try? readFile("\(sandbox.path)/\(Download.headersName)") else {
      return false
    }
    let answer = Download.parse(headers: headers)
    if row.order.forever != nil { validators[row.order.transfer] = answer.validators }
    return answer.status == 304
  }

  /// What the server said of a download, once.
  func takeValidators(of transfer: TransferID) -> Download.Validators? {
    validators.removeValue(forKey: transfer)
  }

  private func checkEnd(
    of child: ChildProcess, _ exit: clinux_exit, _ row: Running
  ) throws(Problem) {
    if let sandbox = child.sandbox,
      let changed = room.changedInputs(in: sandbox, of: child.order).first
    {
      throw Problem(
        text:
          "its input \(child.order.inputs[changed].name) was changed meanwhile; what changes an "
          + "input must declare it with \"copy\": true", error: EBUSY)
    }
    if row.isTimedOut {
      let seconds = decimal(Double(row.derivation.timeoutMilliseconds) / 1000, 1)
      throw Problem(text: "over its time limit of \(seconds) s\(tail(child))")
    }
    if exit.is_signaled != 0 {
      throw Problem(text: "killed by \(signalText(exit.status))\(tail(child))")
    }
    if exit.status == 0 { return }
    switch row.derivation.kind {
    case .url: throw Problem(text: Download.problem(exitStatus: exit.status) + tail(child))
    case .untar:
      let archive = String(decoding: row.derivation.command, as: UTF8.self)
      throw Problem(text: "the archive \(archive) is refused\(tail(child))")
    case .miniTask: throw Problem(text: "exit status \(exit.status)\(tail(child))")
    }
  }

  private func tail(_ child: ChildProcess) -> String {
    let bytes = child.error.tail(Limits.errorTailByteCount)
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").suffix(20)
    return lines.map { "\n    | \($0)" }.joined()
  }

  private func problem(with problem: SandboxProblem) -> Problem {
    switch problem.ending {
    case .notStarted(ENOENT) where problem.reason.contains("curl"):
      Problem(text: "curl is not installed on this node")
    case .sandboxFailed(let error): Problem(text: problem.reason, error: error)
    default: Problem(text: problem.reason)
    }
  }

  private func failure(
    _ order: FetchOrder, _ derivation: DerivationOrder, _ problem: Problem
  ) -> DerivationFailure {
    let what =
      switch derivation.kind {
      case .url:
        "fetch \(derivation.name) from \(String(decoding: derivation.command, as: UTF8.self))"
      case .untar: "unpack \(derivation.name)"
      case .miniTask: "make \(derivation.name) by its mini_task"
      }
    return DerivationFailure(
      order.transfer, problem.error, "\(hostName()): cannot \(what): \(problem.text)")
  }

  /// What was made lies in the cache, where nobody looks for it yet. A download with a digest is
  /// compared first, beside the loop.
  private func conclude(_ row: Running, byteCount: Int64) -> WorkerEvent? {
    let transfer = row.order.transfer
    let good = WorkerEvent.transferred(transfer, byteCount: byteCount, error: 0)
    let expected = row.derivation.digest
    if expected.isEmpty { return good }
    let path = "\(cachePath)/\(cacheName(row.order.value))"
    let order = row.order
    let derivation = row.derivation
    queue.submit {
      let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
      var found = ContentHash.unknown
      if descriptor >= 0 {
        found = contentHash(of: descriptor).1
        close(descriptor)
      }
      if found.text == expected { return .derived(good, "") }
      FileTree.remove(path)
      let url = String(decoding: derivation.command, as: UTF8.self)
      return .derived(
        .transferred(order.transfer, byteCount: 0, error: derivationFailedError),
        "\(hostName()): \(derivation.name) from \(url) is not what was declared: its SHA-256 is "
          + "\(found.text), but \"sha256\" says \(expected)")
    }
    return nil
  }

  // MARK: Time limits

  /// When `killDue` wants to be called, on the monotonic clock.
  var nextDue: Int64? { running.values.compactMap(\.deadline).min() }

  /// SIGTERM at the time limit, SIGKILL when the grace is over.
  func killDue(at now: Int64, _ children: [Int32: ChildProcess]) {
    for (processID, row) in running {
      guard let deadline = row.deadline, deadline <= now else { continue }
      children[processID]?.signal(row.isTimedOut ? SIGKILL : SIGTERM)
      running[processID]?.deadline = row.isTimedOut ? nil : now + Limits.killGraceNanoseconds
      running[processID]?.isTimedOut = true
    }
  }

  /// Nobody waits for them any more.
  func killAll(_ children: [Int32: ChildProcess]) {
    isGivingUp = true
    for processID in running.keys { children[processID]?.signal(SIGKILL) }
  }
}

/// A derived file that could not be made.
struct DerivationFailure: Error {
  let event: WorkerEvent
  let text: String

  init(_ transfer: TransferID, _ error: Int32, _ text: String) {
    event = .transferred(transfer, byteCount: 0, error: error)
    self.text = text
  }
}
