// How fast small records become durable, through all that a run's records go through.

internal import VineCore

/// Begins a journal in `runPath`, an empty directory, and appends `count` records of finished tasks as
/// a manager's loop does. Returns the seconds until the last of them was durable.
package func measureJournal(in runPath: String, count: UInt32) throws(RuntimeError) -> Double {
  let file = try JournalDirectory.open(runPath, .newRun, SessionInfo()).file
  let start = monotonicNanoseconds()
  for task in 0..<count {
    file.append(
      .done(
        DoneEntry(
          task: TaskNumber(task), attempt: 1, rank: 1, completion: Completion(.succeeded),
          inputs: [.inline], outputByteCounts: [1])))
    // As many as a turn of the loop hears of at once.
    if task % 64 == 63 { _ = file.poll() }
  }
  while !file.syncNow() {
    if file.end != nil { throw RuntimeError("write the journal", runPath) }
  }
  return Double(monotonicNanoseconds() - start) / 1e9
}
