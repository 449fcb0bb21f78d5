// What can be checked only when every file and task is known.

import FoundationEssentials
import VineCore

extension NativeReader {
  /// Resolves references, then looks for what does not fit together; throws all problems.
  mutating func finish() throws {
    if workflow.tasks.isEmpty && problems.isEmpty {
      problems.add("tasks", "there are no tasks")
    }
    if !openLibraries.isEmpty { enterLibraries() }
    appendPackTasks()
    resolveReferences()
    checkResults()
    checkTemporaryFiles()
    warnOfForever()
    checkPublishedPaths()
    if problems.isEmpty, case .cycle(let tasks) = workflow.topologicalOrder() {
      problems.add("tasks", cycleMessage(tasks, in: workflow))
    }
    if !problems.isEmpty { throw ReadFailure(problems) }
  }

  /// Warns of files that nobody declares or makes and that are not on disk: misspelt names, mostly.
  /// Looks at a bounded number, since the shared file system may be slow.
  mutating func warnOfMissingFiles() {
    let sources = impliedFiles.lazy.filter { [workflow] in
      // What only an unused derived file needs has no consumer.
      workflow.files[$0].producer == .none && workflow.files[$0].firstConsumer != .max
    }
    for file in sources.prefix(10_000) {
      let path = workflow.text.string(workflow.files[file].location)
      if FileManager.default.fileExists(atPath: path) { continue }
      let implied = Set(impliedFiles)
      let known = workflow.files.ids.lazy.filter { [workflow] in
        !implied.contains($0) || workflow.files[$0].producer != .none
      }.map { [workflow] in workflow.name(of: $0) }
      let id = workflow.name(of: file)
      let consumer = workflow.bindings[Int(workflow.files[file].firstConsumer)].task
      warnings.add(
        place("files", id),
        "no task makes this file, `files` does not declare it, and there is no \(quoted(path)); "
          + "the task \(quoted(workflow.name(of: consumer))) needs it",
        suggestion: suggestion(for: id, among: known))
    }
  }

  private mutating func resolveReferences() {
    for reference in references {
      let name = referenceText.string(reference.name)
      if let predecessor = workflow.taskID(named: name) {
        workflow.appendControlEdge(from: predecessor, to: reference.task)
        continue
      }
      let number = reference.position
      let task = isJSONLines ? "line \(number): task" : "tasks[\(number)]"
      problems.add(
        "\(task).after[\(reference.index)]",
        "there is no task \(quoted(name))", suggestion: suggestion(for: name, among: taskNames))
    }
    references = []
    referenceText = TextArena()
  }

  /// What a task makes has no name under which another run could look for it.
  private mutating func warnOfForever() {
    for file in workflow.files.ids where workflow.files[file].lifetime == .forever {
      guard workflow.files[file].producer != .none else { continue }
      warnings.add(
        place("files", workflow.name(of: file)),
        "a task makes this file, so \"cache\": \"forever\" keeps it no longer than \"worker\"")
    }
  }

  private mutating func checkTemporaryFiles() {
    for file in workflow.files.ids {
      let row = workflow.files[file]
      guard row.kind == .temp, row.producer == .none, madeFiles[file] == nil, !row.isInternal
      else { continue }
      let id = workflow.name(of: file)
      guard row.firstConsumer != .max else {
        warnings.add(place("files", id), "nothing makes or uses this temp file")
        continue
      }
      let consumer = workflow.name(of: workflow.bindings[Int(row.firstConsumer)].task)
      problems.add(
        place("files", id),
        "no task makes this temp file, but the task \(quoted(consumer)) needs it")
    }
  }

  /// Two files with one path, one of them made by a task, would race.
  private mutating func checkPublishedPaths() {
    var index = TextIndex()
    var clashes: [(FileID, FileID)] = []
    for published in [true, false] {
      for file in workflow.files.ids {
        let row = workflow.files[file]
        guard row.kind == .path, row.isPublished == published else { continue }
        if published {
          if !index.insert(
            file.index, in: workflow.text, name: { workflow.files[FileID(index: $0)].location }),
            let first = owner(of: row.location, index)
          {
            clashes.append((file, first))
          }
        } else if let first = owner(of: row.location, index) {
          clashes.append((file, first))
        }
      }
    }
    for (file, first) in clashes {
      problems.add(
        place("files", workflow.name(of: file)),
        "has the path of files.\(workflow.name(of: first)), which a task makes; "
          + "use that one id in both places")
    }
  }

  private func owner(of location: TextRef, _ index: TextIndex) -> FileID? {
    index.find(workflow.text.string(location), in: workflow.text) {
      workflow.files[FileID(index: $0)].location
    }.map { FileID(index: $0) }
  }
}

/// Names the tasks of a cycle, each before the one that needs it.
func cycleMessage(_ tasks: [TaskID], in workflow: Workflow) -> String {
  let names = tasks.prefix(10).map { quoted(workflow.name(of: $0)) }
  let rest = tasks.count > 10 ? " -> ... (\(tasks.count) tasks)" : ""
  return "these tasks wait for each other: \(names.joined(separator: " -> "))\(rest)"
    + " -> \(names.first ?? "")"
}
