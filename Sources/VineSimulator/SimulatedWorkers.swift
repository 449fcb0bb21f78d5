// The nodes' side of a simulation: what the adapters of real workers do with processes and files.

import VineCore

extension Simulation {
  /// Hands an event to a worker and carries out what it orders.
  mutating func tell(_ worker: WorkerID, _ event: WorkerEvent, at now: Instant) {
    let rank = ranks[worker.index]
    rank.worker.handle(event, at: now, effects: &workerEffects)
    carryOutWorkerEffects(of: worker, rank, at: now)
  }

  /// A deadline of a worker has come.
  mutating func workerTimer(_ worker: WorkerID, at now: Instant) {
    let rank = ranks[worker.index]
    rank.timerAt = nil
    rank.worker.handleDeadlines(at: now, effects: &workerEffects)
    carryOutWorkerEffects(of: worker, rank, at: now)
  }

  private mutating func carryOutWorkerEffects(
    of worker: WorkerID, _ rank: SimulatedRank, at now: Instant
  ) {
    // An effect may be answered at once, and the answer appends further effects of the same rank.
    var next = 0
    while next < workerEffects.count {
      let effect = workerEffects[next]
      next += 1
      carryOut(effect, of: worker, rank, at: now)
    }
    workerEffects.removeAll(keepingCapacity: true)
    if let deadline = rank.worker.nextDeadline, rank.timerAt.map({ deadline < $0 }) ?? true {
      rank.timerAt = deadline
      heap.insert(.workerTimer(worker), at: max(deadline, now))
    }
  }

  private mutating func carryOut(
    _ effect: WorkerEffect, of worker: WorkerID, _ rank: SimulatedRank, at now: Instant
  ) {
    switch effect {
    case .send(let message): send(message, from: worker, at: now)
    case .launch(let attempt): launch(attempt, of: worker, rank, at: now)
    case .settle(let attempt, let isSuccess):
      let delay = faults?.settleDelay() ?? 0
      if delay > 0 {
        heap.insert(
          .settled(worker, attempt, isSuccess: isSuccess), at: now.adding(nanoseconds: delay))
      } else {
        settleNow(worker, rank, attempt, isSuccess: isSuccess, at: now)
      }
    case .signal(let attempt, let signal):
      guard var process = rank.processes[attempt.task], process.attempt == attempt else { return }
      if signal != 9 && process.fate == .hangs(ignoresTerminate: true) { return }
      process.token += 1
      rank.processes[attempt.task] = process
      heap.insert(
        .processEnded(worker, attempt, .signaled(signal), token: process.token),
        at: now.adding(nanoseconds: 1_000))
    case .forget(let attempt): checkers?.forgotten(attempt)
    case .fetch(let value, let transfer, let source, let byteCount):
      fetch(value, transfer, from: source, byteCount: byteCount, to: worker, at: now)
    case .unlink(let value):
      let node = rank.node
      if nodes[node].cache.remove(value) == nil {
        checkers?.violate("\(value) is unlinked on node \(node), which does not have it")
      }
    case .commit(let value): commit(value, from: worker, at: now)
    case .leave: break
    }
  }

  private mutating func send(_ message: WorkerMessage, from worker: WorkerID, at now: Instant) {
    result.messageCount += 1
    let time = network.arrival(from: worker, at: now, extra: faults?.delay() ?? 0)
    heap.insert(.toManager(worker, message), at: time)
    if case .taskFinished = message, faults?.duplicates() ?? false {
      // The same report once more, at any later time: the manager must see that it is stale.
      heap.insert(
        .toManager(worker, message), at: time.adding(nanoseconds: faults?.delay() ?? 0))
    }
  }

  // MARK: Processes

  private mutating func launch(
    _ attempt: AttemptID, of worker: WorkerID, _ rank: SimulatedRank, at now: Instant
  ) {
    result.attemptCount += 1
    let spec = workflow.tasks[attempt.task]
    let fate =
      faults?.fate(hasTimeout: spec.timeoutMilliseconds > 0, outputCount: Int(spec.outputCount))
      ?? .succeeds
    if checkers != nil { checkLaunch(attempt, on: rank.node) }
    if case .cannotLaunch(let ending) = fate {
      checkers?.processEnded(attempt, on: rank.node)
      rank.worker.handle(.launchFailed(attempt, ending), at: now, effects: &workerEffects)
      return
    }
    rank.processes[attempt.task] = SimulatedProcess(
      attempt: attempt, start: now, fate: fate, token: 0)
    let status: ExitStatus =
      switch fate {
      case .exits(let code): .exited(code)
      case .dies(let signal): .signaled(signal)
      default: .exited(0)
      }
    if case .hangs = fate { return }
    let estimate = spec.estimateMicroseconds
    let microseconds = estimate < 0 ? options.defaultMicroseconds : estimate
    let slowness = Int64(nodes[rank.node].model.slownessPercent)
    heap.insert(
      .processEnded(worker, attempt, status, token: 0),
      at: now.adding(nanoseconds: microseconds * 10 * slowness))
  }

  private mutating func checkLaunch(_ attempt: AttemptID, on node: Int) {
    checkers?.launched(attempt, on: node)
    guard !options.isIdeal else { return }
    let inCache = workflow.tasks[attempt.task].usesSandbox
    for input in workflow.inputs(of: attempt.task) {
      let isThere =
        inCache
        ? hasRight(input.file, on: node)
        : workflow.files[input.file].producer == .none || sharedFiles.contains(input.file)
      if !isThere { checkers?.violate("\(attempt) starts on node \(node) without \(input.file)") }
    }
  }

