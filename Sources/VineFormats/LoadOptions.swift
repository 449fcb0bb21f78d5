// How a description is to be read, and what comes of it.

package import VineCore

/// The layouts that are read.
package enum WorkflowFormat: String, Sendable, CaseIterable {
  /// workflow.json, schema vine-workflow/1.
  case native
  /// The same objects one per line: a header, then `{"task": ...}` and `{"file": ...}`.
  case jsonl
  /// WfCommons' WfFormat, 1.0 to 1.6, recorded instances and WfBench specifications.
  case wfformat
  /// One shell line per task.
  case tasklist
}

/// What the caller is going to do with the workflow.
package enum LoadMode: Sendable { case check, run, replay, simulate }

package struct LoadOptions: Sendable {
  /// Overrides the guess.
  package var format: WorkflowFormat?
  package var mode = LoadMode.check
  /// The absolute directory of the description: relative `path` files start there. Nil takes it
  /// from the description's path and `submitDirectory`.
  package var baseDirectory: String?
  /// The absolute directory in which vine-mpi was called.
  package var submitDirectory = "/"
  /// What each line of a task list asks for, its limit (0 is none) and its retries.
  package var taskListRequest = Request()
  package var taskListTimeoutMilliseconds: UInt32 = 0
  package var taskListRetries: UInt16 = 0

  package init() {}
}

/// A description that was accepted.
package struct LoadedWorkflow: Sendable {
  /// What to run; for a recorded instance, what to simulate (see `recorded`).
  package var workflow: Workflow
  package var format: WorkflowFormat
  /// Odd, but no reason to refuse; to be shown.
  package var warnings: [WorkflowProblem] = []
  /// Correct, but not run by this version: `run` refuses with these.
  package var unsupported: [WorkflowProblem] = []
  /// A WfFormat file as it was read: replays and simulations are made from it.
  package var recorded: RecordedWorkflow?

  package init(workflow: Workflow, format: WorkflowFormat) {
    self.workflow = workflow
    self.format = format
  }
}
