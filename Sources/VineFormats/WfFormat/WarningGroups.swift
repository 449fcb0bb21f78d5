// Warnings of recorded workflows: thousands of the same kind become one line with examples.

/// What is odd about a recorded workflow, but no reason to refuse it.
enum WarningKind: String, CaseIterable {
  case version = "this schemaVersion is not known; read by its layout"
  case noVersion = "there is no schemaVersion; read by its layout"
  case repeated = "names that are listed twice"
  case oldID = "ids that two tasks have"
  case fileWithoutSize = "files without a size (taken as empty)"
  case sizeConflict = "files with two sizes (the larger counts)"
  case duplicateFile = "files that are declared twice"
  case fileNotDeclared = "files that tasks use but `files` does not declare (no size)"
  case fileRewritten = "files that a task both reads and writes"
  case fileUpdatedInPlace = "files that one task makes and another changes"
  case fileName = "file ids with characters that WfFormat does not allow"
  case fileAndDirectory = "files that are directories of other files at the same time"
  case noExecution = "there is no `execution`, so no runtimes"
  case recordOfUnknownTask = "records in `execution` of tasks that are not specified"
  case secondRecord = "tasks with a second record in `execution` (ignored)"
  case taskName = "task ids with characters that WfFormat does not allow"
  case noRecord = "tasks without a record in `execution`"
  case noRuntime = "tasks without a usable runtime (taken as 0)"
  case noCommand = "tasks without a command (they can be replayed, not run)"
  case unknownMachine = "records that name an unknown machine"
  case parentsDisagree = "edges that only parents or only children tell (both are used)"
  case edgeNotDeclared = "tasks that need a file of another one without saying so (implied)"
}

struct WarningGroups {
  private struct Group {
    var count = 0
    var examples: [String] = []
  }

  private var groups: [WarningKind: Group] = [:]

  /// Counts one more of a kind; `example` names its subject, if it has one.
  mutating func add(_ kind: WarningKind, _ example: String) {
    groups[kind, default: Group()].count += 1
    if !example.isEmpty && groups[kind, default: Group()].examples.count < 3 {
      groups[kind, default: Group()].examples.append(example)
    }
  }

  /// One warning per kind.
  var problems: [WorkflowProblem] {
    WarningKind.allCases.compactMap { kind in
      guard let group = groups[kind] else { return nil }
      if group.examples.isEmpty { return WorkflowProblem("workflow", kind.rawValue) }
      let rest = group.count - group.examples.count
      let more = rest > 0 ? " and \(rest) more" : ""
      return WorkflowProblem(
        "workflow", "\(kind.rawValue): \(group.examples.joined(separator: ", "))\(more)")
    }
  }
}
