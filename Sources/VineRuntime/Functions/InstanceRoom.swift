// The instances of one rank and their calls: turns what the core orders into host processes and
// calls, and what those say into events for the core.

internal import CLinux
internal import Crypto
internal import Glibc
internal import VineCore

/// A library's process with its directory.
private struct HostedInstance {
  let host: LibraryHost
  let order: InstanceOrder
  let sandbox: Sandbox
  /// Its directory, as the room for sandboxes knows it.
  let sandboxOrder: AttemptOrder
  /// Why it could not be set up.
  var setupError: CallError?
}

/// A call that an instance has, or that is being settled.
private struct OpenCall {
  let number: UInt64
  let allocation: AllocationID
  var sandbox: Sandbox?
  var start: Int64
  var result: [UInt8] = []
  var error: CallError?
}

final class InstanceRoom {
  private let room: SandboxRoom
  private let launcher: ProcessLauncher
  private let cachePath: String
  private let poll: EventPoll
  private let hasGangs: Bool
  private var instanceOrders: [AllocationID: InstanceOrder] = [:]
  private var callOrders: [TaskID: CallOrder] = [:]
  private var instances: [AllocationID: HostedInstance] = [:]
  private var allocationOfProcess: [Int32: AllocationID] = [:]
  private var allocationOfToken: [UInt64: AllocationID] = [:]
  private var calls: [TaskID: OpenCall] = [:]
  private var taskOfNumber: [UInt64: TaskID] = [:]
  private var nextNumber: UInt64 = 1
  private var unflushed: [AllocationID] = []
  /// When a call went to an instance or a report came from one, on the monotonic clock.
  private(set) var lastTraffic: Int64 = 0
  /// Results on their way into messages.
  private var results: [FileValue: [UInt8]] = [:]
  /// What people should know of an attempt, or of a library.
  let say: (AttemptNote) -> Void
  let sayOfLibrary: (LibraryNote) -> Void

  init(
    room: SandboxRoom, launcher: ProcessLauncher, cachePath: String, poll: EventPoll,
    hasGangs: Bool, say: @escaping (AttemptNote) -> Void,
    sayOfLibrary: @escaping (LibraryNote) -> Void
  ) {
    self.room = room
    self.launcher = launcher
    self.cachePath = cachePath
    self.poll = poll
    self.hasGangs = hasGangs
    self.say = say
    self.sayOfLibrary = sayOfLibrary
  }

  func receive(_ order: InstanceOrder) { instanceOrders[order.allocation] = order }
  func receive(_ order: CallOrder) { callOrders[order.attempt.attempt.task] = order }
  var isEmpty: Bool { instances.isEmpty }
  /// Processes whose descendants are not strays.
  var processIDs: [Int32] { Array(allocationOfProcess.keys) }

  // MARK: Instances

  func start(_ allocation: AllocationID) -> [WorkerEvent] {
    guard let order = instanceOrders.removeValue(forKey: allocation) else {
      return [.instanceExited(allocation)]
    }
    let sandboxOrder = directoryOrder(of: order)
    let sandbox: Sandbox
    do throws(SandboxProblem) { sandbox = try room.make(for: sandboxOrder) } catch {
      sayOfLibrary(LibraryNote(library: order.library, error: error.reason, traceback: ""))
      return [.instanceExited(allocation)]
    }
    do throws(RuntimeError) {
      let host = try LibraryHost.start(
        libraryOrder(order, in: sandbox), number: UInt64(allocation.rawValue), launcher: launcher,
        hasGangs: hasGangs)
      instances[allocation] = HostedInstance(
        host: host, order: order, sandbox: sandbox, sandboxOrder: sandboxOrder)
      if let processID = host.processID { allocationOfProcess[processID] = allocation }
      watch(host.descriptor, allocation)
      return []
    } catch {
      room.recycle(sandbox, sandboxOrder)
      sayOfLibrary(LibraryNote(library: order.library, error: "\(error)", traceback: ""))
      return [.instanceExited(allocation)]
    }
  }

  private func watch(_ descriptor: Int32, _ allocation: AllocationID) {
    let token = PollToken.host(descriptor)
    allocationOfToken[token] = allocation
    poll.add(descriptor, token: token)
  }

  private func unwatch(_ descriptor: Int32) {
    if allocationOfToken.removeValue(forKey: PollToken.host(descriptor)) != nil {
      poll.remove(descriptor)
    }
  }

