// What is done about losses: workers that died, and values that went with them.
//
// Execution does not wait for durability, so a loss is met by making again what somebody still
// needs, on demand and no further back than necessary. A deterministic task makes the same value
// again. Of any other, all that used the earlier value is made again as well, unless the contents
// turn out equal; the barrier in `Settling.swift` sees to it that none of that was published.

extension Manager {
  // MARK: Workers

  /// Whether a worker was declared lost: whatever it says is of a dead incarnation.
  package func isLost(_ worker: WorkerID) -> Bool { lostWorkers.contains(worker) }

  mutating func onWorkerLost(
    _ worker: WorkerID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    guard lostWorkers.insert(worker).inserted else { return }
    hasLosses = true
    guard worker.index < nodeOfWorker.count, nodeOfWorker[worker.index] != .none else { return }
    let node = nodeOfWorker[worker.index]
    let wasAgent = nodes[node].agent == worker
    nodes.removeExecutor(worker, of: node)
    loseGangs(of: worker, at: now, effects: &effects)
    let lost = abandonAttempts(of: worker, at: now, effects: &effects)
    var orphans: [FileID] = []
    if nodes[node].isDead {
      // What found no room so far may now fit nowhere.
      for request in isBlocked.indices { isBlocked[request] = false }
      wakePatient(ofLost: node)
      orphans = loseReplicas(on: node, effects: &effects)
    } else if wasAgent {
      restartAgentWork(on: node, of: worker, effects: &effects)
    }
    if wasAgent { endRecall(on: node) }
    let commitsOfNode = commits.values.filter { $0.worker == worker }
      .sorted { ($0.value.file, $0.value.attempt) < ($1.value.file, $1.value.attempt) }
    for commit in commitsOfNode { restartCommit(commit, effects: &effects) }
    for file in orphans {
      replaceValueIfNeeded(of: file, at: now, effects: &effects)
      wantSpares(of: file)
    }
    for (attempt, wasFirst) in lost {
      attemptLost(attempt, wasRunning: wasFirst, at: now, effects: &effects)
    }
    if wasAgent { forgetOffers(of: node, effects: &effects) }
  }

  /// Takes the attempts of a lost worker out of all tables; true for those that may have run.
  private mutating func abandonAttempts(
    of worker: WorkerID, at now: Instant, effects: inout [ManagerEffect]
  ) -> [(AttemptID, Bool)] {
    var slots: [(UInt32, Bool)] = []
    for row in allocations.rows where !row.isFree && row.worker == worker {
      // In a lane, the next one runs while the outputs of the first are moved or hashed.
      let runningMax = row.phase == .none ? 2 : Int(row.slots)
      var slot = row.head
      var place = 0
      while slot != .max {
        let state = tasks[attempts[slot].attempt.task.index].state
        slots.append((slot, place < runningMax && state == .sent))
        slot = attempts[slot].next
        place += 1
      }
    }
    loseInstances(of: worker)
    let lost = slots.map { slot, wasRunning in
      let attempt = attempts[slot].attempt
      withdraw(slot, at: now, effects: &effects)
      forgetOutputs(of: attempt, effects: &effects)
      return (attempt, wasRunning)
    }
    return lost
  }

  /// An attempt ends without a report: it holds nothing any more.
  mutating func withdraw(
    _ slot: UInt32, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let row = attempts[slot]
    if row.missingCount > 0 { forgetWaits(of: slot) }
    leaveAllocation(slot, at: now)
    unpinInputs(of: row.attempt.task, on: row.node, effects: &effects)
  }

  /// Outputs of an attempt that was not accepted are nobody's.
  mutating func forgetOutputs(of attempt: AttemptID, effects: inout [ManagerEffect]) {
    for output in workflow.outputs(of: attempt.task) {
      let value = FileValue(output.file, attempt: attempt.number)
      values.earlyHashes[value] = nil
      values.arrivals[value] = nil
      values.arrivedResults[value] = nil
      for replica in replicas.replicas(of: output.file)
      where replicas[replica].attempt == attempt.number && replicas[replica].state == .ready {
        let node = replicas[replica].node
        orderUnlink(value, on: node, effects: &effects)
        replicas.remove(replica)
      }
    }
  }

  mutating func attemptLost(
    _ attempt: AttemptID, wasRunning: Bool, at now: Instant, effects: inout [ManagerEffect]
  ) {
    guard wasRunning else {
      requeue(attempt.task, at: now, effects: &effects)
      return
    }
    rankLosses[attempt.task, default: 0] += 1
    if rankLosses[attempt.task, default: 0] >= Limits.ranksLostUnderTaskMax {
      fail(attempt, .lost, effects: &effects)
    } else {
      attemptFailed(attempt, .lost, at: now, effects: &effects)
    }
  }

  /// Everything on a dead node is gone. Returns the files that lost a replica.
  private mutating func loseReplicas(
    on node: NodeID, effects: inout [ManagerEffect]
  ) -> [FileID] {
    for transfer in transfers.ids {
      guard let row = transfers[transfer] else { continue }
      // The receiver goes on without them.
      if !row.helpers.isEmpty {
        transfers[transfer]?.helpers.removeAll { replicas[$0].node == node }
      }
      if row.node == node {
        _ = transfers.take(transfer)
        endTraffic(of: row, effects: &effects)
      } else if row.sourceReplica != .max, replicas[row.sourceReplica].node == node {
        // The receiver will say that nothing comes.
        transfers[transfer]?.sourceReplica = .max
        transfers[transfer]?.isSourceLost = true
      }
    }
    var orphans: [FileID] = []
    for replica in replicas.replicas(on: node) {
      let row = replicas[replica]
      replicas[replica].waiters = []
      replicas[replica].dependants = []
      replicas[replica].pinCount = 0
      orphans.append(row.file)
      // A planned one stands in queues, which drop it when its turn comes.
      if row.state == .planned {
        demand(replica)
        continue
      }
      let heir = values.heirs.removeValue(forKey: replica)
      if row.isUsable || row.state == .creating || heir != nil {
        demands[row.file]?.usableCount -= 1
      }
      wake(row.file)
      replicas.remove(replica)
    }
    return orphans
  }

