// When an output may be seen by the world: the barrier.
//
// Published is what cannot be taken back. So an output is published only when its task's value can
// never be replaced by another one: when every nondeterministic task it depends on is either durable
// or will never run again. A task never runs again when its value is durable, or when nobody can
// need it any more, that is, every consumer has finally failed or will itself never run again. The
// two conditions depend on each other along edges in both directions; what holds is the greatest set
// of tasks that satisfies both, found by spreading doubt from the tasks that are still open.
//
// (The milder rule, "each done consumer's outputs are committed", is not enough: a committed but
// unpublished consumer may be invalidated through another input, and would then need this task's
// dropped value again.)

/// What is in doubt about a task.
private struct Doubt: OptionSet {
  let rawValue: UInt8
  /// It may have to run again.
  static let mayRepeat = Doubt(rawValue: 1)
  /// Its value may be replaced by another one.
  static let mayChange = Doubt(rawValue: 2)
}

private struct DoubtSpread {
  var doubts: [UInt8]
  /// Tasks with a doubt that was not passed on yet.
  var stack: [TaskID] = []

  init(taskCount: Int) { doubts = Array(repeating: 0, count: taskCount) }

  func holds(_ doubt: Doubt, _ task: TaskID) -> Bool { doubts[task.index] & doubt.rawValue != 0 }

  mutating func add(_ doubt: Doubt, _ task: TaskID) {
    if holds(doubt, task) { return }
    doubts[task.index] |= doubt.rawValue
    stack.append(task)
  }
}

/// A walk over tasks that are in doubt.
private struct BlockerSearch {
  let doubts: [UInt8]
  var stack: [TaskID] = []
  private var isSeen: BitArray

  init(doubts: [UInt8]) {
    self.doubts = doubts
    isSeen = BitArray(count: doubts.count)
  }

  mutating func visit(_ task: TaskID) {
    guard task != .none, doubts[task.index] != 0, !isSeen[task.index] else { return }
    isSeen[task.index] = true
    stack.append(task)
  }
}

extension Manager {
  // MARK: Commits

  /// Has an agent write a value to the shared file system, from any node that has it.
  mutating func orderCommit(of file: FileID, effects: inout [ManagerEffect]) {
    guard values.durable[file.index].standing == .volatile,
      let replica = replicas.replicas(of: file).first(where: {
        replicas[$0].isUsable && !nodes[replicas[$0].node].isDead
      })
    else { return }
    let row = replicas[replica]
    let value = row.value
    replicas[replica].pinCount += 1
    values.durable[file.index] = DurableRow(standing: .committing, attempt: value.attempt)
    let agent = nodes[row.node].agent
    commits[value] = CommitRow(value: value, worker: agent)
    effects.append(.send(.commit(value), to: agent))
  }

  /// Each output with a path is written once, from where it was made.
  mutating func commitOutputs(of task: TaskID, effects: inout [ManagerEffect]) {
    guard usesCommit(task) else { return }
    for output in workflow.outputs(of: task) where workflow.files[output.file].isPublished {
      orderCommit(of: output.file, effects: &effects)
    }
  }

  mutating func onCommitted(
    _ value: FileValue, byteCount: Int64, error: Int32, from worker: WorkerID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    guard let commit = commits[value], commit.worker == worker else {
      // A report that comes twice must not cost the copy that counts.
      let row = values.durable[value.file.index]
      let counts =
        row.attempt == value.attempt && (row.standing.isDurable || row.standing == .committing)
      if error == 0 && !counts { effects.append(.discard(value)) }
      return
    }
    let file = value.file
    commits[value] = nil
    isSettlingDue = true
    let isCurrent = isCommitting(value)
    if isCurrent { values.durable[file.index].standing = .volatile }
    defer { unpinCommitted(file, on: nodeOfWorker[worker.index], effects: &effects) }
    guard isCurrent else {
      if error == 0 { effects.append(.discard(value)) }
      return
    }
    if commit.isDamaged {
      // What was written may be what a consumer made of it: nobody is to take it for the output.
      if error == 0 { effects.append(.discard(value)) }
      valueDamaged(file, at: now, effects: &effects)
    } else if error == 0 {
      values.durable[file.index] = DurableRow(standing: .committed, attempt: value.attempt)
      append(.committed(value, byteCount: byteCount), effects: &effects)
      offerEvictions(of: file)
      if workflow.files[file].isPublished {
        waitToPublish(file, at: now)
      }
    } else {
      commitFailed(file, error: error, at: now, effects: &effects)
    }
  }

