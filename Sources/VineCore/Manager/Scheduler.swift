// Which ready task goes to which node, and how far ahead executors are given work.

import DequeModule
import HeapModule

extension Manager {
  /// Places what can be placed. Called once a turn, after its events.
  package mutating func schedule(at now: Instant, effects: inout [ManagerEffect]) {
    turnTime = now
    endOverdueSeeking(at: now, effects: &effects)
    relieveOverfull(effects: &effects)
    readmit(at: now)
    planTransfers(at: now, effects: &effects)
    unblockForIdleInstances()
    retireStuckRanks(at: now, effects: &effects)
    endHold()
    if !patience.isEmpty && (!mayStart || attempts.liveCount == 0) { wakeAllPatient() }
    _ = wakePatient(at: now)
    repeat {
      hasNewReady = false
      if mayStart { placeReadyTasks(at: now, effects: &effects) }
      // Placing finds the tasks that fit no node, and such a failure may have stopped the run.
      if mayStart && options.usesLanes {
        if !isHeldForGang { fillLanes(at: now, effects: &effects) }
        unblockLanes(at: now, effects: &effects)
      }
      // A value found to be missing here makes its producer ready again.
      planTransfers(at: now, effects: &effects)
    } while mayStart
      && (hasNewReady || wakePatient(at: now) || settleFullDisks(at: now, effects: &effects))
    if mayStart { makeSpares(effects: &effects) }
    settle(at: now, effects: &effects)
    finishIfDone(at: now, effects: &effects)
  }

  private var mayStart: Bool { !isDraining && !failureLimitReached }

  private mutating func placeReadyTasks(at now: Instant, effects: inout [ManagerEffect]) {
    goDepthFirstIfDue(at: now)
    while mayStart, !isHeldForGang, let request = firstPlaceableRequest() {
      guard let key = topKey(of: request) else { continue }
      let library = workflow.requests[request].library
      if conditionalValues[key.task] != nil,
        takeConditionalValue(of: key.task, at: now, effects: &effects)
      {
        continue
      }
      if isTooLong(key.task, at: now) {
        // It stays ready for the next session.
        ready[request].removeMin()
        heldBackCount += 1
      } else if library != .none,
        placeCall(key.task, of: library, request, at: now, effects: &effects)
      {
        continue
      } else {
        place(key.task, request, at: now, effects: &effects)
        goDepthFirstIfDue(at: now)
      }
    }
  }

  private mutating func place(
    _ task: TaskID, _ request: Int, at now: Instant, effects: inout [ManagerEffect]
  ) {
    switch chooseNode(for: task, effects: &effects) {
    case .node(let node):
      ready[request].removeMin()
      start(task, on: node, at: now, effects: &effects)
    case .wait(let choice): beginWaiting(request, choice, at: now)
    case .noCores:
      if isRegistrationClosed && !nodes.couldFitSomewhere(workflow.requests[request]) {
        failAll(of: request, .fitsNoNode, effects: &effects)
      } else {
        reclaimRoom(for: workflow.requests[request], at: now, effects: &effects)
        isBlocked[request] = true
      }
    case .noRoom:
      if isRegistrationClosed && !nodes.couldFitSomewhere(workflow.requests[request]) {
        failAll(of: request, .fitsNoNode, effects: &effects)
      } else if room.isCrowded {
        isBlocked[request] = true
      } else {
        ready[request].removeMin()
        putAside(task, at: now, effects: &effects)
      }
    }
  }

  /// The request whose first ready task comes before those of all others with room.
  private mutating func firstPlaceableRequest() -> Int? {
    var best: Int?
    var bestKey: ReadyKey?
    for request in ready.indices where !isBlocked[request] {
      guard let key = topKey(of: request) else { continue }
      if bestKey.map({ key < $0 }) ?? true {
        best = request
        bestKey = key
      }
    }
    return best
  }

  /// Whether a task, as far as its kind is known, would still run when the session must end.
  private func isTooLong(_ task: TaskID, at now: Instant) -> Bool {
    guard let end = options.endsAt else { return false }
    let known = workflow.tasks[task].estimateMicroseconds * 1_000
    let expected = meanDurations[durationClass(of: task)] ?? max(known, 0)
    return now.adding(nanoseconds: expected) > end
  }

  /// The first ready task of a request. A task that came to wait again after a loss left its key.
  private mutating func topKey(of request: Int) -> ReadyKey? {
    while let key = ready[request].min {
      if tasks[key.task.index].state == .ready { return key }
      ready[request].removeMin()
    }
    return nil
  }