  /// The order by which the room for sandboxes makes an instance's directory.
  private func directoryOrder(of order: InstanceOrder) -> AttemptOrder {
    var files: [FileOrder] = []
    for (file, use) in zip(order.files, order.uses) where use != .environment {
      files.append(file)
    }
    return AttemptOrder(
      attempt: AttemptID(.none, 0), allocation: order.allocation, timeoutMilliseconds: 0,
      hashesFirst: false, taskName: order.name, commandKind: .call, command: [], environment: [],
      usesSandbox: true, coreCount: order.coreCount, memoryMB: order.memoryMB,
      processingUnits: order.processingUnits, inputs: files, outputs: [])
  }

  private func libraryOrder(_ order: InstanceOrder, in sandbox: Sandbox) -> LibraryOrder {
    var environmentPath: String?
    if let place = order.uses.firstIndex(of: .environment) {
      environmentPath = "\(cachePath)/\(cacheName(order.files[place].value))"
    }
    let mode: LibraryOrder.Mode =
      switch order.mode {
      case .fork: .fork
      case .direct: .direct
      case .process: .process
      case .inRank: .inRank
      }
    var result = LibraryOrder(
      name: order.name, language: order.language == .python ? .python : .native, mode: mode,
      source: "\(sandbox.path)/\(order.files.first?.name ?? "")", functions: order.functions,
      directory: sandbox.path, environmentPath: environmentPath)
    result.contextFunction = order.contextFunction.isEmpty ? nil : order.contextFunction
    result.contextArguments = order.contextArguments
    result.slots = Int(order.slots)
    result.coreCount = Int(order.coreCount)
    result.memoryMB = order.memoryMB
    result.processingUnits = order.processingUnits
    result.environment = order.environment
    return result
  }

  func stop(_ allocation: AllocationID, isKilled: Bool) {
    guard let host = instances[allocation]?.host else { return }
    if isKilled && (host.running != nil || (host.processID == nil && !host.hasBegun)) {
      // Nothing ends a function in this process but the process's end, which the manager takes for
      // the loss of a rank.
      complain("vine-mpi: \(order(of: allocation)): a function inside the rank has to be ended")
      _exit(1)
    }
    host.stop(isKilled: isKilled)
  }

  private func order(of allocation: AllocationID) -> String {
    "library \(instances[allocation]?.order.name ?? "")"
  }

  /// Whether a function runs inside this rank.
  var hasRunningFunction: Bool { instances.values.contains { $0.host.running != nil } }

  /// No time is left.
  func killAll() {
    for allocation in instances.keys.sorted() { instances[allocation]?.host.stop(isKilled: true) }
  }

  /// Something of an instance is readable. Returns nil for a token of others.
  func onReady(_ token: UInt64) -> [WorkerEvent]? {
    guard let allocation = allocationOfToken[token] else { return nil }
    guard let instance = instances[allocation] else { return [] }
    lastTraffic = monotonicNanoseconds()
    let events = take(instance.host.takeReports(), of: allocation)
    if instance.host.processID == nil && instance.host.endText != nil {
      return events + end(allocation, instance)
    }
    return events
  }

  /// A process was reaped. Returns nil for one of others.
  func onExit(_ exit: clinux_exit) -> [WorkerEvent]? {
    guard let allocation = allocationOfProcess.removeValue(forKey: exit.pid),
      let instance = instances[allocation]
    else { return nil }
    let reports = instance.host.onExit(isSignaled: exit.is_signaled != 0, status: exit.status)
    return take(reports, of: allocation) + end(allocation, instance)
  }

  /// The instance is over; what it said was taken.
  private func end(_ allocation: AllocationID, _ instance: HostedInstance) -> [WorkerEvent] {
    unwatch(instance.host.descriptor)
    for task in calls.keys.sorted() where calls[task]?.allocation == allocation {
      noteLoss(of: task, with: instance)
    }
    instances[allocation] = nil
    room.recycle(instance.sandbox, instance.sandboxOrder)
    return [.instanceExited(allocation)]
  }

  /// What is known of the end of the instance is a reason for the end of its calls.
  private func noteLoss(of task: TaskID, with instance: HostedInstance) {
    guard let order = callOrders[task], calls[task]?.result.isEmpty ?? false,
      calls[task]?.error == nil
    else { return }
    let end = instance.host.endText ?? "it ended"
    say(
      AttemptNote(
        attempt: order.attempt.attempt, reason: "library \(instance.order.name): \(end)",
        errorTail: instance.host.output.tail(Limits.errorTailByteCount)))
  }

