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
  /// What derived files took to make.
  var derivationCosts: [FileID: DerivationCost] = [:]
  /// How often another value of what it is made of came to count, by derived file.
  var derivedVersions: [FileID: UInt32] = [:]
  /// Derived files that cannot be made.
  var brokenFiles: Set<FileID> = []
  /// What transfers between nodes reach.
  var bytesPerSecond = Limits.assumedBytesPerSecond
  /// The time of what happens now.
  var turnTime = Instant.zero
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
  /// Tasks that wait for a node that has their inputs.
  var patience = PatienceBook()
  /// What runs on each node, gangs apart, in no order.
  var allocationsOfNode: [[UInt32]] = []
  /// Allocations of each request that could take a further attempt behind their first.
  var hungryLanes: [Deque<AllocationID>]
  /// Mean duration in nanoseconds by (category, request), for the depth of lanes.
  var meanDurations: [UInt32: Int64] = [:]
  /// Place in the order by bottom level, when that order is asked for.
  let bottomLevels: [Int64]
  /// Ready tasks stand by their depths, as the description asks, or since disks are tight.
  var isDepthFirst: Bool
  /// They will before the next task is placed.
  var isDepthFirstDue = false
  var depths: [Int32]
  /// What tasks write, by (category, request), as far as disks are filled.
  var meanOutputByteCounts: [UInt32: Int64] = [:]
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
  var instances: InstanceBook
  /// Values of earlier sessions that count if their inputs come out as they were.
  var conditionalValues: [TaskID: ConditionalValue] = [:]
  /// Commits that are under way.
  var commits: [FileValue: CommitRow] = [:]
  var commitFailures: [FileID: Int] = [:]
  /// Committed outputs whose path may not show them yet.
  var waitingToPublish: [WaitingOutput] = []
  /// The least of theirs; nil: none waits.
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
  /// Nodes that did not find a file on the shared file system.
  var sharedMisses: [FileID: [NodeID]] = [:]
  /// A replica was given up while others read it.
  var hasGivenUpSources = false
  /// Tasks that wait for room on disks.
  var room = RoomQueue()
  /// Values that may lie in caches of dead sessions.
  var adoption = AdoptionBook()
  /// Copies for safety's sake.
  var spares = SpareBook()
  /// Sizes of files of which a replica was evicted.
  var knownByteCounts: [FileID: Int64] = [:]
  /// Nodes on which more lies than should.
  var overfullNodes: [NodeID] = []
  var isAnyNodePressed = false
  /// The latest entry among evictables.
  var evictionStamp: UInt64 = 0
  /// Times that a task's node was found full.
  var fullDiskCounts: [TaskID: Int] = [:]
  /// Times that a task's value was given up for room.
  var remakeCounts: [TaskID: Int] = [:]
  package internal(set) var evictionCount = 0
  package internal(set) var evictedByteCount: Int64 = 0
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
    isDepthFirst = workflow.policy.order == .depth
    depths = isDepthFirst ? workflow.depths() ?? [] : []
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
    var isMade = BitArray(count: workflow.files.count)
    for file in workflow.files.ids where workflow.files[file].kind == .temp {
      isMade[file.index] = true
    }
    replicas = ReplicaTable(fileCount: workflow.files.count, isMade: isMade)
    values = ValueTable(workflow)
    instances = InstanceBook(workflow)
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
    let deadlines = [
      settlingDeadline, watchedLanes.min?.deadline, gangDeadline, patience.limits.min?.deadline,
      adoption.deadline,
    ]
    return deadlines.compactMap { $0 }.min()
  }

  /// Bytes that lie in the caches of living nodes, or are on their way there.
  package var cacheByteCount: Int64 { replicas.byteCount }
  /// The most bytes of replicas that a node ever had.
  package func peakCacheByteCount(of node: NodeID) -> Int64 {
    replicas.usage(of: node).peakByteCount
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

  /// Adds a node with its agent, which is an executor too. If it `isRecalling`, its agent looks for
  /// what earlier runs have left there: `recallEnded` follows.
  package mutating func addNode(
    _ topology: Topology, agent: WorkerID, isRecalling: Bool = false
  ) -> NodeID {
    let node = nodes.append(topology, agent: agent)
    nodes[node].isRecalling = isRecalling
    expectOffers(of: node)
    enter(agent, on: node)
    for request in isBlocked.indices { isBlocked[request] = false }
    roomGrew = true
    room.hasChanged = true
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
    turnTime = now
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
      room.hasChanged = true
      boundSeeking(at: now, effects: &effects)
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
    case .replicaFound(let value, let byteCount):
      onReplicaFound(value, byteCount: byteCount, from: worker, effects: &effects)
    case .recallEnded: endRecall(on: nodeOfWorker[worker.index])
    case .replicaOffered(let value, let byteCount):
      onReplicaOffered(value, byteCount: byteCount, from: worker, effects: &effects)
    case .replicaRefused(let value, let refusal):
      onReplicaRefused(value, refusal, from: worker, effects: &effects)
    case .offersEnded: onOffersEnded(from: worker, effects: &effects)
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
    case .helperFailed(let transfer, let agent, let error):
      onHelperFailed(transfer, agent, error: error, effects: &effects)
    case .diskMeasured(let free): onDiskMeasured(free, on: nodeOfWorker[worker.index])
    case .hashed(let value, let byteCount, let hash):
      onHashed(value, byteCount: byteCount, hash, effects: &effects)
    case .resultReady(let value, let byteCount):
      if isExpected(value, from: worker) { values.arrivedResults[value] = byteCount }
    case .instanceReady(let allocation, let setup):
      onInstanceReady(allocation, from: worker, setupNanoseconds: setup, at: now)
    case .instanceEnded(let allocation, let end):
      onInstanceEnded(allocation, end, from: worker, at: now, effects: &effects)
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
    let replica = replicas.add(
      value.file, on: node, state: .ready, byteCount: byteCount, attempt: value.attempt)
    if let slot = liveSlot(of: AttemptID(workflow.files[value.file].producer, value.attempt)) {
      convertReserve(of: slot, byteCount: byteCount)
    }
    relieve(node)
    demands[value.file]?.usableCount += 1
    offer(replica)
    wake(value.file)
    noteArrival(of: value.file, on: node)
  }

  /// Whether a node has a value already, or is about to get it: the report comes a second time.
  private func isKnown(_ value: FileValue, on node: NodeID) -> Bool {
    guard let replica = replicas.find(value.file, on: node) else { return false }
    switch replicas[replica].state {
    case .planned: return false
    case .ready:
      return replicas[replica].attempt == value.attempt
        || values.heirs[replica]?.attempt == value.attempt
    case .creating: return replicas[replica].attempt == value.attempt
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
    guard let slot = liveSlot(of: attempt),
      let completion = collectReport(slot, completion, from: worker, at: now, effects: &effects)
    else { return }
    let worker = allocations[attempts[slot].allocation.rawValue].worker
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
      if case .sandboxFailed(let error) = completion.ending, isDiskFull(error) {
        lowerLimit(of: node, by: attemptByteCount(of: attempt.task))
      }
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
      adoptResult(of: attempt, effects: &effects)
    }
    learnOutputByteCount(of: task, on: node)
    commitOutputs(of: task, effects: &effects)
    unpinInputs(of: task, on: node, effects: &effects)
    releaseConsumption(of: task, effects: &effects)
    satisfySuccessors(of: task, at: now)
    dropUnusedOutputs(of: task, effects: &effects)
    wantSpares(ofOutputsOf: task)
    nodes[node].disk.restoreCount = 0
    if isAnyNodePressed {
      for output in workflow.outputs(of: task) { offerEvictions(of: output.file) }
    }
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
    let leader = allocations[attempts[slot].allocation.rawValue].leader
    if leader != .none {
      endGang(leader, nil, at: now, effects: &effects)
      return
    }
    let node = attempts[slot].node
    leaveAllocation(slot, at: now)
    unpinInputs(of: attempt.task, on: node, effects: &effects)
    tasks[attempt.task.index].attemptCount -= 1
    requeue(attempt.task, at: now, effects: &effects)
  }

  /// Whether the end of an attempt is waited for.
  package func isExpected(_ attempt: AttemptID) -> Bool { liveSlot(of: attempt) != nil }

  /// The row of an attempt that is still expected to end; nil for one that is stale.
  func liveSlot(of attempt: AttemptID) -> UInt32? {
    guard attempt.task.index < tasks.count else { return nil }
    let slot = tasks[attempt.task.index].slot
    guard slot != .max, attempts[slot].attempt == attempt else { return nil }
    return slot
  }
}
