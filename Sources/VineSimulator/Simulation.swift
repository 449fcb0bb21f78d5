// The simulated cluster: the real manager and the real workers in virtual time. This file is the
// manager's side, the loop and the result; `SimulatedWorkers.swift` is the nodes' side.

package import VineCore

/// A run of one workflow on one simulated cluster.
package struct Simulation: ~Copyable {
  let workflow: Workflow
  let cluster: ClusterModel
  let options: SimulationOptions
  var manager: Manager
  var network: SimulatedNetwork
  var heap = EventHeap<SimulatedEvent>()
  var nodes: [SimulatedNode] = []
  var ranks: [SimulatedRank] = []
  var faults: FaultPlan?
  var checkers: Checkers?
  /// Produced files that lie on the shared file system.
  var sharedFiles: Set<FileID> = []
  /// Committed values, under whatever name.
  var durableValues: Set<FileValue> = []
  private var recordCount = 0
  var trace = TraceHash()
  var result = SimulationResult()
  var workerEffects: [WorkerEffect] = []
  private var managerEffects: [ManagerEffect] = []
  private var managerTimerAt: Instant?
  /// The manager heard something since it last placed tasks.
  private var managerHeard = true
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
    managerOptions.defaultEstimateMicroseconds = options.defaultMicroseconds
    var workerCount = 0
    for (index, model) in cluster.nodes.enumerated() {
      nodes.append(
        SimulatedNode(model: model, workers: workerCount..<workerCount + model.rankCount))
      for _ in 0..<model.rankCount { ranks.append(SimulatedRank(node: index)) }
      workerCount += model.rankCount
    }
    network = SimulatedNetwork(cluster, workerCount: workerCount)
    faults = options.faults
    checkers = options.checks ? Checkers(workflow, ignoresData: options.isIdeal) : nil
    manager = Manager(workflow, options: managerOptions)
    self.workflow = workflow
    self.cluster = cluster
    self.options = options
  }

  // MARK: The loop

  private mutating func play() {
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
    if let time = options.drainsAt { heap.insert(.drainRequested, at: time) }
    if heap.nextTime != .zero { turn(at: .zero) }
    while result.outcome == nil && result.violation == nil {
      guard let now = heap.nextTime else {
        result.violation = "the run stalls: nothing is under way and it is not over"
        break
      }
      while heap.nextTime == now, let (event, _) = heap.popNext() {
        result.eventCount += 1
        happen(event, at: now)
      }
      if managerHeard { turn(at: now) }
      if result.eventCount > options.eventCountMax {
        result.violation = "the run does not end"
      }
      if let violation = checkers?.violation { result.violation = violation }
    }
    conclude()
  }

  private mutating func happen(_ event: SimulatedEvent, at now: Instant) {
    switch event {
    case .toWorker(let worker, let message):
      tell(worker, .received(message), at: now)
    case .toManager(let worker, let message):
      trace.mix(message, from: worker, at: now)
      hear(.received(message, from: worker), at: now)
    case .processEnded(let worker, let attempt, let status, let token):
      processEnded(worker, attempt, status, token: token, at: now)
    case .settled(let worker, let attempt, let isSuccess):
      settle(worker, attempt, isSuccess: isSuccess, at: now)
    case .transferEnded(let worker, let value, let transfer, let source, let byteCount, let error):
      transferEnded(worker, value, transfer, source, byteCount: byteCount, error: error, at: now)
    case .commitEnded(let worker, let value, let byteCount, let error):
      checkCommit(of: value, on: ranks[worker.index].node)
      if error == 0 { durableValues.insert(value) }
      tell(worker, .committed(value, byteCount: byteCount, error: error), at: now)
    case .published(let file, let error):
      if error == 0 { sharedFiles.insert(file) }
      checkers?.published(file, error: error)
      trace.mix(32, file.index, Int(error), at: now)
      hear(.published(file, error: error), at: now)
    case .journalSynced(let record): hear(.journalSynced(upTo: record), at: now)
    case .workerTimer(let worker): workerTimer(worker, at: now)
    case .managerTimer:
      managerTimerAt = nil
      managerHeard = true
    case .nodeRegisters(let index):
      register(index, at: now)
    case .registrationClosed: hear(.registrationClosed, at: now)
    case .drainRequested:
      trace.mix(33, 0, 0, at: now)
      checkers?.isDraining = true
      hear(.drainRequested, at: now)
    }
  }

  private mutating func register(_ index: Int, at now: Instant) {
    let model = nodes[index].model
    let workers = nodes[index].workers
    trace.mix(34, index, 0, at: now)
    let node = manager.addNode(
      Topology(coreCount: model.coreCount, memoryMB: model.memoryMB),
      agent: WorkerID(index: workers.lowerBound))
    for worker in workers.dropFirst() {
      manager.addExecutor(WorkerID(index: worker), on: node)
    }
    checkers?.registered(node, asIndex: index, model)
    managerHeard = true
  }

  // MARK: The manager

  private mutating func hear(_ event: ManagerEvent, at now: Instant) {
    manager.handle(event, at: now, effects: &managerEffects)
    managerHeard = true
    carryOut(at: now)
  }

  private mutating func turn(at now: Instant) {
    managerHeard = false
    result.turnCount += 1
    manager.schedule(at: now, effects: &managerEffects)
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

  private mutating func carryOut(at now: Instant) {
    // Sending does not come back into the manager, so the array cannot grow under the loop.
    for effect in managerEffects { carryOut(effect, at: now) }
    managerEffects.removeAll(keepingCapacity: true)
  }

  private mutating func carryOut(_ effect: ManagerEffect, at now: Instant) {
    switch effect {
    case .send(let message, let worker):
      if case .startTask(let attempt, let allocation, _, _) = message, checkers != nil {
        checkers?.granted(attempt, manager.grant(of: allocation))
      }
      trace.mix(message, to: worker, at: now)
      result.messageCount += 1
      let time = network.arrival(at: worker, from: now, extra: faults?.delay() ?? 0)
      heap.insert(.toWorker(worker, message), at: time)
    case .append(let record):
      recordCount += 1
      if case .done(let attempt, _, _, let completion) = record {
        let cores = Double(workflow.request(of: attempt.task).cores)
        busyCoreNanoseconds += Double(completion.end.since(completion.start)) * cores
      }
      checkers?.recorded(record)
    case .beginGroup, .endGroup: break
    case .sync:
      let delay = cluster.syncNanoseconds + (faults?.delay() ?? 0)
      heap.insert(.journalSynced(recordCount), at: now.adding(nanoseconds: delay))
    case .discard(let value): durableValues.remove(value)
    case .publish(let value):
      let file = value.file
      checkers?.publishOrdered(file)
      if !durableValues.contains(value) {
        checkers?.violate("\(value) is published, but not there")
      }
      let delay = cluster.transferLatencyNanoseconds + (faults?.delay() ?? 0)
      heap.insert(
        .published(file, faults?.publishError() ?? 0), at: now.adding(nanoseconds: delay))
    case .report(let report):
      if case .outputNotWritten(let file, _) = report { checkers?.notWritten(file) }
    case .finish(let outcome):
      trace.mix(35, outcome.doneCount, outcome.failedCount, at: now)
      if result.outcome != nil { result.violation = "the run ends twice" }
      result.outcome = outcome
      result.makespan = now
    }
  }

  // MARK: The end

  private mutating func checkReplicas() {
    guard checkers != nil else { return }
    var missing: (FileValue, NodeID)?
    let places = checkers?.indexOfNode ?? []
    manager.forEachReadyReplica { value, node in
      if !nodes[places[node.index]].cache.contains(value) { missing = (value, node) }
    }
    if let (value, node) = missing {
      checkers?.violate("the manager believes \(value) on \(node), which does not have it")
    }
  }

  private mutating func conclude() {
    result.traceHash = trace.value
    let coreCount = cluster.nodes.reduce(0) { $0 + $1.coreCount }
    let total = Double(coreCount) * Double(result.makespan.nanoseconds)
    result.coreUtilisation = total > 0 ? busyCoreNanoseconds / total : 0
    if let outcome = result.outcome, result.violation == nil {
      result.violation = checkers?.concluded(outcome)
    }
  }
}
