// Which file moves where, from which source; and which replica is kept, committed or dropped.

extension Manager {
  // MARK: Inputs

  func hasAllInputs(_ task: TaskID, on node: NodeID) -> Bool {
    if !needsStaging(task) { return true }
    return workflow.stagedInputs(of: task).allSatisfy { input in
      isJournaled(input)
        || replicas.find(input.file, on: node).map { replicas[$0].isUsable } ?? false
    }
  }

  func needsStaging(_ task: TaskID) -> Bool {
    !options.ignoresData && workflow.tasks[task].usesSandbox
  }

  /// Whether the outputs of `task` go through the cache to their paths.
  func usesCommit(_ task: TaskID) -> Bool {
    !options.ignoresData && workflow.tasks[task].usesSandbox
  }

  /// Pins the inputs of an attempt on its node, has missing ones brought there, and sends the
  /// attempt when none is missing.
  mutating func stageInputs(of slot: UInt32, at now: Instant, effects: inout [ManagerEffect]) {
    let row = attempts[slot]
    var missing: UInt32 = 0
    if needsStaging(row.attempt.task) {
      for input in workflow.stagedInputs(of: row.attempt.task) where !isJournaled(input) {
        if input.use == .reference {
          values.pinnedReferences[row.attempt.task, default: []].append(input.file)
        }
        for node in nodesUsed(by: slot) {
          let replica = wantReplica(of: input.file, on: node)
          replicas[replica].pinCount += 1
          if !replicas[replica].isUsable {
            replicas[replica].waiters.append(slot)
            missing += 1
          }
        }
      }
    }
    attempts[slot].missingCount = missing
    if missing == 0 { send(slot, effects: &effects) }
  }

  /// The nodes on which an attempt has its files: of a gang's call, the leader's first.
  func nodesUsed(by slot: UInt32) -> [NodeID] {
    [attempts[slot].node] + (instances.otherNodes[attempts[slot].attempt.task] ?? [])
  }

  mutating func wantReplica(of file: FileID, on node: NodeID) -> UInt32 {
    if let known = replicas.find(file, on: node) {
      // One that failed for good, but has readers that do not know yet, stands in no queue.
      if replicas[known].state == .planned { demand(known) }
      return known
    }
    let replica = replicas.add(
      file, on: node, state: .planned, byteCount: expectedByteCount(of: file))
    demand(replica)
    return replica
  }

  mutating func onTransferEnded(
    _ transfer: TransferID, byteCount: Int64, error: Int32, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    guard let row = transfers.take(transfer) else { return }
    if error == 0 { learnServing(of: row, byteCount: byteCount, at: now) }
    if error == damagedSourceError { blameSource(of: row, effects: &effects) }
    endTraffic(of: row, effects: &effects)
    defer {
      if row.source == .derivation {
        unpinDerivationInputs(of: row.file, on: row.node, effects: &effects)
      }
    }
    guard row.replica != .max else {
      // The value was made anew meanwhile.
      orderUnlink(FileValue(row.file, attempt: row.attempt), on: row.node, effects: &effects)
      return
    }
    if error == 0 {
      learnCost(of: row, byteCount: byteCount)
      if row.isSpare { spares.madeCount += 1 }
      replicas[row.replica].attempt = row.attempt
      replicas[row.replica].state = .ready
      learnByteCount(byteCount, of: row.replica)
      replicas[row.replica].hasPart = false
      offer(row.replica)
      wake(row.file)
      noteArrival(of: row.file, on: row.node)
      commitIfWanted(row.file, effects: &effects)
      wakeWaiters(of: row.replica, effects: &effects)
      dropIfUnused(row.replica, effects: &effects)
      offerEvictions(of: row.file)
      return
    }
    onTransferFailed(row, byteCount: byteCount, error: error, at: now, effects: &effects)
  }

