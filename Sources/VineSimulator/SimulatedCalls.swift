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
  /// Nobody can end what runs in it.
  var isInRank = false
  /// It ends when its call has returned.
  var isStopping = false
}

extension Simulation {
  /// The manager's orders name what the adapter has to look up while it encodes them.
  mutating func noteCallOrder(_ message: ManagerMessage, to worker: WorkerID) {
    switch message {
    case .startCall(let attempt, let allocation, _, let hashesFirst):
      let gang = manager.gangRanks(of: allocation)
      ranks[worker.index].instanceOfCall[attempt.task] = allocation
      if !gang.isEmpty && gang[0] != worker {
        ranks[worker.index].memberCalls.insert(attempt.task)
        return
      }
      ranks[worker.index].memberCalls.remove(attempt.task)
      if !gang.isEmpty { checkGang(gang, of: attempt.task) }
      checkers?.granted(
        attempt, manager.grant(of: allocation), isSeeking: manager.isSeekingValues)
      if !options.isIdeal { nameInputs(of: attempt, hashesFirst: hashesFirst, allocation) }
    case .startInstance(let allocation, _, let slots, _, _):
      grantsOfInstances[InstanceKey(worker, allocation)] = (
        manager.grant(of: allocation), Int(slots)
      )
    default: break
    }
  }

  /// All ranks of a gang are there, apart and within what was asked for.
  private mutating func checkGang(_ gang: [WorkerID], of task: TaskID) {
    let request = workflow.request(of: task)
    if gang.count != Int(request.gangRanks) || Set(gang).count != gang.count {
      checkers?.violate("\(task) starts on \(gang), not on \(request.gangRanks) ranks")
    }
    guard request.ranksPerNode > 0 else { return }
    for index in nodes.indices {
      let count = gang.count { ranks[$0.index].node == index }
      if count > Int(request.ranksPerNode) {
        checkers?.violate("\(task) has \(count) ranks on node \(index)")
      }
    }
  }

  mutating func startInstance(
    _ allocation: AllocationID, of library: LibraryID, _ worker: WorkerID, _ rank: SimulatedRank,
    at now: Instant
  ) {
    result.instanceCount += 1
    rank.instanceToken += 1
    let token = rank.instanceToken
    rank.instances[allocation] = SimulatedInstance(
      token: token, isInRank: workflow.libraries[library].mode == .inRank)
    let key = InstanceKey(worker, allocation)
    if let (grant, slots) = grantsOfInstances.removeValue(forKey: key) {
      checkers?.instanceBegan(key, grant, slots: slots, on: rank.node)
    }
    let delay = faults?.setupDelay() ?? 1
    let time = now.adding(nanoseconds: delay)
    if faults?.failsSetup() ?? false {
      heap.insert(.instanceExited(worker, allocation, token: token), at: time)
    } else {
      heap.insert(
        .instanceReady(worker, allocation, token: token, setupNanoseconds: delay), at: time)
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
    let runs = rank.processes.values.contains {
      rank.instanceOfCall[$0.attempt.task] == allocation && $0.token != .max
    }
    if instance.isInRank && runs {
      rank.instances[allocation]?.isStopping = true
      guard isKilled else { return }
      // It cannot be ended but with its rank.
      let time = now.adding(nanoseconds: Limits.killGraceNanoseconds)
      heap.insert(.stuck(worker, allocation, token: instance.token), at: time)
      return
    }
    rank.instanceToken += 1
    instance.token = rank.instanceToken
    rank.instances[allocation] = instance
    let delay = isKilled ? 1_000 : 1_000 + (faults?.setupDelay() ?? 0) / 8
    heap.insert(
      .instanceExited(worker, allocation, token: instance.token),
      at: now.adding(nanoseconds: delay))
  }

  /// A call inside a rank has not returned in time: the rank leaves.
  mutating func stuck(
    _ worker: WorkerID, _ allocation: AllocationID, token: UInt32, at now: Instant
  ) {
    guard !ranks[worker.index].isDead, ranks[worker.index].instances[allocation]?.token == token
    else { return }
    lossCount += 1
    die(worker, at: now)
    heap.insert(.declaredLost(worker), at: now.adding(nanoseconds: faults?.noticeDelay() ?? 0))
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
      if !process.isMember { checkers?.processEnded(process.attempt, on: rank.node) }
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
    let isMember = rank.memberCalls.contains(attempt.task)
    if let allocation = rank.instanceOfCall[attempt.task], !isMember {
      checkers?.callBegan(attempt, in: InstanceKey(worker, allocation))
    }
    let reads = isMember ? [] : readInputs(of: attempt, on: rank.node)
    if case .cannotLaunch(let ending) = fate {
      if !isMember { checkers?.processEnded(attempt, on: rank.node) }
      rank.worker.handle(.launchFailed(attempt, ending), at: now, effects: &workerEffects)
      return
    }
    rank.processes[attempt.task] = SimulatedProcess(
      attempt: attempt, start: now, fate: fate, reads: reads, isMember: isMember, token: 0)
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
    if !process.isMember { checkers?.processEnded(attempt, on: rank.node) }
    rank.processes[attempt.task]?.token = .max
    defer {
      if let allocation = rank.instanceOfCall[attempt.task],
        let instance = rank.instances[allocation], instance.isStopping
      {
        heap.insert(
          .instanceExited(worker, allocation, token: instance.token),
          at: now.adding(nanoseconds: 1_000))
      }
    }
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
