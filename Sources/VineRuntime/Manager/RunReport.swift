// What a person sees of a run: problems when they happen, progress every few seconds, a summary.

internal import Glibc
internal import VineCore

/// Writes a line to standard error.
package func complain(_ text: String) {
  var line = text + "\n"
  _ = line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
}

/// Writes a line to standard output.
package func tell(_ text: String) {
  var line = text + "\n"
  _ = line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDOUT_FILENO) }
}

/// A number of bytes for people: `1.5 GB`, with 1 MB = 2^20 bytes.
func bytesText(_ count: Int64) -> String {
  if count < 1024 { return "\(count) B" }
  var value = Double(count) / 1024
  for unit in ["KB", "MB", "GB", "TB"] {
    if value < 1024 || unit == "TB" { return "\(decimal(value, 1)) \(unit)" }
    value /= 1024
  }
  return "\(count) B"
}

/// `value` with `places` decimals.
package func decimal(_ value: Double, _ places: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  var scale = 1.0
  for _ in 0..<places { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  let whole = Int64((scaled / scale).rounded(.down))
  let sign = value < 0 && scaled > 0 ? "-" : ""
  if places == 0 { return "\(sign)\(whole)" }
  let fraction = "\(Int64(scaled - Double(whole) * scale))"
  return "\(sign)\(whole).\(String(repeating: "0", count: places - fraction.count))\(fraction)"
}

/// Seconds as `12 s`, `3 min 20 s`, `2 h 5 min`.
func durationText(_ seconds: Double) -> String {
  if seconds < 10 { return "\(decimal(seconds, 1)) s" }
  let whole = Int(seconds.rounded())
  if whole < 60 { return "\(whole) s" }
  if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
  return "\(whole / 3600) h \(whole % 3600 / 60) min"
}

/// `SIGSEGV` and the like; the number where it has no common name.
func signalText(_ number: Int32) -> String {
  let names: [Int32: String] = [
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM",
    15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
  ]
  return names[number] ?? "signal \(number)"
}

extension Workflow {
  /// How an attempt of `task` ended, for people.
  func endingText(_ ending: Ending, of task: TaskID) -> String {
    switch ending {
    case .succeeded: "succeeded"
    case .exited(let status): "exit status \(status)"
    case .signaled(let signal): "killed by \(signalText(signal))"
    case .timedOut:
      "over its time limit of \(decimal(Double(tasks[task].timeoutMilliseconds) / 1000, 1)) s"
    case .missingOutput(let index): "missing output \(bindingText(outputs(of: task), index))"
    case .wrongOutputKind(let index):
      "output \(bindingText(outputs(of: task), index)) is not what was declared"
    case .changedInput(let index): "changed its input \(bindingText(inputs(of: task), index))"
    case .notStarted(let error): "could not be started: \(errorText(error))"
    case .sandboxFailed(let error): "sandbox: \(errorText(error))"
    case .inputUnavailable(let file, ESTALE):
      "input \(locationText(file)): its last copy was lost"
    case .inputUnavailable(let file, derivationFailedError):
      "input \(locationText(file)): it could not be made"
    case .inputUnavailable(let file, let error):
      "input \(locationText(file)): \(errorText(error))"
    case .outputNotWritten(let file, let error):
      "output \(locationText(file)) not written: \(errorText(error))"
    case .fitsNoNode: fitText(of: task)
    case .killed: "killed: the run was stopped"
    case .lost: "the rank it ran on was lost"
    case .raised: "the function raised an error"
    case .instanceLost: "its library died under it"
    case .setupFailed: "the library \(libraryText(of: task)) cannot be set up"
    case .noRoom(let megabytes):
      "its inputs, outputs and sandbox take \(megabytes) MB, for which no node has room (see "
        + "--cache-limit)"
    case .overDisk(let megabytes):
      "wrote \(megabytes) MB, but declares \(request(of: task).diskMB) MB of disk"
    }
  }

  private func bindingText(_ bindings: ArraySlice<Binding>, _ index: UInt32) -> String {
    let place = bindings.startIndex + Int(index)
    guard bindings.indices.contains(place) else { return "\(index)" }
    return String(text.string(bindings[place].name).prefix { $0 != "\0" })
  }

  /// The path of a file on the shared file system, or its id.
  func locationText(_ file: FileID) -> String {
    files[file].kind == .path ? text.string(files[file].location) : name(of: file)
  }

  private func fitText(of task: TaskID) -> String {
    let request = request(of: task)
    if request.gangRanks > 1 {
      return "asks for \(request.gangRanks) ranks with \(request.cores) "
        + "core\(request.cores == 1 ? "" : "s") each at once, which this run does not have"
    }
    var text = "asks for \(request.cores) core\(request.cores == 1 ? "" : "s")"
    if let memory = request.memoryMB { text += " and \(memory) MB of memory" }
    if request.diskMB > 0 { text += " and \(request.diskMB) MB of disk" }
    return text + ", which no node of this run has"
  }

  func libraryText(of task: TaskID) -> String {
    let id = library(of: task)
    return id == .none ? "" : name(of: id)
  }

  /// The command of `task` on one line.
  func commandText(of task: TaskID) -> String {
    let row = tasks[task]
    if row.commandKind.hasResult { return callText(of: task) }
    let full =
      row.commandKind == .argv
      ? text.list(row.command).joined(separator: " ") : text.string(row.command)
    let line = full.replacing("\n", with: "; ")
    return line.count > 200 ? "\(line.prefix(200)) ..." : line
  }
}

/// The last lines of a run.
func closingText(
  _ summary: SummaryFile, runDirectory: String, failures: [String], failedCount: Int
) -> String {
  let tasks = summary.tasks
  var counts = "\(tasks.done) of \(tasks.total) tasks done"
  if tasks.reused > 0 { counts += " (\(tasks.reused) by earlier sessions)" }
  if tasks.failed > 0 { counts += ", \(tasks.failed) failed" }
  if tasks.cancelled > 0 { counts += ", \(tasks.cancelled) not run" }
  if tasks.left > 0 { counts += ", \(tasks.left) left" }
  if summary.hiddenOutputs > 0 {
    counts += ", \(summary.hiddenOutputs) outputs not at their paths yet"
  }
  var lines = [
    "vine-mpi: \(counts) in \(durationText(summary.makespanSeconds)) on \(summary.cores) cores "
      + "of \(summary.nodes) node\(summary.nodes == 1 ? "" : "s") "
      + "(\(decimal(summary.coreUtilisation * 100, 0)) % busy)"
  ]
  let bytes = summary.bytes
  lines.append(
    "vine-mpi: \(bytesText(bytes.sharedFileSystemToNode)) read from the shared file system, "
      + "\(bytesText(bytes.nodeToNode)) between nodes, "
      + "\(bytesText(bytes.nodeToSharedFileSystem)) written back")
  if !failures.isEmpty {
    lines.append("vine-mpi: failed tasks (output: vine-mpi log \(runDirectory) TASK):")
    lines += failures.prefix(20).map { "  \($0)" }
    if failedCount > 20 { lines.append("  and \(failedCount - 20) more") }
  }
  lines.append("vine-mpi: \(statusText(summary.status)); details in \(runDirectory)")
  return lines.joined(separator: "\n")
}

/// What an exit status means (workflow.md's table).
func statusText(_ status: Int32) -> String {
  switch status {
  case 0: "all done"
  case 1: "some tasks failed"
  case 2: "refused"
  case 3: "interrupted before all was done; run the same command again to go on"
  case 4: "another vine-mpi owns the run"
  case 6: "the journal is corrupt"
  case 7: "the storage of the journal fails"
  case 8: "a task contradicts what it made before"
  case 9: "a run directory of another version or run"
  default: "ended with status \(status)"
  }
}
