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

  private let workflow: Workflow
  private let ignoresData: Bool
  private var models: [Int: NodeModel] = [:]
  private var grants: [AttemptID: Grant] = [:]
  /// By simulated node: the cores and the memory of processes that run.
  private var runningCores: [Int: CPUSet] = [:]
  private var runningMemory: [Int: UInt64] = [:]
  private var running: Set<AttemptID> = []
  private var predecessors: [[TaskID]]
  private var hasSucceeded: [Bool]
  /// The number of the attempt that succeeded.
  private var successes: [UInt32]
  private var isDone: [Bool]
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
    hasSucceeded = Array(repeating: false, count: taskCount)
    successes = Array(repeating: 0, count: taskCount)
    isDone = hasSucceeded
    hasFailed = hasSucceeded
    launchCounts = Array(repeating: 0, count: taskCount)
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
  mutating func granted(_ attempt: AttemptID, _ grant: Grant) {
    if grants[attempt] != nil { violate("\(attempt) is sent twice") }
    grants[attempt] = grant
    let request = workflow.request(of: attempt.task)
    if grant.cpuset.count != Int(request.cores) { violate("\(attempt) gets other cores") }
    if let memory = request.memoryMB, memory != grant.memoryMB {
      violate("\(attempt) gets other memory")
    }
    if isDraining { drainedSendCount += 1 }
  }

  /// Orders to start that went out although the run drains: only what was staged may do that.
  private(set) var drainedSendCount = 0

  /// An attempt came back before it began: its number may be used again.
  mutating func forgotten(_ attempt: AttemptID) { grants[attempt] = nil }

  /// A process starts.
  mutating func launched(_ attempt: AttemptID, on node: Int) {
    guard let grant = grants[attempt], let model = models[node] else {
      return violate("\(attempt) starts without a grant")
    }
    let task = attempt.task
    launchCounts[task.index] += 1
    if hasSucceeded[task.index] { violate("\(attempt) starts after \(task) succeeded") }
    if hasFailed[task.index] { violate("\(attempt) starts after \(task) failed") }
    for predecessor in predecessors[task.index] where !hasSucceeded[predecessor.index] {
      violate("\(attempt) starts before \(predecessor) succeeded")
    }
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
    running.insert(attempt)
  }

  /// A process ended, however it did.
  mutating func processEnded(_ attempt: AttemptID, on node: Int) {
    guard let grant = grants[attempt], running.remove(attempt) != nil else {
      return violate("\(attempt) ends without running")
    }
    runningCores[node]?.subtract(grant.cpuset)
    runningMemory[node, default: 0] -= UInt64(grant.memoryMB)
  }

  /// All outputs of an attempt are there.
  mutating func succeeded(_ attempt: AttemptID) {
    if hasSucceeded[attempt.task.index] { violate("\(attempt.task) succeeds twice") }
    hasSucceeded[attempt.task.index] = true
    successes[attempt.task.index] = attempt.number
  }

  /// The manager wrote down a fact.
  mutating func recorded(_ record: JournalRecord) {
    switch record {
    case .done(let attempt, _, _, _):
      if !hasSucceeded[attempt.task.index] { violate("\(attempt) is recorded, but did not end") }
      if isDone[attempt.task.index] { violate("\(attempt.task) is recorded twice") }
      isDone[attempt.task.index] = true
    case .failed(let attempt, _):
      if isDone[attempt.task.index] || hasFailed[attempt.task.index] {
        violate("\(attempt.task) fails after its end")
      }
      hasFailed[attempt.task.index] = true
    case .published(let value):
      if publishCounts[value.file.index] != 1 {
        violate("\(value) is recorded, but not published")
      }
    case .reused, .hashed, .committed, .invalidated, .publishIntent: break
    }
  }

  // MARK: Files

  /// A transfer begins or ends to read a node.
  mutating func reads(_ value: FileValue, from node: Int, isThere: Bool) {
    if !isThere { violate("\(value) is read from node \(node), which does not have it") }
  }

  /// The attempt whose value of `file` is the right one; 0 for a source.
  func rightVersion(of file: FileID) -> UInt32 {
    let producer = workflow.files[file].producer
    return producer == .none ? 0 : successes[producer.index]
  }

  /// Whether this is the file as its task's good attempt made it, not a failed one.
  func isRight(_ value: FileValue) -> Bool { value.attempt == rightVersion(of: value.file) }

  /// A commit begins or ends to read a cache.
  mutating func committed(_ value: FileValue, isThere: Bool) {
    if !isThere || !isRight(value) { violate("\(value) is committed where it is not") }
  }

  /// The manager ordered a rename.
  mutating func publishOrdered(_ file: FileID) {
    publishOrders[file.index] += 1
    if publishOrders[file.index] > 1 { violate("\(file) is published twice") }
    if !hasSucceeded[workflow.files[file].producer.index] {
      violate("\(file) is published before its task succeeded")
    }
  }

  /// A rename ended.
  mutating func published(_ file: FileID, error: Int32) {
    if error == 0 { publishCounts[file.index] += 1 }
  }

  /// The manager gave an output up.
  mutating func notWritten(_ file: FileID) {
    if isNotWritten[file.index] { violate("\(file) is given up twice") }
    isNotWritten[file.index] = true
  }

  // MARK: The end

  /// What is wrong with the end of the run; nil when all is as promised.
  mutating func concluded(_ outcome: Outcome) -> String? {
    checkCounts(outcome)
    let mayLeaveOut = isDraining || stopsEarly
    for task in workflow.tasks.ids where !isDone[task.index] && !hasFailed[task.index] {
      let isHopeless = predecessors[task.index].contains { !isDone[$0.index] }
      if !isHopeless && !mayLeaveOut { violate("\(task) could have run") }
    }
    for file in workflow.files.ids where workflow.files[file].isPublished && !ignoresData {
      let producer = workflow.files[file].producer
      guard isDone[producer.index], workflow.tasks[producer].usesSandbox else { continue }
      // A drained run leaves what may still change to the next session.
      if outcome.leftCount > 0 && publishCounts[file.index] == 0 { continue }
      if (publishCounts[file.index] == 1) == isNotWritten[file.index] {
        violate("\(file) is neither published nor given up, or both")
      }
    }
    if !running.isEmpty { violate("processes are left") }
    return violation
  }

  private mutating func checkCounts(_ outcome: Outcome) {
    let doneCount = isDone.count { $0 }
    let failedCount = hasFailed.count { $0 }
    if outcome.doneCount != doneCount { violate("\(outcome) but \(doneCount) are done") }
    if outcome.failedCount != failedCount { violate("\(outcome) but \(failedCount) failed") }
    let sum =
      outcome.doneCount + outcome.failedCount + outcome.cancelledCount + outcome.leftCount
    if sum != workflow.tasks.count { violate("\(outcome) does not count every task") }
    if !isDraining && outcome.leftCount > 0 { violate("\(outcome): tasks are left") }
    let unwrittenCount = isNotWritten.count { $0 }
    if outcome.unwrittenOutputCount != unwrittenCount {
      violate("\(outcome) but \(unwrittenCount) outputs were not written")
    }
    for task in workflow.tasks.ids {
      let limit = Int(workflow.tasks[task].retries) + 1 + Limits.lossRetryMax
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
