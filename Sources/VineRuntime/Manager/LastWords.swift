// What a session leaves behind when it ends: its close in the journal, summary and outcome.

internal import Glibc
internal import VineCore

extension ManagerLoop {
  /// Writes what remains of a run, and returns its exit status.
  func finishOrComplain() -> Int32 {
    do throws(RuntimeError) { return try finish() } catch {
      complain("vine-mpi: \(error)")
      return max(outcome?.exitStatus ?? 1, 1)
    }
  }

  func finish() throws(RuntimeError) -> Int32 {
    guard let outcome else { return 1 }
    var status = isInterrupted ? 3 : outcome.exitStatus
    let reason: SessionClose.Reason =
      status == 3 ? (closing.isByTime ? .walltime : .drained) : status == 0 ? .ended : .error
    try recorder.close(
      SessionClose(
        reason: reason, status: status, doneCount: UInt64(outcome.doneCount),
        failedCount: UInt64(outcome.failedCount)))
    showFailures(upTo: appendedCount)
    if recorder.failure != nil && status != 2 { status = 7 } else { removeStrays() }
    try recorder.writeDigests(of: core)
    let summary = summary(of: outcome, status: status)
    try run.write(summary)
    try run.write(OutcomeFile(status: status, epoch: Int(recorder.epoch), text: statusText(status)))
    if !options.isQuiet {
      tell(
        closingText(
          summary, runDirectory: run.path, failures: failures, failedCount: failedCount))
    }
    return status
  }

  /// Where an attempt, a rank or a session may have died while it wrote beside an output, what nobody
  /// will publish is removed. Everybody has left.
  private func removeStrays() {
    guard isContinued || directory.hasLosses || !unwritten.isEmpty else { return }
    if closing.isByTime { return }
    let workflow = core.workflow
    var kept: Set<String> = []
    var targets: [String] = []
    for file in workflow.files.ids where workflow.files[file].isPublished {
      targets.append(workflow.locationText(file))
      guard let (value, standing) = core.durableValue(of: file), standing != .published else {
        continue
      }
      kept.insert(run.temporary(of: value, in: workflow))
    }
    run.copyNames.removeStrays(beside: targets, except: kept)
  }

  func summary(of outcome: Outcome, status: Int32) -> SummaryFile {
    let first = recorder.firstStart ?? .zero
    let makespan = max(Double(recorder.lastEnd.since(first)) / 1e9, 0)
    let cores = max(core.coreCount, 1)
    var summary = SummaryFile(
      name: core.workflow.name, status: status, version: BuildIdentity.text,
      mpi: mpi == nil ? "none" : mpiLibraryVersion(), nodes: core.nodeCount,
      ranks: mpi?.size ?? 1, cores: core.coreCount, makespanSeconds: makespan,
      wallSeconds: Double(monotonicNanoseconds() - startedAt) / 1e9,
      coreUtilisation: makespan > 0
        ? recorder.coreNanoseconds / 1e9 / (makespan * Double(cores)) : 0,
      taskCPUSeconds: Double(recorder.cpuMicroseconds) / 1e6)
    summary.tasks = SummaryFile.Tasks(
      total: core.workflow.tasks.count, done: outcome.doneCount, failed: outcome.failedCount,
      cancelled: outcome.cancelledCount, left: outcome.leftCount, triedAgain: triedAgainCount,
      reused: core.progress.reusedCount)
    summary.bytes.sharedFileSystemToNode = totals.sharedReadByteCount
    summary.bytes.nodeToNode = totals.receivedByteCount
    summary.bytes.nodeToSharedFileSystem = totals.sharedWrittenByteCount
    summary.sharedFileSystemReads = totals.sharedReadCount
    summary.bytes.throughManager = mailbox.movedByteCount
    summary.bytes.inline = traffic.inlineByteCount
    summary.files = traffic.files(of: core.workflow, countMax: SummaryFile.filesMax)
    for (index, name) in directory.nodeNames.enumerated() {
      let node = NodeID(index: index)
      let limit = core.topology(of: node).disk.byteCountMax
      summary.caches.append(
        SummaryFile.Cache(
          node: name, limitBytes: limit == .max ? nil : limit,
          peakBytes: core.peakCacheByteCount(of: node)))
    }
    summary.evictions = core.evictionCount
    summary.evictedBytes = core.evictedByteCount
    summary.spareCopies = core.spareCount
    summary.tasksThatWaited = core.patientCount
    let adoption = core.adoptionCounts
    if adoption.adoptedCount + adoption.refusedCount > 0 {
      var refused: [String: Int] = [:]
      for refusal in AdoptionRefusal.allCases where adoption[refusal] > 0 {
        refused[refusal.key] = adoption[refusal]
      }
      summary.adopted = SummaryFile.Adopted(
        values: adoption.adoptedCount, bytes: adoption.adoptedByteCount, refused: refused)
    }
    summary.unwrittenOutputs = unwritten
    summary.hiddenOutputs = outcome.hiddenOutputCount
    summary.lostRanks = directory.lostRanks
    if !core.workflow.libraries.isEmpty { summary.libraries = calls.summary(of: core) }
    calls.flush()
    return summary
  }

  /// No time is left: say what is known and go.
  package func abandon() {
    // The launcher's way of saying that all is over.
    if partingDeadline != nil { return }
    complain("vine-mpi: stopped by a signal; the run is in \(run.path)")
    try? recorder.close(
      SessionClose(
        reason: .signal, status: 3, doneCount: UInt64(core.progress.doneCount),
        failedCount: UInt64(core.progress.failedCount)), timeoutNanoseconds: 300_000_000)
    try? run.write(
      OutcomeFile(status: 3, epoch: Int(recorder.epoch), text: statusText(3)))
  }
}