  private func take(_ reports: [HostReport], of allocation: AllocationID) -> [WorkerEvent] {
    var events: [WorkerEvent] = []
    for report in reports {
      switch report {
      case .ready(let setup):
        events.append(.instanceReady(allocation, setupNanoseconds: setup))
      case .setupFailed(let error):
        guard let instance = instances[allocation], instance.setupError == nil else { continue }
        instances[allocation]?.setupError = error
        sayOfLibrary(
          LibraryNote(
            library: instance.order.library, error: error.error, traceback: error.traceback))
        if allocationOfProcess.values.contains(allocation) {
          instance.host.stop(isKilled: true)
        }
      case .finished(let number, let result, let nanoseconds):
        if let event = finish(number, result, nil, nanoseconds) { events.append(event) }
      case .failed(let number, let error, let nanoseconds):
        if let event = finish(number, [], error, nanoseconds) { events.append(event) }
      case .returned: break
      }
    }
    return events
  }

  private func finish(
    _ number: UInt64, _ result: [UInt8], _ error: CallError?, _ nanoseconds: Int64
  ) -> WorkerEvent? {
    guard let task = taskOfNumber.removeValue(forKey: number), var call = calls[task],
      let order = callOrders[task]
    else { return nil }
    let end = monotonicNanoseconds()
    call.result = result
    call.error = error
    calls[task] = call
    let usage = Completion(
      error == nil ? .succeeded : .raised,
      start: Instant(nanoseconds: max(end - nanoseconds, call.start)),
      end: Instant(nanoseconds: end))
    return .called(order.attempt.attempt, usage: usage)
  }

  // MARK: Calls

  func call(_ attempt: AttemptID) -> [WorkerEvent] {
    guard let order = callOrders[attempt.task],
      let host = instances[order.attempt.allocation]?.host
    else { return [.launchFailed(attempt, .sandboxFailed(ESRCH))] }
    var sandbox: Sandbox?
    do throws(SandboxProblem) {
      if !order.attempt.inputs.isEmpty || !order.attempt.outputs.isEmpty {
        sandbox = try room.make(for: order.attempt)
      }
    } catch {
      say(AttemptNote(attempt: attempt, reason: error.reason, errorTail: []))
      callOrders[attempt.task] = nil
      return [.launchFailed(attempt, error.ending)]
    }
    let number = nextNumber
    do throws(ArgumentProblem) {
      try hand(order, to: host, number, in: sandbox)
    } catch {
      if let sandbox { room.recycle(sandbox, order.attempt) }
      say(AttemptNote(attempt: attempt, reason: error.reason, errorTail: []))
      callOrders[attempt.task] = nil
      return [.launchFailed(attempt, .raised)]
    }
    nextNumber += 1
    taskOfNumber[number] = attempt.task
    calls[attempt.task] = OpenCall(
      number: number, allocation: order.attempt.allocation, sandbox: sandbox,
      start: monotonicNanoseconds())
    unflushed.append(order.attempt.allocation)
    return []
  }

  private func hand(
    _ order: CallOrder, to host: LibraryHost, _ number: UInt64, in sandbox: Sandbox?
  ) throws(ArgumentProblem) {
    let function = Int(order.function)
    if order.isParallel {
      host.gang(
        number, function: function, arguments: try fill(order, order.attempt.command, sandbox),
        ranks: order.gang.map { Int32(bitPattern: $0) }, tag: Int32(order.gangNumber))
      return
    }
    guard order.attempt.commandKind == .chunk else {
      host.call(
        number, function: function, arguments: try fill(order, order.attempt.command, sandbox),
        directory: sandbox?.path)
      return
    }
    host.map(
      number, function: function, template: try fill(order, order.template, sandbox),
      items: items(order.attempt.command))
  }

  private func items(_ text: [UInt8]) -> ItemRun {
    let json = JSONText(text)
    guard let whole = json.whole, json.isObject(whole), let range = json.member("range") else {
      return .list(text)
    }
    let numbers = json.elements(of: range).map {
      Int64(String(decoding: json.bytes[$0], as: UTF8.self)) ?? 0
    }
    guard numbers.count == 3 else { return .list(text) }
    return .range(first: numbers[0], step: numbers[1], count: Int(numbers[2]))
  }

