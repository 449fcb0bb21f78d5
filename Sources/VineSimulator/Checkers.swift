// Watches a run from outside and knows only what was promised: nothing here is shared with the
// code that decides.

import VineCore

/// The promises, and the first that was broken.
struct Checkers {
  private(set) var violation: String?
  /// The simulated node behind each of the manager's nodes, in the order they registered.
  private(set) var indexOfNode: [Int] = []
  /// The run was asked to start nothing more.
  var isDraining = false
  /// When the job of this session ends; what would take longer is not begun.
  var jobEndsAt: Instant?
  /// Tasks of which some session could not write an output: a later one may have to make it again.
  private var everUnwritten: Set<TaskID> = []
  /// The session's time ran out: it ends as it stands.
  var isCutShort = false

  var provenance = Provenance()
  private var session = 1
  /// Since effects were last carried out.
  private var newlyAccepted: [Origin] = []
  /// Tasks that an earlier session made durable: they must not run again without a reason.
  private var isKept: [Bool]

  private var finds = AdoptionChecker()

  private let workflow: Workflow
  private let ignoresData: Bool
  private var models: [Int: NodeModel] = [:]
  private var grants: [AttemptID: Grant] = [:]
  /// By simulated node: the cores and the memory of processes that run.
  private var runningCores: [Int: CPUSet] = [:]
  private var runningMemory: [Int: UInt64] = [:]
  private var running: Set<AttemptID> = []
  private var instances = InstanceChecker()
  private var predecessors: [[TaskID]]
  /// Attempts of which all outputs were there.
  private var successes: Set<AttemptID> = []
  /// The attempt that counts, by the journal; of a task whose value was lost, the one before.
  private var accepted: [Origin?]
  /// Attempts that counted once.
  private var everAccepted: Set<Origin> = []
  private var isDone: [Bool]
  private var wasDone: [Bool]
  /// Times that a task was told to run again, or to stop since what it read does not count.
  private var repeatCounts: [Int]
  private var lostWorkerCount = 0
  private var hasContradiction = false
  private var hasFailed: [Bool]
  private var launchCounts: [Int]
  private var publishOrders: [Int]
  private var publishCounts: [Int]
  private var isNotWritten: [Bool]

  init(_ workflow: Workflow, ignoresData: Bool) {
    self.workflow = workflow
    self.ignoresData = ignoresData
    let taskCount = workflow.tasks.count
    predecessors = Array(repeating: [], count: taskCount)
    for task in workflow.tasks.ids {
      for input in workflow.inputs(of: task) where workflow.files[input.file].producer != .none {
        predecessors[task.index].append(workflow.files[input.file].producer)
      }
      var edge = workflow.tasks[task].firstSuccessor
      while edge != .max {
        predecessors[workflow.controlEdges[Int(edge)].successor.index].append(task)
        edge = workflow.controlEdges[Int(edge)].next
      }
    }
    accepted = Array(repeating: nil, count: taskCount)
    isDone = Array(repeating: false, count: taskCount)
    wasDone = isDone
    hasFailed = isDone
    launchCounts = Array(repeating: 0, count: taskCount)
    repeatCounts = launchCounts
    isKept = isDone
    publishOrders = Array(repeating: 0, count: workflow.files.count)
    publishCounts = publishOrders
    isNotWritten = Array(repeating: false, count: workflow.files.count)
  }

  /// Notes a broken promise; only the first is kept.
  mutating func violate(_ what: @autoclosure () -> String) {
    if violation == nil { violation = what() }
  }

  // MARK: Attempts

  /// A node entered the run.
  mutating func registered(_ node: NodeID, asIndex index: Int, _ model: NodeModel) {
    if node.index != indexOfNode.count { violate("nodes are not numbered as they register") }
    indexOfNode.append(index)
    models[index] = model
  }

