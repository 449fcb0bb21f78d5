// One rank's executor (and, for the lowest worker rank of a node, its agent): runs attempts in the
// order of their lanes, kills what overstays, and passes file orders on. The adapter makes the
// sandboxes and the processes.

import DequeModule

/// How the process of an attempt ended, as the operating system says it.
package enum ExitStatus: Hashable, Sendable {
  case exited(Int32)
  case signaled(Int32)
}

/// What happened to a worker.
package enum WorkerEvent: Equatable, Sendable {
  case received(ManagerMessage)
  /// The attempt could not be started; nothing of it runs.
  case launchFailed(AttemptID, Ending)
  /// `usage` holds times on this worker's clock; its ending is not decided yet.
  case exited(AttemptID, ExitStatus, usage: Completion)
  /// An output lies in the cache; comes before `settled`.
  case outputReady(AttemptID, FileID, byteCount: Int64)
  case hashed(FileValue, byteCount: Int64, ContentHash)
  /// What an earlier run left lies in the cache now.
  case found(FileValue, byteCount: Int64)
  /// All that may be left of earlier runs was looked for.
  case recallEnded
  /// A dead session of this run left a file there, which was not compared yet.
  case offered(FileValue, byteCount: Int64)
  /// What was offered, or something that cannot even be that, is not used.
  case refused(FileValue, AdoptionRefusal)
  case offersEnded
  /// The sandbox is gone; `ending` says whether all outputs were right.
  case settled(AttemptID, Ending)
  case transferred(TransferID, byteCount: Int64, error: Int32)
  case helperFailed(TransferID, agent: WorkerID, error: Int32)
  case committed(FileValue, byteCount: Int64, error: Int32)
  /// A result that fits into a message; comes before `settled`.
  case resultReady(AttemptID, FileID, byteCount: Int64)
  /// A call has returned; the usage says how.
  case called(AttemptID, usage: Completion)
  case instanceReady(AllocationID, setupNanoseconds: Int64)
  /// Its process is gone, or could not be started.
  case instanceExited(AllocationID)
  /// The disk was found full; what is free now that what failed is gone. Before the report of that.
  case diskMeasured(DiskCapacity)
}

/// What a worker has to do.
package enum WorkerEffect: Equatable, Sendable {
  case send(WorkerMessage)
  /// Make the sandbox, start the process on the allocation's cores.
  case launch(AttemptID)
  /// After the exit: move the outputs into the cache if `isSuccess`, empty the sandbox.
  case settle(AttemptID, isSuccess: Bool)
  /// Send a signal to the attempt's processes.
  case signal(AttemptID, Int32)
  /// Forget what is kept of an attempt that never began.
  case forget(AttemptID)
  case fetch(FileValue, transfer: TransferID, from: TransferSource, byteCount: Int64)
  /// A transfer may use one more source.
  case assist(FileValue, transfer: TransferID, from: TransferSource)
  case unlink(FileValue)
  case commit(FileValue)
  /// Compare what was offered with its digest, and put it into the cache as what that attempt made.
  case adopt(FileValue, as: UInt32)
  /// Remove all that was offered and not adopted.
  case dropOffers
  /// Make an instance and its process.
  case startInstance(AllocationID, LibraryID)
  /// End it: at once if `isKilled`, else when its teardown is over.
  case stopInstance(AllocationID, isKilled: Bool)
  /// Hand a call to its instance.
  case call(AttemptID)
  /// Kill the process that runs the call, and no other; it is reported as called all the same.
  case cancelCall(AttemptID)
  case leave
}

/// The life of an attempt at its executor:
///
///     queued -> running -> settling -> (gone)
///        \______________________________^ (taken back, killed)
enum AttemptPhase { case queued, running, settling }