  /// Whether the commit of `value` that is under way is of the value that counts.
  func isCommitting(_ value: FileValue) -> Bool {
    let row = values.durable[value.file.index]
    return row.standing == .committing && row.attempt == value.attempt
  }

  /// An output with a path came back to a node, or could not be committed before.
  mutating func commitIfWanted(_ file: FileID, effects: inout [ManagerEffect]) {
    let row = workflow.files[file]
    guard row.isPublished, usesCommit(row.producer), tasks[row.producer.index].state == .done
    else { return }
    orderCommit(of: file, effects: &effects)
  }

  private mutating func unpinCommitted(
    _ file: FileID, on node: NodeID, effects: inout [ManagerEffect]
  ) {
    if let replica = replicas.find(file, on: node), replicas[replica].pinCount > 0 {
      unpin(replica, effects: &effects)
    }
  }

  private mutating func commitFailed(
    _ file: FileID, error: Int32, at now: Instant, effects: inout [ManagerEffect]
  ) {
    commitFailures[file, default: 0] += 1
    if commitFailures[file, default: 0] < Limits.fetchRetryMax {
      orderCommit(of: file, effects: &effects)
      replaceValueIfNeeded(of: file, at: now, effects: &effects)
    } else if workflow.files[file].isPublished {
      outputNotWritten(file, error: error, effects: &effects)
    }
  }

  /// The last copy of a value was spoilt by a task that shared it.
  private mutating func valueDamaged(
    _ file: FileID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    commitFailures[file, default: 0] += 1
    if commitFailures[file, default: 0] >= Limits.fetchRetryMax {
      outputNotWritten(file, error: lostValueError, effects: &effects)
    } else if replicas.replicas(of: file).contains(where: { replicas[$0].isUsable }) {
      orderCommit(of: file, effects: &effects)
    } else {
      hasLosses = true
      replaceValueIfNeeded(of: file, at: now, effects: &effects)
    }
  }

  // MARK: Publishing

  mutating func onPublished(
    _ file: FileID, error: Int32, at now: Instant, effects: inout [ManagerEffect]
  ) {
    guard values.durable[file.index].standing == .publishing else { return }
    publishingCount -= 1
    if error != 0 {
      outputNotWritten(file, .stranded, error: error, effects: &effects)
      return
    }
    values.durable[file.index].standing = .published
    values.isFromEarlierSession[file.index] = false
    append(
      .published(FileValue(file, attempt: values.durable[file.index].attempt)),
      effects: &effects)
    satisfyLateConsumers(of: file, at: now)
  }

  /// Outside a sandbox a task reads the published file, so it waits for that.
  mutating func satisfyLateConsumers(of file: FileID, at now: Instant) {
    for binding in consumerBindings(of: file)
    where !workflow.tasks[workflow.bindings[binding].task].usesSandbox {
      satisfyInput(binding, at: now)
    }
  }

  mutating func outputNotWritten(
    _ file: FileID, _ standing: FileStanding = .unwritten, error: Int32,
    effects: inout [ManagerEffect]
  ) {
    values.durable[file.index].standing = standing
    unwrittenOutputCount += 1
    effects.append(.report(.outputNotWritten(file, error)))
    // Consumers outside a sandbox wait for the published file, which will never come.
    failLateConsumers(of: file, error: error, effects: &effects)
  }