  /// No node has that many cores or that much memory or disk: its tasks fail by name at once.
  mutating func failAll(
    of request: Int, _ ending: Ending, effects: inout [ManagerEffect]
  ) {
    while let key = topKey(of: request) {
      ready[request].removeMin()
      let attempt = AttemptID(key.task, UInt32(tasks[key.task.index].attemptCount))
      fail(attempt, ending, effects: &effects)
    }
  }

  // MARK: Choosing a node

  /// A node with free cores and memory and, on its disk, room for all that the task needs there; what
  /// has to go for it is evicted.
  private mutating func chooseNode(
    for task: TaskID, effects: inout [ManagerEffect]
  ) -> NodeAnswer {
    let request = workflow.request(of: task)
    if workflow.policy.placement == .random {
      return chooseRandomNode(for: task, request, effects: &effects)
    }
    var isShortOfRoom = false
    if workflow.policy.placement == .files && !options.ignoresData && nodes.count > 1 {
      let holders = holders(of: task)
      if let choice = reasonToWait(task, request, holders) { return .wait(choice) }
      for holder in holders where nodes.fits(request, on: holder.node) {
        if makeRoom(for: task, on: holder.node, effects: &effects) { return .node(holder.node) }
        isShortOfRoom = true
      }
    }
    var refused: [UInt64] = []
    var found: NodeID?
    while found == nil, let node = nodes.roomiest(for: request) {
      if makeRoom(for: task, on: node, effects: &effects) {
        found = node
      } else if let offer = nodes.takeOffer() {
        refused.append(offer)
      }
    }
    nodes.giveBack(refused)
    if let found { return .node(found) }
    return isShortOfRoom || !refused.isEmpty ? .noRoom : .noCores
  }

  private mutating func chooseRandomNode(
    for task: TaskID, _ request: Request, effects: inout [ManagerEffect]
  ) -> NodeAnswer {
    guard nodes.count > 0 else { return .noCores }
    var isShortOfRoom = false
    // xorshift64 (Marsaglia, 2003): the same draw in every run.
    random ^= random << 13
    random ^= random >> 7
    random ^= random << 17
    let first = Int(random % UInt64(nodes.count))
    for step in 0..<nodes.count {
      let node = NodeID(index: (first + step) % nodes.count)
      guard nodes.fits(request, on: node) else { continue }
      if makeRoom(for: task, on: node, effects: &effects) { return .node(node) }
      isShortOfRoom = true
    }
    return isShortOfRoom ? .noRoom : .noCores
  }

  // MARK: Starting

  private mutating func start(
    _ task: TaskID, on node: NodeID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let request = workflow.tasks[task].request
    let allocation = AllocationID(
      rawValue: allocations.add(
        AllocationRow(
          node: node, worker: nodes.takeExecutor(of: node),
          grant: nodes.grant(workflow.requests[Int(request)], on: node), request: request,
          headSince: now)))
    noteAllocation(allocation)
    if workflow.requests[Int(request)].library != .none { openInstance(allocation) }
    let slot = beginAttempt(of: task, in: allocation, at: now)
    if options.usesLanes { offerLane(allocation) }
    stageInputs(of: slot, at: now, effects: &effects)
  }

  mutating func beginAttempt(
    of task: TaskID, in allocation: AllocationID, at now: Instant
  ) -> UInt32 {
    tasks[task.index].attemptCount += 1
    tasks[task.index].become(.staging)
    if !patience.since.isEmpty { patience.forget(task) }
    let slot = attempts.add(
      AttemptRow(
        attempt: AttemptID(task, UInt32(tasks[task.index].attemptCount)),
        node: allocations[allocation.rawValue].node, allocation: allocation))
    tasks[task.index].slot = slot
    attempts[slot].placedAt = now
    let tail = allocations[allocation.rawValue].tail
    if tail == .max {
      allocations[allocation.rawValue].head = slot
      allocations[allocation.rawValue].headSince = now
    } else {
      attempts[tail].next = slot
    }
    allocations[allocation.rawValue].tail = slot
    allocations[allocation.rawValue].attemptCount += 1
    if allocations[allocation.rawValue].attemptCount > allocations[allocation.rawValue].slots {
      watchLane(allocation, at: now)
    }
    reserve(slot)
    return slot
  }

