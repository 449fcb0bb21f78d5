// The instances of one rank: which calls they run, and what becomes of the calls when one ends.

import DequeModule

/// The life of an instance at its rank:
///
///     starting -> ready -> (gone)
///         \__________^
private enum InstanceState { case starting, ready }

/// An instance of a library.
struct InstanceRow {
  /// Calls that it runs at once.
  let slots: Int
  /// A call can be killed without the others.
  let isolatesCalls: Bool
  fileprivate var state = InstanceState.starting
  /// When its set-up has taken too long.
  var setupDeadline: Instant?
  /// It was ended for that.
  fileprivate var isSetupOverdue = false
  /// Calls that it runs now.
  fileprivate var runningCount = 0
  /// It was ordered to end.
  fileprivate var isStopped = false
  /// The order was to kill it, for a call that cannot be ended otherwise.
  fileprivate var isKilled = false

  init(slots: Int, isolatesCalls: Bool) {
    self.slots = slots
    self.isolatesCalls = isolatesCalls
  }
}

extension Worker {
  mutating func startCall(
    _ row: RunningAttempt, at now: Instant, effects: inout [WorkerEffect]
  ) {
    if isLeaving { return }
    if let old = attempts[row.attempt.task] {
      // Of a gang that has ended meanwhile: nobody waits for what is left of it.
      guard old.phase == .settling, old.attempt != row.attempt else { return }
      remove(old)
    }
    guard instances[row.allocation] != nil else {
      // The order crossed with the news that the instance is gone.
      effects.append(.forget(row.attempt))
      effects.append(.send(.taskReturned(row.attempt)))
      return
    }
    attempts[row.attempt.task] = row
    lanes[row.allocation, default: []].append(row.attempt.task)
    fillSlots(of: row.allocation, at: now, effects: &effects)
  }

  /// Hands over calls, in their order, as long as slots are free.
  private mutating func fillSlots(
    of allocation: AllocationID, at now: Instant, effects: inout [WorkerEffect]
  ) {
    guard var instance = instances[allocation], instance.state == .ready, !instance.isStopped,
      !isLeaving, instance.runningCount < instance.slots
    else { return }
    for task in lanes[allocation] ?? [] where attempts[task]?.phase == .queued {
      instance.runningCount += 1
      launch(task, at: now, effects: &effects)
      if instance.runningCount == instance.slots { break }
    }
    instances[allocation] = instance
  }

  mutating func giveBackSlot(
    of allocation: AllocationID, at now: Instant, effects: inout [WorkerEffect]
  ) {
    instances[allocation]?.runningCount -= 1
    fillSlots(of: allocation, at: now, effects: &effects)
  }

  mutating func onInstanceReady(
    _ allocation: AllocationID, setupNanoseconds: Int64, at now: Instant,
    effects: inout [WorkerEffect]
  ) {
    guard instances[allocation]?.state == .starting else { return }
    instances[allocation]?.state = .ready
    endSetupTime(of: allocation)
    effects.append(.send(.instanceReady(allocation, setupNanoseconds: setupNanoseconds)))
    fillSlots(of: allocation, at: now, effects: &effects)
  }

  /// A call has returned: its slot is free before its outputs are moved.
  mutating func onCalled(
    _ attempt: AttemptID, _ usage: Completion, at now: Instant, effects: inout [WorkerEffect]
  ) {
    guard var row = attempts[attempt.task], row.attempt == attempt, row.phase == .running
    else { return }
    row.phase = .settling
    row.deadline = nil
    row.usage = usage
    if row.isKilled {
      row.usage.ending = .killed
    } else if row.isTimedOut {
      row.usage.ending = .timedOut
    }
    attempts[attempt.task] = row
    timed.removeAll { $0 == attempt.task }
    effects.append(.settle(attempt, isSuccess: row.usage.ending == .succeeded))
    giveBackSlot(of: row.allocation, at: now, effects: &effects)
  }

  /// Ends a call that runs: alone if that can be, else with its whole instance.
  mutating func endCall(_ row: RunningAttempt, effects: inout [WorkerEffect]) {
    if instances[row.allocation]?.isolatesCalls ?? true {
      effects.append(.cancelCall(row.attempt))
    } else {
      stop(row.allocation, isKilled: true, effects: &effects)
    }
  }

  mutating func stop(
    _ allocation: AllocationID, isKilled: Bool, effects: inout [WorkerEffect]
  ) {
    guard let row = instances[allocation] else { return }
    if row.isKilled || (row.isStopped && !isKilled) { return }
    instances[allocation]?.isStopped = true
    instances[allocation]?.isKilled = isKilled
    effects.append(.stopInstance(allocation, isKilled: isKilled))
  }

  private mutating func endSetupTime(of allocation: AllocationID) {
    if timedSetups.isEmpty { return }
    instances[allocation]?.setupDeadline = nil
    timedSetups.removeAll { $0 == allocation }
  }

  /// A set-up that hangs would hold up its calls for ever, and its cores.
  mutating func endOverdueSetups(at now: Instant, effects: inout [WorkerEffect]) {
    for allocation in timedSetups {
      guard let row = instances[allocation], let deadline = row.setupDeadline, deadline <= now
      else { continue }
      endSetupTime(of: allocation)
      if row.isStopped { continue }
      instances[allocation]?.isSetupOverdue = true
      stop(allocation, isKilled: true, effects: &effects)
    }
  }

  mutating func stopAllInstances(effects: inout [WorkerEffect]) {
    for allocation in instances.keys.sorted() {
      stop(allocation, isKilled: false, effects: &effects)
    }
  }

  /// The process of an instance is gone: by order, by itself, or before it was ready.
  mutating func onInstanceExited(_ allocation: AllocationID, effects: inout [WorkerEffect]) {
    endSetupTime(of: allocation)
    guard let instance = instances.removeValue(forKey: allocation) else { return }
    let isOverdue = lanes[allocation]?.contains { task in
      attempts[task].map { $0.isTimedOut && $0.phase != .queued } ?? false
    }
    let end: InstanceEnd =
      isOverdue ?? false
      ? .overdue
      : instance.isStopped && !instance.isSetupOverdue
        ? .stopped : instance.state == .starting ? .setupFailed : .died
    effects.append(.send(.instanceEnded(allocation, end)))
    for task in lanes[allocation] ?? [] {
      guard let row = attempts[task] else { continue }
      switch row.phase {
      case .settling: continue
      case .queued: giveBack(row, effects: &effects)
      case .running:
        if row.isKilled || row.isTimedOut {
          report(row, row.isKilled ? .killed : .timedOut, effects: &effects)
        } else if instance.isStopped {
          // It was ended for another call's sake.
          giveBack(row, effects: &effects)
        } else {
          report(row, .instanceLost, effects: &effects)
        }
      }
    }
  }

  private mutating func giveBack(_ row: RunningAttempt, effects: inout [WorkerEffect]) {
    remove(row)
    effects.append(.forget(row.attempt))
    effects.append(.send(.taskReturned(row.attempt)))
  }

  private mutating func report(
    _ row: RunningAttempt, _ ending: Ending, effects: inout [WorkerEffect]
  ) {
    remove(row)
    effects.append(.forget(row.attempt))
    effects.append(.send(.taskFinished(row.attempt, Completion(ending))))
  }
}