  /// The intents up to this record are durable: the renames may begin.
  mutating func onJournalSynced(upTo record: Int, effects: inout [ManagerEffect]) {
    while let intent = publishIntents.first, intent.record <= record {
      publishIntents.removeFirst()
      let row = values.durable[intent.value.file.index]
      guard row.standing == .publishing, row.attempt == intent.value.attempt else {
        publishingCount -= 1
        continue
      }
      effects.append(.publish(intent.value))
    }
  }

  /// What was to be published stays under its temporary name for a later session.
  mutating func onJournalFailed(effects: inout [ManagerEffect]) {
    isJournalLost = true
    isDraining = true
    hasCommittedForLater = true
    publishingCount -= publishIntents.count
    publishIntents.removeAll()
    waitingToPublish = []
    takeBackAll(effects: &effects)
  }

  // MARK: The barrier

  /// A committed output is published as soon as it may be.
  mutating func waitToPublish(_ file: FileID, at now: Instant) {
    waitingToPublish.append(WaitingOutput(file: file, since: now))
    firstWaitingSince = firstWaitingSince ?? now
  }

  /// When the barrier wants to be looked at though nothing happened.
  var settlingDeadline: Instant? {
    if waitingToPublish.isEmpty || contradiction != .none { return nil }
    let forced = firstWaitingSince.map { $0.adding(nanoseconds: Limits.publishWaitNanoseconds) }
    return isSettlingDue ? nextSettling : forced.map { max($0, nextSettling) }
  }

  /// Publishes what may be. Looking costs a walk over the graph, so a large one is looked at less
  /// often than every turn.
  mutating func settle(at now: Instant, effects: inout [ManagerEffect]) {
    // Of values that contradict each other nobody knows which to show.
    if waitingToPublish.isEmpty || contradiction != .none || isJournalLost { return }
    let isOverdue = firstWaitingSince.map { self.isOverdue($0, at: now) } ?? false
    guard isSettlingDue || isOverdue, now >= nextSettling || attempts.liveCount == 0 else { return }
    isSettlingDue = false
    nextSettling = now.adding(nanoseconds: Int64(tasks.count) * Limits.settlingNanosecondsPerTask)
    let doubts = spreadDoubt()
    var left: [WaitingOutput] = []
    for output in waitingToPublish {
      guard values.durable[output.file.index].standing == .committed else { continue }
      if doubts[workflow.files[output.file].producer.index] & Doubt.mayChange.rawValue != 0 {
        left.append(output)
      } else {
        beginPublishing(output.file, effects: &effects)
      }
    }
    let forced = takeForced(&left, at: now)
    waitingToPublish = left
    firstWaitingSince = left.map(\.since).min()
    if forced.isEmpty { return }
    commitBlockers(doubts, of: forced, effects: &effects)
    if isStuck { failLateConsumers(of: left.map(\.file), effects: &effects) }
  }

  private func isOverdue(_ since: Instant, at now: Instant) -> Bool {
    now.since(since) >= Limits.publishWaitNanoseconds
  }

  /// The outputs for which what they wait for is to be committed: all, or those that have waited for
  /// long, however many others were published meanwhile. These begin to wait anew.
  private func takeForced(_ left: inout [WaitingOutput], at now: Instant) -> [FileID] {
    let takesAll =
      isDraining || left.count > Limits.publishWaitingMax
      || left.contains { hasLateConsumer($0.file) }
    var forced: [FileID] = []
    for place in left.indices {
      let isOverdue = self.isOverdue(left[place].since, at: now)
      if isOverdue { left[place].since = now }
      if isOverdue || takesAll { forced.append(left[place].file) }
    }
    return forced
  }

  private func hasLateConsumer(_ file: FileID) -> Bool {
    consumerBindings(of: file).contains {
      !workflow.tasks[workflow.bindings[$0].task].usesSandbox
    }
  }

  /// Nothing is under way that could let anything else happen.
  private var isStuck: Bool {
    attempts.liveCount == 0 && transfers.count == 0 && commits.isEmpty && publishingCount == 0
      && !isDraining && !adoption.isSeeking && !tasks.contains { $0.state == .ready }
  }

