// What is done about losses: workers that died, values that went with them, and what used a value
// that came out differently when it was made again.
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
    let lost = abandonAttempts(of: worker, at: now, effects: &effects)
    var orphans: [FileID] = []
    if nodes[node].isDead {
      // What found no room so far may now fit nowhere.
      for request in isBlocked.indices { isBlocked[request] = false }
      orphans = loseReplicas(on: node, effects: &effects)
    } else if wasAgent {
      restartAgentWork(on: node, of: worker, effects: &effects)
    }
    let commitsOfNode = commits.values.filter { $0.worker == worker }
      .sorted { ($0.value.file, $0.value.attempt) < ($1.value.file, $1.value.attempt) }
    for commit in commitsOfNode { restartCommit(commit, effects: &effects) }
    for file in orphans { replaceValueIfNeeded(of: file, at: now, effects: &effects) }
    for (attempt, wasFirst) in lost {
      attemptLost(attempt, wasRunning: wasFirst, at: now, effects: &effects)
    }
  }

  /// Takes the attempts of a lost worker out of all tables; true for those that may have run.
  private mutating func abandonAttempts(
    of worker: WorkerID, at now: Instant, effects: inout [ManagerEffect]
  ) -> [(AttemptID, Bool)] {
    var slots: [(UInt32, Bool)] = []
    for row in allocations.rows where !row.isFree && row.worker == worker {
      var slot = row.head
      while slot != .max {
        let state = tasks[attempts[slot].attempt.task.index].state
        slots.append((slot, slot == row.head && state == .sent))
        slot = attempts[slot].next
      }
    }
    return slots.map { slot, wasRunning in
      let attempt = attempts[slot].attempt
      withdraw(slot, at: now, effects: &effects)
      forgetOutputs(of: attempt, effects: &effects)
      return (attempt, wasRunning)
    }
  }

  /// An attempt ends without a report: it holds nothing any more.
  mutating func withdraw(
    _ slot: UInt32, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let row = attempts[slot]
    if row.missingCount > 0 {
      for input in workflow.inputs(of: row.attempt.task) {
        guard let replica = replicas.find(input.file, on: row.node) else { continue }
        replicas[replica].waiters.removeAll { $0 == slot }
      }
    }
    leaveAllocation(slot, at: now)
    unpinInputs(of: row.attempt.task, on: row.node, effects: &effects)
  }

  /// Outputs of an attempt that was not accepted are nobody's.
  mutating func forgetOutputs(of attempt: AttemptID, effects: inout [ManagerEffect]) {
    for output in workflow.outputs(of: attempt.task) {
      let value = FileValue(output.file, attempt: attempt.number)
      values.earlyHashes[value] = nil
      values.arrivals[value] = nil
      for replica in replicas.replicas(of: output.file)
      where replicas[replica].attempt == attempt.number && replicas[replica].state == .ready {
        let node = replicas[replica].node
        orderUnlink(value, on: node, effects: &effects)
        replicas.remove(replica)
      }
    }
  }

  private mutating func attemptLost(
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
      replicas[replica].pinCount = 0
      orphans.append(row.file)
      // A planned one stands in queues, which drop it when its turn comes.
      if row.state == .planned { continue }
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
      if row.source == .node(agent: agent) { transfers[transfer]?.isSourceLost = true }
      if row.node != node { continue }
      _ = transfers.take(transfer)
      endTraffic(of: row, effects: &effects)
      guard row.replica != .max else { continue }
      demands[row.file]?.usableCount -= 1
      replicas[row.replica].state = .planned
      demand(row.replica)
    }
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
    guard producer != .none, tasks[producer.index].state == .done, !isObtainable(file) else {
      return
    }
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
  private mutating func reopen(
    _ task: TaskID, stack: inout [TaskID], at now: Instant, effects: inout [ManagerEffect]
  ) {
    tasks[task.index].become(.waiting)
    let inputs = workflow.inputs(of: task)
    for binding in inputs.indices {
      let file = workflow.bindings[binding].file
      remainingConsumers[file.index] += 1
      let producer = workflow.files[file].producer
      if producer == .none || isAvailable(file) { continue }
      retractInput(binding)
      if tasks[producer.index].state == .done { stack.append(producer) }
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
    let inputs = workflow.inputs(of: task)
    for binding in inputs.indices where !values.isInputSatisfied[binding] {
      let producer = workflow.files[workflow.bindings[binding].file].producer
      if producer != .none && tasks[producer.index].state.isFinal {
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
      if producer == .none || isAvailable(file) { continue }
      retractInput(binding)
      if tasks[producer.index].state == .done {
        repeatTask(producer, at: now, effects: &effects)
      }
    }
    // Making an input again may have found that one of them never comes.
    if tasks[task.index].state == .waiting { queue(task, at: now, effects: &effects) }
  }

  // MARK: Values made again

  /// A task succeeded that had succeeded before, or left outputs before: is it the same value? What
  /// follows from another one is one group of records: a crash leaves all of them or none.
  mutating func replaceValue(
    by attempt: AttemptID, _ record: JournalRecord, on node: NodeID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    let task = attempt.task
    let old = values.accepted[task.index]
    let isSame = old != 0 && isSameValue(attempt)
    if old != 0 && !isSame && workflow.tasks[task].isDeterministic && isUsed(task) {
      contradict(task, seenThrough: task, effects: &effects)
    }
    // What was made again as it had been is the value it was: the journal knows it already, and
    // `accepted` goes on naming the attempt that stands there.
    if !isSame {
      effects.append(.beginGroup)
      if old != 0 { append(.invalidated(AttemptID(task, old), cause: task), effects: &effects) }
      values.accepted[task.index] = attempt.number
      append(record, effects: &effects)
    }
    for output in workflow.outputs(of: task) {
      let file = output.file
      let fresh = FileValue(file, attempt: attempt.number)
      if !isSame {
        discardDurable(file, effects: &effects)
        values.hashes[file] = nil
        for replica in replicas.replicas(of: file) where replicas[replica].node != node {
          supersede(replica, effects: &effects)
        }
      }
      if let byteCount = values.arrivals.removeValue(forKey: fresh) {
        take(fresh, byteCount: byteCount, isSame: isSame, on: node, effects: &effects)
      }
      takeEarlyHash(of: fresh, effects: &effects)
    }
    if !isSame && old != 0 { invalidateConsumers(of: task, at: now, effects: &effects) }
    if !isSame { effects.append(.endGroup) }
  }

  /// The hash that came before the end of the attempt is that of the accepted value now.
  mutating func takeEarlyHash(of fresh: FileValue, effects: inout [ManagerEffect]) {
    guard let hash = values.earlyHashes.removeValue(forKey: fresh),
      values.hashes[fresh.file] != hash
    else { return }
    values.hashes[fresh.file] = hash
    append(
      .hashed(acceptedValue(of: fresh.file), byteCount: byteCount(of: fresh.file), hash),
      effects: &effects)
  }

  private func isSameValue(_ attempt: AttemptID) -> Bool {
    var areAllEqual = true
    for output in workflow.outputs(of: attempt.task) {
      let fresh = values.earlyHashes[FileValue(output.file, attempt: attempt.number)]
      guard let fresh, let old = values.hashes[output.file] else {
        areAllEqual = false
        continue
      }
      if fresh != old { return false }
    }
    return areAllEqual || workflow.tasks[attempt.task].isDeterministic
  }

  /// Whether a consumer has begun to read what `task` made, or somebody outside may have.
  private func isUsed(_ task: TaskID) -> Bool {
    workflow.outputs(of: task).contains { output in
      let standing = values.durable[output.file.index].standing
      if standing == .publishing || standing == .published { return true }
      return consumerBindings(of: output.file).contains { binding in
        switch tasks[workflow.bindings[binding].task.index].state {
        case .sent, .done: true
        case .waiting, .ready, .staging, .failed, .cancelled: false
        }
      }
    }
  }

  /// The node that made the value anew still had the earlier one, or was about to get it.
  private mutating func take(
    _ fresh: FileValue, byteCount: Int64, isSame: Bool, on node: NodeID,
    effects: inout [ManagerEffect]
  ) {
    guard let replica = replicas.find(fresh.file, on: node) else {
      _ = replicas.add(
        fresh.file, on: node, state: .ready, byteCount: byteCount, attempt: fresh.attempt)
      return
    }
    let row = replicas[replica]
    if isSame && row.isUsable {
      orderUnlink(fresh, on: node, effects: &effects)
      return
    }
    if row.state == .ready {
      supersede(replica, by: Heir(attempt: fresh.attempt, byteCount: byteCount), &effects)
      return
    }
    if row.state == .creating {
      forsakeTransfer(into: replica)
    } else {
      demands[fresh.file]?.usableCount += 1
    }
    replicas[replica].state = .ready
    replicas[replica].byteCount = byteCount
    replicas[replica].attempt = fresh.attempt
    demands[fresh.file]?.sources.append(node)
    wake(fresh.file)
    wakeWaiters(of: replica, effects: &effects)
  }

  /// Nobody wants what a transfer is about to bring.
  private mutating func forsakeTransfer(into replica: UInt32) {
    for transfer in transfers.ids where transfers[transfer]?.replica == replica {
      transfers[transfer]?.replica = .max
    }
  }

  /// The value in a row is replaced as soon as nobody uses it: attempts that were told to link it
  /// may not have begun.
  private mutating func supersede(
    _ replica: UInt32, by heir: Heir, _ effects: inout [ManagerEffect]
  ) {
    let row = replicas[replica]
    if let other = values.heirs[replica] {
      let value = FileValue(row.file, attempt: other.attempt)
      orderUnlink(value, on: row.node, effects: &effects)
    } else if row.isDamaged {
      demands[row.file]?.usableCount += 1
    }
    values.heirs[replica] = heir
    replicas[replica].isDamaged = true
    wake(row.file)
    settleDamaged(replica, effects: &effects)
  }

  /// A replica of a value that does not count any more goes as soon as nobody uses it.
  private mutating func supersede(_ replica: UInt32, effects: inout [ManagerEffect]) {
    let row = replicas[replica]
    switch row.state {
    case .planned: return
    case .creating:
      forsakeTransfer(into: replica)
      demands[row.file]?.usableCount -= 1
      replicas[replica].state = .planned
      demand(replica)
    case .ready:
      if let heir = values.heirs.removeValue(forKey: replica) {
        let value = FileValue(row.file, attempt: heir.attempt)
        orderUnlink(value, on: row.node, effects: &effects)
      } else if row.isDamaged {
        return
      }
      replicas[replica].isDamaged = true
      demands[row.file]?.usableCount -= 1
      wake(row.file)
      settleDamaged(replica, effects: &effects)
    }
  }

  private mutating func discardDurable(_ file: FileID, effects: inout [ManagerEffect]) {
    let row = values.durable[file.index]
    switch row.standing {
    case .publishing: break
    case .committed, .published:
      // What is published stays until the new value takes its place.
      if row.standing == .committed {
        effects.append(.discard(FileValue(file, attempt: row.attempt)))
      }
      waitingToPublish.removeAll { $0 == file }
      values.durable[file.index] = DurableRow()
    case .committing:
      // Its end will be seen to be that of a stale value.
      values.durable[file.index] = DurableRow()
    case .stranded:
      effects.append(.discard(FileValue(file, attempt: row.attempt)))
      values.durable[file.index] = DurableRow(standing: .unwritten)
    case .volatile, .unwritten: break
    }
  }

  // MARK: Invalidation

  /// All that used the earlier value of `cause`, through any number of tasks, is made again.
  private mutating func invalidateConsumers(
    of cause: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    var stack = [cause]
    while let task = stack.popLast() {
      for output in workflow.outputs(of: task) {
        for binding in consumerBindings(of: output.file) {
          let consumer = workflow.bindings[binding].task
          switch tasks[consumer.index].state {
          case .staging, .sent: void(consumer, at: now, effects: &effects)
          case .waiting, .ready, .done, .failed, .cancelled: break
          }
          // One that waits to run again has a value, too, and others have used that.
          guard values.accepted[consumer.index] != 0 else { continue }
          invalidate(consumer, cause: cause, at: now, effects: &effects)
          stack.append(consumer)
        }
      }
    }
  }

  private mutating func invalidate(
    _ task: TaskID, cause: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let accepted = AttemptID(task, values.accepted[task.index])
    for output in workflow.outputs(of: task) {
      let standing = values.durable[output.file.index].standing
      if standing == .published || standing == .publishing {
        if values.isFromEarlierSession[output.file.index] {
          effects.append(.report(.invalidated(task, cause: cause)))
        } else {
          contradict(cause, seenThrough: task, effects: &effects)
        }
      }
    }
    append(.invalidated(accepted, cause: cause), effects: &effects)
    effects.append(.report(.invalidated(task, cause: cause)))
    values.accepted[task.index] = 0
    for output in workflow.outputs(of: task) {
      discardDurable(output.file, effects: &effects)
      values.hashes[output.file] = nil
      for replica in replicas.replicas(of: output.file) { supersede(replica, effects: &effects) }
    }
    guard tasks[task.index].state == .done else { return }
    progressCounts.doneCount -= 1
    var stack: [TaskID] = []
    reopen(task, stack: &stack, at: now, effects: &effects)
    for producer in stack { repeatTask(producer, at: now, effects: &effects) }
  }

  /// An attempt reads a value that does not count any more.
  private mutating func void(
    _ task: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let slot = tasks[task.index].slot
    guard !attempts[slot].isVoid else { return }
    if tasks[task.index].state == .staging {
      withdraw(slot, at: now, effects: &effects)
      requeue(task, at: now, effects: &effects)
      return
    }
    attempts[slot].isVoid = true
    effects.append(
      .send(
        .killTask(attempts[slot].attempt),
        to: allocations[attempts[slot].allocation.rawValue].worker))
  }

  private mutating func contradict(
    _ task: TaskID, seenThrough other: TaskID, effects: inout [ManagerEffect]
  ) {
    if contradiction != .none { return }
    contradiction = task
    isDraining = true
    effects.append(.report(.contradiction(task, seenThrough: other)))
    takeBackAll(effects: &effects)
  }
}
