// What a run would do, said before it does anything.

package import VineCore

/// What becomes of one task.
package enum PlannedUse: String, Sendable, CaseIterable {
  /// Its value of an earlier session counts.
  case reuse
  /// It was done, but its value was lost and something needs it.
  case again
  /// It runs, unless all its inputs come out with their earlier contents.
  case cutOff = "run?"
  case run
}

/// What the next `run` of a workflow would do.
package struct RunPlan: Sendable {
  /// The run it goes on with; nil: it would begin a new one.
  package let runPath: String?
  package let uses: [PlannedUse]
  /// Finished tasks that the description has no more.
  package let orphans: [String]
  package let notices: [String]

  /// Reads the journal of `chosen`, or of the latest unfinished run of `workflowPath`. Writes
  /// nothing.
  package static func make(
    _ workflow: Workflow, workflowPath: String, chosen: String?
  ) throws(RuntimeError) -> RunPlan {
    let run =
      chosen.map { RunDirectory(path: absolutePath($0)) }
      ?? RunDirectory.unfinished(of: workflowPath)
    guard let run, run.hasJournal else {
      return RunPlan(
        runPath: nil, uses: Array(repeating: .run, count: workflow.tasks.count), orphans: [],
        notices: [])
    }
    let journal = JournalDirectory("\(run.path)/journal")
    let lastWrite = journal.lastWrite
    let (prior, reading, _) = try journal.fold()
    if reading.verdict.exitStatus != 0 {
      throw RuntimeError(
        "read", run.path, detail: reading.verdict.text, exitStatus: reading.verdict.exitStatus)
    }
    let keys = WorkflowKeys(workflow)
    let continuation = Continuation(
      prior, workflow, keys, runPath: run.path, lastWrite: lastWrite)
    var manager = Manager(workflow)
    var effects: [ManagerEffect] = []
    manager.restore(continuation.restored, effects: &effects)
    var uses: [PlannedUse] = []
    for task in workflow.tasks.ids {
      let reuse = continuation.restored.reuse[task.index]
      if manager.state(of: task) == .done {
        uses.append(.reuse)
      } else {
        switch reuse {
        case .whole: uses.append(.again)
        case .conditional: uses.append(.cutOff)
        case .none: uses.append(.run)
        }
      }
    }
    return RunPlan(
      runPath: run.path, uses: uses, orphans: continuation.orphans,
      notices: continuation.notices)
  }
}
