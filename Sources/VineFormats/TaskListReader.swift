// Reads a plain task list: every line is a shell command, as GNU parallel and TACC's Launcher take
// it. Each runs under bash in the submit directory.

import FoundationEssentials
import VineCore

struct TaskListReader {
  var workflow = Workflow()

  /// Empty lines and lines that start with "#" are skipped; a last line without newline counts.
  static func read(
    list: Data, path: String, options: LoadOptions
  ) throws(ReadFailure) -> TaskListReader {
    var reader = TaskListReader()
    var problems = ProblemList()
    var lines: [(number: Int, text: String)] = []
    list.withUnsafeBytes { bytes in
      for (index, range) in lineRanges(of: list).enumerated() {
        var line = UnsafeBufferPointer(rebasing: bytes.bindMemory(to: UInt8.self)[range])
        if line.last == UInt8(ascii: "\r") { line = UnsafeBufferPointer(rebasing: line.dropLast()) }
        guard let first = line.first(where: { !isBlank($0) }), first != UInt8(ascii: "#") else {
          continue
        }
        if let wrong = problem(with: line) {
          problems.add("line \(index + 1)", wrong)
        } else {
          lines.append((index + 1, String(decoding: line, as: UTF8.self)))
        }
      }
    }
    if !problems.isEmpty { throw ReadFailure(problems) }
    if lines.isEmpty {
      throw ReadFailure("", "there are no tasks: every line is empty or a comment")
    }
    let name = path.split(separator: "/").last.map(String.init) ?? "tasks"
    reader.workflow.name = name.utf8.contains(0) ? "tasks" : name
    reader.workflow.reserveCapacity(tasks: lines.count, files: 0)
    for (index, line) in lines.enumerated() {
      reader.append(line, position: index + 1, count: lines.count, options)
    }
    return reader
  }

  private static func problem(with line: UnsafeBufferPointer<UInt8>) -> String? {
    if line.contains(0) { return "the line holds a NUL character; this is not a list of commands" }
    if line.count >= Limits.argumentByteCountMax {
      return "the line has \(line.count) bytes; Linux takes less than "
        + "\(Limits.argumentByteCountMax) in one command: put it into a script"
    }
    return isUTF8(line) ? nil : "the line is not UTF-8 text"
  }

  /// The variables that depend on the worker a task runs on (LAUNCHER_TSK_ID, _NPROCS, _NHOSTS,
  /// _PPN, PARALLEL_JOBSLOT) are set where the task is started.
  private mutating func append(
    _ line: (number: Int, text: String), position: Int, count: Int, _ options: LoadOptions
  ) {
    var draft = TaskDraft(id: "line-\(line.number)")
    draft.commandKind = .bash
    draft.command = [line.text]
    draft.environment = [
      "LAUNCHER_JID=\(position)", "LAUNCHER_NJOBS=\(count)",
      "LAUNCHER_WORKDIR=\(options.submitDirectory)", "PARALLEL_SEQ=\(position)",
    ]
    draft.request = options.taskListRequest
    draft.timeoutMilliseconds = options.taskListTimeoutMilliseconds
    draft.retries = options.taskListRetries
    draft.usesSandbox = false
    // Line numbers differ, so no id is taken.
    _ = try? workflow.appendTask(draft)
  }
}
