// The seam of the manager: what may happen to it, and what it may order.

/// What happened.
package enum ManagerEvent: Equatable, Sendable {
  case received(WorkerMessage, from: WorkerID)
  /// The worker is dead or silent for too long: it is told to leave, and nothing it says is heard
  /// any more.
  case workerLost(WorkerID)
  /// All records up to this one are durable; they are counted from 1 as they were appended.
  case journalSynced(upTo: Int)
  /// Nothing can be made durable any more: nothing is published, and the run ends with what runs.
  case journalFailed
  /// The rename of a committed output ended; `error` is 0 or an errno.
  case published(FileID, error: Int32)
  /// Start nothing more, let what runs end, save what later sessions will read (SIGUSR1, RUN/stop,
  /// walltime).
  case drainRequested
  /// What still runs has no time left: kill it, at nobody's charge.
  case killRequested
  /// No time is left for anything: the session ends as it stands.
  case closeRequested
  /// No further worker will register.
  case registrationClosed
}

/// What has to be done.
package enum ManagerEffect: Equatable, Sendable {
  case send(ManagerMessage, to: WorkerID)
  case append(JournalRecord)
  /// The records until `endGroup` are durable together or not at all.
  case beginGroup
  case endGroup
  /// Somebody waits until all that was appended is durable.
  case sync
  /// Rename the committed output to its path.
  case publish(FileValue)
  /// Remove the durable copy of a value that is nobody's any more.
  case discard(FileValue)
  case report(Report)
  /// Give the worker up: it is stuck in a function that nobody can end.
  case retire(WorkerID)
  case finish(Outcome)
}

/// What a person may want to hear.
package enum Report: Equatable, Sendable {
  case taskFailed(AttemptID, Ending)
  case taskTriedAgain(AttemptID, Ending)
  case outputNotWritten(FileID, Int32)
  /// The value of a task was lost with its nodes and is made again, since somebody needs it.
  case valueLost(TaskID)
  /// A task that used a value which came out differently runs again.
  case invalidated(TaskID, cause: TaskID)
  /// So many bytes of a node's disk are taken up, and nothing that is ready finds room anywhere.
  /// Comes before the largest of what lies there, and before the tasks that fail for it.
  case diskFull(NodeID, byteCount: Int64, of: Int64)
  case diskHolds(FileID, byteCount: Int64, on: NodeID)
  /// What a dead session left of a file on a node is not as it was.
  case adoptionRefused(FileID, AdoptionRefusal, on: NodeID)
  /// All nodes have said what dead sessions have left there, or the time for that is over.
  case adoptionEnded
  /// A task made another value after its first one was seen outside of the run.
  case contradiction(TaskID, seenThrough: TaskID)
}

/// A durable fact.
package enum JournalRecord: Equatable, Sendable {
  case done(AttemptID, worker: WorkerID, node: NodeID, Completion)
  /// The value of an earlier session counts, though something upstream was made again.
  case reused(AttemptID)
  case hashed(FileValue, byteCount: Int64, ContentHash)
  /// The value lies on the shared file system, synced.
  case committed(FileValue, byteCount: Int64)
  case failed(AttemptID, Ending)
  /// The accepted attempt does not count any more, since what `cause` made is another value now.
  case invalidated(AttemptID, cause: TaskID)
  case publishIntent(FileValue)
  case published(FileValue)
  /// The accepted result of a call, which the journal holds itself.
  case result(FileValue, byteCount: Int64)
}

/// How the run ended.
package struct Outcome: Equatable, Sendable {
  package var doneCount: Int
  package var failedCount: Int
  package var cancelledCount: Int
  /// Tasks that were neither run nor given up: the run was drained before them.
  package var leftCount: Int
  package var unwrittenOutputCount: Int
  /// Outputs of done tasks that are not at their paths yet, which the next session will see to.
  package var hiddenOutputCount: Int
  /// The first task that made two values of which one was seen outside; `.none`: none did.
  package var contradiction = TaskID.none

  package init(
    doneCount: Int, failedCount: Int, cancelledCount: Int, leftCount: Int,
    unwrittenOutputCount: Int, hiddenOutputCount: Int = 0, contradiction: TaskID = .none
  ) {
    self.doneCount = doneCount
    self.failedCount = failedCount
    self.cancelledCount = cancelledCount
    self.leftCount = leftCount
    self.unwrittenOutputCount = unwrittenOutputCount
    self.hiddenOutputCount = hiddenOutputCount
    self.contradiction = contradiction
  }

  /// The exit status of workflow.md's table: 0 all done, 1 something failed, 3 resume, 8 a task
  /// contradicts itself.
  package var exitStatus: Int32 {
    if contradiction != .none { return 8 }
    if failedCount > 0 || unwrittenOutputCount > 0 { return 1 }
    return leftCount > 0 || hiddenOutputCount > 0 ? 3 : 0
  }
}

/// How the manager decides.
package struct ManagerOptions: Sendable {
  /// Files cost nothing and are everywhere: the ideal the list-scheduling theory speaks of.
  package var ignoresData = false
  /// Short tasks are sent ahead of the cores they will run on.
  package var usesLanes = true
  /// Tasks wait for a busy node that has their inputs where that is quicker than to move those.
  package var waitsForInputs = true
  /// No task is started that would not end by then; nil: there is time.
  package var endsAt: Instant?
  /// Stands for a task without an estimate where the order wants one, in microseconds.
  package var defaultEstimateMicroseconds: Int64 = 1_000_000
  /// The limits of the nodes' disks are what somebody said, and not what was free there.
  package var hasFixedCacheLimit = true
  package init() {}
}

/// How far the run is.
package struct Progress: Equatable, Sendable {
  package var taskCount = 0
  package var doneCount = 0
  /// Of those done, the ones that earlier sessions did.
  package var reusedCount = 0
  package var failedCount = 0
  package var cancelledCount = 0
  /// Staging or sent.
  package var activeCount = 0
  package var transferCount = 0
  package var publishCount = 0
  package init() {}
}