  /// The arguments with their marks filled in.
  private func fill(
    _ order: CallOrder, _ compiled: [UInt8], _ sandbox: Sandbox?
  ) throws(ArgumentProblem) -> [UInt8] {
    if !compiled.contains(where: { $0 < 0x20 }) { return compiled }
    return try fillArguments(
      compiled,
      value: { (place) throws(ArgumentProblem) in
        if let value = order.values.first(where: { $0.place == place }) { return value.bytes }
        guard let reference = order.references.first(where: { $0.place == place }) else {
          throw ArgumentProblem(reason: "a result that the arguments name did not come along")
        }
        return try read(reference.value)
      },
      path: { (place) throws(ArgumentProblem) in
        guard let sandbox, let index = order.sandboxPlaces.firstIndex(of: UInt32(place)),
          index < order.attempt.inputs.count
        else { throw ArgumentProblem(reason: "a file that the arguments name is not an input") }
        return "\(sandbox.path)/\(order.attempt.inputs[index].name)"
      })
  }

  private func read(_ value: FileValue) throws(ArgumentProblem) -> [UInt8] {
    let path = "\(cachePath)/\(cacheName(value))"
    var bytes: [UInt8] = []
    let error = readFile(path, into: &bytes)
    if error != 0 {
      throw ArgumentProblem(reason: "cannot read a result from the cache: \(errorText(error))")
    }
    return bytes
  }

  /// Makes a value out of results, without any process.
  func gather(_ attempt: AttemptID) -> [WorkerEvent] {
    guard let order = callOrders[attempt.task] else {
      return [.launchFailed(attempt, .sandboxFailed(ESRCH))]
    }
    let start = monotonicNanoseconds()
    var call = OpenCall(number: 0, allocation: order.attempt.allocation, start: start)
    do throws(ArgumentProblem) {
      call.result = try fill(order, order.attempt.command, nil)
    } catch {
      say(AttemptNote(attempt: attempt, reason: error.reason, errorTail: []))
      callOrders[attempt.task] = nil
      return [.launchFailed(attempt, .raised)]
    }
    if order.hasResultFile {
      do throws(SandboxProblem) { call.sandbox = try room.make(for: order.attempt) } catch {
        say(AttemptNote(attempt: attempt, reason: error.reason, errorTail: []))
        callOrders[attempt.task] = nil
        return [.launchFailed(attempt, error.ending)]
      }
    }
    calls[attempt.task] = call
    let usage = Completion(
      .succeeded, start: Instant(nanoseconds: start),
      end: Instant(nanoseconds: monotonicNanoseconds()))
    return [.exited(attempt, .exited(0), usage: usage)]
  }

  func isGather(_ attempt: AttemptID) -> Bool {
    callOrders[attempt.task]?.attempt.commandKind == .gather
  }

  /// Ends a call that runs in a child of its instance.
  func cancel(_ attempt: AttemptID) {
    guard let call = calls[attempt.task] else { return }
    instances[call.allocation]?.host.cancel(call.number)
  }

  /// An attempt that never began, or whose instance is gone.
  func forget(_ attempt: AttemptID) {
    guard let order = callOrders.removeValue(forKey: attempt.task) else { return }
    guard let call = calls.removeValue(forKey: attempt.task) else { return }
    taskOfNumber[call.number] = nil
    if let sandbox = call.sandbox { room.recycle(sandbox, order.attempt) }
  }

  /// Hands over what was gathered in a turn.
  func flush() {
    if unflushed.isEmpty { return }
    lastTraffic = monotonicNanoseconds()
    for allocation in Set(unflushed) { instances[allocation]?.host.flush() }
    unflushed.removeAll(keepingCapacity: true)
  }

  // MARK: Settling

  /// What came of a call: its order, how it ended, and the outputs that lie in the cache.
  struct Settled {
    var order: AttemptOrder
    var ending: Ending
    var sizes: [Int64]
    var events: [WorkerEvent]
    /// For the task's log.
    var errorText: [UInt8]
  }

  /// Whether the attempt is one of ours.
  func holds(_ attempt: AttemptID) -> Bool {
    callOrders[attempt.task]?.attempt.attempt == attempt
  }

