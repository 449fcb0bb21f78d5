// Values that are made again: the same, another one that counts instead, and what follows for all that
// used the earlier one.

extension Manager {
  /// A task succeeded that had succeeded before, or left outputs before: is it the same value? What
  /// follows from another one is one group of records: a crash leaves all of them or none.
  mutating func replaceValue(
    by attempt: AttemptID, _ record: JournalRecord, on node: NodeID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    let task = attempt.task
    let old = values.accepted[task.index]
    let isSame = old != 0 && isSameValue(attempt)
    if old != 0 && !isSame {
      if workflow.tasks[task].isDeterministic && isUsed(task) {
        contradict(task, seenThrough: task, effects: &effects)
      } else if isSeen(task, replacedBy: task, effects: &effects) {
        effects.append(.report(.invalidated(task, cause: task)))
      }
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
        retractConsumers(of: file)
        values.hashes[file] = nil
        for replica in replicas.replicas(of: file) where replicas[replica].node != node {
          supersede(replica, effects: &effects)
        }
        supersedeDerived(from: file, effects: &effects)
      }
      if let byteCount = values.arrivals.removeValue(forKey: fresh) {
        take(fresh, byteCount: byteCount, isSame: isSame, on: node, effects: &effects)
      }
    }
    adoptHashes(of: attempt, effects: &effects)
    // Before its readers are looked after: they would find it nowhere, and have it made once more.
    adoptResult(of: attempt, effects: &effects)
    if !isSame && old != 0 { invalidateConsumers(of: task, at: now, effects: &effects) }
    if !isSame { effects.append(.endGroup) }
  }

  private func isSameValue(_ attempt: AttemptID) -> Bool {
    var areAllEqual = true
    for output in workflow.outputs(of: attempt.task) {
      let fresh = values.earlyHashes[FileValue(output.file, attempt: attempt.number)]?.hash
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
      let replica = replicas.add(
        fresh.file, on: node, state: .ready, byteCount: byteCount, attempt: fresh.attempt)
      demands[fresh.file]?.usableCount += 1
      offer(replica)
      wake(fresh.file)
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
    dropPart(of: replica, effects: &effects)
    replicas[replica].state = .ready
    learnByteCount(byteCount, of: replica)
    replicas[replica].attempt = fresh.attempt
    offer(replica)
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
  mutating func supersede(_ replica: UInt32, effects: inout [ManagerEffect]) {
    let row = replicas[replica]
    switch row.state {
    case .planned: return
    case .creating:
      forsakeTransfer(into: replica)
      stopGathering(replica, effects: &effects)
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
      waitingToPublish.removeAll { $0.file == file }
      values.durable[file.index] = DurableRow()
    case .journaled: values.durable[file.index] = DurableRow()
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

  /// Whether the world has seen an output of `task` that is going to be replaced. An earlier session
  /// could not know what this one needs; in this one, and where a kept copy was relied on, the
  /// barrier should have kept it back.
  private mutating func isSeen(
    _ task: TaskID, replacedBy cause: TaskID, effects: inout [ManagerEffect]
  ) -> Bool {
    var isSeen = false
    for output in workflow.outputs(of: task) {
      let standing = values.durable[output.file.index].standing
      guard standing == .published || standing == .publishing else { continue }
      isSeen = true
      if !values.isFromEarlierSession[output.file.index] || values.damaged.contains(cause) {
        contradict(cause, seenThrough: task, effects: &effects)
      }
    }
    return isSeen
  }

  private mutating func invalidate(
    _ task: TaskID, cause: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let accepted = AttemptID(task, values.accepted[task.index])
    _ = isSeen(task, replacedBy: cause, effects: &effects)
    append(.invalidated(accepted, cause: cause), effects: &effects)
    effects.append(.report(.invalidated(task, cause: cause)))
    values.accepted[task.index] = 0
    for output in workflow.outputs(of: task) {
      discardDurable(output.file, effects: &effects)
      values.hashes[output.file] = nil
      for replica in replicas.replicas(of: output.file) { supersede(replica, effects: &effects) }
      supersedeDerived(from: output.file, effects: &effects)
    }
    guard tasks[task.index].state == .done else {
      // It waits to run again, but a file that it published was there to be read until now.
      for output in workflow.outputs(of: task) { retractConsumers(of: output.file) }
      return
    }
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