  /// The manager ordered an attempt to start.
  mutating func granted(_ attempt: AttemptID, _ grant: Grant, isSeeking: Bool) {
    if grants[attempt] != nil { violate("\(attempt) is sent twice") }
    grants[attempt] = grant
    let request = workflow.request(of: attempt.task)
    if grant.cpuset.count != Int(request.cores) { violate("\(attempt) gets other cores") }
    if let memory = request.memoryMB, memory != grant.memoryMB {
      violate("\(attempt) gets other memory")
    }
    if isDraining { drainedSendCount += 1 }
    let task = attempt.task
    if isDone[task.index] { violate("\(attempt) is sent after \(task) succeeded") }
    if isKept[task.index] { violate("\(attempt) is sent though all of \(task) was kept") }
    if isSeeking && finds.isAwaited(task) {
      violate("\(attempt) is sent before the nodes have said whether they have what it made")
    }
    if finds.isComplete(task) && !hasDisks && !hasFileErrors {
      violate("\(attempt) is sent though all of \(task) was found in caches")
    }
    if hasFailed[task.index] { violate("\(attempt) is sent after \(task) failed") }
    for predecessor in predecessors[task.index] where !wasDone[predecessor.index] {
      violate("\(attempt) is sent before \(predecessor) succeeded")
    }
  }

  /// A node was told to forget a value: nobody needed it.
  mutating func dropped(_ file: FileID, in workflow: Workflow) { finds.dropped(file, in: workflow) }

  /// The attempt behind the value of a task that counts.
  func counting(_ task: TaskID) -> Origin? { accepted[task.index] }

  /// The manager ordered an end to an attempt whose inputs do not count any more.
  mutating func killed(_ attempt: AttemptID) { repeatCounts[attempt.task.index] += 1 }

  /// The manager heard that a worker is lost.
  mutating func declaredLost(_ worker: WorkerID) {
    lostWorkerCount += 1
    finds.lostSomething()
  }

  /// The manager heard that a node has a value of an earlier session.
  mutating func found(_ file: FileID) { finds.found(file, in: workflow) }

  /// Orders to start that went out although the run drains: only what was staged may do that.
  private(set) var drainedSendCount = 0

  /// An attempt came back before it began: its number may be used again.
  mutating func forgotten(_ attempt: AttemptID) { grants[attempt] = nil }

  /// A process starts.
  mutating func launched(_ attempt: AttemptID, on node: Int) {
    guard let grant = grants[attempt] else {
      return violate("\(attempt) starts without a grant")
    }
    let task = attempt.task
    launchCounts[task.index] += 1
    running.insert(attempt)
    if !workflow.tasks[task].commandKind.isCall { hold(grant, on: node) }
  }

  /// A process, of a task or of an instance, takes what it was granted.
  private mutating func hold(_ grant: Grant, on node: Int) {
    guard let model = models[node] else { return violate("a process on no node") }
    let cores = runningCores[node] ?? CPUSet()
    if !cores.isDisjoint(with: grant.cpuset) { violate("a core of node \(node) runs two tasks") }
    if (grant.cpuset.cores.last ?? -1) >= model.coreCount { violate("a core that is not there") }
    var union = cores
    union.formUnion(grant.cpuset)
    runningCores[node] = union
    runningMemory[node, default: 0] += UInt64(grant.memoryMB)
    if runningMemory[node, default: 0] > UInt64(model.memoryMB) {
      violate("node \(node) has not so much memory")
    }
  }

  /// A process ended, however it did.
  mutating func processEnded(_ attempt: AttemptID, on node: Int) {
    guard let grant = grants[attempt], running.remove(attempt) != nil else {
      return violate("\(attempt) ends without running")
    }
    if workflow.tasks[attempt.task].commandKind.isCall {
      instances.callEnded(attempt)
    } else {
      release(grant, on: node)
    }
  }

  private mutating func release(_ grant: Grant, on node: Int) {
    runningCores[node]?.subtract(grant.cpuset)
    runningMemory[node, default: 0] -= UInt64(grant.memoryMB)
  }

