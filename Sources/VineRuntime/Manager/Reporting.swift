// What a person is told while a run goes on.

internal import Glibc
internal import VineCore

/// A final failure of which people were not told yet.
struct HeldFailure {
  /// The number of its record.
  let record: Int
  let attempt: AttemptID
  let ending: Ending
}

extension ManagerLoop {
  func show(_ report: Report) {
    switch report {
    case .taskTriedAgain(let attempt, let ending):
      triedAgainCount += 1
      let text = core.workflow.endingText(ending, of: attempt.task)
      progress.interrupt()
      complain(
        "vine-mpi: task \(core.workflow.name(of: attempt.task)), attempt \(attempt.number): "
          + "\(text); trying again")
      notes[attempt.task] = nil
    case .taskFailed(let attempt, let ending):
      heldFailures.append(HeldFailure(record: appendedCount, attempt: attempt, ending: ending))
    case .valueLost(let task):
      repeatedCount += 1
      if repeatedCount > 20 { return }
      progress.interrupt()
      complain(
        "vine-mpi: what task \(core.workflow.name(of: task)) made was lost with its nodes; it runs "
          + "again")
    case .invalidated(let task, let cause):
      repeatedCount += 1
      if repeatedCount > 20 { return }
      progress.interrupt()
      complain(
        "vine-mpi: task \(core.workflow.name(of: task)) runs again: it used what "
          + "\(core.workflow.name(of: cause)) made, which came out differently when it was made anew"
      )
    case .diskFull(let node, let byteCount, let limit):
      progress.interrupt()
      complain(
        "vine-mpi: no disk has room for what is to run next. On \(directory.nodeNames[node.index]) "
          + "lie \(bytesText(byteCount)) of at most \(bytesText(limit)); the largest files there:")
    case .diskHolds(let file, let byteCount, _):
      complain("vine-mpi:   \(bytesText(byteCount))  \(core.workflow.locationText(file))")
    case .adoptionRefused(let file, let refusal, let node):
      if core.adoptionCounts.refusedCount > 20 { return }
      progress.interrupt()
      complain(
        "vine-mpi: \(directory.nodeNames[node.index]): what the session before left of "
          + "\(core.workflow.locationText(file)) is not used: \(refusal.text)")
    case .adoptionEnded: showAdoption()
    case .contradiction(let task, let other):
      progress.interrupt()
      complain(
        "vine-mpi: task \(core.workflow.name(of: task)) made two different values, and the first "
          + "was seen outside of the run already (through \(core.workflow.name(of: other))). It is "
          + "not as deterministic as it is declared, or its stored value was changed. The run stops; "
          + "published files hold the first value.")
    case .outputNotWritten(let file, let error):
      let text = "\(core.workflow.locationText(file)): \(reasonOfNotWriting(file, error))"
      // What could not be renamed stays: others may read it, and the next session tries again.
      if core.durableValue(of: file) == nil { discard(core.acceptedValue(of: file)) }
      unwritten.append(text)
      progress.interrupt()
      complain("vine-mpi: cannot write output \(text)")
    }
  }

  private func reasonOfNotWriting(_ file: FileID, _ error: Int32) -> String {
    switch error {
    case ESTALE:
      return "another task changed it before it was written; that task must declare it with "
        + "\"copy\": true"
    case changedByOthers:
      let task = core.workflow.name(of: core.workflow.files[file].producer)
      var text = "somebody else has changed it since this run began, so it is left as it is"
      if let (value, _) = core.durableValue(of: file) {
        text +=
          "; what task \(task) made is \(run.temporary(of: value, in: core.workflow)), and the next "
          + "start puts it there"
      }
      return text
    default: return errorText(error)
    }
  }

  private func showAdoption() {
    let counts = core.adoptionCounts
    if options.isQuiet || counts.adoptedCount + counts.refusedCount == 0 { return }
    progress.interrupt()
    var text =
      "vine-mpi: taken from caches of the session before: \(counts.adoptedCount) values "
      + "(\(bytesText(counts.adoptedByteCount)))"
    let refused = AdoptionRefusal.allCases.filter { counts[$0] > 0 }
      .map { "\(counts[$0]) \($0.text)" }
    if !refused.isEmpty { text += "; not used: \(refused.joined(separator: ", "))" }
    tell(text)
  }

  /// Says which tasks have failed, once no crash can undo it any more.
  func showFailures(upTo record: Int) {
    let safe = heldFailures.prefix { $0.record <= record }
    for failure in safe { showFailure(of: failure.attempt, failure.ending) }
    heldFailures.removeFirst(safe.count)
  }

  private func showFailure(of attempt: AttemptID, _ ending: Ending) {
    let task = attempt.task
    let note = notes.removeValue(forKey: task)
    failedCount += 1
    let name = core.workflow.name(of: task)
    let text = core.workflow.endingText(ending, of: task)
    if failures.count < 20 { failures.append("\(name): \(text)") }
    // A thousand failures have one cause more often than a thousand.
    if failedCount > 20 { return }
    progress.interrupt()
    var lines = ["vine-mpi: task \(name) failed: \(text)"]
    lines.append("  command: \(core.workflow.commandText(of: task))")
    if let node = failedNodes.removeValue(forKey: task) {
      lines.append("  node: \(node), attempt \(attempt.number)")
    }
    if ending == .setupFailed, let note = libraryNotes[core.workflow.library(of: task)] {
      lines.append("  \(note.error)")
      for line in note.traceback.split(separator: "\n").suffix(20) { lines.append("    | \(line)") }
    }
    if let note, !note.reason.isEmpty { lines.append("  \(note.reason)") }
    if let note, !note.errorTail.isEmpty {
      lines.append(ending == .raised ? "  traceback:" : "  end of its standard error:")
      let tail = String(decoding: note.errorTail, as: UTF8.self)
      for line in tail.split(separator: "\n").suffix(20) { lines.append("    | \(line)") }
    }
    if failedCount == 20 { lines.append("vine-mpi: further failures are in the journal only") }
    complain(lines.joined(separator: "\n"))
  }
}

extension AdoptionRefusal {
  /// What is wrong with a file that a dead session left, for people.
  var text: String {
    switch self {
    case .foreign: "no value of the run"
    case .unneeded: "not needed"
    case .unknownContent: "without a digest"
    case .otherSize: "of another size"
    case .damaged: "damaged"
    case .unreadable: "unreadable"
    case .late: "too late"
    }
  }

  /// Its name in `summary.json`.
  var key: String {
    switch self {
    case .foreign: "foreign"
    case .unneeded: "unneeded"
    case .unknownContent: "unknownContent"
    case .otherSize: "otherSize"
    case .damaged: "damaged"
    case .unreadable: "unreadable"
    case .late: "late"
    }
  }
}
