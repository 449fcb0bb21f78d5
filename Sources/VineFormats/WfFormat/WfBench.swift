// WfBench specifications: WfFormat files whose tasks are calls of the program `wfbench`, so that
// they can be run, not only replayed.

import FoundationEssentials
package import VineCore

extension RecordedWorkflow {
  /// Whether every task calls wfbench.
  package var isWfBench: Bool {
    tasks.allSatisfy { task in
      task.program == "wfbench" || task.program?.hasSuffix("/wfbench") == true
    }
  }

  /// The specification as a workflow that runs: each task in a sandbox with its files under their
  /// ids, sources and finals below `baseDirectory`.
  package func executableWorkflow(
    path: String, baseDirectory: String
  ) throws(WorkflowError) -> Workflow {
    guard isWfBench else { throw Self.notExecutable(path: path) }
    var problems = ProblemList()
    for file in files {
      if let problem = sandboxNameProblem(file.id) {
        problems.add(place("workflow.files", file.id), problem)
      }
      if file.isUpdatedInPlace || !file.producers.allSatisfy({ !file.consumers.contains($0) }) {
        problems.add(place("workflow.files", file.id), "a file that is updated in place is not run")
      }
    }
    var commands: [WfBenchCommand] = []
    for task in tasks {
      if let command = WfBenchCommand(task) {
        commands.append(command)
      } else {
        problems.add(
          place("workflow.tasks", task.id), "the arguments are not as WfBench writes them")
      }
    }
    if !problems.isEmpty { throw problems.error(path: path) }
    var plan = Plan()
    plan.usesCores = true
    plan.byteCount = { byteCount(of: $0, bytesScale: 1, byteCountMax: 1 << 53) }
    plan.location = { number in absolutePath(files[number].id, base: baseDirectory) }
    plan.command = { index, task, draft, workflow in
      draft.commandKind = .argv
      draft.command = commands[index].argv
      for (name, content) in commands[index].files {
        var id = "\(name) of \(task.id)"
        while workflow.fileID(named: id) != nil { id += "'" }
        let file = try? workflow.appendFile(
          id: id, kind: .buffer, content: Array(content.utf8), lifetime: .task,
          byteCountHint: Int64(content.utf8.count), isInternal: true)
        if let file { draft.inputs.append(BindingDraft(file, name: name)) }
      }
    }
    return workflow(by: plan)
  }

  /// Why a recorded instance is not run.
  static func notExecutable(path: String) -> WorkflowError {
    WorkflowError(
      path: path,
      problems: [
        WorkflowProblem(
          "workflow",
          "this is a recorded instance: its commands are records, not programs. Play it with "
            + "`vine-mpi run --replay \(path)`, or look at it with `vine-mpi simulate \(path)`")
      ])
  }
}

/// One call of wfbench as it is started.
struct WfBenchCommand {
  var argv: [String]
  /// Arguments that are too long for Linux, as files beside it; wfbench reads them from there.
  var files: [(name: String, content: String)] = []

  /// Each recorded argument is a flag, or a flag, a space and its value; the two lists of files are
  /// Python literals. Nil when one is neither.
  init?(_ task: RecordedWorkflow.Task) {
    guard let program = task.program else { return nil }
    argv = [program]
    for argument in task.arguments {
      guard let space = argument.firstIndex(of: " ") else {
        argv.append(argument)
        continue
      }
      let flag = String(argument[..<space])
      var value = String(argument[argument.index(after: space)...])
      if ["--output-files", "--input-files"].contains(flag), let first = value.utf8.first,
        first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
      {
        guard let json = pythonLiteralAsJSON(value) else { return nil }
        value = json
        if value.utf8.count >= Limits.argumentByteCountMax {
          guard value.utf8.count < Limits.textByteCountMax else { return nil }
          let name = String(flag.dropFirst(2)) + ".json"
          files.append((name, value))
          value = name
        }
      }
      guard value.utf8.count < Limits.argumentByteCountMax, !value.utf8.contains(0) else {
        return nil
      }
      argv += [flag, value]
    }
  }
}

/// A Python list or dictionary of texts and numbers as JSON; nil when `text` is something else.
func pythonLiteralAsJSON(_ text: String) -> String? {
  var json = ""
  var rest = text.unicodeScalars[...]
  while let scalar = rest.popFirst() {
    guard scalar == "'" || scalar == "\"" else {
      json.unicodeScalars.append(scalar)
      continue
    }
    json += "\""
    var isClosed = false
    while let inner = rest.popFirst() {
      if inner == scalar {
        isClosed = true
        break
      }
      if inner == "\\" {
        guard let escape = pythonEscape(&rest) else { return nil }
        json += escapedForJSON(escape)
      } else {
        json += escapedForJSON(inner)
      }
    }
    guard isClosed else { return nil }
    json += "\""
  }
  let isValid = (try? checkSyntax(of: Data(json.utf8))) != nil
  return isValid ? json : nil
}

/// The character of an escape whose backslash was taken.
private func pythonEscape(_ rest: inout Substring.UnicodeScalarView) -> Unicode.Scalar? {
  guard let letter = rest.popFirst() else { return nil }
  let digitCounts: [Unicode.Scalar: Int] = ["x": 2, "u": 4, "U": 8]
  if let count = digitCounts[letter] {
    let digits = rest.prefix(count)
    guard digits.count == count, let value = UInt32(String(digits), radix: 16) else { return nil }
    rest = rest.dropFirst(count)
    return Unicode.Scalar(value)
  }
  switch letter {
  case "n": return "\n"
  case "t": return "\t"
  case "r": return "\r"
  case "\\", "'", "\"": return letter
  default: return nil
  }
}

private func escapedForJSON(_ scalar: Unicode.Scalar) -> String {
  switch scalar {
  case "\"": return "\\\""
  case "\\": return "\\\\"
  case _ where scalar.value < 0x20:
    let digits = String(scalar.value, radix: 16)
    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
  default: return String(Character(scalar))
  }
}