  // MARK: Instances

  /// An executor makes an instance.
  mutating func instanceBegan(_ key: InstanceKey, _ grant: Grant, slots: Int, on node: Int) {
    if let what = instances.began(key, grant, slots: slots) { return violate(what) }
    hold(grant, on: node)
  }

  mutating func instanceReady(_ key: InstanceKey) {
    if let what = instances.ready(key) { violate(what) }
  }

  mutating func instanceEnded(_ key: InstanceKey, on node: Int) {
    guard let grant = instances.ended(key) else { return violate("\(key) ends without a start") }
    release(grant, on: node)
  }

  /// A call is handed to an instance.
  mutating func callBegan(_ attempt: AttemptID, in key: InstanceKey) {
    if let what = instances.callBegan(attempt, in: key) { violate(what) }
  }

  /// The instances that the manager counts as set up, at the end of a session in which it heard of
  /// each.
  mutating func countedSetups(_ count: Int) {
    if count > instances.readyCount { violate("\(count) set-ups are counted, not so many were") }
  }

  /// All outputs of an attempt are there.
  mutating func succeeded(_ attempt: AttemptID) {
    if !successes.insert(attempt).inserted { violate("\(attempt) succeeds twice") }
  }

  /// The manager wrote down a fact.
  mutating func recorded(_ record: JournalRecord) {
    switch record {
    case .done(let attempt, _, _, _):
      let origin = Origin(session: session, attempt: attempt)
      let task = attempt.task
      if !successes.contains(attempt) { violate("\(attempt) is recorded, but did not end") }
      if isDone[task.index] { violate("\(task) is recorded twice") }
      for read in provenance.reads(of: origin)
      where read.attempt.task != .none && !everAccepted.contains(read) {
        violate("\(attempt) is recorded, but read \(read.attempt), which never was")
      }
      isDone[task.index] = true
      wasDone[task.index] = true
      accepted[task.index] = origin
      everAccepted.insert(origin)
      newlyAccepted.append(origin)
    case .invalidated(let attempt, _):
      isDone[attempt.task.index] = false
      isKept[attempt.task.index] = false
      finds.invalidated(attempt.task)
      repeatCounts[attempt.task.index] += 1
    case .published(let value):
      if publishCounts[value.file.index] != 1 {
        violate("\(value) is recorded, but not published")
      }
    case .failed, .reused, .hashed, .committed, .publishIntent, .result: break
    }
  }

  /// A task whose value was lost succeeded, and nothing was written down: it counts as the same.
  mutating func madeAgain(_ attempt: AttemptID) {
    let origin = Origin(session: session, attempt: attempt)
    let task = attempt.task
    if isDone[task.index] { return }
    isDone[task.index] = true
    everAccepted.insert(origin)
    guard let old = accepted[task.index] else {
      return violate("\(attempt) is not recorded")
    }
    if !hasLiars && !ignoresData && provenance.content(of: old) != provenance.content(of: origin) {
      violate("\(attempt) is taken for the value of \(old.attempt)")
    }
  }

  /// In this session.
  private var readShared: Set<FileValue> = []
  /// Tasks run again though others had done with their inputs.
  private var mayReadAgain = false
  /// Some tasks are drawn to be other than they say.
  var hasLiars = false
  /// Set-ups are drawn to fail.
  var hasSetupFailures = false
  /// Some node's disk has a limit.
  var hasDisks = false
  /// Transfers, commits or renames are drawn to fail.
  var hasFileErrors = false