  /// Sends an attempt to its executor: every input is on the node.
  mutating func send(_ slot: UInt32, effects: inout [ManagerEffect]) {
    let row = attempts[slot]
    tasks[row.attempt.task.index].become(.sent)
    let timeout = workflow.tasks[row.attempt.task].timeoutMilliseconds
    let hashesFirst =
      values.accepted[row.attempt.task.index] != 0 || feedsConditionalValue(row.attempt.task)
    let isCall = allocations[row.allocation.rawValue].phase != .none
    if isCall { startInstanceIfNeeded(row.allocation, effects: &effects) }
    guard isCall else {
      effects.append(
        .send(
          .startTask(
            row.attempt, allocation: row.allocation, timeoutMilliseconds: timeout,
            hashesFirst: hashesFirst), to: allocations[row.allocation.rawValue].worker))
      return
    }
    for member in instances.gangs[row.allocation]?.members ?? [row.allocation] {
      effects.append(
        .send(
          .startCall(
            row.attempt, allocation: member, timeoutMilliseconds: timeout,
            hashesFirst: hashesFirst && member == row.allocation),
          to: allocations[member.rawValue].worker))
    }
  }

  /// Takes an attempt that ended or came back out of its lane; an empty lane gives up its grant.
  mutating func leaveAllocation(_ slot: UInt32, at now: Instant) {
    let row = attempts[slot]
    let allocation = row.allocation.rawValue
    unlink(slot, from: allocation, at: now)
    tasks[row.attempt.task.index].slot = .max
    releaseReserve(of: slot)
    attempts.remove(slot)
    if allocations[allocation].phase != .none {
      onSlotFreed(of: row.allocation, at: now)
    } else if allocations[allocation].head == .max {
      free(row.allocation)
    } else if options.usesLanes {
      offerLane(row.allocation)
    }
  }

  private mutating func unlink(_ slot: UInt32, from allocation: UInt32, at now: Instant) {
    let next = attempts[slot].next
    var previous = UInt32.max
    if allocations[allocation].head == slot {
      allocations[allocation].head = next
      allocations[allocation].headSince = now
    } else {
      previous = allocations[allocation].head
      while attempts[previous].next != slot { previous = attempts[previous].next }
      attempts[previous].next = next
    }
    if allocations[allocation].tail == slot { allocations[allocation].tail = previous }
    allocations[allocation].attemptCount -= 1
  }

  mutating func free(_ allocation: AllocationID) {
    let row = allocations[allocation.rawValue]
    nodes.release(row.grant, on: row.node)
    forgetAllocation(allocation)
    if patience.count(on: row.node) > 0 { patience.roomyNodes.append(row.node) }
    allocations[allocation.rawValue].isFree = true
    allocations[allocation.rawValue].isHungry = false
    allocations.remove(allocation.rawValue)
    roomGrew = true
    for request in isBlocked.indices
    where isBlocked[request] && nodes.fits(workflow.requests[request], on: row.node) {
      isBlocked[request] = false
    }
  }

  /// Enters a new allocation among those of its node.
  private mutating func noteAllocation(_ allocation: AllocationID) {
    let node = allocations[allocation.rawValue].node.index
    while allocationsOfNode.count <= node { allocationsOfNode.append([]) }
    allocations[allocation.rawValue].placeOnNode = UInt32(allocationsOfNode[node].count)
    allocationsOfNode[node].append(allocation.rawValue)
  }

  private mutating func forgetAllocation(_ allocation: AllocationID) {
    let row = allocations[allocation.rawValue]
    if row.placeOnNode == .max { return }
    let last = allocationsOfNode[row.node.index].removeLast()
    if last == allocation.rawValue { return }
    allocationsOfNode[row.node.index][Int(row.placeOnNode)] = last
    allocations[last].placeOnNode = row.placeOnNode
  }

  // MARK: Lanes

  mutating func offerLane(_ allocation: AllocationID) {
    guard !allocations[allocation.rawValue].isHungry else { return }
    allocations[allocation.rawValue].isHungry = true
    hungryLanes[Int(allocations[allocation.rawValue].request)].append(allocation)
  }

  /// How many attempts of this duration may wait behind a running one.
  private func laneDepth(for task: TaskID) -> Int {
    guard let mean = meanDurations[durationClass(of: task)] else { return 0 }
    // From 50 ms on, a round trip is below one part in a hundred.
    if mean > 50_000_000 { return 0 }
    let depth = (Limits.laneAheadNanoseconds + mean - 1) / max(mean, 1)
    let limit =
      workflow.library(of: task) == .none ? Limits.laneDepthMax : Limits.instanceDepthMax
    return Int(min(max(depth, 1), Int64(limit)))
  }

