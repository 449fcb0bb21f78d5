// Instances of libraries and their calls on simulated nodes.

import VineCore

/// An instance, named by who hosts it.
struct InstanceKey: Hashable {
  let worker: WorkerID
  let allocation: AllocationID
  init(_ worker: WorkerID, _ allocation: AllocationID) {
    self.worker = worker
    self.allocation = allocation
  }
}

/// The process of an instance.
struct SimulatedInstance {
  /// The number of its pending event; one with another number was overtaken.
  var token: UInt32 = 0
}

extension Simulation {
  /// The manager's orders name what the adapter has to look up while it encodes them.
  mutating func noteCallOrder(_ message: ManagerMessage, to worker: WorkerID) {
    switch message {
    case .startCall(let attempt, let allocation, _, let hashesFirst):
      checkers?.granted(attempt, manager.grant(of: allocation))
      ranks[worker.index].instanceOfCall[attempt.task] = allocation
      if !options.isIdeal { nameInputs(of: attempt, hashesFirst: hashesFirst, allocation) }
    case .startInstance(let allocation, _, let slots, _):
      grantsOfInstances[InstanceKey(worker, allocation)] = (
        manager.grant(of: allocation), Int(slots)
      )
    default: break
    }
  }

  mutating func startInstance(
    _ allocation: AllocationID, of library: LibraryID, _ worker: WorkerID, _ rank: SimulatedRank,
    at now: Instant
  ) {
    result.instanceCount += 1
    rank.instances[allocation] = SimulatedInstance()
    let key = InstanceKey(worker, allocation)
    if let (grant, slots) = grantsOfInstances.removeValue(forKey: key) {
      checkers?.instanceBegan(key, grant, slots: slots, on: rank.node)
    }
    let delay = faults?.setupDelay() ?? 1
    let time = now.adding(nanoseconds: delay)
    if faults?.failsSetup() ?? false {
      heap.insert(.instanceExited(worker, allocation, token: 0), at: time)
    } else {
      heap.insert(
        .instanceReady(worker, allocation, token: 0, setupNanoseconds: delay), at: time)
    }
  }

  mutating func instanceReady(
    _ worker: WorkerID, _ allocation: AllocationID, token: UInt32, setupNanoseconds: Int64,
    at now: Instant
  ) {
    let rank = ranks[worker.index]
    guard !rank.isDead, rank.instances[allocation]?.token == token else { return }
    checkers?.instanceReady(InstanceKey(worker, allocation))
    tell(worker, .instanceReady(allocation, setupNanoseconds: setupNanoseconds), at: now)
  }

  /// Ends an instance: at once when killed, else after its teardown.
  mutating func stopInstance(
    _ allocation: AllocationID, isKilled: Bool, _ worker: WorkerID, _ rank: SimulatedRank,
    at now: Instant
  ) {
    guard var instance = rank.instances[allocation] else { return }
    instance.token += 1
    rank.instances[allocation] = instance
    let delay = isKilled ? 1_000 : 1_000 + (faults?.setupDelay() ?? 0) / 8
    heap.insert(
      .instanceExited(worker, allocation, token: instance.token),
      at: now.adding(nanoseconds: delay))
  }

  /// The process of an instance is gone, and its calls with it.
  mutating func instanceExited(
    _ worker: WorkerID, _ allocation: AllocationID, token: UInt32, at now: Instant
  ) {
    let rank = ranks[worker.index]
    guard !rank.isDead, rank.instances[allocation]?.token == token else { return }
    rank.instances[allocation] = nil
    for task in rank.processes.keys.sorted() where rank.instanceOfCall[task] == allocation {
      guard let process = rank.processes[task], process.token != .max else { continue }
      checkers?.processEnded(process.attempt, on: rank.node)
      rank.processes[task] = nil
    }
    checkers?.instanceEnded(InstanceKey(worker, allocation), on: rank.node)
    tell(worker, .instanceExited(allocation), at: now)
  }

  // MARK: Calls

