// Ranks and nodes that die or fall silent, and how the manager comes to know.

import VineCore

extension Simulation {
  /// Lets something die or fall silent, if there is anything that may.
  mutating func strike(at now: Instant) {
    guard var plan = faults else { return }
    defer { faults = plan }
    let living = nodes.indices.filter { nodes[$0].isRegistered && !isDead(node: $0) }
    guard !living.isEmpty else { return }
    let index = living[plan.place(below: living.count)]
    let isSpared = index == sparedNode && !plan.sparesNone
    let workers = nodes[index].workers.filter { !ranks[$0].isDead }
    lossCount += 1
    trace.mix(36, index, workers.count, at: now)
    switch plan.place(below: 5) {
    case 0 where !nodes[index].isSilent:
      nodes[index].isSilent = true
      let length = 1 + plan.noticeDelay()
      heap.insert(.silenceEnds(index), at: now.adding(nanoseconds: 2 * length))
      if isSpared || plan.coin() { return }
      // The node hears nobody either, so it ends its processes before the manager gives it up.
      let notice = now.adding(nanoseconds: length + plan.noticeDelay())
      for worker in workers {
        heap.insert(.died(WorkerID(index: worker)), at: now.adding(nanoseconds: length - 1))
        heap.insert(.declaredLost(WorkerID(index: worker)), at: notice)
      }
    case 1 where !isSpared, 2 where !isSpared:
      lose(workers, &plan, at: now)
    default:
      if isSpared && workers.count < 2 { return }
      lose([workers[plan.place(below: workers.count)]], &plan, at: now)
    }
  }

  /// All of a node are given up together: else its tasks would go from one dead rank to the next.
  private mutating func lose(_ workers: [Int], _ plan: inout FaultPlan, at now: Instant) {
    let notice = now.adding(nanoseconds: plan.noticeDelay())
    for worker in workers.map({ WorkerID(index: $0) }) {
      if plan.coin() { ranks[worker.index].losesLastWords = true }
      die(worker, at: now)
      heap.insert(.declaredLost(worker), at: notice)
    }
  }

  func isDead(node index: Int) -> Bool { nodes[index].workers.allSatisfy { ranks[$0].isDead } }

  /// A rank's processes vanish; with its last rank goes what the node holds.
  mutating func die(_ worker: WorkerID, at now: Instant) {
    let rank = ranks[worker.index]
    if rank.isDead { return }
    rank.isDead = true
    trace.mix(37, worker.index, 0, at: now)
    for task in rank.processes.keys.sorted() {
      // Those that ended already were counted then.
      guard let process = rank.processes[task], process.token != .max else { continue }
      if !process.isMember { checkers?.processEnded(process.attempt, on: rank.node) }
    }
    rank.processes = [:]
    for allocation in rank.instances.keys.sorted() {
      checkers?.instanceEnded(InstanceKey(worker, allocation), on: rank.node)
    }
    rank.instances = [:]
    loseTransfers(of: worker, rank)
    if isDead(node: rank.node) {
      nodes[rank.node].kept = remains(of: nodes[rank.node])
      nodes[rank.node].cache = [:]
    }
  }

  /// The manager gives a rank up; receivers that waited for its bytes hear of it.
  mutating func declareLost(_ worker: WorkerID, at now: Instant) {
    let rank = ranks[worker.index]
    if rank.isDeclaredLost { return }
    rank.isDeclaredLost = true
    trace.mix(38, worker.index, 0, at: now)
    checkers?.declaredLost(worker)
    hear(.workerLost(worker), at: now)
    let stalled = rank.stalledTransfers
    rank.stalledTransfers = []
    for row in stalled {
      heap.insert(.transferEnded(row), at: now.adding(nanoseconds: 1 + (faults?.delay() ?? 0)))
    }
  }

  /// A silent node is heard again, if it lives.
  mutating func endSilence(of index: Int, at now: Instant) {
    nodes[index].isSilent = false
    let held = nodes[index].held
    nodes[index].held = []
    for event in held { happen(event, at: now) }
  }

  /// Whether an event has to wait until a silent node is heard again; it is kept then.
  mutating func isHeld(_ event: SimulatedEvent) -> Bool {
    let index: Int
    switch event {
    case .toWorker(let worker, _), .toManager(let worker, _): index = ranks[worker.index].node
    case .transferEnded(let row):
      guard let agent = row.source.agent else { return false }
      index = ranks[agent.index].node
    default: return false
    }
    guard nodes[index].isSilent else { return false }
    nodes[index].held.append(event)
    return true
  }
}