  private mutating func onTransferFailed(
    _ row: TransferRow, byteCount: Int64, error: Int32, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    let replica = row.replica
    if row.isSpare && !row.isSourceLost { spares.failureCounts[row.file, default: 0] += 1 }
    demands[row.file]?.usableCount -= 1
    replicas[replica].state = .planned
    replicas[replica].hasPart = true
    wake(row.file)
    if isDiskFull(error) {
      roomRanOut(for: replica, byteCount: byteCount, at: now, effects: &effects)
      replaceValueIfNeeded(of: row.file, at: now, effects: &effects)
      return
    }
    if replicas[replica].pinCount == 0 {
      // Whoever wanted it has failed meanwhile. Nothing may keep its sources either: trying again
      // could read a path that is not published yet.
      forget(replica, effects: &effects)
      replaceValueIfNeeded(of: row.file, at: now, effects: &effects)
      return
    }
    if row.source == .sharedFileSystem && isMissError(error) {
      sharedMisses[row.file, default: []].append(row.node)
    }
    // Whom a failure befell first is charged with it, not all that read behind.
    if !row.isSourceLost && error != sourceGoneError { replicas[replica].failureCount += 1 }
    if error == derivationFailedError { brokenFiles.insert(row.file) }
    if error != derivationFailedError
      && Int(replicas[replica].failureCount) < Limits.fetchRetryMax
    {
      demand(replica)
      return
    }
    failWaiters(of: replica, error: error, at: now, effects: &effects)
  }

  /// Gives up a replica that is not there yet, and what of it is.
  mutating func forget(_ replica: UInt32, effects: inout [ManagerEffect]) {
    dropPart(of: replica, effects: &effects)
    // So that no queue takes it for one that waits.
    replicas[replica].state = .ready
    replicas.remove(replica)
  }

  /// What came of a replica before its transfer failed is of no use; those that read it are refused.
  mutating func dropPart(of replica: UInt32, effects: inout [ManagerEffect]) {
    if replicas[replica].readerCount > 0 { hasGivenUpSources = true }
    guard replicas[replica].hasPart else { return }
    replicas[replica].hasPart = false
    orderUnlink(replicas[replica].value, on: replicas[replica].node, effects: &effects)
  }

  /// A source sent damaged bytes again and again. One that is whole is given up; one that is not
  /// had them from somebody else, perhaps.
  private mutating func blameSource(of row: TransferRow, effects: inout [ManagerEffect]) {
    guard row.sourceReplica != .max, replicas[row.sourceReplica].isUsable else { return }
    let source = replicas[row.sourceReplica]
    onDamage(to: source.value, on: source.node)
  }

  mutating func wakeWaiters(of replica: UInt32, effects: inout [ManagerEffect]) {
    let waiters = replicas[replica].waiters
    replicas[replica].waiters = []
    for slot in waiters {
      attempts[slot].missingCount -= 1
      if attempts[slot].missingCount == 0 { send(slot, effects: &effects) }
    }
    wakeDependants(of: replica, effects: &effects)
  }

  /// The file cannot be had on this node: the attempts that wait for it end. `cause` is the file to
  /// blame, where that is an input of this one.
  mutating func failWaiters(
    of replica: UInt32, error: Int32, cause: FileID = .none, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    let file = replicas[replica].file
    let node = replicas[replica].node
    let blamed = cause == .none ? file : cause
    // Their cores may be somebody else's now.
    hasNewReady = true
    failDependants(of: replica, error: error, cause: blamed, at: now, effects: &effects)
    let waiters = Set(replicas[replica].waiters).sorted()
    for slot in waiters {
      let attempt = attempts[slot].attempt
      let own = attempts[slot].node
      forgetWaits(of: slot)
      leaveAllocation(slot, at: now)
      unpinInputs(of: attempt.task, on: own, effects: &effects)
      attemptFailed(attempt, .inputUnavailable(blamed, error), at: now, effects: &effects)
    }
    guard let replica = replicas.find(file, on: node), replicas[replica].state == .planned
    else { return }
    if replicas[replica].pinCount == 0 {
      if !replicas[replica].isQueued { forget(replica, effects: &effects) }
    } else {
      // It has readers: each tries for itself.
      dropPart(of: replica, effects: &effects)
    }
  }

  /// Nothing that arrives is told to an attempt any more.
  mutating func forgetWaits(of slot: UInt32) {
    for node in nodesUsed(by: slot) {
      for input in workflow.stagedInputs(of: attempts[slot].attempt.task) {
        guard let replica = replicas.find(input.file, on: node) else { continue }
        replicas[replica].waiters.removeAll { $0 == slot }
      }
    }
  }