  /// A process ended, unless a signal was faster.
  mutating func processEnded(
    _ worker: WorkerID, _ attempt: AttemptID, _ status: ExitStatus, token: UInt32, at now: Instant
  ) {
    let rank = ranks[worker.index]
    guard let process = rank.processes[attempt.task], process.attempt == attempt,
      process.token == token
    else { return }
    checkers?.processEnded(attempt, on: rank.node)
    let usage = Completion(.succeeded, start: process.start, end: now)
    // From here on a signal finds nothing; the fate is still needed to settle.
    rank.processes[attempt.task]?.token = .max
    tell(worker, .exited(attempt, status, usage: usage), at: now)
  }

  /// The outputs of an attempt that ended have been moved.
  mutating func settle(
    _ worker: WorkerID, _ attempt: AttemptID, isSuccess: Bool, at now: Instant
  ) {
    let rank = ranks[worker.index]
    settleNow(worker, rank, attempt, isSuccess: isSuccess, at: now)
    carryOutWorkerEffects(of: worker, rank, at: now)
  }

  private mutating func settleNow(
    _ worker: WorkerID, _ rank: SimulatedRank, _ attempt: AttemptID, isSuccess: Bool,
    at now: Instant
  ) {
    guard let process = rank.processes.removeValue(forKey: attempt.task) else { return }
    guard isSuccess else {
      // The reason is the exit status, which the worker knows.
      rank.worker.handle(.settled(attempt, .succeeded), at: now, effects: &workerEffects)
      return
    }
    let outputs = workflow.outputs(of: attempt.task)
    var end = outputs.count
    var ending = Ending.succeeded
    if process.fate == .missesOutput, let plan = faults {
      var plan = plan
      end = plan.place(below: outputs.count)
      faults = plan
      ending = .missingOutput(UInt32(end))
    } else if process.fate == .cannotSettle, var plan = faults {
      end = plan.place(below: outputs.count + 1)
      faults = plan
      ending = .sandboxFailed(28)
    }
    if !options.isIdeal {
      for output in outputs.prefix(end) { make(output.file, by: attempt, rank, at: now) }
    }
    if ending == .succeeded { checkers?.succeeded(attempt) }
    rank.worker.handle(.settled(attempt, ending), at: now, effects: &workerEffects)
  }

  private mutating func make(
    _ file: FileID, by attempt: AttemptID, _ rank: SimulatedRank, at now: Instant
  ) {
    if workflow.tasks[attempt.task].usesSandbox {
      nodes[rank.node].cache.insert(FileValue(file, attempt: attempt.number))
      rank.worker.handle(
        .outputReady(attempt, file, byteCount: max(workflow.files[file].byteCountHint, 0)),
        at: now, effects: &workerEffects)
    } else {
      sharedFiles.insert(file)
    }
  }

  // MARK: Files

  private mutating func fetch(
    _ value: FileValue, _ transfer: TransferID, from source: TransferSource, byteCount: Int64,
    to worker: WorkerID, at now: Instant
  ) {
    let node = ranks[worker.index].node
    let file = value.file
    result.transferCount += 1
    let end: Instant
    switch source {
    case .sharedFileSystem:
      let isThere =
        workflow.files[file].producer == .none || sharedFiles.contains(file)
        || durableValues.contains(value)
      if !isThere { checkers?.violate("\(file) is fetched before it is written") }
      end = network.sharedToNode(node, byteCount: byteCount, from: now)
      result.bytes.sharedToNode += byteCount
    case .manager:
      end = network.managerToNode(node, byteCount: byteCount, from: now)
      result.bytes.managerToNode += byteCount
    case .node(let agent):
      let other = ranks[agent.index].node
      checkers?.reads(value, from: other, isThere: nodes[other].cache.contains(value))
      end = network.nodeToNode(other, node, byteCount: byteCount, from: now)
      result.bytes.nodeToNode += byteCount
    }
    if nodes[node].cache.contains(value) {
      checkers?.violate("\(file) is fetched to node \(node), which has it")
    }
    let error = faults?.transferError() ?? 0
    heap.insert(
      .transferEnded(worker, value, transfer, source, byteCount: byteCount, error), at: end)
  }

  /// A transfer ended, well or with an errno.
  mutating func transferEnded(
    _ worker: WorkerID, _ value: FileValue, _ transfer: TransferID, _ source: TransferSource,
    byteCount: Int64, error: Int32, at now: Instant
  ) {
    if case .node(let agent) = source {
      let other = ranks[agent.index].node
      checkers?.reads(value, from: other, isThere: nodes[other].cache.contains(value))
    }
    if error == 0 {
      nodes[ranks[worker.index].node].cache.insert(value)
    }
    tell(worker, .transferred(transfer, byteCount: byteCount, error: error), at: now)
  }

  /// A commit begins or ends to read a cache.
  mutating func checkCommit(of value: FileValue, on node: Int) {
    checkers?.committed(value, isThere: nodes[node].cache.contains(value))
  }

  private func hasRight(_ file: FileID, on node: Int) -> Bool {
    guard let checkers else { return true }
    return nodes[node].cache.contains(FileValue(file, attempt: checkers.rightVersion(of: file)))
  }

  private mutating func commit(_ value: FileValue, from worker: WorkerID, at now: Instant) {
    let node = ranks[worker.index].node
    let byteCount = max(workflow.files[value.file].byteCountHint, 0)
    checkCommit(of: value, on: node)
    let end = network.nodeToShared(node, byteCount: byteCount, from: now)
    result.bytes.nodeToShared += byteCount
    heap.insert(
      .commitEnded(worker, value, byteCount: byteCount, faults?.commitError() ?? 0), at: end)
  }
}
