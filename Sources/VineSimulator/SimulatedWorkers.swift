// The nodes' side of a simulation: what the adapters of real workers do with processes and files.

import VineCore

extension Simulation {
  /// Hands an event to a worker and carries out what it orders.
  mutating func tell(_ worker: WorkerID, _ event: WorkerEvent, at now: Instant) {
    let rank = ranks[worker.index]
    if rank.isDead { return }
    rank.worker.handle(event, at: now, effects: &workerEffects)
    carryOutWorkerEffects(of: worker, rank, at: now)
  }

  /// A deadline of a worker has come.
  mutating func workerTimer(_ worker: WorkerID, at now: Instant) {
    let rank = ranks[worker.index]
    if rank.isDead { return }
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
    case .forget(let attempt):
      if !rank.memberCalls.contains(attempt.task) { checkers?.forgotten(attempt) }
    case .fetch(let value, let transfer, let source, let byteCount):
      nodes[rank.node].agent = worker
      fetch(value, transfer, from: source, byteCount: byteCount, to: worker, at: now)
    case .assist(let value, let transfer, let source):
      assist(value, transfer, from: source, to: worker)
    case .unlink(let value):
      unlink(value, on: rank.node, at: now)
    case .commit(let value): commit(value, from: worker, at: now)
    case .adopt(let value, let attempt): adopt(value, as: attempt, by: worker, at: now)
    case .dropOffers: nodes[rank.node].kept = []
    case .startInstance(let allocation, let library):
      startInstance(allocation, of: library, worker, rank, at: now)
    case .stopInstance(let allocation, let isKilled):
      stopInstance(allocation, isKilled: isKilled, worker, rank, at: now)
    case .call(let attempt): call(attempt, of: worker, rank, at: now)
    case .cancelCall(let attempt): cancelCall(attempt, of: worker, rank, at: now)
    case .leave: break
    }
  }

  private mutating func send(_ message: WorkerMessage, from worker: WorkerID, at now: Instant) {
    result.messageCount += 1
    let time = network.arrival(from: worker, at: now, extra: faults?.delay() ?? 0)
    heap.insert(.toManager(worker, message), at: time)
    if isDuplicable(message), faults?.duplicates() ?? false {
      // The same report once more, at any later time: the manager must see that it is stale.
      heap.insert(
        .toManager(worker, message), at: time.adding(nanoseconds: faults?.delay() ?? 0))
    }
  }

  private func isDuplicable(_ message: WorkerMessage) -> Bool {
    switch message {
    case .taskFinished, .replicaReady, .transferEnded, .hashed: true
    // A failed commit is ordered again under the same name, and its second report is no other's.
    case .committed(_, _, let error): error == 0
    case .taskReturned, .replicaDamaged, .resultReady, .instanceReady, .instanceEnded,
      .replicaFound, .recallEnded, .diskMeasured, .replicaOffered, .replicaRefused, .offersEnded,
      .helperFailed:
      false
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
    let reads = readInputs(of: attempt, on: rank.node)
    if case .cannotLaunch(let ending) = fate {
      checkers?.processEnded(attempt, on: rank.node)
      rank.worker.handle(.launchFailed(attempt, ending), at: now, effects: &workerEffects)
      return
    }
    rank.processes[attempt.task] = SimulatedProcess(
      attempt: attempt, start: now, fate: fate, reads: reads, token: 0)
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

  /// When a gang loses a rank, what its call reads may go before another of its ranks has begun, which
  /// then finds nothing: nobody waits for that one any more.
  private func isGangCall(_ task: TaskID) -> Bool { workflow.request(of: task).gangRanks > 0 }

  /// What an attempt finds when it starts; the adapter named its inputs' values in the order.
  mutating func readInputs(of attempt: AttemptID, on node: Int) -> [Origin] {
    checkers?.launched(attempt, on: node)
    guard !options.isIdeal else { return [] }
    let inCache = workflow.tasks[attempt.task].usesSandbox
    let named = namedInputs.removeValue(forKey: attempt) ?? []
    var reads: [Origin] = []
    for (place, input) in workflow.stagedInputs(of: attempt.task).enumerated() {
      let isSource = workflow.files[input.file].producer == .none
      let found: Origin?
      if inCache {
        let value = place < named.count ? named[place] : nil
        let inline = input.use == .reference ? value.flatMap { inlineResults[$0] } : nil
        found = inline ?? value.flatMap { nodes[node].cache[$0] }
      } else {
        found = isSource ? .source(input.file) : sharedFiles[input.file]
      }
      if let found {
        reads += derivedReads[found] ?? [found]
      } else if manager.isExpected(attempt) || !isGangCall(attempt.task) {
        checkers?.violate("\(attempt) starts on node \(node) without \(input.file)")
      }
    }
    return reads
  }

  /// A process ended, unless a signal was faster.
  mutating func processEnded(
    _ worker: WorkerID, _ attempt: AttemptID, _ status: ExitStatus, token: UInt32, at now: Instant
  ) {
    let rank = ranks[worker.index]
    guard !rank.isDead, let process = rank.processes[attempt.task], process.attempt == attempt,
      process.token == token
    else { return }
    if rank.instanceOfCall[attempt.task] != nil {
      callEnded(worker, attempt, process, rank, at: now)
      return
    }
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
    if rank.isDead { return }
    settleNow(worker, rank, attempt, isSuccess: isSuccess, at: now)
    carryOutWorkerEffects(of: worker, rank, at: now)
  }

  private mutating func settleNow(
    _ worker: WorkerID, _ rank: SimulatedRank, _ attempt: AttemptID, isSuccess: Bool,
    at now: Instant
  ) {
    guard let process = rank.processes[attempt.task], process.attempt == attempt else { return }
    rank.processes[attempt.task] = nil
    guard isSuccess, !process.isMember else {
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
      ending = .sandboxFailed(5)
    }
    if !options.isIdeal {
      let origin = Origin(session: session, attempt: attempt)
      let isDeterministic = workflow.tasks[attempt.task].isDeterministic
      let drift = faults?.drift(isDeterministic: isDeterministic) ?? 0
      checkers?.provenance.made(origin, from: process.reads, drift: drift)
      for (place, output) in outputs.prefix(end).enumerated() {
        if output.use == .reference && isInline(output.file) {
          makeResult(output.file, origin, rank, at: now)
        } else if !make(output.file, origin, rank, at: now) {
          end = place
          ending = .sandboxFailed(28)
          break
        }
      }
      if ending == .succeeded { tellHashes(of: origin, worker, rank, at: now) }
    }
    if ending == .succeeded { checkers?.succeeded(attempt) }
    rank.worker.handle(.settled(attempt, ending), at: now, effects: &workerEffects)
  }

  /// Puts an output where it belongs; false when the disk is full.
  private mutating func make(
    _ file: FileID, _ origin: Origin, _ rank: SimulatedRank, at now: Instant
  ) -> Bool {
    let attempt = origin.attempt
    guard workflow.tasks[attempt.task].usesSandbox else {
      sharedFiles[file] = origin
      return true
    }
    let byteCount = byteCount(of: file)
    guard hasRoom(for: byteCount, on: rank.node) else {
      rank.worker.handle(
        .diskMeasured(freeRoom(on: rank.node)), at: now, effects: &workerEffects)
      return false
    }
    nodes[rank.node].cache[FileValue(file, attempt: attempt.number)] = origin
    rank.worker.handle(
      .outputReady(attempt, file, byteCount: byteCount), at: now, effects: &workerEffects)
    return true
  }

  /// Whether so many more bytes find room on a node's disk.
  mutating func hasRoom(for byteCount: Int64, on node: Int) -> Bool {
    if freeRoom(on: node).byteCountMax >= byteCount { return true }
    let isExact =
      isPristine && options.sizeSpread == 1 && workflow.derivations.isEmpty
      && workflow.libraries.isEmpty
      // What lay there already, the manager hears of a moment later.
      && !workflow.files.rows.contains { $0.lifetime == .forever }
    let model = nodes[node].model
    checkers?.foundFull(node, model, isPristine: isExact)
    result.fullDiskCount += 1
    return false
  }

  func freeRoom(on node: Int) -> DiskCapacity {
    let byteCountMax = nodes[node].model.diskByteCount
    if byteCountMax == .max { return .unlimited }
    let used = nodes[node].cache.keys.reduce(Int64(0)) { $0 + byteCount(of: $1.file) }
    return DiskCapacity(byteCountMax: max(byteCountMax - used, 0))
  }

  /// Hashes come before the end where an earlier value is to be compared, else later or never.
  private mutating func tellHashes(
    of origin: Origin, _ worker: WorkerID, _ rank: SimulatedRank, at now: Instant
  ) {
    let attempt = origin.attempt
    guard workflow.tasks[attempt.task].usesSandbox else { return }
    let isFirst = hashingFirst.remove(attempt) != nil
    for output in workflow.outputs(of: attempt.task) {
      let value = FileValue(output.file, attempt: attempt.number)
      let byteCount = byteCount(of: output.file)
      if isFirst {
        tellHash(of: value, byteCount: byteCount, rank, at: now)
      } else if let delay = faults?.hashDelay() {
        heap.insert(
          .hashed(worker, value, byteCount: byteCount), at: now.adding(nanoseconds: delay))
      }
    }
  }

  private mutating func tellHash(
    of value: FileValue, byteCount: Int64, _ rank: SimulatedRank, at now: Instant
  ) {
    guard let origin = nodes[rank.node].cache[value] ?? inlineResults[value], let checkers
    else { return }
    let hash = checkers.provenance.hash(of: origin, value.file)
    rank.worker.handle(
      .hashed(value, byteCount: byteCount, hash), at: now, effects: &workerEffects)
  }

  /// A node has read an output once more, for its hash.
  mutating func hashed(
    _ worker: WorkerID, _ value: FileValue, byteCount: Int64, at now: Instant
  ) {
    let rank = ranks[worker.index]
    if rank.isDead { return }
    tellHash(of: value, byteCount: byteCount, rank, at: now)
    carryOutWorkerEffects(of: worker, rank, at: now)
  }

  // MARK: Derivations

  /// A derived file is made of what the order named, all of which has to be there.
  mutating func derive(
    _ value: FileValue, _ transfer: TransferID, on node: Int
  ) -> Origin? {
    var reads: [Origin] = []
    for input in derivationInputs[transfer] ?? [] {
      guard let origin = nodes[node].cache[input] else {
        checkers?.violate("\(value) is made on node \(node) without \(input)")
        continue
      }
      reads += derivedReads[origin] ?? [origin]
    }
    let number = UInt32(1) << 31 | UInt32(derivedReads.count)
    let origin = Origin(session: session, attempt: AttemptID(.none, number))
    derivedReads[origin] = reads
    return origin
  }

  // MARK: Commits

  private mutating func commit(_ value: FileValue, from worker: WorkerID, at now: Instant) {
    let node = ranks[worker.index].node
    let byteCount = byteCount(of: value.file)
    let origin = nodes[node].cache[value]
    checkers?.committed(value, origin)
    let end = network.nodeToShared(node, byteCount: byteCount, from: now)
    result.bytes.nodeToShared += byteCount
    heap.insert(
      .commitEnded(
        worker, value, byteCount: byteCount, faults?.commitError() ?? 0,
        origin ?? .source(value.file)), at: end)
  }

  /// A commit ended; of one whose agent died meanwhile, the bytes may lie there all the same.
  mutating func commitEnded(
    _ worker: WorkerID, _ value: FileValue, byteCount: Int64, error: Int32, _ origin: Origin,
    at now: Instant
  ) {
    if ranks[worker.index].isDead {
      if faults?.coin() ?? false { durableValues[value] = origin }
      return
    }
    checkers?.committed(value, nodes[ranks[worker.index].node].cache[value])
    if error == 0 { durableValues[value] = origin }
    tell(worker, .committed(value, byteCount: byteCount, error: error), at: now)
  }
}