  // MARK: Keeping and dropping

  mutating func unpinInputs(
    of task: TaskID, on node: NodeID, effects: inout [ManagerEffect]
  ) {
    guard needsStaging(task) else { return }
    if !instances.otherNodes.isEmpty, let others = instances.otherNodes.removeValue(forKey: task) {
      let references = values.pinnedReferences[task]
      for other in others {
        unpinInputs(of: task, on: other, effects: &effects)
        values.pinnedReferences[task] = references
      }
    }
    for input in workflow.stagedInputs(of: task) where input.use != .reference {
      guard let replica = replicas.find(input.file, on: node) else { continue }
      unpin(replica, effects: &effects)
    }
    guard !values.pinnedReferences.isEmpty else { return }
    for file in values.pinnedReferences.removeValue(forKey: task) ?? [] {
      guard let replica = replicas.find(file, on: node) else { continue }
      unpin(replica, effects: &effects)
    }
  }

  mutating func unpin(_ replica: UInt32, effects: inout [ManagerEffect]) {
    invariant(replicas[replica].pinCount > 0, "a replica is unpinned twice")
    replicas[replica].pinCount -= 1
    if replicas[replica].isDamaged {
      settleDamaged(replica, effects: &effects)
    } else {
      let isKept = !dropIfUnused(replica, effects: &effects)
      if isKept && replicas[replica].pinCount == 0 { offerEviction(replica) }
    }
  }

  /// `task` will not read its inputs any more.
  mutating func releaseConsumption(of task: TaskID, effects: inout [ManagerEffect]) {
    for input in workflow.inputs(of: task) {
      remainingConsumers[input.file.index] -= 1
      if remainingConsumers[input.file.index] == 0 {
        dropReplicas(of: input.file, effects: &effects)
      }
    }
  }

  private mutating func dropReplicas(of file: FileID, effects: inout [ManagerEffect]) {
    for replica in replicas.replicas(of: file) { dropIfUnused(replica, effects: &effects) }
  }

  /// Frees a replica that nothing will read: no consumer remains, or its lifetime is `task`, it is
  /// pinned by none, and it can be had again.
  @discardableResult
  mutating func dropIfUnused(_ replica: UInt32, effects: inout [ManagerEffect]) -> Bool {
    let row = replicas[replica]
    guard row.pinCount == 0, row.isUsable, row.waiters.isEmpty,
      // What waited for it may have let go of it a moment ago.
      replicas.find(row.file, on: row.node) == replica
    else { return false }
    let file = workflow.files[row.file]
    // Between the report of an output and that of its task's end: the outputs are still to be
    // committed, though the last consumer may have been cancelled meanwhile.
    if file.producer != .none && tasks[file.producer.index].state != .done { return false }
    // What is still to be committed: its task may have succeeded in this very event.
    if file.isPublished && usesCommit(file.producer)
      && values.durable[row.file.index].standing == .volatile
    {
      return false
    }
    switch file.lifetime {
    case .worker, .forever: return false
    case .workflow: if remainingConsumers[row.file.index] > 0 { return false }
    case .task:
      if remainingConsumers[row.file.index] > 0 && file.producer != .none { return false }
    }
    orderUnlink(row.value, on: row.node, effects: &effects)
    demands[row.file]?.usableCount -= 1
    replicas.remove(replica)
    // Those that wait for this node to serve it would wait for ever if the node is about to die.
    wake(row.file)
    return true
  }

  /// Has a node forget a replica; with a dead node it is gone already.
  mutating func orderUnlink(
    _ value: FileValue, on node: NodeID, effects: inout [ManagerEffect]
  ) {
    if !nodes[node].isDead { effects.append(.send(.unlink(value), to: nodes[node].agent)) }
  }

  // MARK: Outputs

  mutating func dropUnusedOutputs(of task: TaskID, effects: inout [ManagerEffect]) {
    guard needsStaging(task) else { return }
    for output in workflow.outputs(of: task) where remainingConsumers[output.file.index] == 0 {
      dropReplicas(of: output.file, effects: &effects)
    }
  }
}
