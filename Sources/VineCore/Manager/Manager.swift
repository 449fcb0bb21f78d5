// The manager: decides what every node does next, given what just happened. No clock, no input or
// output of its own: an adapter feeds events and carries out effects.

import DequeModule
import HeapModule

package struct Manager: ~Copyable {
  package private(set) var workflow: Workflow
  let options: ManagerOptions
  var tasks: [TaskRow]
  var attempts = Pool<AttemptRow>()
  var allocations = Pool<AllocationRow>()
  var nodes = NodeTable()
  var replicas: ReplicaTable
  var transfers = TransferTable()
  /// Files of which replicas wait for a source.
  var demands: [FileID: FileDemand] = [:]
  /// Those of them for which something changed since they were last looked at.
  var awakeFiles: Deque<FileID> = []
  /// Consumers of each file that may still need it.
  var remainingConsumers: [UInt32]
  /// Ready tasks, a heap for each distinct request.
  var ready: [Heap<ReadyKey>]
  /// Requests for which the last look found no room anywhere.
  var isBlocked: [Bool]
  /// Allocations of each request that could take a further attempt behind their first.
  var hungryLanes: [Deque<AllocationID>]
  /// Mean duration in nanoseconds by (category, request), for the depth of lanes.
  var meanDurations: [UInt32: Int64] = [:]
  /// Place in the order by bottom level, when that order is asked for.
  let bottomLevels: [Int64]
  var nodeOfWorker: [NodeID] = []
  var random: UInt64 = 0x9E37_79B9_7F4A_7C15
  var progressCounts: Progress
  var failureLimitReached = false
  var isDraining = false
  /// The session ends whatever is under way.
  var isClosing = false
  /// Ready tasks that would not end in time.
  var heldBackCount = 0
  /// What later sessions will read was ordered to be committed.
  var hasCommittedForLater = false
  var isRegistrationClosed = false
  var isFinished = false
  var unwrittenOutputCount = 0
  var values: ValueTable
  /// Values of earlier sessions that count if their inputs come out as they were.
  var conditionalValues: [TaskID: ConditionalValue] = [:]
  /// Commits that are under way.
  var commits: [FileValue: CommitRow] = [:]
  var commitFailures: [FileID: Int] = [:]
  /// Committed outputs whose path may not show them yet.
  var waitingToPublish: [FileID] = []
  var firstWaitingSince: Instant?
  /// Renames that wait for their record to be durable, in the order of their records.
  var publishIntents: Deque<PublishIntent> = []
  /// Outputs between the intent to rename them and the end of that.
  var publishingCount = 0
  /// Something happened that may let an output be published.
  var isSettlingDue = false
  var nextSettling = Instant.zero
  /// Nothing can be made durable any more.
  var isJournalLost = false
  /// Records appended so far.
  var recordCount = 0
  var lostWorkers: Set<WorkerID> = []
  /// A worker or a value was lost, so tasks look for their inputs before they queue again.
  var hasLosses = false
  /// A task became ready since tasks were last placed.
  var hasNewReady = false
  /// Ranks that died under each task.
  var rankLosses: [TaskID: Int] = [:]
  /// The first task that made two values of which one was seen outside.
  var contradiction = TaskID.none
  /// Lanes with attempts behind their first, by when that will have run for too long.
  var watchedLanes: Heap<LaneWatch> = []
  /// Lanes whose first attempt has run for too long while there was no room elsewhere.
  var stuckLanes: [AllocationID] = []
  /// Resources were freed since `stuckLanes` was last looked through.
  var roomGrew = false

  /// The manager of `workflow`, which must have no cycle.
  package init(_ workflow: consuming Workflow, options: ManagerOptions = ManagerOptions()) {
    self.options = options
    let taskCount = workflow.tasks.count
    bottomLevels =
      workflow.policy.order == .heft
      ? workflow.bottomLevels(defaultMicroseconds: options.defaultEstimateMicroseconds) ?? [] : []
    tasks = []
    tasks.reserveCapacity(taskCount)
    for task in workflow.tasks.ids {
      tasks.append(TaskRow(pendingCount: workflow.edgeCount(into: task)))
    }
    remainingConsumers = Array(repeating: 0, count: workflow.files.count)
    for task in workflow.tasks.ids {
      for input in workflow.inputs(of: task) { remainingConsumers[input.file.index] += 1 }
    }
    ready = Array(repeating: Heap(), count: workflow.requests.count)
    isBlocked = Array(repeating: false, count: workflow.requests.count)
    hungryLanes = Array(repeating: [], count: workflow.requests.count)
    replicas = ReplicaTable(fileCount: workflow.files.count)
    values = ValueTable(workflow)
    progressCounts = Progress()
    progressCounts.taskCount = taskCount
    self.workflow = workflow
    for index in tasks.indices where tasks[index].pendingCount == 0 {
      makeReady(TaskID(index: index), at: .zero)
    }
  }

  package var progress: Progress {
    var progress = progressCounts
    progress.activeCount = attempts.liveCount
    progress.transferCount = transfers.count
    progress.publishCount = commits.count + publishingCount
    return progress
  }

  package var nodeCount: Int { nodes.count }
  package var coreCount: Int { nodes.coreCount }

  /// When `schedule` wants to be called though nothing happened; nil when it need not be.
  package var nextDeadline: Instant? {
    guard let settling = settlingDeadline else { return watchedLanes.min?.deadline }
    return watchedLanes.min.map { min($0.deadline, settling) } ?? settling
  }

  package func state(of task: TaskID) -> TaskState { tasks[task.index].state }
  package func failureCount(of task: TaskID) -> Int { Int(tasks[task.index].failureCount) }
  package func attemptCount(of task: TaskID) -> Int { Int(tasks[task.index].attemptCount) }
  /// What an allocation holds, for the adapter that encodes `startTask`.
  package func grant(of allocation: AllocationID) -> Grant {
    allocations[allocation.rawValue].grant
  }
  package func node(of allocation: AllocationID) -> NodeID {
    allocations[allocation.rawValue].node
  }
  package func topology(of node: NodeID) -> Topology { nodes[node].topology }
  package func node(of worker: WorkerID) -> NodeID { nodeOfWorker[worker.index] }
  /// Calls `body` for each file on a node that attempts of that node could link now.
  package func forEachReadyReplica(_ body: (FileValue, NodeID) -> Void) {
    for file in workflow.files.ids {
      for replica in replicas.replicas(of: file) where replicas[replica].state == .ready {
        body(replicas[replica].value, replicas[replica].node)
      }
    }
  }

  // MARK: Registration

  /// Adds a node with its agent, which is an executor too.
  package mutating func addNode(_ topology: Topology, agent: WorkerID) -> NodeID {
    let node = nodes.append(topology, agent: agent)
    enter(agent, on: node)
    for request in isBlocked.indices { isBlocked[request] = false }
    roomGrew = true
    return node
  }

  /// Adds a further executor of a node.
  package mutating func addExecutor(_ worker: WorkerID, on node: NodeID) {
    nodes[node].executors.append(worker)
    enter(worker, on: node)
  }

  private mutating func enter(_ worker: WorkerID, on node: NodeID) {
    while nodeOfWorker.count <= worker.index { nodeOfWorker.append(.none) }
    invariant(nodeOfWorker[worker.index] == .none, "a worker registers twice")
    nodeOfWorker[worker.index] = node
  }

  // MARK: Events

  package mutating func handle(
    _ event: ManagerEvent, at now: Instant, effects: inout [ManagerEffect]
  ) {
    switch event {
    case .received(let message, let worker):
      receive(message, from: worker, at: now, effects: &effects)
    case .workerLost(let worker): onWorkerLost(worker, at: now, effects: &effects)
    case .journalFailed: onJournalFailed(effects: &effects)
    case .journalSynced(let record): onJournalSynced(upTo: record, effects: &effects)
    case .published(let file, let error):
      onPublished(file, error: error, at: now, effects: &effects)
    case .drainRequested: drain(effects: &effects)
    case .killRequested: killAll(at: now, effects: &effects)
    case .closeRequested: isClosing = true
    case .registrationClosed:
      isRegistrationClosed = true
      // What found no room so far may now turn out to fit nowhere.
      for request in isBlocked.indices { isBlocked[request] = false }
    }
  }

  private mutating func receive(
    _ message: WorkerMessage, from worker: WorkerID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    // What a lost worker says late is of a dead incarnation: its attempts were given away.
    guard !isLost(worker) else { return }
    switch message {
    case .replicaReady(let value, let byteCount):
      onReplicaReady(value, byteCount: byteCount, from: worker, effects: &effects)
    case .replicaDamaged(let value):
      onDamage(to: value, on: nodeOfWorker[worker.index])
    case .taskFinished(let attempt, let completion):
      onTaskFinished(attempt, completion, from: worker, at: now, effects: &effects)
    case .taskReturned(let attempt):
      onTaskReturned(attempt, at: now, effects: &effects)
    case .transferEnded(let transfer, let byteCount, let error):
      onTransferEnded(
        transfer, byteCount: byteCount, error: error, at: now, effects: &effects)
    case .committed(let value, let byteCount, let error):
      onCommitted(
        value, byteCount: byteCount, error: error, from: worker, at: now, effects: &effects)
    case .hashed(let value, let byteCount, let hash):
      onHashed(value, byteCount: byteCount, hash, effects: &effects)
    }
  }

  private mutating func onReplicaReady(
    _ value: FileValue, byteCount: Int64, from worker: WorkerID, effects: inout [ManagerEffect]
  ) {
    let node = nodeOfWorker[worker.index]
    if isKnown(value, on: node) || values.arrivals[value] != nil { return }
    guard isExpected(value, from: worker) else {
      orderUnlink(value, on: node, effects: &effects)
      return
    }
    if replicas.find(value.file, on: node) != nil {
      // The producer runs again on a node that knows an earlier value: at its end it is decided
      // which of the two counts.
      values.arrivals[value] = byteCount
      return
    }
    _ = replicas.add(
      value.file, on: node, state: .ready, byteCount: byteCount, attempt: value.attempt)
    demands[value.file]?.usableCount += 1
    demands[value.file]?.sources.append(node)
    wake(value.file)
  }

  /// Whether a node has a value already, or is about to get it: the report comes a second time.
  private func isKnown(_ value: FileValue, on node: NodeID) -> Bool {
    guard let replica = replicas.find(value.file, on: node) else { return false }
    switch replicas[replica].state {
    case .planned: return false
    case .ready: return replicas[replica].attempt == value.attempt
    case .creating:
      return transfers.ids.contains {
        transfers[$0]?.replica == replica && transfers[$0]?.attempt == value.attempt
      }
    }
  }

  /// Whether an output comes from an attempt that still counts, at the worker that has it.
  private func isExpected(_ value: FileValue, from worker: WorkerID) -> Bool {
    let producer = workflow.files[value.file].producer
    guard producer != .none, let slot = liveSlot(of: AttemptID(producer, value.attempt)) else {
      return false
    }
    return !attempts[slot].isVoid
      && allocations[attempts[slot].allocation.rawValue].worker == worker
  }

  private mutating func onHashed(
    _ value: FileValue, byteCount: Int64, _ hash: ContentHash, effects: inout [ManagerEffect]
  ) {
    let producer = workflow.files[value.file].producer
    guard producer != .none else { return }
    if tasks[producer.index].state == .done && values.accepted[producer.index] == value.attempt {
      // Who made it says it, and who commits it again.
      if values.hashes[value.file] == hash { return }
      values.hashes[value.file] = hash
      append(.hashed(value, byteCount: byteCount, hash), effects: &effects)
    } else if liveSlot(of: AttemptID(producer, value.attempt)) != nil {
      values.earlyHashes[value] = EarlyHash(byteCount: byteCount, hash: hash)
    }
  }

  /// What was told of an attempt's outputs before its end is known of the accepted value now.
  mutating func adoptHashes(of attempt: AttemptID, effects: inout [ManagerEffect]) {
    if values.earlyHashes.isEmpty { return }
    for output in workflow.outputs(of: attempt.task) {
      let value = FileValue(output.file, attempt: attempt.number)
      guard let early = values.earlyHashes.removeValue(forKey: value),
        values.hashes[output.file] != early.hash
      else { continue }
      values.hashes[output.file] = early.hash
      append(.hashed(value, byteCount: early.byteCount, early.hash), effects: &effects)
    }
  }

  /// Every record goes through here: publishing waits for its number.
  mutating func append(_ record: JournalRecord, effects: inout [ManagerEffect]) {
    recordCount += 1
    effects.append(.append(record))
  }

  private mutating func onTaskFinished(
    _ attempt: AttemptID, _ completion: Completion, from worker: WorkerID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    guard let slot = liveSlot(of: attempt) else { return }
    let node = attempts[slot].node
    let isVoid = attempts[slot].isVoid
    leaveAllocation(slot, at: now)
    if isVoid || (completion.ending == .killed && isDraining) {
      unpinInputs(of: attempt.task, on: node, effects: &effects)
      forgetOutputs(of: attempt, effects: &effects)
      requeue(attempt.task, at: now, effects: &effects)
    } else if completion.ending == .succeeded {
      learnDuration(of: attempt.task, nanoseconds: completion.end.since(completion.start))
      accept(attempt, completion, from: worker, at: now, effects: &effects)
    } else {
      if case .changedInput(let index) = completion.ending,
        let input = workflow.inputs(of: attempt.task).dropFirst(Int(index)).first,
        let replica = replicas.find(input.file, on: node)
      {
        onDamage(to: replicas[replica].value, on: node)
      }
      unpinInputs(of: attempt.task, on: node, effects: &effects)
      attemptFailed(attempt, completion.ending, at: now, effects: &effects)
    }
  }

  /// The attempt's outputs are the task's value from now on.
  private mutating func accept(
    _ attempt: AttemptID, _ completion: Completion, from worker: WorkerID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    let task = attempt.task
    let node = nodeOfWorker[worker.index]
    tasks[task.index].become(.done)
    isSettlingDue = true
    progressCounts.doneCount += 1
    let record = JournalRecord.done(attempt, worker: worker, node: node, completion)
    if hasLosses && mayHaveEarlierValue(task) {
      replaceValue(by: attempt, record, on: node, at: now, effects: &effects)
    } else {
      values.accepted[task.index] = attempt.number
      append(record, effects: &effects)
      adoptHashes(of: attempt, effects: &effects)
    }
    commitOutputs(of: task, effects: &effects)
    unpinInputs(of: task, on: node, effects: &effects)
    releaseConsumption(of: task, effects: &effects)
    satisfySuccessors(of: task, at: now)
    dropUnusedOutputs(of: task, effects: &effects)
  }

  /// Whether an output of `task` may lie anywhere as another attempt made it.
  private func mayHaveEarlierValue(_ task: TaskID) -> Bool {
    if values.accepted[task.index] != 0 { return true }
    return workflow.outputs(of: task).contains { output in
      let found = replicas.replicas(of: output.file)
      return found.count > 1 || !values.arrivals.isEmpty
    }
  }

  private mutating func onTaskReturned(
    _ attempt: AttemptID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    guard let slot = liveSlot(of: attempt) else { return }
    let node = attempts[slot].node
    leaveAllocation(slot, at: now)
    unpinInputs(of: attempt.task, on: node, effects: &effects)
    tasks[attempt.task.index].attemptCount -= 1
    requeue(attempt.task, at: now, effects: &effects)
  }

  /// The row of an attempt that is still expected to end; nil for one that is stale.
  func liveSlot(of attempt: AttemptID) -> UInt32? {
    guard attempt.task.index < tasks.count else { return nil }
    let slot = tasks[attempt.task.index].slot
    guard slot != .max, attempts[slot].attempt == attempt else { return nil }
    return slot
  }

  // MARK: Ends of attempts

  /// Decides what a failed try means for its task.
  mutating func attemptFailed(
    _ attempt: AttemptID, _ ending: Ending, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let task = attempt.task
    let mayRetry: Bool
    switch ending {
    case .killed, .fitsNoNode, .inputUnavailable:
      mayRetry = false
    case _ where ending.isOwnFault:
      mayRetry = tasks[task.index].failureCount < workflow.tasks[task].retries
      if mayRetry { tasks[task.index].failureCount += 1 }
    default:
      tasks[task.index].lossCount += 1
      mayRetry = tasks[task.index].lossCount <= Limits.lossRetryMax
    }
    if mayRetry && !failureLimitReached {
      effects.append(.report(.taskTriedAgain(attempt, ending)))
      requeue(task, at: now, effects: &effects)
      return
    }
    fail(attempt, ending, effects: &effects)
  }

  mutating func fail(_ attempt: AttemptID, _ ending: Ending, effects: inout [ManagerEffect]) {
    tasks[attempt.task.index].become(.failed)
    progressCounts.failedCount += 1
    isSettlingDue = true
    // To the journal a task that could not make its lost value again is still done: what was made
    // from that value counts, and the next session tries again if it needs it.
    if values.accepted[attempt.task.index] == 0 {
      append(.failed(attempt, ending), effects: &effects)
    }
    effects.append(.report(.taskFailed(attempt, ending)))
    keepInputs(of: attempt.task, effects: &effects)
    releaseConsumption(of: attempt.task, effects: &effects)
    cancelDependents(of: attempt.task, effects: &effects)
    let limit = workflow.policy.failuresMax ?? .max
    let stops = workflow.policy.onFailure == .stop || progressCounts.failedCount >= limit
    if stops && !failureLimitReached {
      failureLimitReached = true
      takeBackAll(effects: &effects)
    }
  }

  /// Whatever needs a failed task can never run.
  private mutating func cancelDependents(of task: TaskID, effects: inout [ManagerEffect]) {
    var stack = [task]
    while let next = stack.popLast() {
      noteUnrepeatable(after: next)
      var successors: [TaskID] = []
      workflow.forEachSuccessor(of: next) { successors.append($0) }
      for successor in successors where tasks[successor.index].state == .waiting {
        tasks[successor.index].become(.cancelled)
        progressCounts.cancelledCount += 1
        keepInputs(of: successor, effects: &effects)
        releaseConsumption(of: successor, effects: &effects)
        stack.append(successor)
      }
    }
  }

  private mutating func noteUnrepeatable(after task: TaskID) {
    if !hasLosses { return }
    var edge = workflow.tasks[task].firstSuccessor
    while edge != .max {
      let row = workflow.controlEdges[Int(edge)]
      if !values.isControlSatisfied[Int(edge)] && tasks[row.successor.index].state == .done {
        values.unrepeatable.insert(row.successor)
      }
      edge = row.next
    }
  }

  /// What a task needs was lost and never comes again.
  mutating func cancel(_ task: TaskID, effects: inout [ManagerEffect]) {
    tasks[task.index].become(.cancelled)
    progressCounts.cancelledCount += 1
    isSettlingDue = true
    releaseConsumption(of: task, effects: &effects)
    cancelDependents(of: task, effects: &effects)
  }

  mutating func satisfySuccessors(of task: TaskID, at now: Instant) {
    for output in workflow.outputs(of: task) where workflow.files[output.file].producer == task {
      let isLate =
        workflow.files[output.file].isPublished && usesCommit(task)
        && values.durable[output.file.index].standing != .published
      var next = workflow.files[output.file].firstConsumer
      while next != .max {
        let binding = workflow.bindings[Int(next)]
        // Outside a sandbox a task reads the published file, so it waits for that.
        if !isLate || workflow.tasks[binding.task].usesSandbox {
          satisfyInput(Int(next), at: now)
        }
        next = binding.nextConsumer
      }
    }
    var edge = workflow.tasks[task].firstSuccessor
    while edge != .max {
      // Order among tasks is not undone by making a value again.
      if !values.isControlSatisfied[Int(edge)] {
        values.isControlSatisfied[Int(edge)] = true
        satisfyOneEdge(into: workflow.controlEdges[Int(edge)].successor, at: now)
      }
      edge = workflow.controlEdges[Int(edge)].next
    }
  }

  mutating func satisfyOneEdge(into task: TaskID, at now: Instant) {
    invariant(tasks[task.index].pendingCount > 0, "an edge is satisfied twice")
    tasks[task.index].pendingCount -= 1
    if tasks[task.index].pendingCount == 0 && tasks[task.index].state == .waiting {
      makeReady(task, at: now)
    }
  }

  mutating func makeReady(_ task: TaskID, at now: Instant) {
    tasks[task.index].become(.ready)
    hasNewReady = true
    let row = workflow.tasks[task]
    let order: Int64 =
      switch workflow.policy.order {
      case .fifo: now.nanoseconds
      case .file: 0
      case .heft: -bottomLevels[task.index]
      case .lpt: -row.estimateMicroseconds
      }
    ready[Int(row.request)].insert(
      ReadyKey(negativePriority: 0 &- row.priority, task: task, order: order))
  }

  private mutating func learnDuration(of task: TaskID, nanoseconds: Int64) {
    let key = durationClass(of: task)
    if let mean = meanDurations[key] {
      // Slow to shrink, quick to grow: an attempt stuck behind a long one costs more than a lane
      // that is too short.
      let weight: Int64 = nanoseconds > mean ? 4 : 16
      meanDurations[key] = mean + (nanoseconds - mean) / weight
    } else {
      meanDurations[key] = nanoseconds
    }
  }

  func durationClass(of task: TaskID) -> UInt32 {
    UInt32(workflow.tasks[task].category) << 16 | UInt32(workflow.tasks[task].request)
  }

  // MARK: The end

  mutating func finishIfDone(at now: Instant, effects: inout [ManagerEffect]) {
    guard !isFinished else { return }
    if isClosing {
      finish(effects: &effects)
      return
    }
    guard attempts.liveCount == 0, transfers.count == 0 else { return }
    if heldBackCount > 0 && isRegistrationClosed { isDraining = true }
    let settled =
      progressCounts.doneCount + progressCounts.failedCount + progressCounts.cancelledCount
    var left = tasks.count - settled
    if left > 0 && failureLimitReached && !isDraining {
      cancelRest(effects: &effects)
      left = 0
    }
    if left > 0 || progressCounts.failedCount > 0 {
      guard left == 0 || isDraining || failureLimitReached else { return }
      if !hasCommittedForLater {
        hasCommittedForLater = true
        commitForLater(effects: &effects)
      }
    }
    guard commits.isEmpty, publishingCount == 0 else { return }
    if isSettlingDue && !waitingToPublish.isEmpty {
      nextSettling = now
      settle(at: now, effects: &effects)
      guard commits.isEmpty, publishingCount == 0 else { return }
    }
    finish(effects: &effects)
  }

  private mutating func finish(effects: inout [ManagerEffect]) {
    isFinished = true
    let settled =
      progressCounts.doneCount + progressCounts.failedCount + progressCounts.cancelledCount
    let left = tasks.count - settled
    var outcome = Outcome(
      doneCount: progressCounts.doneCount, failedCount: progressCounts.failedCount,
      cancelledCount: progressCounts.cancelledCount, leftCount: left,
      unwrittenOutputCount: unwrittenOutputCount)
    outcome.contradiction = contradiction
    effects.append(.finish(outcome))
  }

  /// The run stops at its failures: what was not begun never will be.
  private mutating func cancelRest(effects: inout [ManagerEffect]) {
    for task in workflow.tasks.ids {
      let state = tasks[task.index].state
      guard state == .waiting || state == .ready else { continue }
      tasks[task.index].become(.cancelled)
      progressCounts.cancelledCount += 1
      releaseConsumption(of: task, effects: &effects)
    }
    isSettlingDue = true
  }

  // MARK: Checks

  /// Ends the process when tables contradict each other. For tests and the simulator: it walks
  /// everything.
  package func checkInvariants() {
    var active = 0
    for (index, row) in tasks.enumerated() {
      let isActive = row.state == .staging || row.state == .sent
      invariant(isActive == (row.slot != .max), "task \(index) is \(row.state) with a wrong slot")
      if isActive {
        active += 1
        invariant(attempts[row.slot].attempt.task.index == index, "an attempt of another task")
      }
      if row.state == .waiting {
        invariant(row.pendingCount > 0, "task \(index) waits for nothing")
      }
    }
    invariant(active == attempts.liveCount, "attempts without tasks")
    for node in nodes.rows.ids { checkPool(of: node) }
  }

  private func checkLane(_ row: AllocationRow) {
    invariant(row.head != .max, "an allocation without an attempt")
    var count: UInt32 = 0
    var slot = row.head
    while slot != .max {
      count += 1
      invariant(attempts[slot].next != .max || slot == row.tail, "a lane with another end")
      slot = attempts[slot].next
    }
    invariant(count == row.attemptCount, "a lane is miscounted")
  }

  private func checkPool(of node: NodeID) {
    var held = CPUSet()
    var memory: UInt64 = 0
    for row in allocations.rows where !row.isFree && row.node == node {
      invariant(held.isDisjoint(with: row.grant.cpuset), "a core is granted twice")
      checkLane(row)
      held.formUnion(row.grant.cpuset)
      memory += UInt64(row.grant.memoryMB)
    }
    let pool = nodes[node].pool
    invariant(pool.freeCoreCount + held.count == pool.coreCount, "cores are lost")
    invariant(UInt64(pool.freeMemoryMB) + memory == UInt64(pool.memoryMB), "memory is lost")
  }
}