  /// Who fails has a reason.
  private mutating func checkFailure(_ attempt: AttemptID, _ ending: Ending) {
    switch ending {
    case .lost where lostWorkerCount == 0: violate("\(attempt) is lost with nobody")
    case .instanceLost where instances.endCount == 0:
      violate("\(attempt) is lost with no instance")
    case .setupFailed where !hasSetupFailures: violate("\(attempt) fails for want of a set-up")
    case .inputUnavailable(_, 28) where hasDisks: break
    case .inputUnavailable where !hasFileErrors: violate("\(attempt) fails for want of an input")
    case .killed: violate("\(attempt) fails since it was killed")
    case .noRoom where !hasDisks: violate("\(attempt) finds no room, but disks have no limits")
    default: break
    }
  }

  /// The manager tells people something.
  mutating func reported(_ report: Report) {
    switch report {
    case .outputNotWritten(let file, _): notWritten(file)
    case .valueLost(let task):
      mayReadAgain = mayReadAgain || session > 1
      if !isDone[task.index] { violate("\(task) is lost before it is done") }
      isDone[task.index] = false
      repeatCounts[task.index] += 1
      if lostWorkerCount == 0 && session == 1 && !hasLiars {
        checkGivenUp(task)
      }
    case .contradiction(let task, _):
      hasContradiction = true
      if !hasLiars { violate("\(task) is said to contradict itself") }
    case .invalidated(let task, _):
      mayReadAgain = true
      for output in workflow.outputs(of: task)
      where provenance.retract(output.file, before: session) {
        publishOrders[output.file.index] = 0
        publishCounts[output.file.index] = 0
      }
    case .taskFailed(let attempt, let ending):
      if isDone[attempt.task.index] || hasFailed[attempt.task.index] {
        violate("\(attempt.task) fails after its end")
      }
      hasFailed[attempt.task.index] = true
      checkFailure(attempt, ending)
    case .taskTriedAgain(let attempt, .sandboxFailed(28)),
      .taskTriedAgain(let attempt, .inputUnavailable(_, 28)):
      // Where a disk is full is nobody's fault.
      repeatCounts[attempt.task.index] += 1
      if !hasDisks { violate("\(attempt) finds a disk full that has no limit") }
    case .taskTriedAgain, .diskFull, .diskHolds, .adoptionRefused, .adoptionEnded: break
    }
  }

  /// With nobody lost, a value is nowhere only because the manager gave it up for room: it must be
  /// one that comes out the same again.
  private mutating func checkGivenUp(_ task: TaskID) {
    if !hasDisks { violate("\(task) is lost with nobody") }
    if !workflow.tasks[task].isDeterministic { violate("the last copy of \(task) was evicted") }
    givenUpCounts[task, default: 0] += 1
    if givenUpCounts[task, default: 0] > workflow.tasks.count * (Limits.remakesMax + 1) {
      violate("\(task) is made again and again")
    }
  }

  private var givenUpCounts: [TaskID: Int] = [:]

  /// A transfer or an output found no room on a node's disk. By order of events that cannot be where
  /// sizes are known, nothing was lost, and one rank does all that is done there.
  mutating func foundFull(_ node: Int, _ model: NodeModel, isPristine: Bool) {
    guard isPristine, model.rankCount == 1, model.disk.byteCountMax <= model.diskByteCount else {
      return
    }
    violate("the disk of node \(node) is full though its limit is lower")
  }

  // MARK: Files

  /// A transfer begins or ends to read a node.
  mutating func reads(_ value: FileValue, from node: Int, isThere: Bool) {
    if !isThere { violate("\(value) is read from node \(node), which does not have it") }
  }

  /// A node begins to read the shared file system, in a run in which nothing was lost so far.
  mutating func readsShared(_ value: FileValue) {
    let file = workflow.files[value.file]
    // What lives for one task is read for each.
    if hasFileErrors || mayReadAgain || file.producer != .none || file.lifetime == .task { return }
    if !readShared.insert(value).inserted {
      violate("\(value) is read from the shared file system twice")
    }
  }

