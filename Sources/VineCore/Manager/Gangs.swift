// Gangs: one call on several ranks at once, inside them.
//
// A gang is one instance over several ranks. Its first allocation, the leader, is the instance that
// the scheduler knows; the others only hold the cores of their ranks. It is made of all its ranks or
// not at all, takes one call at a time, and ends whole: when one rank fails, is lost or loses its
// instance, the call ends, and the other ranks give their cores back when they have left the function.
// One that does not in time is stuck in it, and is given up.
//
// A library in ranks without a gang is a gang of one: at most one such library lives in a rank.

import HeapModule

/// The ranks of one gang.
struct GangRow {
  /// The leader first, in the order of their places in the communicator.
  let members: [AllocationID]
  var readyCount = 0
  /// Who has reported the end of the call that runs.
  var reported: Set<WorkerID> = []
  /// What the leader said of it.
  var completion: Completion?
  /// No call is given to it any more.
  var isEnding = false
  var endedCount = 0
  /// When ranks that have not come back are given up.
  var deadline: Instant?
}

extension Manager {
  /// The ranks of the gang that an allocation leads, in the order of the communicator; empty for any
  /// other.
  package func gangRanks(of allocation: AllocationID) -> [WorkerID] {
    let leader = allocations[allocation.rawValue].leader
    return (instances.gangs[leader]?.members ?? []).map { allocations[$0.rawValue].worker }
  }

  /// Whether an allocation is part of a gang that another one leads.
  package func isMember(_ allocation: AllocationID) -> Bool {
    let leader = allocations[allocation.rawValue].leader
    return leader != .none && leader != allocation
  }

  /// Whether a gang waits for its ranks: nothing else is given room until it has them.
  var isHeldForGang: Bool { instances.heldRequest != nil }

  /// Looks at the gang for which room is held before anything behind it in the order.
  mutating func endHold() {
    guard let request = instances.heldRequest else { return }
    instances.heldRequest = nil
    isBlocked[request] = false
  }

  // MARK: Beginning

  /// Gives the next call of `request` a gang of its own, waits for one, or fails its calls.
  mutating func startGang(
    for task: TaskID, _ request: Int, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let wanted = workflow.requests[request]
    guard let places = chooseGang(wanted) else {
      if !couldHaveGang(wanted) {
        // Not blocked once they fail: nothing would ever unblock it for those that come later.
        isBlocked[request] = !isRegistrationClosed
        if isRegistrationClosed { failAll(of: request, .fitsNoNode, effects: &effects) }
        return
      }
      isBlocked[request] = true
      instances.heldRequest = request
      stopIdleInstances(at: now, effects: &effects)
      return
    }
    ready[request].removeMin()
    var members: [AllocationID] = []
    for (node, worker) in places {
      let row = AllocationRow(
        node: node, worker: worker, grant: nodes.grant(wanted, on: node),
        request: UInt16(request), headSince: now)
      members.append(AllocationID(rawValue: allocations.add(row)))
    }
    let leader = members[0]
    for member in members {
      allocations[member.rawValue].leader = leader
      allocations[member.rawValue].phase = .member
      instances.rankIsTaken.insert(allocations[member.rawValue].worker)
    }
    instances.gangs[leader] = GangRow(members: members)
    openInstance(leader)
    let slot = beginAttempt(of: task, in: leader, at: now)
    var others: [NodeID] = []
    for (node, _) in places.dropFirst()
    where node != places[0].node && !others.contains(node) { others.append(node) }
    if !others.isEmpty { instances.otherNodes[task] = others }
    stageInputs(of: slot, at: now, effects: &effects)
  }

  /// Ranks with cores for all of a gang now, on as few nodes as possible; nil when there are not
  /// enough.
  private func chooseGang(_ request: Request) -> [(node: NodeID, worker: WorkerID)]? {
    var places: [(node: NodeID, worker: WorkerID)] = []
    let nodesByRoom = nodes.rows.ids.sorted {
      (nodes[$1].pool.freeCoreCount, $0) < (nodes[$0].pool.freeCoreCount, $1)
    }
    for node in nodesByRoom where !nodes[node].isDead {
      var pool = nodes[node].pool
      var count = 0
      for worker in nodes[node].executors where !instances.rankIsTaken.contains(worker) {
        if places.count == Int(request.gangRanks) { return places }
        if request.ranksPerNode > 0 && count == Int(request.ranksPerNode) { break }
        guard pool.grant(request) != nil else { break }
        places.append((node, worker))
        count += 1
      }
    }
    return places.count == Int(request.gangRanks) ? places : nil
  }

  /// Whether the nodes could hold such a gang if nothing else ran.
  private func couldHaveGang(_ request: Request) -> Bool {
    var count = 0
    for node in nodes.rows.ids where !nodes[node].isDead {
      var pool = NodePool(nodes[node].topology)
      var here = 0
      let limit = request.ranksPerNode > 0 ? Int(request.ranksPerNode) : Int.max
      while here < min(limit, nodes[node].executors.count), pool.grant(request) != nil {
        here += 1
      }
      count += here
    }
    return count >= Int(request.gangRanks)
  }