  mutating func call(
    _ attempt: AttemptID, of worker: WorkerID, _ rank: SimulatedRank, at now: Instant
  ) {
    result.attemptCount += 1
    let spec = workflow.tasks[attempt.task]
    let fate =
      faults?.callFate(
        hasTimeout: spec.timeoutMilliseconds > 0, outputCount: Int(spec.outputCount)) ?? .succeeds
    if let allocation = rank.instanceOfCall[attempt.task] {
      checkers?.callBegan(attempt, in: InstanceKey(worker, allocation))
    }
    let reads = readInputs(of: attempt, on: rank.node)
    if case .cannotLaunch(let ending) = fate {
      checkers?.processEnded(attempt, on: rank.node)
      rank.worker.handle(.launchFailed(attempt, ending), at: now, effects: &workerEffects)
      return
    }
    rank.processes[attempt.task] = SimulatedProcess(
      attempt: attempt, start: now, fate: fate, reads: reads, token: 0)
    if case .hangs = fate { return }
    let estimate = spec.estimateMicroseconds
    let microseconds = estimate < 0 ? options.defaultMicroseconds : estimate
    let slowness = Int64(nodes[rank.node].model.slownessPercent)
    heap.insert(
      .processEnded(worker, attempt, .exited(0), token: 0),
      at: now.adding(nanoseconds: microseconds * 10 * slowness))
  }

  /// A call has come to its end, or its instance to its own under it.
  mutating func callEnded(
    _ worker: WorkerID, _ attempt: AttemptID, _ process: SimulatedProcess, _ rank: SimulatedRank,
    at now: Instant
  ) {
    if case .dies = process.fate, let allocation = rank.instanceOfCall[attempt.task],
      let instance = rank.instances[allocation]
    {
      instanceExited(worker, allocation, token: instance.token, at: now)
      return
    }
    checkers?.processEnded(attempt, on: rank.node)
    rank.processes[attempt.task]?.token = .max
    var ending = Ending.succeeded
    if case .exits = process.fate { ending = .raised }
    tell(
      worker, .called(attempt, usage: Completion(ending, start: process.start, end: now)), at: now)
  }

  /// The child that runs a call is killed.
  mutating func cancelCall(
    _ attempt: AttemptID, of worker: WorkerID, _ rank: SimulatedRank, at now: Instant
  ) {
    guard var process = rank.processes[attempt.task], process.attempt == attempt,
      process.token != .max
    else { return }
    process.token += 1
    rank.processes[attempt.task] = process
    heap.insert(
      .processEnded(worker, attempt, .signaled(9), token: process.token),
      at: now.adding(nanoseconds: 1_000))
  }

  // MARK: Results

  /// Whether the result in a file is small enough to travel with messages.
  func isInline(_ file: FileID) -> Bool {
    workflow.files[file].byteCountHint <= Int64(Limits.inlineResultByteCountMax)
  }

  mutating func makeResult(
    _ file: FileID, _ origin: Origin, _ rank: SimulatedRank, at now: Instant
  ) {
    inlineResults[FileValue(file, attempt: origin.attempt.number)] = origin
    rank.worker.handle(
      .resultReady(
        origin.attempt, file, byteCount: max(workflow.files[file].byteCountHint, 0)), at: now,
      effects: &workerEffects)
  }
}

/// Watches the instances of a session.
struct InstanceChecker {
  private struct Row {
    let grant: Grant
    let slots: Int
    var isReady = false
    var calls: Set<AttemptID> = []
  }

  private var rows: [InstanceKey: Row] = [:]
  private var instanceOfCall: [AttemptID: InstanceKey] = [:]
  private(set) var readyCount = 0
  private(set) var endCount = 0

  /// Each says what is wrong, if anything is.
  mutating func began(_ key: InstanceKey, _ grant: Grant, slots: Int) -> String? {
    if rows[key] != nil { return "\(key) is started twice" }
    rows[key] = Row(grant: grant, slots: slots)
    return nil
  }

  mutating func ready(_ key: InstanceKey) -> String? {
    guard let row = rows[key] else { return "\(key) is ready without a start" }
    if row.isReady { return "the context of \(key) is set up twice" }
    rows[key]?.isReady = true
    readyCount += 1
    return nil
  }

  mutating func callBegan(_ attempt: AttemptID, in key: InstanceKey) -> String? {
    guard let row = rows[key], row.isReady else { return "\(attempt) is called in no instance" }
    if row.calls.count >= row.slots { return "\(key) has more calls than slots" }
    rows[key]?.calls.insert(attempt)
    instanceOfCall[attempt] = key
    return nil
  }

  mutating func callEnded(_ attempt: AttemptID) {
    guard let key = instanceOfCall.removeValue(forKey: attempt) else { return }
    rows[key]?.calls.remove(attempt)
  }

  mutating func ended(_ key: InstanceKey) -> Grant? {
    endCount += 1
    return rows.removeValue(forKey: key)?.grant
  }
}