  /// They wait for a file that waits for a value nobody can save, which waits for them.
  private mutating func failLateConsumers(
    of files: [FileID], effects: inout [ManagerEffect]
  ) {
    for file in files { failLateConsumers(of: file, error: ioError, effects: &effects) }
  }

  private mutating func failLateConsumers(
    of file: FileID, error: Int32, effects: inout [ManagerEffect]
  ) {
    for binding in consumerBindings(of: file) {
      let consumer = workflow.bindings[binding].task
      guard !workflow.tasks[consumer].usesSandbox, tasks[consumer.index].state == .waiting
      else { continue }
      let attempt = AttemptID(consumer, UInt32(tasks[consumer.index].attemptCount))
      fail(attempt, .inputUnavailable(file, error), effects: &effects)
    }
  }

  private mutating func beginPublishing(_ file: FileID, effects: inout [ManagerEffect]) {
    values.durable[file.index].standing = .publishing
    publishingCount += 1
    let value = FileValue(file, attempt: values.durable[file.index].attempt)
    append(.publishIntent(value), effects: &effects)
    publishIntents.append(PublishIntent(value: value, record: recordCount))
    if publishIntents.count == 1 || effects.last != .sync { effects.append(.sync) }
  }

  /// Whether a task by itself may have to run again: it is open, or an output with a path is not
  /// committed.
  private func isOpen(_ task: TaskID) -> Bool {
    switch tasks[task.index].state {
    case .failed, .cancelled: return false
    case .waiting, .ready, .staging, .sent: return true
    case .done:
      guard usesCommit(task) else { return false }
      return workflow.outputs(of: task).contains { output in
        workflow.files[output.file].isPublished
          && !values.durable[output.file.index].standing.isDurable
          && !values.durable[output.file.index].standing.isGivenUp
      }
    }
  }

  /// Doubts about each task, spread from those that are open.
  private func spreadDoubt() -> [UInt8] {
    var spread = DoubtSpread(taskCount: tasks.count)
    for task in workflow.tasks.ids where isOpen(task) {
      spread.doubts[task.index] = Doubt.mayRepeat.rawValue
      spread.stack.append(task)
    }
    while let task = spread.stack.popLast() {
      if spread.holds(.mayRepeat, task) {
        for input in workflow.inputs(of: task) {
          let producer = workflow.files[input.file].producer
          // Only what it reads matters: an output that nobody needs again may be gone.
          let isSafe = producer == .none || values.durable[input.file.index].standing.isDurable
          if !isSafe && usesCommit(producer) { doubt(producer, .mayRepeat, &spread) }
        }
        if !workflow.tasks[task].isDeterministic { spread.add(.mayChange, task) }
      }
      if spread.holds(.mayChange, task) {
        doubt(task, .mayRepeat, &spread)
        for output in workflow.outputs(of: task) {
          var next = workflow.files[output.file].firstConsumer
          while next != .max {
            let binding = workflow.bindings[Int(next)]
            doubt(binding.task, .mayChange, &spread)
            next = binding.nextConsumer
          }
        }
      }
    }
    return spread.doubts
  }

  /// Only what has a value can lose it: a task that is done, runs again, or failed at that.
  private func doubt(_ task: TaskID, _ doubt: Doubt, _ spread: inout DoubtSpread) {
    if values.accepted[task.index] == 0 { return }
    if doubt == .mayRepeat && tasks[task.index].state.isFinal { return }
    spread.add(doubt, task)
  }

  /// Commits the done tasks that hold others up because an open task still reads what they made.
  private mutating func commitBlockers(
    _ doubts: [UInt8], of waiting: [FileID], effects: inout [ManagerEffect]
  ) {
    var search = BlockerSearch(doubts: doubts)
    for file in waiting { search.visit(workflow.files[file].producer) }
    var blockers: [FileID] = []
    while let task = search.stack.popLast() {
      for input in workflow.inputs(of: task) { search.visit(workflow.files[input.file].producer) }
      guard tasks[task.index].state == .done else { continue }
      for output in workflow.outputs(of: task) {
        var isRead = false
        for binding in consumerBindings(of: output.file) {
          let consumer = workflow.bindings[binding].task
          if isOpen(consumer) { isRead = true } else { search.visit(consumer) }
        }
        if isRead { blockers.append(output.file) }
      }
    }
    for file in blockers where commitFailures[file, default: 0] < Limits.fetchRetryMax {
      orderCommit(of: file, effects: &effects)
    }
  }

