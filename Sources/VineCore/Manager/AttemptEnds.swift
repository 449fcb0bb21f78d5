// What the end of an attempt means for its task, for those that wait for it, and for the run.

import DequeModule
import HeapModule

extension Manager {
  /// Decides what a failed try means for its task.
  mutating func attemptFailed(
    _ attempt: AttemptID, _ ending: Ending, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let task = attempt.task
    let mayRetry: Bool
    switch ending {
    case .killed, .fitsNoNode, .noRoom, .inputUnavailable, .setupFailed:
      mayRetry = false
    case .sandboxFailed(let error) where isDiskFull(error):
      // Its node was full, which is told by the node's limit from now on.
      mayRetry = mayTryElsewhere(task)
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
    enqueue(task, at: now)
  }

  /// Enters a ready task among those that look for a node.
  mutating func enqueue(_ task: TaskID, at now: Instant) {
    hasNewReady = true
    if !patience.isEmpty { patience.remove(task) }
    if !instances.readySince.isEmpty { instances.readySince[task.index] = now }
    ready[Int(workflow.tasks[task].request)].insert(readyKey(of: task, at: now))
  }

  mutating func learnDuration(of task: TaskID, nanoseconds: Int64) {
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
    if isClosing || failureLimitReached { endSeeking(effects: &effects) }
    if isClosing {
      finish(effects: &effects)
      return
    }
    // Copies for safety's sake are of no use any more.
    guard attempts.liveCount == 0, transfers.count == spares.transferCount else { return }
    // What is done may have to be done again, if its value is not found.
    if adoption.isSeeking && !adoption.sought.isEmpty { return }
    if heldBackCount > 0 && isRegistrationClosed { drain(effects: &effects) }
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
      unwrittenOutputCount: unwrittenOutputCount, hiddenOutputCount: hiddenOutputCount)
    outcome.contradiction = contradiction
    effects.append(.finish(outcome))
  }

  /// Outputs that wait for what the next session will do, or whose renames had no time left.
  private var hiddenOutputCount: Int {
    var count = 0
    for file in workflow.files.ids where workflow.files[file].isPublished {
      let producer = workflow.files[file].producer
      guard usesCommit(producer), tasks[producer.index].state == .done else { continue }
      switch values.durable[file.index].standing {
      case .published, .unwritten, .stranded: break
      case .volatile, .committing, .committed, .publishing, .journaled: count += 1
      }
    }
    return count
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
}
