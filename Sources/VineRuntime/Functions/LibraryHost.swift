// An instance of a library as its rank sees it: calls go in, reports come out.

internal import CLinux
internal import Glibc

/// The live process of an instance. Never blocks: calls wait here until `flush`, and then until the
/// host reads them. Belongs to the rank's loop, which also reaps the process and then says `onExit`.
final class LibraryHost {
  let order: LibraryOrder
  /// What the library's code wrote to its standard output and error.
  let output: OutputCapture
  private let launch: HostLaunch
  private let launcher: ProcessLauncher
  private let channel: HostChannel
  /// Reports that came about on this side.
  private var reports: [HostReport] = []
  private var hasBegun = false
  /// Why the instance is over; nil while it lives.
  private(set) var endText: String?

  /// Starts the process of an instance. `number` tells instances of this rank apart.
  static func start(
    _ order: LibraryOrder, number: UInt64, launcher: ProcessLauncher, hostProgram: String? = nil
  ) throws(RuntimeError) -> LibraryHost {
    var program: [String]
    switch (order.language, order.mode) {
    case (.python, .fork), (.python, .direct):
      program = [HostProgram.python(in: order.environmentPath), "-B"]
      if order.environmentPath != nil { program.append("-s") }
      program += ["-c", HostProgram.pythonStart]
    case (.native, .process):
      let path: String
      if let hostProgram { path = hostProgram } else { path = try HostProgram.besideThisProgram() }
      program = [path, order.name]
    default:
      throw RuntimeError(
        "start library", order.name, detail: "its language has no mode \(order.mode.rawValue)")
    }
    if order.slots > 1 && order.mode == .direct {
      throw RuntimeError(
        "start library", order.name,
        detail: "in mode direct one call runs at a time: let \"slots\" be 1, or use mode fork")
    }
    let pair = try HostChannel.makePair()
    let hostEnd = OwnedDescriptor(pair.host)
    let launch: HostLaunch
    do throws(RuntimeError) {
      launch = try launcher.startHost(
        order, program: program, mark: "\(launcher.markPrefix)library.\(number)",
        channel: hostEnd.number)
    } catch {
      close(pair.own)
      throw error
    }
    let channel = try HostChannel(socket: pair.own, output: launch.output)
    let host = LibraryHost(order, launch: launch, launcher: launcher, channel: channel)
    if order.language == .python { channel.frames.putProgram(HostProgram.pythonText) }
    channel.frames.putOrder(order)
    channel.flush()
    return host
  }

  private init(
    _ order: LibraryOrder, launch: HostLaunch, launcher: ProcessLauncher, channel: HostChannel
  ) {
    self.order = order
    self.launch = launch
    self.launcher = launcher
    self.channel = channel
    output = launch.output
  }

  /// The process whose end the loop reports with `onExit`.
  var processID: pid_t? { launch.processID }

  /// Readable when `takeReports` has something to do.
  var descriptor: Int32 { channel.descriptor }

  /// Bytes of calls that the host has not taken yet: while there are many, it should get no more.
  var waitingByteCount: Int { channel.frames.waitingCount }

  // MARK: Calls

  /// Hands a call over: `arguments` is the JSON text `{"args": [...], "kwargs": {...}}`,
  /// `directory` the working directory of a call with files. It goes to the host with `flush`.
  func call(_ number: UInt64, function: Int, arguments: [UInt8], directory: String? = nil) {
    if isTooLarge(arguments.count, number) { return }
    channel.frames.putCall(
      number, function: function, arguments: arguments, directory: directory)
  }

  /// Hands over one call for each item, with one result: `template` is like the arguments of a
  /// call, and each `{"$item": true}` in it stands for the item.
  func map(_ number: UInt64, function: Int, template: [UInt8], items: ItemRun) {
    var byteCount = template.count
    if case .list(let text) = items { byteCount += text.count }
    if isTooLarge(byteCount, number) { return }
    channel.frames.putMap(number, function: function, template: template, items: items)
  }

  private func isTooLarge(_ byteCount: Int, _ number: UInt64) -> Bool {
    if byteCount < HostFrame.byteCountMax - (1 << 17) { return false }
    reports.append(
      .failed(
        number,
        CallError("the arguments have \(byteCount) bytes, more than 2 GiB: pass them in a file"),
        runNanoseconds: 0))
    return true
  }

  /// Takes a call back that has not begun (`returned`); in mode fork, ends one that runs
  /// (`failed`). In other modes a call that runs is ended with its instance only.
  func cancel(_ number: UInt64) {
    channel.frames.putCancel(number)
    channel.flush()
  }

  func flush() { channel.flush() }

  /// What the instance has to say; also sends what waited for room.
  func takeReports() -> [HostReport] {
    var taken = reports
    reports = []
    receive(&taken) { body throws(HostFrameError) in try channel.take(body) }
    return taken
  }

  private func receive(
    _ taken: inout [HostReport],
    _ source: ((UnsafeRawBufferPointer) throws(HostFrameError) -> Void) throws(HostFrameError) ->
      Void
  ) {
    do throws(HostFrameError) {
      try source { frame throws(HostFrameError) in
        guard let report = try HostReport(frame) else { return }
        switch report {
        case .ready: hasBegun = true
        // It reports once why it ends.
        case .setupFailed(let error):
          hasBegun = true
          taken.append(.setupFailed(withOutput(error)))
          return
        default: break
        }
        taken.append(report)
      }
    } catch {
      endText = "its host process said what no host says"
      channel.shut()
      signal(SIGKILL)
    }
  }

  // MARK: The end

  /// Ends the instance: at once, or when it has finished what it runs.
  func stop(isKilled: Bool) {
    if isKilled {
      signal(SIGKILL)
      return
    }
    channel.frames.putStop()
    channel.flush()
  }

  private func signal(_ number: Int32) {
    kill(-launch.processID, number)
    kill(launch.processID, number)
  }

  /// The loop reaped the process: the last reports. Calls without a report were lost with it.
  func onExit(isSignaled: Bool, status: Int32) -> [HostReport] {
    // Its number may stand for a stranger by now, that of its group cannot while a member lives.
    kill(-launch.processID, SIGKILL)
    let failure = launcher.forgetHost(launch)
    var taken = reports
    reports = []
    receive(&taken) { body throws(HostFrameError) in try channel.finish(body) }
    if endText == nil { endText = reason(failure, isSignaled: isSignaled, status: status) }
    if !hasBegun {
      taken.append(.setupFailed(withOutput(CallError("\(endText ?? "") during its set-up"))))
    }
    return taken
  }

  private func reason(_ failure: Int32, isSignaled: Bool, status: Int32) -> String {
    if failure != 0 {
      let program =
        order.language == .python ? HostProgram.python(in: order.environmentPath) : "vine-host"
      let hint =
        failure == ENOENT && program == "python3"
        ? " (neither in the library's environment nor in PATH)" : ""
      return "cannot execute \(program)\(hint): \(errorText(failure))"
    }
    if !isSignaled { return "its host process ended with status \(status)" }
    return "its host process was killed by signal \(status) (\(String(cString: strsignal(status))))"
  }

  /// Where an error has no traceback of its own, what the library wrote last says more.
  private func withOutput(_ error: CallError) -> CallError {
    let tail = String(decoding: output.tail(2048), as: UTF8.self)
    if tail.isEmpty { return error }
    var error = error
    if !error.traceback.isEmpty && !error.traceback.hasSuffix("\n") { error.traceback += "\n" }
    error.traceback += "Its output ends with:\n\(tail)"
    return error
  }
}