struct RunningAttempt {
  var attempt: AttemptID
  var allocation: AllocationID
  var timeoutMilliseconds: UInt32
  var phase = AttemptPhase.queued
  var isTimedOut = false
  var isKilled = false
  /// When the next signal is due.
  var deadline: Instant?
  var usage = Completion(.succeeded)
  /// What lies in the cache so far. Told to the manager when all is there, else removed here: by
  /// the time a manager could order that, a further attempt may have made the file anew.
  var outputs: [Output] = []
}

struct Output {
  var file: FileID
  var byteCount: Int64
  /// It travels with the report.
  var isInline = false
}

package struct Worker: ~Copyable {
  var attempts: [TaskID: RunningAttempt] = [:]
  var lanes: [AllocationID: Deque<TaskID>] = [:]
  var instances: [AllocationID: InstanceRow] = [:]
  /// Tasks with a deadline; few at any time.
  var timed: [TaskID] = []
  /// Instances whose set-up has a deadline, in the order they were begun; asked for in each turn.
  var timedSetups: [AllocationID] = []

  package init() {}

  package var attemptCount: Int { attempts.count }
  package var instanceCount: Int { instances.count }
  package private(set) var isLeaving = false

  /// The attempts that have a process, for the adapter that must kill them all.
  package var runningAttempts: [AttemptID] {
    attempts.values.filter { $0.phase == .running }.map(\.attempt)
      .sorted { $0.task < $1.task }
  }

  /// When `handleDeadlines` wants to be called.
  package var nextDeadline: Instant? {
    let ofAttempts = timed.compactMap { attempts[$0]?.deadline }.min()
    if timedSetups.isEmpty { return ofAttempts }
    let ofSetups = timedSetups.compactMap { instances[$0]?.setupDeadline }.min()
    return [ofAttempts, ofSetups].compactMap { $0 }.min()
  }

  package mutating func handle(
    _ event: WorkerEvent, at now: Instant, effects: inout [WorkerEffect]
  ) {
    switch event {
    case .received(let message): receive(message, at: now, effects: &effects)
    case .launchFailed(let attempt, let ending):
      finish(attempt, ending, at: now, effects: &effects)
    case .exited(let attempt, let status, let usage):
      onExited(attempt, status, usage, at: now, effects: &effects)
    case .outputReady(let attempt, let file, let byteCount):
      guard attempts[attempt.task]?.attempt == attempt else { return }
      attempts[attempt.task]?.outputs.append(Output(file: file, byteCount: byteCount))
    case .settled(let attempt, let ending):
      onSettled(attempt, ending, at: now, effects: &effects)
    case .transferred(let transfer, let byteCount, let error):
      effects.append(.send(.transferEnded(transfer, byteCount: byteCount, error: error)))
    case .helperFailed(let transfer, let agent, let error):
      effects.append(.send(.helperFailed(transfer, agent: agent, error: error)))
    case .committed(let value, let byteCount, let error):
      effects.append(.send(.committed(value, byteCount: byteCount, error: error)))
    case .found(let value, let byteCount):
      effects.append(.send(.replicaFound(value, byteCount: byteCount)))
    case .recallEnded: effects.append(.send(.recallEnded))
    case .offered(let value, let byteCount):
      effects.append(.send(.replicaOffered(value, byteCount: byteCount)))
    case .refused(let value, let refusal):
      effects.append(.send(.replicaRefused(value, refusal)))
    case .offersEnded: effects.append(.send(.offersEnded))
    case .diskMeasured(let free): effects.append(.send(.diskMeasured(free)))
    case .hashed(let value, let byteCount, let hash):
      effects.append(.send(.hashed(value, byteCount: byteCount, hash)))
    case .resultReady(let attempt, let file, let byteCount):
      guard attempts[attempt.task]?.attempt == attempt else { return }
      attempts[attempt.task]?.outputs.append(
        Output(file: file, byteCount: byteCount, isInline: true))
    case .called(let attempt, let usage): onCalled(attempt, usage, at: now, effects: &effects)
    case .instanceReady(let allocation, let setup):
      onInstanceReady(allocation, setupNanoseconds: setup, at: now, effects: &effects)
    case .instanceExited(let allocation): onInstanceExited(allocation, effects: &effects)
    }
  }

  private mutating func receive(
    _ message: ManagerMessage, at now: Instant, effects: inout [WorkerEffect]
  ) {
    switch message {
    case .startTask(let attempt, let allocation, let timeout, _):
      guard attempts[attempt.task] == nil, !isLeaving else { return }
      attempts[attempt.task] = RunningAttempt(
        attempt: attempt, allocation: allocation, timeoutMilliseconds: timeout)
      lanes[allocation, default: []].append(attempt.task)
      launchNext(of: allocation, at: now, effects: &effects)
    case .startCall(let attempt, let allocation, let timeout, _):
      startCall(
        RunningAttempt(attempt: attempt, allocation: allocation, timeoutMilliseconds: timeout),
        at: now, effects: &effects)
    case .startInstance(
      let allocation, let library, let slots, let isolatesCalls, let timeout):
      guard instances[allocation] == nil, !isLeaving else { return }
      var row = InstanceRow(slots: Int(slots), isolatesCalls: isolatesCalls)
      if timeout > 0 {
        row.setupDeadline = now.adding(nanoseconds: Int64(timeout) * 1_000_000)
        timedSetups.append(allocation)
      }
      instances[allocation] = row
      effects.append(.startInstance(allocation, library))
    case .stopInstance(let allocation):
      stop(allocation, isKilled: false, effects: &effects)
    case .takeBack(let attempt):
      guard let row = attempts[attempt.task], row.attempt == attempt, row.phase == .queued
      else { return }
      remove(row)
      effects.append(.forget(attempt))
      effects.append(.send(.taskReturned(attempt)))
    case .killTask(let attempt):
      kill(attempt, effects: &effects)
    case .fetch(let value, let transfer, let source, let byteCount):
      effects.append(.fetch(value, transfer: transfer, from: source, byteCount: byteCount))
    case .assist(let value, let transfer, let source):
      effects.append(.assist(value, transfer: transfer, from: source))
    case .unlink(let value):
      effects.append(.unlink(value))
    case .commit(let value):
      effects.append(.commit(value))
    case .adopt(let value, let attempt): effects.append(.adopt(value, as: attempt))
    case .dropOffers: effects.append(.dropOffers)
    case .leave:
      isLeaving = true
      stopAllInstances(effects: &effects)
      effects.append(.leave)
    }
  }

  /// Launches the next attempt of a lane in which none runs.
  private mutating func launchNext(
    of lane: AllocationID, at now: Instant, effects: inout [WorkerEffect]
  ) {
    guard !isLeaving, let next = lanes[lane]?.first(where: { attempts[$0]?.phase != .settling }),
      attempts[next]?.phase == .queued
    else { return }
    launch(next, at: now, effects: &effects)
  }

  mutating func launch(
    _ task: TaskID, at now: Instant, effects: inout [WorkerEffect]
  ) {
    guard var row = attempts[task] else { return }
    row.phase = .running
    if row.timeoutMilliseconds > 0 {
      row.deadline = now.adding(nanoseconds: Int64(row.timeoutMilliseconds) * 1_000_000)
      timed.append(task)
    }
    attempts[task] = row
    effects.append(
      instances[row.allocation] == nil ? .launch(row.attempt) : .call(row.attempt))
  }

  private mutating func kill(_ attempt: AttemptID, effects: inout [WorkerEffect]) {
    guard let row = attempts[attempt.task], row.attempt == attempt else { return }
    switch row.phase {
    case .queued:
      remove(row)
      effects.append(.forget(attempt))
      effects.append(.send(.taskFinished(attempt, Completion(.killed))))
    case .running:
      attempts[attempt.task]?.isKilled = true
      if instances[row.allocation] != nil {
        endCall(row, effects: &effects)
      } else {
        effects.append(.signal(attempt, signalKill))
      }
    case .settling: break
    }
  }

  /// SIGTERM at the time limit, SIGKILL when the grace is over.
  package mutating func handleDeadlines(at now: Instant, effects: inout [WorkerEffect]) {
    endOverdueSetups(at: now, effects: &effects)
    for task in timed {
      guard let row = attempts[task], let deadline = row.deadline, deadline <= now else { continue }
      if instances[row.allocation] != nil {
        attempts[task]?.isTimedOut = true
        attempts[task]?.deadline = nil
        endCall(row, effects: &effects)
      } else if row.isTimedOut {
        attempts[task]?.deadline = nil
        effects.append(.signal(row.attempt, signalKill))
      } else {
        attempts[task]?.isTimedOut = true
        attempts[task]?.deadline = now.adding(nanoseconds: Limits.killGraceNanoseconds)
        effects.append(.signal(row.attempt, signalTerminate))
      }
    }
  }

  private mutating func onExited(
    _ attempt: AttemptID, _ status: ExitStatus, _ usage: Completion, at now: Instant,
    effects: inout [WorkerEffect]
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
    } else {
      switch status {
      case .exited(0): row.usage.ending = .succeeded
      case .exited(let code): row.usage.ending = .exited(code)
      case .signaled(let signal): row.usage.ending = .signaled(signal)
      }
    }
    attempts[attempt.task] = row
    timed.removeAll { $0 == attempt.task }
    // The cores are free: what is left to do for this attempt does not keep the next one waiting.
    if instances[row.allocation] == nil {
      launchNext(of: row.allocation, at: now, effects: &effects)
    }
    effects.append(.settle(attempt, isSuccess: row.usage.ending == .succeeded))
  }

  private mutating func onSettled(
    _ attempt: AttemptID, _ ending: Ending, at now: Instant, effects: inout [WorkerEffect]
  ) {
    guard let row = attempts[attempt.task], row.attempt == attempt, row.phase == .settling
    else { return }
    // A failed command stays the reason, whatever else was found on the way out.
    // But if its disk was full although the task kept to what it declared, nothing is its fault.
    var final = row.usage.ending == .succeeded ? ending : row.usage.ending
    switch (row.usage.ending, ending) {
    case (.exited, .sandboxFailed(let error)) where isDiskFull(error): final = ending
    case (.signaled, .sandboxFailed(let error)) where isDiskFull(error): final = ending
    default: break
    }
    for output in row.outputs {
      let value = FileValue(output.file, attempt: attempt.number)
      if output.isInline {
        if final == .succeeded {
          effects.append(.send(.resultReady(value, byteCount: output.byteCount)))
        }
        continue
      }
      effects.append(
        final == .succeeded
          ? .send(.replicaReady(value, byteCount: output.byteCount)) : .unlink(value))
    }
    finish(attempt, final, at: now, effects: &effects)
  }

  mutating func finish(
    _ attempt: AttemptID, _ ending: Ending, at now: Instant, effects: inout [WorkerEffect]
  ) {
    guard let row = attempts[attempt.task], row.attempt == attempt else { return }
    var completion = row.usage
    completion.ending = ending
    remove(row)
    effects.append(.send(.taskFinished(attempt, completion)))
    if instances[row.allocation] != nil {
      // A call that could not be handed over gave its slot back.
      if row.phase == .running { giveBackSlot(of: row.allocation, at: now, effects: &effects) }
    } else {
      launchNext(of: row.allocation, at: now, effects: &effects)
    }
  }

  mutating func remove(_ row: RunningAttempt) {
    let task = row.attempt.task
    attempts[task] = nil
    if !timed.isEmpty { timed.removeAll { $0 == task } }
    lanes[row.allocation]?.removeAll { $0 == task }
    if lanes[row.allocation]?.isEmpty ?? false { lanes[row.allocation] = nil }
  }
}

// The core imports no C library; these numbers are Linux's on every architecture (signal(7)).
private let signalKill: Int32 = 9
private let signalTerminate: Int32 = 15