  /// A commit begins or ends to read a cache.
  mutating func committed(_ value: FileValue, _ origin: Origin?) {
    guard let origin else { return violate("\(value) is committed where it is not") }
    if origin.session == session && !successes.contains(origin.attempt) {
      violate("\(value) of a failed try is committed")
    }
  }

  /// The manager ordered a rename.
  mutating func publishOrdered(_ file: FileID, _ origin: Origin?) {
    publishOrders[file.index] += 1
    if publishOrders[file.index] > 1 { violate("\(file) is published twice") }
    guard let origin else { return violate("\(file) is published, but not there") }
    if !everAccepted.contains(origin) {
      violate("\(file) is published before its task succeeded")
    }
  }

  /// An output is at its path.
  mutating func renamed(_ file: FileID, _ origin: Origin) {
    publishCounts[file.index] += 1
    if !hasLiars,
      let what = provenance.publish(
        file, origin, in: session, accepted: accepted)
    {
      violate(what)
    }
  }

  /// After all that follows from one event: nothing that counts may differ from what the world saw,
  /// unless people were told.
  mutating func checkAccepted() {
    if newlyAccepted.isEmpty { return }
    for origin in newlyAccepted {
      if !hasLiars, let what = provenance.accept(origin) { violate(what) }
    }
    newlyAccepted = []
  }

  /// Another manager goes on from what the one before left.
  mutating func startSession(
    _ number: Int, _ restored: RestoredRun, sharedFiles: [FileID: Origin]
  ) {
    session = number
    indexOfNode = []
    models = [:]
    grants = [:]
    runningCores = [:]
    runningMemory = [:]
    running = []
    instances = InstanceChecker()
    successes = []
    newlyAccepted = []
    readShared = []
    mayReadAgain = false
    isDraining = false
    isCutShort = false
    var isDurable = Array(repeating: false, count: workflow.files.count)
    let taskCount = workflow.tasks.count
    let fileCount = workflow.files.count
    publishOrders = Array(repeating: 0, count: fileCount)
    publishCounts = publishOrders
    for copy in restored.durable {
      isDurable[copy.file.index] = true
      guard copy.isPublished, let origin = sharedFiles[copy.file] else { continue }
      publishCounts[copy.file.index] = 1
      provenance.restore(copy.file, origin, of: number - 1)
    }
    finds = AdoptionChecker(restored, of: workflow)
    publishOrders = publishCounts
    isNotWritten = Array(repeating: false, count: fileCount)
    hasFailed = Array(repeating: false, count: taskCount)
    launchCounts = Array(repeating: 0, count: taskCount)
    isDone = hasFailed
    wasDone = hasFailed
    isKept = hasFailed
    for task in workflow.tasks.ids where restored.reuse[task.index] == .whole {
      isDone[task.index] = true
      wasDone[task.index] = true
      isKept[task.index] = workflow.outputs(of: task).allSatisfy { isDurable[$0.file.index] }
      let number = restored.accepted[task.index]
      accepted[task.index] = everAccepted.filter { $0.attempt == AttemptID(task, number) }
        .max { $0.session < $1.session }
    }
    for task in workflow.tasks.ids where restored.reuse[task.index] == .none {
      accepted[task.index] = nil
    }
  }

  /// The manager gave an output up.
  mutating func notWritten(_ file: FileID) {
    if isNotWritten[file.index] { violate("\(file) is given up twice") }
    isNotWritten[file.index] = true
    everUnwritten.insert(workflow.files[file].producer)
  }

  // MARK: The end