  /// A node's agent died, but the node did not: its successor does again what was under way.
  private mutating func restartAgentWork(
    on node: NodeID, of agent: WorkerID, effects: inout [ManagerEffect]
  ) {
    for transfer in transfers.ids {
      guard let row = transfers[transfer] else { continue }
      if row.source.agent == agent { transfers[transfer]?.isSourceLost = true }
      if row.node != node { continue }
      _ = transfers.take(transfer)
      endTraffic(of: row, effects: &effects)
      if row.source == .derivation {
        unpinDerivationInputs(of: row.file, on: node, effects: &effects)
      }
      guard row.replica != .max else { continue }
      demands[row.file]?.usableCount -= 1
      replicas[row.replica].state = .planned
      demand(row.replica)
    }
    // What came before is known to the dead agent alone.
    for replica in replicas.replicas(on: node) { replicas[replica].hasPart = false }
  }

  private mutating func restartCommit(_ commit: CommitRow, effects: inout [ManagerEffect]) {
    let file = commit.value.file
    let node = nodeOfWorker[commit.worker.index]
    commits[commit.value] = nil
    if isCommitting(commit.value) {
      values.durable[file.index].standing = .volatile
      orderCommit(of: file, effects: &effects)
    }
    // The old pin goes last, so that the replica outlives the change.
    if let replica = replicas.find(file, on: node), replicas[replica].pinCount > 0 {
      unpin(replica, effects: &effects)
    }
  }

  // MARK: Values

  /// Makes `file` again if its last copy is gone and somebody needs it.
  mutating func replaceValueIfNeeded(
    of file: FileID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let producer = workflow.files[file].producer
    guard producer != .none, tasks[producer.index].state == .done, !isObtainable(file),
      !isSought(file)
    else { return }
    let standing = values.durable[file.index].standing
    let isUnpublished = workflow.files[file].isPublished && !standing.isGivenUp
    if remainingConsumers[file.index] > 0 || isUnpublished {
      repeatTask(producer, at: now, effects: &effects)
    }
  }

  /// A done task runs again, since its value is lost; so do those whose values it needs and that are
  /// lost, too.
  mutating func repeatTask(
    _ task: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    var stack = [task]
    while let next = stack.popLast() {
      guard tasks[next.index].state == .done else { continue }
      progressCounts.doneCount -= 1
      effects.append(.report(.valueLost(next)))
      reopen(next, stack: &stack, at: now, effects: &effects)
    }
  }

  /// A done task waits for its inputs again, and its consumers for it.
  mutating func reopen(
    _ task: TaskID, stack: inout [TaskID], at now: Instant, effects: inout [ManagerEffect]
  ) {
    tasks[task.index].become(.waiting)
    let inputs = workflow.inputs(of: task)
    for binding in inputs.indices {
      let file = workflow.bindings[binding].file
      remainingConsumers[file.index] += 1
      let producer = workflow.files[file].producer
      if isAvailable(at: binding) { continue }
      retractInput(binding)
      if tasks[producer.index].state == .done && !isObtainable(file) && !isSought(file) {
        stack.append(producer)
      }
    }
    for output in workflow.outputs(of: task) { retractConsumers(of: output.file) }
    queue(task, at: now, effects: &effects)
  }

  /// A task that waits is ready if nothing holds it, and is given up if what it waits for never
  /// comes.
  private mutating func queue(
    _ task: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    if tasks[task.index].pendingCount == 0 {
      makeReady(task, at: now)
      return
    }
    if values.unrepeatable.contains(task) {
      cancel(task, effects: &effects)
      return
    }
    let inputs = workflow.inputs(of: task)
    for binding in inputs.indices where !values.isInputSatisfied[binding] {
      let file = workflow.bindings[binding].file
      let producer = workflow.files[file].producer
      let isHopeless = readsPublished(binding) && values.durable[file.index].standing.isGivenUp
      if producer != .none && (tasks[producer.index].state.isFinal || isHopeless) {
        cancel(task, effects: &effects)
        return
      }
    }
  }

  /// A task whose attempt came to nothing queues again, behind what it needs.
  mutating func requeue(_ task: TaskID, at now: Instant, effects: inout [ManagerEffect]) {
    guard hasLosses else {
      makeReady(task, at: now)
      return
    }
    tasks[task.index].become(.waiting)
    let inputs = workflow.inputs(of: task)
    for binding in inputs.indices {
      let file = workflow.bindings[binding].file
      let producer = workflow.files[file].producer
      if isAvailable(at: binding) { continue }
      retractInput(binding)
      if tasks[producer.index].state == .done && !isObtainable(file) && !isSought(file) {
        repeatTask(producer, at: now, effects: &effects)
      }
    }
    // Making an input again may have found that one of them never comes.
    if tasks[task.index].state == .waiting { queue(task, at: now, effects: &effects) }
  }
}