  /// Gives lanes of short tasks their next attempts, one each in turn.
  private mutating func fillLanes(at now: Instant, effects: inout [ManagerEffect]) {
    for request in ready.indices where isBlocked[request] && !hungryLanes[request].isEmpty {
      var refusals = 0
      while refusals < 4, let key = topKey(of: request),
        let allocation = hungryLanes[request].popFirst()
      {
        let row = allocations[allocation.rawValue]
        // The number may stand for a later allocation by now.
        guard row.isHungry, !row.isFree, Int(row.request) == request else { continue }
        let depth = laneDepth(for: key.task)
        let isFull = Int(row.attemptCount) >= Int(row.slots) + depth
        // A task that waits for this node is to have its turn.
        let isAwaited = row.phase == .none && patience.count(on: row.node) > 0
        if isFull || isAwaited || isOverdue(row, at: now) || !takesCalls(row) {
          allocations[allocation.rawValue].isHungry = false
        } else if hasAllInputs(key.task, on: row.node),
          makeRoom(for: key.task, on: row.node, effects: &effects)
        {
          ready[request].removeMin()
          let slot = beginAttempt(of: key.task, in: allocation, at: now)
          stageInputs(of: slot, at: now, effects: &effects)
          hungryLanes[request].append(allocation)
        } else {
          hungryLanes[request].append(allocation)
          refusals += 1
        }
      }
    }
  }

  /// Whether the first attempt of a lane has run for so long that none should wait behind it.
  private func isOverdue(_ row: AllocationRow, at now: Instant) -> Bool {
    now.since(row.headSince) >= 2 * Limits.laneAheadNanoseconds
  }

  private mutating func watchLane(_ allocation: AllocationID, at now: Instant) {
    let row = allocations[allocation.rawValue]
    guard row.watchedUntil == nil else { return }
    let deadline = max(
      row.headSince.adding(nanoseconds: 2 * Limits.laneAheadNanoseconds), now)
    allocations[allocation.rawValue].watchedUntil = deadline
    watchedLanes.insert(LaneWatch(deadline: deadline, allocation: allocation))
  }

  /// Where there is room and nothing is ready, attempts that wait behind a long one come back.
  private mutating func unblockLanes(at now: Instant, effects: inout [ManagerEffect]) {
    if roomGrew {
      roomGrew = false
      let lanes = stuckLanes
      stuckLanes.removeAll()
      for allocation in lanes { unblock(allocation, at: now, effects: &effects) }
    }
    while let allocation = takeDueLane(at: now) {
      unblock(allocation, at: now, effects: &effects)
    }
  }

  /// The next lane whose time to be looked at has come.
  private mutating func takeDueLane(at now: Instant) -> AllocationID? {
    guard let deadline = watchedLanes.min?.deadline, deadline <= now else { return nil }
    let watch = watchedLanes.removeMin()
    // A stale entry names a lane that ended; looking at its successor once more does no harm.
    if allocations[watch.allocation.rawValue].watchedUntil == deadline {
      allocations[watch.allocation.rawValue].watchedUntil = nil
    }
    return watch.allocation
  }

  private mutating func unblock(
    _ allocation: AllocationID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let row = allocations[allocation.rawValue]
    guard !row.isFree, row.attemptCount > row.slots else { return }
    if !isOverdue(row, at: now) {
      watchLane(allocation, at: now)
    } else if hasRoomElsewhere(for: row) {
      takeBack(behind: row, effects: &effects)
    } else {
      stuckLanes.append(allocation)
    }
  }

  private mutating func takeBack(behind row: AllocationRow, effects: inout [ManagerEffect]) {
    var slot = row.head
    for _ in 0..<row.slots where slot != .max { slot = attempts[slot].next }
    while slot != .max {
      if !attempts[slot].isTakenBack {
        attempts[slot].isTakenBack = true
        effects.append(.send(.takeBack(attempts[slot].attempt), to: row.worker))
      }
      slot = attempts[slot].next
    }
  }

  /// Nothing more is to start: what waits in lanes comes back.
  mutating func takeBackAll(effects: inout [ManagerEffect]) {
    // Lanes are not looked at any more, so they must not ask for it.
    watchedLanes = []
    stuckLanes = []
    for row in allocations.rows where !row.isFree {
      takeBack(behind: row, effects: &effects)
    }
  }
}