  /// What is wrong with the end of the run; nil when all is as promised.
  mutating func concluded(
    _ outcome: Outcome, at time: Instant, isGivenUp: (TaskID) -> Bool
  ) -> String? {
    if let jobEndsAt, time > jobEndsAt { violate("the session is longer than its job") }
    if outcome.contradiction != .none {
      if !hasContradiction { violate("\(outcome) without a report") }
      return violation
    }
    checkCounts(outcome)
    let mayLeaveOut = isDraining || stopsEarly || jobEndsAt != nil
    for task in workflow.tasks.ids where !isDone[task.index] && !hasFailed[task.index] {
      let isHopeless = predecessors[task.index].contains { !isDone[$0.index] }
      if !isHopeless && !mayLeaveOut { violate("\(task) could have run") }
    }
    checkOutputs(outcome)
    // What runs inside a rank goes on until it returns, whatever has become of its gang.
    let left = running.filter { workflow.request(of: $0.task).gangRanks == 0 }
    if !left.isEmpty && !isCutShort { violate("processes are left") }
    if !hasLiars { checkValues(isGivenUp: isGivenUp) }
    return violation
  }

  /// Each output is published or given up, unless the session ended before its time.
  private mutating func checkOutputs(_ outcome: Outcome) {
    var hiddenCount = 0
    for file in workflow.files.ids where workflow.files[file].isPublished && !ignoresData {
      let producer = workflow.files[file].producer
      guard isDone[producer.index], workflow.tasks[producer].usesSandbox else { continue }
      let isPublished = publishCounts[file.index] == 1
      if !isPublished && !isNotWritten[file.index] {
        hiddenCount += 1
        // What may still change is left to the next session.
        if outcome.leftCount > 0 || isCutShort { continue }
      }
      if isPublished == isNotWritten[file.index] {
        violate("\(file) is neither published nor given up, or both")
      }
    }
    if outcome.hiddenOutputCount != hiddenCount {
      violate("\(outcome) but \(hiddenCount) outputs are hidden")
    }
  }

  /// What counts was made from what counts, and from what the world saw.
  private mutating func checkValues(isGivenUp: (TaskID) -> Bool) {
    for task in workflow.tasks.ids where isDone[task.index] {
      guard let origin = accepted[task.index] else { continue }
      for read in provenance.reads(of: origin) where read.attempt.task != .none {
        let producer = read.attempt.task
        guard isDone[producer.index], let source = accepted[producer.index] else { continue }
        if provenance.content(of: source) != provenance.content(of: read) {
          violate("\(origin.attempt) read \(read.attempt), but \(source.attempt) is what counts")
        }
      }
    }
    for task in workflow.tasks.ids where !isDone[task.index] && !isGivenUp(task) {
      guard provenance.seenContent(of: task) != nil, !workflow.tasks[task].isDeterministic,
        !everUnwritten.contains(task)
      else { continue }
      violate("\(task) is to run again, though the world saw its value")
    }
  }

  private mutating func checkCounts(_ outcome: Outcome) {
    let doneCount = isDone.count { $0 }
    let failedCount = hasFailed.count { $0 }
    if outcome.doneCount != doneCount { violate("\(outcome) but \(doneCount) are done") }
    if outcome.failedCount != failedCount { violate("\(outcome) but \(failedCount) failed") }
    let sum =
      outcome.doneCount + outcome.failedCount + outcome.cancelledCount + outcome.leftCount
    if sum != workflow.tasks.count { violate("\(outcome) does not count every task") }
    if !isDraining && jobEndsAt == nil && outcome.leftCount > 0 {
      violate("\(outcome): tasks are left")
    }
    let unwrittenCount = isNotWritten.count { $0 }
    if outcome.unwrittenOutputCount != unwrittenCount {
      violate("\(outcome) but \(unwrittenCount) outputs were not written")
    }
    for task in workflow.tasks.ids {
      let limit =
        Int(workflow.tasks[task].retries) + 1 + Limits.lossRetryMax + repeatCounts[task.index]
        + lostWorkerCount + instances.endCount
      if launchCounts[task.index] > limit { violate("\(task) was tried too often") }
    }
  }

  private var stopsEarly: Bool {
    let failedCount = hasFailed.count { $0 }
    if failedCount == 0 { return false }
    return workflow.policy.onFailure == .stop
      || failedCount >= workflow.policy.failuresMax ?? .max
  }
}