  /// Moves the outputs of a call that returned into the cache and empties its sandbox.
  func settle(_ attempt: AttemptID, isSuccess: Bool) -> Settled? {
    guard let order = callOrders.removeValue(forKey: attempt.task),
      let call = calls.removeValue(forKey: attempt.task)
    else { return nil }
    var settled = Settled(
      order: order.attempt, ending: .succeeded, sizes: [], events: [], errorText: [])
    var reason = ""
    if let error = call.error {
      reason = error.error
      settled.errorText = Array("\(error.error)\n\(error.traceback)".utf8)
    }
    if isSuccess {
      do throws(SandboxProblem) {
        try keepResult(order, call, &settled)
      } catch {
        settled.ending = error.ending
        reason = error.reason
      }
    }
    if let sandbox = call.sandbox { room.recycle(sandbox, order.attempt) }
    if !isSuccess || settled.ending != .succeeded {
      let tail = call.error.map { Array($0.traceback.utf8.suffix(Limits.errorTailByteCount)) }
      say(AttemptNote(attempt: attempt, reason: reason, errorTail: tail ?? []))
    }
    return settled
  }

  private func keepResult(
    _ order: CallOrder, _ call: OpenCall, _ settled: inout Settled
  ) throws(SandboxProblem) {
    let attempt = order.attempt.attempt
    if let sandbox = call.sandbox {
      if let changed = room.changedInputs(in: sandbox, of: order.attempt).first {
        throw SandboxProblem(
          ending: .changedInput(UInt32(changed)),
          reason: "the call changed its input \(order.attempt.inputs[changed].name), which it "
            + "shares with others; declare it with \"copy\": true to get one of its own")
      }
      if order.hasResultFile, let output = order.attempt.outputs.first {
        let error = writeFile("\(sandbox.path)/\(output.name)", call.result)
        if error != 0 { throw sandboxProblem(error, "cannot write the result") }
      }
      settled.sizes = try room.collect(order.attempt, from: sandbox)
    }
    if order.isMember { return }
    let value = FileValue(order.result, attempt: attempt.number)
    let byteCount = Int64(call.result.count)
    if call.result.count <= Limits.inlineResultByteCountMax {
      if order.attempt.hashesFirst {
        settled.events.append(.hashed(value, byteCount: byteCount, hash(of: call.result)))
      }
      results[value] = call.result
      settled.events.append(.resultReady(attempt, order.result, byteCount: byteCount))
      return
    }
    let path = "\(cachePath)/\(cacheName(value))"
    let error = writeFile("\(path)-part", call.result)
    if error != 0 { throw sandboxProblem(error, "cannot keep the result") }
    if rename("\(path)-part", path) != 0 { throw sandboxProblem(errno, "cannot keep the result") }
    settled.order.outputs.append(
      FileOrder(value: value, name: "", isCopy: false, isDirectory: false))
    settled.sizes.append(byteCount)
  }

  private func sandboxProblem(_ code: Int32, _ what: String) -> SandboxProblem {
    SandboxProblem(ending: .sandboxFailed(code), reason: "\(what): \(errorText(code))")
  }

  private func hash(of bytes: [UInt8]) -> ContentHash {
    SHA256.hash(data: bytes).withUnsafeBytes { ContentHash($0) } ?? .unknown
  }

  /// The bytes that travel with the report of a result.
  func takeResult(_ value: FileValue) -> [UInt8] { results.removeValue(forKey: value) ?? [] }
}

/// Writes a whole file anew; returns 0 or an errno.
private func writeFile(_ path: String, _ bytes: [UInt8]) -> Int32 {
  let descriptor = clinux_open_at(
    AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644)
  if descriptor < 0 { return -descriptor }
  defer { close(descriptor) }
  return bytes.withUnsafeBytes { writeAll($0, to: descriptor) }
}

/// Reads a whole file; returns 0 or an errno.
private func readFile(_ path: String, into bytes: inout [UInt8]) -> Int32 {
  let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
  if descriptor < 0 { return -descriptor }
  defer { close(descriptor) }
  var info = stat()
  if fstat(descriptor, &info) != 0 { return errno }
  let size = Int(info.st_size)
  var code: Int32 = 0
  bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
    while count < size {
      let taken = read(descriptor, buffer.baseAddress! + count, size - count)
      if taken < 0 && errno == EINTR { continue }
      if taken <= 0 {
        code = taken < 0 ? errno : EIO
        return
      }
      count += taken
    }
  }
  return code
}
