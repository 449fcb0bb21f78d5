// The simulated cluster: the real manager and the real workers in virtual time. This file is the
// manager's side, the loop and the result; `SimulatedWorkers.swift` is the nodes' side.

package import VineCore

/// A run of one workflow on one simulated cluster.
package struct Simulation: ~Copyable {
  let workflow: Workflow
  var cluster: ClusterModel
  let options: SimulationOptions
  var manager: Manager
  var network: SimulatedNetwork
  var heap = EventHeap<SimulatedEvent>()
  var nodes: [SimulatedNode] = []
  var ranks: [SimulatedRank] = []
  /// Caches of dead sessions that lie on no node of this one.
  var keptCaches: [[KeptReplica]] = []
  /// What has to be compared with, by what the order named.
  var adoptionOrders: [AdoptionKey: ContentHash] = [:]
  var faults: FaultPlan?
  var checkers: Checkers?
  /// Produced files that lie on the shared file system.
  var sharedFiles: [FileID: Origin] = [:]
  /// Committed values, under whatever name.
  var durableValues: [FileValue: Origin] = [:]
  /// Those that were taken away again.
  var discarded: Set<FileValue> = []
  /// The values that an attempt was ordered to read.
  var namedInputs: [AttemptID: [FileValue]] = [:]
  /// What derivations were ordered to read.
  var derivationInputs: [TransferID: [FileValue]] = [:]
  /// What tasks made of that which went into a derived file.
  var derivedReads: [Origin: [Origin]] = [:]
  /// Attempts that were ordered to tell hashes before their end.
  var hashingFirst: Set<AttemptID> = []
  /// What an instance was granted, and its slots, until its executor hears of it.
  var grantsOfInstances: [InstanceKey: (Grant, Int)] = [:]
  /// Results that travel with messages and lie in the journal.
  var inlineResults: [FileValue: Origin] = [:]
  /// How often the manager was started.
  var session = 1
  /// Workers and nodes that were lost or silent so far.
  var lossCount = 0
  /// The node that lives to the end, unless none is spared.
  var sparedNode = 0
  /// What the last publication under each name put at its path.
  var renamed: [FileValue: Origin] = [:]
  var log = SimulatedLog()
  /// The log so far, as its next reader will find it.
  private var fold: LogFold
  var managerOptions: ManagerOptions
  /// Of this session's job.
  var closing = Closing(startedAt: .zero, jobEndsAt: nil)
  var trace = TraceHash()
  var result = SimulationResult()
  var workerEffects: [WorkerEffect] = []
  var managerEffects: [ManagerEffect] = []
  var managerTimerAt: Instant?
  /// The manager heard something since it last placed tasks.
  var managerHeard = true
  private var busyCoreNanoseconds = 0.0

  /// Plays `workflow`, which must have no cycle, to its end on `cluster`.
  package static func run(
    _ workflow: Workflow, on cluster: ClusterModel, options: SimulationOptions
  ) -> SimulationResult {
    var workflow = workflow
    if options.isIdeal { workflow.policy.placement = .worst }
    var simulation = Simulation(workflow, on: cluster, options: options)
    simulation.play()
    return simulation.result
  }

  private init(
    _ workflow: Workflow, on cluster: ClusterModel, options: SimulationOptions
  ) {
    var cluster = cluster
    if options.isIdeal { cluster.makeIdeal() }
    var managerOptions = ManagerOptions()
    managerOptions.ignoresData = options.isIdeal
    managerOptions.usesLanes = options.usesLanes && !options.isIdeal
    managerOptions.waitsForInputs = options.waitsForInputs
    managerOptions.defaultEstimateMicroseconds = options.defaultMicroseconds
    self.managerOptions = managerOptions
    network = SimulatedNetwork(cluster, workerCount: 0)
    faults = options.faults
    checkers = options.checks ? Checkers(workflow, ignoresData: options.isIdeal) : nil
    checkers?.hasLiars = (faults?.liarRate ?? 0) > 0
    checkers?.hasFileErrors = faults?.hasFileErrors ?? false
    checkers?.hasSetupFailures = (faults?.setupFailureRate ?? 0) > 0
    checkers?.hasDisks =
      ([cluster] + options.restarts.map(\.cluster)).contains { cluster in
        cluster.nodes.contains { $0.disk != .unlimited || $0.diskByteCount != .max }
      }
    manager = Manager(workflow, options: managerOptions)
    fold = LogFold(taskCount: workflow.tasks.count)
    self.workflow = workflow
    self.cluster = cluster
    self.options = options
    setUp(cluster, jobEndsAt: options.jobEndsAt)
  }

  // MARK: The loop

  private mutating func play() {
    playSession(crashAfter: options.crashAfter)
    for restart in options.restarts where result.violation == nil {
      if let outcome = result.outcome {
        if outcome.exitStatus == 0 || outcome.exitStatus == 8 { break }
        log.endSession()
      } else {
        crash()
      }
      startAgain(restart)
      playSession(crashAfter: restart.crashAfter)
    }
    conclude()
  }

  /// Plays to the end of a session, or until so many events have happened.
  private mutating func playSession(crashAfter: Int?) {
    let eventLimit = crashAfter.map { result.eventCount + $0 } ?? .max
    for index in nodes.indices {
      if nodes[index].model.registersAt == .zero {
        register(index, at: .zero)
      } else {
        heap.insert(.nodeRegisters(index), at: nodes[index].model.registersAt)
      }
    }
    let closesAt = max(
      options.registrationClosesAt, cluster.nodes.map(\.registersAt).max() ?? .zero)
    heap.insert(.registrationClosed, at: closesAt)
    if session == 1, let time = options.drainsAt { heap.insert(.drainRequested, at: time) }
    if let time = closing.nextStep { heap.insert(.closing, at: time) }
    if heap.nextTime != .zero { turn(at: .zero) }
    while result.outcome == nil && result.violation == nil {
      guard let now = heap.nextTime else {
        let open = workflow.tasks.ids.first { !manager.state(of: $0).isTerminal }
        result.violation =
          "the run stalls: nothing is under way and it is not over"
          + (open.map { "; \($0) is \(manager.state(of: $0))" } ?? "")
        break
      }
      while heap.nextTime == now, let (event, _) = heap.popNext() {
        result.eventCount += 1
        happen(event, at: now)
        if faults?.strikes() ?? false { strike(at: now) }
      }
      if managerHeard { turn(at: now) }
      if result.eventCount > eventLimit && result.outcome == nil { return }
      if result.eventCount > options.eventCountMax {
        result.violation = "the run does not end"
      }
      if let violation = checkers?.violation { result.violation = violation }
    }
    concludeSession()
  }

  mutating func happen(_ event: SimulatedEvent, at now: Instant) {
    if isHeld(event) { return }
    switch event {
    case .toWorker(let worker, let message):
      tell(worker, .received(message), at: now)
    case .toManager(let worker, let message):
      if ranks[worker.index].losesLastWords { return }
      trace.mix(message, from: worker, at: now)
      hear(.received(message, from: worker), at: now)
    case .processEnded(let worker, let attempt, let status, let token):
      processEnded(worker, attempt, status, token: token, at: now)
    case .settled(let worker, let attempt, let isSuccess):
      settle(worker, attempt, isSuccess: isSuccess, at: now)
    case .hashed(let worker, let value, let byteCount):
      hashed(worker, value, byteCount: byteCount, at: now)
    case .compared(let worker, let value, let attempt, let kept, let hash):
      compared(worker, value, as: attempt, kept, hash, at: now)
    case .transferEnded(let row): transferEnded(row, at: now)
    case .commitEnded(let worker, let value, let byteCount, let error, let origin):
      commitEnded(worker, value, byteCount: byteCount, error: error, origin, at: now)
    case .instanceReady(let worker, let allocation, let token, let setup):
      instanceReady(worker, allocation, token: token, setupNanoseconds: setup, at: now)
    case .instanceExited(let worker, let allocation, let token):
      instanceExited(worker, allocation, token: token, at: now)
    case .stuck(let worker, let allocation, let token):
      stuck(worker, allocation, token: token, at: now)
    case .died(let worker): die(worker, at: now)
    case .declaredLost(let worker): declareLost(worker, at: now)
    case .silenceEnds(let index): endSilence(of: index, at: now)
    case .published(let value, let error):
      let file = value.file
      if error == 0 { rename(value) }
      trace.mix(32, file.index, Int(error), at: now)
      hear(.published(file, error: error), at: now)
    case .journalSynced(let record):
      log.synced(upTo: record)
      hear(.journalSynced(upTo: record), at: now)
    case .workerTimer(let worker): workerTimer(worker, at: now)
    case .managerTimer:
      managerTimerAt = nil
      managerHeard = true
    case .nodeRegisters(let index):
      register(index, at: now)
    case .registrationClosed: hear(.registrationClosed, at: now)
    case .drainRequested:
      if let event = closing.begin(at: now, isByTime: false) { close(event, at: now) }
      if let next = closing.nextStep { heap.insert(.closing, at: next) }
    case .closing:
      for event in closing.takeSteps(at: now) { close(event, at: now) }
      if let next = closing.nextStep { heap.insert(.closing, at: next) }
    }
  }

  /// The session is to end before its work.
  private mutating func close(_ event: ManagerEvent, at now: Instant) {
    let number = event == .drainRequested ? 0 : event == .killRequested ? 1 : 2
    trace.mix(33, number, 0, at: now)
    checkers?.isDraining = true
    if event == .closeRequested { checkers?.isCutShort = true }
    hear(event, at: now)
  }

  /// Bytes of a file, whatever its hint says.
  func byteCount(of file: FileID) -> Int64 {
    let hint = max(workflow.files[file].byteCountHint, 0)
    if options.sizeSpread <= 1 { return hint }
    var random = PRNG(seed: UInt64(file.rawValue) &* 0x9E37_79B9_7F4A_7C15 &+ 1)
    let most = max(hint, 1) * options.sizeSpread
    return Int64(random.below(Int(most)))
  }

  /// Nothing happened so far after which a cache may hold more or less than the manager believes.
  var isPristine: Bool {
    lossCount == 0 && result.fullDiskCount == 0 && (faults?.duplicateRate ?? 0) == 0
      && adoptionOrders.isEmpty
  }

  private mutating func register(_ index: Int, at now: Instant) {
    let model = nodes[index].model
    let workers = nodes[index].workers
    trace.mix(34, index, 0, at: now)
    var topology = Topology(coreCount: model.coreCount, memoryMB: model.memoryMB)
    topology.disk = model.disk
    let node = manager.addNode(
      topology, agent: WorkerID(index: workers.lowerBound), isRecalling: keepsFiles)
    for worker in workers.dropFirst() {
      manager.addExecutor(WorkerID(index: worker), on: node)
    }
    checkers?.registered(node, asIndex: index, model)
    nodes[index].isRegistered = true
    managerHeard = true
    findKept(onNode: index, at: now)
    offerKept(onNode: index, at: now)
  }

  private var keepsFiles: Bool {
    faults != nil && workflow.files.rows.contains { $0.lifetime == .forever }
  }

  /// Some nodes still have files of earlier runs, and their agents say so when they have looked.
  private mutating func findKept(onNode index: Int, at now: Instant) {
    if !keepsFiles { return }
    let agent = WorkerID(index: nodes[index].workers.lowerBound)
    var end = now
    for file in workflow.files.ids where workflow.files[file].lifetime == .forever {
      guard workflow.files[file].kind == .path, workflow.files[file].producer == .none,
        faults?.coin() ?? false
      else { continue }
      let value = FileValue(file, attempt: 0)
      nodes[index].cache[value] = .source(file)
      let time = now.adding(nanoseconds: faults?.delay() ?? 0)
      heap.insert(
        .toManager(agent, .replicaFound(value, byteCount: byteCount(of: file))), at: time)
      end = max(end, time)
    }
    heap.insert(.toManager(agent, .recallEnded), at: end)
  }

  // MARK: The manager

  mutating func hear(_ event: ManagerEvent, at now: Instant) {
    options.log?("\(now.nanoseconds) hears \(event)")
    if case .received(.replicaFound(let value, _), let worker) = event, manager.isSeekingValues,
      !manager.isLost(worker)
    {
      checkers?.found(value.file)
    }
    manager.handle(event, at: now, effects: &managerEffects)
    managerHeard = true
    carryOut(at: now)
    if case .received(.taskFinished(let attempt, _), _) = event, checkers != nil,
      manager.state(of: attempt.task) == .done
    {
      checkers?.madeAgain(attempt)
    }
  }

  private mutating func turn(at now: Instant) {
    managerHeard = false
    result.turnCount += 1
    manager.schedule(at: now, effects: &managerEffects)
    result.peakCacheByteCount = max(result.peakCacheByteCount, manager.cacheByteCount)
    carryOut(at: now)
    if let deadline = manager.nextDeadline, managerTimerAt.map({ deadline < $0 }) ?? true {
      let time = max(deadline, now)
      managerTimerAt = time
      heap.insert(.managerTimer, at: time)
    }
    if options.checksEveryTurn {
      manager.checkInvariants()
      checkReplicas()
    }
  }

  mutating func carryOut(at now: Instant) {
    // Sending does not come back into the manager, so the array cannot grow under the loop.
    for effect in managerEffects { carryOut(effect, at: now) }
    managerEffects.removeAll(keepingCapacity: true)
    checkers?.checkAccepted()
  }

  private mutating func carryOut(_ effect: ManagerEffect, at now: Instant) {
    options.log?("\(now.nanoseconds)   orders \(effect)")
    switch effect {
    case .send(let message, let worker):
      if ranks[worker.index].isDeclaredLost {
        checkers?.violate("\(worker) is lost and ordered \(message)")
      }
      if case .startTask(let attempt, let allocation, _, let hashesFirst) = message {
        checkers?.granted(
          attempt, manager.grant(of: allocation), isSeeking: manager.isSeekingValues)
        if !options.isIdeal { nameInputs(of: attempt, hashesFirst: hashesFirst, allocation) }
      }
      noteCallOrder(message, to: worker)
      if case .killTask(let attempt) = message { checkers?.killed(attempt) }
      if case .unlink(let value) = message { checkers?.dropped(value.file, in: workflow) }
      if case .adopt(let value, _) = message {
        adoptionOrders[AdoptionKey(worker: worker, value: value)] = manager.hash(of: value.file)
      }
      if case .fetch(let value, let transfer, .derivation, _) = message {
        let node = manager.node(of: worker)
        let inputs = workflow.derivation(of: value.file)?.inputs ?? []
        derivationInputs[transfer] = inputs.map { manager.value(of: $0.file, on: node) }
      }
      trace.mix(message, to: worker, at: now)
      result.messageCount += 1
      let time = network.arrival(at: worker, from: now, extra: faults?.delay() ?? 0)
      heap.insert(.toWorker(worker, message), at: time)
    case .append(let record):
      if case .result(let value, _) = record {
        inlineResults[manager.acceptedValue(of: value.file)] = inlineResults[value]
      }
      write(record)
      if case .done(let attempt, _, _, let completion) = record {
        let cores = Double(workflow.request(of: attempt.task).cores)
        busyCoreNanoseconds += Double(completion.end.since(completion.start)) * cores
      }
      checkers?.recorded(record)
    case .beginGroup: log.beginGroup()
    case .endGroup: log.endGroup()
    case .sync:
      let delay = cluster.syncNanoseconds + (faults?.delay() ?? 0)
      heap.insert(.journalSynced(log.count), at: now.adding(nanoseconds: delay))
    case .discard(let value):
      durableValues[value] = nil
      discarded.insert(value)
    case .publish(let value):
      let file = value.file
      checkers?.publishOrdered(file, durableValues[value])
      if checkers != nil && !log.hasDurableIntent(value) {
        checkers?.violate("\(value) is published before the intent is durable")
      }
      let delay = cluster.transferLatencyNanoseconds + (faults?.delay() ?? 0)
      heap.insert(
        .published(value, faults?.publishError() ?? 0), at: now.adding(nanoseconds: delay))
    case .report(let report): checkers?.reported(report)
    case .retire(let worker):
      lossCount += 1
      heap.insert(.died(worker), at: now)
      heap.insert(.declaredLost(worker), at: now)
    case .finish(let outcome):
      trace.mix(35, outcome.doneCount, outcome.failedCount, at: now)
      if result.outcome != nil { result.violation = "the run ends twice" }
      result.outcome = outcome
      result.makespan = now
    }
  }

  private mutating func write(_ record: JournalRecord) {
    if checkers == nil { return }
    var inputs: [FileValue] = []
    let task: TaskID
    switch record {
    case .done(let attempt, _, _, _), .reused(let attempt):
      task = attempt.task
      inputs = workflow.inputs(of: task).map { manager.acceptedValue(of: $0.file) }
    case .failed(let attempt, _), .invalidated(let attempt, _): task = attempt.task
    case .hashed(let value, _, _), .committed(let value, _), .publishIntent(let value),
      .published(let value), .result(let value, _):
      task = workflow.files[value.file].producer
    }
    let accepted = workflow.outputs(of: task).first.map {
      manager.acceptedValue(of: $0.file).attempt
    }
    log.append(record, inputs: inputs, accepted: accepted ?? 0)
    if let row = log.rows.last, let what = fold.apply(row, workflow) { checkers?.violate(what) }
  }

  /// The order to start names the values to read: the adapter looks them up while it encodes it.
  mutating func nameInputs(
    of attempt: AttemptID, hashesFirst: Bool, _ allocation: AllocationID
  ) {
    let node = manager.node(of: allocation)
    namedInputs[attempt] = workflow.stagedInputs(of: attempt.task).map { input in
      manager.value(of: input.file, on: node)
    }
    if hashesFirst { hashingFirst.insert(attempt) }
  }

  // MARK: The end

  private mutating func checkReplicas() {
    guard checkers != nil else { return }
    var missing: (FileValue, NodeID)?
    let places = checkers?.indexOfNode ?? []
    manager.forEachReadyReplica { value, node in
      let place = places[node.index]
      let workers = nodes[place].workers
      // Of a node that died unnoticed the manager cannot know.
      if workers.allSatisfy({ ranks[$0].isDead && !ranks[$0].isDeclaredLost }) { return }
      if workers.contains(where: { ranks[$0].isDead && !ranks[$0].isDeclaredLost }) { return }
      if nodes[place].cache[value] == nil { missing = (value, node) }
    }
    if let (value, node) = missing {
      checkers?.violate("the manager believes \(value) on \(node), which does not have it")
    }
  }

  private mutating func conclude() {
    result.traceHash = trace.value
    result.spareCount = manager.spareCount
    result.patientCount = manager.patientCount
    addAdoptions()
    result.evictionCount = manager.evictionCount
    result.evictedByteCount = manager.evictedByteCount
    let coreCount = cluster.nodes.reduce(0) { $0 + $1.coreCount }
    let total = Double(coreCount) * Double(result.makespan.nanoseconds)
    result.coreUtilisation = total > 0 ? busyCoreNanoseconds / total : 0
  }

  private mutating func concludeSession() {
    guard let outcome = result.outcome, result.violation == nil else { return }
    var isGivenUp: [Bool] = []
    for task in workflow.tasks.ids {
      isGivenUp.append([.failed, .cancelled].contains(manager.state(of: task)))
    }
    result.violation = checkers?.concluded(outcome, at: result.makespan) {
      isGivenUp[$0.index]
    }
  }

  /// The log was cut short: what follows is added to what is left.
  mutating func foldAnew() {
    fold = LogFold(taskCount: workflow.tasks.count)
    for row in log.rows { _ = fold.apply(row, workflow) }
  }
}
