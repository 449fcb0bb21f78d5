// Watches that nothing is made again that was found in the caches of a dead session.

import VineCore

/// What of a session's inheritance was found, and what must not be made again for that.
struct AdoptionChecker {
  private var isRestored: Set<TaskID> = []
  /// Files of which there is a copy.
  private var isThere: Set<FileID> = []
  private var complete: Set<TaskID> = []
  /// Tasks of which all that is not durable may be found, as far as the journal knows.
  private var mayBeFound: Set<TaskID> = []

  init() {}

  init(_ restored: RestoredRun, of workflow: Workflow) {
    for (index, reuse) in restored.reuse.enumerated() where reuse == .whole {
      isRestored.insert(TaskID(index: index))
    }
    for copy in restored.durable { isThere.insert(copy.file) }
    for task in isRestored {
      let isKnown = workflow.outputs(of: task).allSatisfy { output in
        isThere.contains(output.file)
          || (restored.hashes[output.file]?.isKnown ?? false
            && !workflow.files[output.file].isDirectory)
      }
      if isKnown { mayBeFound.insert(task) }
    }
  }

  /// Whether a task must not run before all nodes have said what they have.
  func isAwaited(_ task: TaskID) -> Bool { mayBeFound.contains(task) }

  mutating func found(_ file: FileID, in workflow: Workflow) {
    let producer = workflow.files[file].producer
    guard producer != .none else { return }
    isThere.insert(file)
    guard isRestored.contains(producer),
      workflow.outputs(of: producer).allSatisfy({ isThere.contains($0.file) })
    else { return }
    complete.insert(producer)
  }

  /// The manager let go of it: it may be needed again when something else comes out differently.
  mutating func dropped(_ file: FileID, in workflow: Workflow) {
    let producer = workflow.files[file].producer
    if producer != .none { complete.remove(producer) }
  }

  /// The task's value counts no more.
  mutating func invalidated(_ task: TaskID) {
    isRestored.remove(task)
    mayBeFound.remove(task)
    complete.remove(task)
  }

  /// With a rank that died anything may be gone.
  mutating func lostSomething() {
    isRestored = []
    mayBeFound = []
    complete = []
  }

  /// Whether all that a task made is there, so that it must not run.
  func isComplete(_ task: TaskID) -> Bool { complete.contains(task) }
}