  /// Whether a gang serves the calls of `request`: one of another shape is of no use to them.
  func hasGang(of request: Int) -> Bool {
    instances.gangs.values.contains { gang in
      !gang.isEnding && Int(allocations[gang.members[0].rawValue].request) == request
    }
  }

  private mutating func stopIdleInstances(at now: Instant, effects: inout [ManagerEffect]) {
    for index in allocations.rows.indices {
      let row = allocations.rows[index]
      guard !row.isFree, row.phase == .ready, row.head == .max else { continue }
      stopInstance(AllocationID(index: index), at: now, effects: &effects)
    }
  }

  // MARK: Calls

  /// Takes in the end of a gang's call on one rank; gives the end of all of it, once it is known.
  mutating func collectReport(
    _ slot: UInt32, _ completion: Completion, from worker: WorkerID, at now: Instant,
    effects: inout [ManagerEffect]
  ) -> Completion? {
    let leader = attempts[slot].allocation
    guard instances.gangs[leader] != nil, allocations[leader.rawValue].leader != .none else {
      return completion
    }
    guard completion.ending == .succeeded else {
      endGang(leader, completion.ending, at: now, effects: &effects)
      return nil
    }
    instances.gangs[leader]?.reported.insert(worker)
    if worker == allocations[leader.rawValue].worker {
      instances.gangs[leader]?.completion = completion
    }
    guard let gang = instances.gangs[leader], gang.reported.count == gang.members.count,
      let completion = gang.completion
    else { return nil }
    instances.gangs[leader]?.reported = []
    instances.gangs[leader]?.completion = nil
    return completion
  }

  // MARK: The end

  /// Ends a gang: its call with `ending`, or back into the queue without one, and its instances.
  mutating func endGang(
    _ leader: AllocationID, _ ending: Ending?, besides gone: AllocationID = .none, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    guard var gang = instances.gangs[leader], !gang.isEnding else { return }
    gang.isEnding = true
    gang.deadline = now.adding(nanoseconds: Limits.gangGraceNanoseconds)
    instances.gangs[leader] = gang
    let row = allocations[leader.rawValue]
    let library = workflow.requests[Int(row.request)].library.index
    instances.libraries[library].liveCount -= 1
    if row.phase == .ready { instances.libraries[library].readyCount -= 1 }
    let wasStarted = row.phase != .staging
    allocations[leader.rawValue].phase = .stopping
    isBlocked[Int(row.request)] = false
    // An order to one that is gone would hit who comes after it.
    for member in gang.members where member != gone {
      let worker = allocations[member.rawValue].worker
      if wasStarted && !isLost(worker) {
        effects.append(.send(.stopInstance(member), to: worker))
      }
    }
    if row.head != .max { endCall(row.head, ending, at: now, effects: &effects) }
    if !wasStarted {
      for member in gang.members { memberEnded(member) }
    }
  }

  private mutating func endCall(
    _ slot: UInt32, _ ending: Ending?, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let attempt = attempts[slot].attempt
    let isVoid = attempts[slot].isVoid
    withdraw(slot, at: now, effects: &effects)
    forgetOutputs(of: attempt, effects: &effects)
    if let ending, ending != .killed, !isVoid {
      if ending == .lost {
        attemptLost(attempt, wasRunning: true, at: now, effects: &effects)
      } else {
        attemptFailed(attempt, ending, at: now, effects: &effects)
      }
    } else {
      requeue(attempt.task, at: now, effects: &effects)
    }
  }

  /// One rank of a gang is out of it. With the last one, all their cores are free.
  mutating func memberEnded(_ member: AllocationID) {
    let leader = allocations[member.rawValue].leader
    guard allocations[member.rawValue].phase != .ended, let gang = instances.gangs[leader] else {
      return
    }
    allocations[member.rawValue].phase = .ended
    instances.gangs[leader]?.endedCount += 1
    guard gang.endedCount + 1 == gang.members.count else { return }
    instances.gangs[leader] = nil
    for member in gang.members {
      instances.rankIsTaken.remove(allocations[member.rawValue].worker)
      free(member)
    }
  }

  /// A rank is lost, and with it its part of a gang.
  mutating func loseGangs(
    of worker: WorkerID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    for index in allocations.rows.indices {
      let row = allocations.rows[index]
      guard !row.isFree, row.worker == worker, row.leader != .none else { continue }
      endGang(row.leader, .lost, besides: AllocationID(index: index), at: now, effects: &effects)
      memberEnded(AllocationID(index: index))
    }
  }

  /// When the next stuck rank is to be given up.
  var gangDeadline: Instant? {
    if instances.gangs.isEmpty { return nil }
    return instances.gangs.values.compactMap(\.deadline).min()
  }

  /// Gives up the ranks that have not left the function of a gang that ended.
  mutating func retireStuckRanks(at now: Instant, effects: inout [ManagerEffect]) {
    guard let deadline = gangDeadline, deadline <= now else { return }
    for leader in instances.gangs.keys.sorted() {
      guard let gang = instances.gangs[leader], let due = gang.deadline, due <= now else {
        continue
      }
      instances.gangs[leader]?.deadline = nil
      for member in gang.members where allocations[member.rawValue].phase != .ended {
        effects.append(.retire(allocations[member.rawValue].worker))
      }
    }
  }
}