  // MARK: Ends of sessions

  /// A task that came to nothing is tried again by the next session, which should not have to make
  /// its inputs again.
  mutating func keepInputs(of task: TaskID, effects: inout [ManagerEffect]) {
    guard usesCommit(task), !isJournalLost else { return }
    for input in workflow.inputs(of: task) {
      let producer = workflow.files[input.file].producer
      guard producer != .none, tasks[producer.index].state == .done, usesCommit(producer),
        isWorthKeeping(input.file)
      else { continue }
      orderCommit(of: input.file, effects: &effects)
    }
  }

  /// Whether writing a value to the shared file system, at an assumed 100 MB/s, is quicker than
  /// making it again.
  private func isWorthKeeping(_ file: FileID) -> Bool {
    let byteCount = byteCount(of: file)
    if byteCount <= Limits.keptByteCountMax { return true }
    let nanoseconds = meanDurations[durationClass(of: workflow.files[file].producer)] ?? 0
    return nanoseconds >= byteCount * 10
  }

  /// Nothing more is started; what later sessions will read is saved while there is time.
  mutating func drain(effects: inout [ManagerEffect]) {
    if isDraining { return }
    isDraining = true
    isSettlingDue = true
    takeBackAll(effects: &effects)
    commitForLater(effects: &effects)
  }

  /// Ends what runs. A killed attempt is requeued: it was not its fault.
  mutating func killAll(at now: Instant, effects: inout [ManagerEffect]) {
    var slots: [UInt32] = []
    for row in allocations.rows where !row.isFree {
      var slot = row.head
      while slot != .max {
        slots.append(slot)
        slot = attempts[slot].next
      }
    }
    for slot in slots {
      let attempt = attempts[slot].attempt
      if tasks[attempt.task.index].state == .staging {
        withdraw(slot, at: now, effects: &effects)
        requeue(attempt.task, at: now, effects: &effects)
      } else {
        let worker = allocations[attempts[slot].allocation.rawValue].worker
        effects.append(.send(.killTask(attempt), to: worker))
      }
    }
  }

  /// Tasks are left and the session ends: saves what they will read, the dearest bytes first.
  mutating func commitForLater(effects: inout [ManagerEffect]) {
    var wanted: [(file: FileID, density: Double)] = []
    for file in workflow.files.ids {
      let producer = workflow.files[file].producer
      guard producer != .none, tasks[producer.index].state == .done, usesCommit(producer),
        values.durable[file.index].standing == .volatile, isNeededLater(file),
        let replica = replicas.replicas(of: file).first(where: { replicas[$0].isUsable })
      else { continue }
      let nanoseconds = meanDurations[durationClass(of: producer)] ?? 1_000_000_000
      let byteCount = Double(max(replicas[replica].byteCount, 1))
      wanted.append((file, Double(nanoseconds) / byteCount))
    }
    wanted.sort { ($1.density, $0.file) < ($0.density, $1.file) }
    for row in wanted { orderCommit(of: row.file, effects: &effects) }
  }

  private func isNeededLater(_ file: FileID) -> Bool {
    consumerBindings(of: file).contains { binding in
      tasks[workflow.bindings[binding].task.index].state != .done
    }
  }
}

/// EIO: stands for a value that could not be saved.
private let ioError: Int32 = 5

/// A committed output that may not be seen yet, and since when it waits.
struct WaitingOutput {
  let file: FileID
  var since: Instant
}

/// A rename that waits for its record.
struct PublishIntent {
  let value: FileValue
  let record: Int
}
