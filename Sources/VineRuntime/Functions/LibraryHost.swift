// An instance of a library as its rank sees it: calls go in, reports come out.

internal import CLinux
internal import Glibc

/// The live process of an instance, or its place on the rank's function thread. Never blocks: calls
/// wait here until `flush`, and then until the host reads them. Belongs to the rank's loop, which also
/// reaps the process and then says `onExit`.
final class LibraryHost {
  private enum Seat {
    case process(HostLaunch, HostChannel, ProcessLauncher)
    case thread(FunctionThread)
  }

  let order: LibraryOrder
  /// What the library's code wrote to its standard output and error, drained by `takeReports`;
  /// nothing on the function thread, whose output is the rank's.
  let output: OutputCapture
  private let seat: Seat
  /// Reports that came about on this side.
  private var reports: [HostReport] = []
  private(set) var hasBegun = false
  /// Why the instance is over; nil while it lives.
  private(set) var endText: String?

  /// Starts an instance. `number` tells those of this rank apart. In mode `inRank` it is served by
  /// the function thread; `hasGangs` says whether MPI was started for that.
  static func start(
    _ order: LibraryOrder, number: UInt64, launcher: ProcessLauncher, hasGangs: Bool = false,
    hostProgram: String? = nil
  ) throws(RuntimeError) -> LibraryHost {
    if order.slots > 1 && order.mode != .fork {
      throw RuntimeError(
        "start library", order.name,
        detail: "in mode \(order.mode.rawValue) an instance runs one call at a time: let \"slots\" "
          + "be 1; where calls wait, further instances are started")
    }
    let host: LibraryHost
    if order.mode == .inRank {
      host = LibraryHost(
        order,
        .thread(
          try FunctionThread(
            lookingNanoseconds: launcher.lookingNanoseconds, hasGangs: hasGangs)))
    } else {
      let program = try program(of: order, hostProgram: hostProgram)
      let mark = "\(launcher.markPrefix)library.\(number)"
      let pair = try HostChannel.makePair()
      let hostEnd = OwnedDescriptor(pair.host)
      do throws(RuntimeError) {
        let launch = try launcher.startHost(
          order, program: program, mark: mark, channel: hostEnd.number)
        let channel = try HostChannel(socket: pair.own, output: launch.output)
        host = LibraryHost(order, .process(launch, channel, launcher))
      } catch {
        close(pair.own)
        throw error
      }
    }
    host.change { frames in
      if order.language == .python { frames.putProgram(HostProgram.pythonText) }
      frames.putOrder(order)
    }
    host.flush()
    return host
  }

  private static func program(
    of order: LibraryOrder, hostProgram: String?
  ) throws(RuntimeError) -> [String] {
    switch (order.language, order.mode) {
    case (.python, .fork), (.python, .direct):
      var program = [HostProgram.python(in: order.environmentPath), "-B"]
      if order.environmentPath != nil { program.append("-s") }
      return program + ["-c", HostProgram.pythonStart]
    case (.native, .process):
      if let hostProgram { return [hostProgram, order.name] }
      return [try HostProgram.native(), order.name]
    default:
      throw RuntimeError(
        "start library", order.name,
        detail: "its language has no mode \(order.mode.rawValue)")
    }
  }

  private init(_ order: LibraryOrder, _ seat: Seat) {
    self.order = order
    self.seat = seat
    if case .process(let launch, _, _) = seat {
      output = launch.output
    } else {
      output = OutputCapture(descriptor: -1, spillPath: "")
    }
  }

  /// The process whose end the loop reports with `onExit`; nil on the function thread.
  var processID: pid_t? {
    if case .process(let launch, _, _) = seat { launch.processID } else { nil }
  }

  /// Readable when `takeReports` has something to do.
  var descriptor: Int32 {
    switch seat {
    case .process(_, let channel, _): channel.descriptor
    case .thread(let thread): thread.descriptor
    }
  }

  /// Bytes of calls that the host has not taken yet: while there are many, it should get no more.
  var waitingByteCount: Int {
    switch seat {
    case .process(_, let channel, _): channel.frames.waitingCount
    case .thread(let thread): thread.frames.waitingCount
    }
  }

  /// The call that the function thread runs, and since when on the monotonic clock: a rank that is
  /// stuck in a collective is known by it.
  var running: (number: UInt64, since: Int64)? {
    if case .thread(let thread) = seat { thread.running } else { nil }
  }

  private func change(_ body: (inout FrameBuffer) -> Void) {
    switch seat {
    case .process(_, let channel, _): body(&channel.frames)
    case .thread(let thread): body(&thread.frames)
    }
  }

  // MARK: Calls

  /// Hands a call over: `arguments` is the JSON text `{"args": [...], "kwargs": {...}}`,
  /// `directory` the working directory of a call with files. It goes to the host with `flush`.
  func call(_ number: UInt64, function: Int, arguments: [UInt8], directory: String? = nil) {
    if isTooLarge(arguments.count, number) { return }
    change {
      $0.putCall(number, function: function, arguments: arguments, directory: directory)
    }
  }

  /// Hands over one call for each item, with one result: `template` is like the arguments of a
  /// call, and each `{"$item": true}` in it stands for the item.
  func map(_ number: UInt64, function: Int, template: [UInt8], items: ItemRun) {
    var byteCount = template.count
    if case .list(let text) = items { byteCount += text.count }
    if isTooLarge(byteCount, number) { return }
    change { $0.putMap(number, function: function, template: template, items: items) }
  }

  /// Hands over this rank's part of a parallel call: all of `ranks` (of MPI_COMM_WORLD) get the same
  /// ranks and `tag`, and nothing else runs on their function threads. Mode `inRank` alone.
  func gang(_ number: UInt64, function: Int, arguments: [UInt8], ranks: [Int32], tag: Int32) {
    if isTooLarge(arguments.count, number) { return }
    change {
      $0.putGang(number, function: function, arguments: arguments, ranks: ranks, tag: tag)
    }
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
    change { $0.putCancel(number) }
    flush()
  }

  func flush() {
    switch seat {
    case .process(_, let channel, _): channel.flush()
    case .thread(let thread): thread.flush()
    }
  }

  /// What the instance has to say; also sends what waited for room.
  func takeReports() -> [HostReport] {
    var taken = reports
    reports = []
    switch seat {
    case .process(_, let channel, _):
      receive(&taken) { body throws(HostFrameError) in try channel.take(body) }
    case .thread(let thread):
      receive(&taken) { body throws(HostFrameError) in try thread.take(body) }
      if thread.hasEnded && endText == nil { endText = "its function thread has ended" }
    }
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
      if case .process(_, let channel, _) = seat { channel.shut() }
      signal(SIGKILL)
    }
  }

  // MARK: The end

  /// Ends the instance: at once, or when it has finished what it runs. The function thread cannot be
  /// ended at once.
  func stop(isKilled: Bool) {
    if isKilled && processID != nil {
      if !hasBegun { endText = "it took longer than its `setup_timeout` allows, and was ended" }
      signal(SIGKILL)
      return
    }
    change { $0.putStop() }
    flush()
  }

  private func signal(_ number: Int32) {
    guard let processID else { return }
    kill(-processID, number)
    kill(processID, number)
  }

  /// The loop reaped the process: the last reports. Calls without a report were lost with it.
  func onExit(isSignaled: Bool, status: Int32) -> [HostReport] {
    guard case .process(let launch, let channel, let launcher) = seat else { return [] }
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
