// Where the time of each call goes, from the moment it could run until its result was there.

internal import Glibc
internal import VineCore

/// Sums over the calls of one library. The parts of a call add up to its whole time.
struct LibrarySummary: Codable, Equatable {
  /// Instances that were set up.
  var setups = 0
  /// Accepted calls; a chunk of a map is one.
  var calls = 0
  /// Of these, the ones that waited for a set-up.
  var cold = 0
  /// Waiting for a slot, at the manager and behind other calls.
  var queueSeconds = 0.0
  /// Files on their way.
  var transferSeconds = 0.0
  var setupSeconds = 0.0
  var runSeconds = 0.0
  /// From the end of the function until the manager knew of it.
  var returnSeconds = 0.0
}

/// The calls that are under way, the sums of those that were, and a row for each if asked for.
struct CallAccounts {
  private struct Row {
    let attempt: AttemptID
    let allocation: AllocationID
    let ready: Instant
    let placed: Instant
    let sent: Instant
  }

  private var open: [TaskID: Row] = [:]
  private var readyTimes: [AllocationID: Instant] = [:]
  private(set) var sums: [LibraryID: LibrarySummary] = [:]
  /// Descriptor of the table; -1 when none was asked for.
  private let table: Int32
  private var rows: [UInt8] = []

  init(tablePath: String?) throws(RuntimeError) {
    guard let tablePath else {
      table = -1
      return
    }
    table = try OwnedDescriptor.open(
      tablePath, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644, to: "write the table of calls"
    ).release()
    rows.append(
      contentsOf: "# id\tlibrary\tset-up\tqueue\ttransfer\tsetup\trun\treturn\ttotal\n".utf8)
  }

  mutating func sent(
    _ attempt: AttemptID, _ allocation: AllocationID, of core: borrowing Manager, at now: Instant
  ) {
    guard core.workflow.tasks[attempt.task].commandKind.isCall else { return }
    let times = core.callTimes(of: attempt.task)
    open[attempt.task] = Row(
      attempt: attempt, allocation: allocation, ready: times.ready, placed: times.placed, sent: now)
  }

  mutating func instanceReady(_ allocation: AllocationID, at now: Instant) {
    readyTimes[allocation] = now
  }

  /// Whether a call of the task is under way.
  func isOpen(_ task: TaskID) -> Bool { open[task] != nil }

  /// A call has ended; its times are on the manager's clock.
  mutating func ended(
    _ attempt: AttemptID, _ completion: Completion, in workflow: borrowing Workflow,
    at now: Instant
  ) {
    guard let row = open.removeValue(forKey: attempt.task), row.attempt == attempt,
      completion.ending == .succeeded, completion.end.nanoseconds > 0
    else { return }
    let library = workflow.library(of: attempt.task)
    let start = max(completion.start, row.sent)
    let set = min(max(readyTimes[row.allocation] ?? row.sent, row.sent), start)
    let parts = [
      row.placed.since(row.ready) + start.since(set), row.sent.since(row.placed),
      set.since(row.sent), max(completion.end, start).since(start),
      now.since(max(completion.end, start)),
    ].map { Double($0) / 1e9 }
    let isCold = set > row.sent
    var sum = sums[library] ?? LibrarySummary()
    sum.calls += 1
    if isCold { sum.cold += 1 }
    sum.queueSeconds += parts[0]
    sum.transferSeconds += parts[1]
    sum.setupSeconds += parts[2]
    sum.runSeconds += parts[3]
    sum.returnSeconds += parts[4]
    sums[library] = sum
    guard table >= 0 else { return }
    let columns = (parts + [Double(now.since(row.ready)) / 1e9]).map { decimal($0, 9) }
    rows.append(
      contentsOf: ([
        workflow.name(of: attempt.task), workflow.name(of: library), isCold ? "cold" : "warm",
      ] + columns).joined(separator: "\t").utf8)
    rows.append(UInt8(ascii: "\n"))
    if rows.count > 1 << 16 { flush() }
  }

  /// Hands the rows of the table to the operating system.
  mutating func flush() {
    if table >= 0 { _ = rows.withUnsafeBytes { writeAll($0, to: table) } }
    rows.removeAll(keepingCapacity: true)
  }

  /// By name; the set-ups are the core's.
  func summary(of core: borrowing Manager) -> [String: LibrarySummary] {
    var result: [String: LibrarySummary] = [:]
    for library in core.workflow.libraries.ids {
      var sum = sums[library] ?? LibrarySummary()
      sum.setups = core.setupCounts[library.index]
      result[core.workflow.name(of: library)] = sum
    }
    return result
  }
}
