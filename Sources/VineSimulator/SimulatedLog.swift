// What of a run outlives its manager: the records that reached the disk, and what they come to. The
// simulator's own reading of the journal, from the rules in its format and not from the core.

import VineCore

/// One record as it was written.
struct LogRow {
  let record: JournalRecord
  /// Of `done`: the accepted values of its inputs.
  let inputs: [FileValue]
  /// The attempt that the journal names the record's file or task by.
  let accepted: UInt32
  /// Rows with one number are durable together or not at all; 0 stands alone.
  let group: Int
}

/// The records of all sessions, and how many of them are surely durable.
struct SimulatedLog {
  private(set) var rows: [LogRow] = []
  /// What the sessions so far wrote before this one.
  private var earlierCount = 0
  private var syncedCount = 0
  private var groupDepth = 0
  private var lastGroup = 0

  mutating func beginGroup() {
    if groupDepth == 0 { lastGroup += 1 }
    groupDepth += 1
  }

  mutating func endGroup() { groupDepth -= 1 }

  mutating func append(_ record: JournalRecord, inputs: [FileValue], accepted: UInt32) {
    rows.append(
      LogRow(
        record: record, inputs: inputs, accepted: accepted,
        group: groupDepth > 0 ? lastGroup : 0))
  }

  /// The number of the last record of this session, as the manager counts them.
  var count: Int { rows.count - earlierCount }

  mutating func synced(upTo record: Int) {
    syncedCount = max(syncedCount, min(earlierCount + record, rows.count))
  }

  /// Whether a crash would leave the intent to publish a value.
  func hasDurableIntent(_ value: FileValue) -> Bool {
    rows[..<syncedCount].contains { row in
      if case .publishIntent(value) = row.record { return true }
      return false
    }
  }

  /// The manager is gone, and with it what the disk had not yet.
  mutating func crash(_ random: inout PRNG, _ report: (String) -> Void) {
    var disk = SimulatedDisk()
    let kept = disk.crash(rows, syncedCount: syncedCount, &random, report)
    // What must not be was reported; the simulation goes on with what can be.
    rows.removeLast(rows.count - min(max(kept, syncedCount), rows.count))
    endSession()
  }

  /// The session ended in order: everything is durable.
  mutating func endSession() {
    earlierCount = rows.count
    syncedCount = rows.count
    groupDepth = 0
  }
}

/// What a log comes to.
struct LogFold {
  struct Copy {
    /// Names the bytes.
    var attempt: UInt32
    var isPublished: Bool
    var isJournaled = false
  }

  /// The accepted attempt of each task; 0: none.
  private(set) var done: [UInt32]
  private(set) var last: [UInt32]
  private var inputs: [[FileValue]]
  private(set) var copies: [FileID: Copy] = [:]
  private(set) var hashes: [FileID: ContentHash] = [:]
  private var invalidated: Set<AttemptID> = []

  init(taskCount: Int) {
    done = Array(repeating: 0, count: taskCount)
    last = done
    inputs = Array(repeating: [], count: taskCount)
  }

  /// Takes in a row; says what is wrong with it.
  mutating func apply(_ row: LogRow, _ workflow: Workflow) -> String? {
    switch row.record {
    case .done(let attempt, _, _, _), .reused(let attempt):
      let task = attempt.task
      if done[task.index] != 0 { return "the log says twice that \(task) is done" }
      if invalidated.contains(attempt) { return "\(attempt) is done after it was invalidated" }
      done[task.index] = attempt.number
      last[task.index] = max(last[task.index], attempt.number)
      inputs[task.index] = row.inputs
    case .failed(let attempt, _):
      if done[attempt.task.index] != 0 {
        return "the log has \(attempt.task) fail while it is done"
      }
      last[attempt.task.index] = max(last[attempt.task.index], attempt.number)
    case .invalidated(let attempt, _):
      invalidated.insert(attempt)
      last[attempt.task.index] = max(last[attempt.task.index], attempt.number)
      guard done[attempt.task.index] == attempt.number else { return nil }
      done[attempt.task.index] = 0
      for output in workflow.outputs(of: attempt.task) {
        copies[output.file] = nil
        hashes[output.file] = nil
      }
    case .hashed(let value, _, let hash):
      if counts(value.file, row, workflow) { hashes[value.file] = hash }
    case .committed(let value, _):
      if counts(value.file, row, workflow) {
        copies[value.file] = Copy(attempt: value.attempt, isPublished: false)
      }
    case .publishIntent: break
    case .published(let value):
      if counts(value.file, row, workflow) {
        copies[value.file] = Copy(attempt: value.attempt, isPublished: true)
      }
    case .result(let value, _):
      if counts(value.file, row, workflow) {
        copies[value.file] = Copy(attempt: value.attempt, isPublished: false, isJournaled: true)
      }
    }
    return nil
  }

  private func counts(_ file: FileID, _ row: LogRow, _ workflow: Workflow) -> Bool {
    let producer = workflow.files[file].producer
    return done[producer.index] != 0 && done[producer.index] == row.accepted
  }

  /// Whether a done task read what its producers' tasks are accepted with; asked in order of tasks.
  func isWhole(_ task: TaskID, _ workflow: Workflow, producers: [RestoredRun.Reuse]) -> Bool {
    guard done[task.index] != 0 else { return false }
    for (place, input) in workflow.inputs(of: task).enumerated() {
      let producer = workflow.files[input.file].producer
      guard producer != .none else { continue }
      guard producers[producer.index] == .whole, place < inputs[task.index].count,
        inputs[task.index][place].attempt == done[producer.index]
      else { return false }
    }
    return true
  }
}
