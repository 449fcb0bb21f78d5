// The seam of the manager: what may happen to it, and what it may order.

/// What happened.
package enum ManagerEvent: Equatable, Sendable {
  case received(WorkerMessage, from: WorkerID)
  /// The worker is dead or silent for too long: it is told to leave, and nothing it says is heard
  /// any more.
  case workerLost(WorkerID)
  /// The rename of a committed output ended; `error` is 0 or an errno.
  case published(FileID, error: Int32)
  /// Start nothing more, let what runs end (SIGUSR1, RUN/stop, walltime).
  case drainRequested
  /// No further worker will register.
  case registrationClosed
}

/// What has to be done.
package enum ManagerEffect: Equatable, Sendable {
  case send(ManagerMessage, to: WorkerID)
  case append(JournalRecord)
  /// Rename the committed output of this attempt to its path.
  case publish(FileID, attempt: UInt32)
  case report(Report)
  case finish(Outcome)
}

/// What a person may want to hear.
package enum Report: Equatable, Sendable {
  case taskFailed(AttemptID, Ending)
  case taskTriedAgain(AttemptID, Ending)
  case outputNotWritten(FileID, Int32)
}

/// A durable fact.
package enum JournalRecord: Equatable, Sendable {
  case done(AttemptID, worker: WorkerID, node: NodeID, Completion)
  case failed(AttemptID, Ending)
  case published(FileID)
}

/// How the run ended.
package struct Outcome: Equatable, Sendable {
  package var doneCount: Int
  package var failedCount: Int
  package var cancelledCount: Int
  /// Tasks that were neither run nor given up: the run was drained before them.
  package var leftCount: Int
  package var unwrittenOutputCount: Int

  package init(
    doneCount: Int, failedCount: Int, cancelledCount: Int, leftCount: Int,
    unwrittenOutputCount: Int
  ) {
    self.doneCount = doneCount
    self.failedCount = failedCount
    self.cancelledCount = cancelledCount
    self.leftCount = leftCount
    self.unwrittenOutputCount = unwrittenOutputCount
  }

  /// The exit status of workflow.md's table: 0 all done, 1 something failed, 3 resume.
  package var exitStatus: Int32 {
    if failedCount > 0 || unwrittenOutputCount > 0 { return 1 }
    return leftCount > 0 ? 3 : 0
  }
}

/// How the manager decides.
package struct ManagerOptions: Sendable {
  /// Files cost nothing and are everywhere: the ideal the list-scheduling theory speaks of.
  package var ignoresData = false
  /// Short tasks are sent ahead of the cores they will run on.
  package var usesLanes = true
  /// Stands for a task without an estimate where the order wants one, in microseconds.
  package var defaultEstimateMicroseconds: Int64 = 1_000_000
  package init() {}
}

/// How far the run is.
package struct Progress: Equatable, Sendable {
  package var taskCount = 0
  package var doneCount = 0
  package var failedCount = 0
  package var cancelledCount = 0
  /// Staging or sent.
  package var activeCount = 0
  package var transferCount = 0
  package var publishCount = 0
  package init() {}
}
