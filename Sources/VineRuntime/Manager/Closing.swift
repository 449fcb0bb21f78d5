// The end of a session before that of its work: by a signal, by a file, or because the job's time is
// nearly over. Nothing more is started; what runs may end while there is time; what the next session
// will read is saved, the dearest first; the journal is closed.

internal import Glibc
internal import VineCore

/// When a session has to be over, on this process's monotonic clock, in nanoseconds.
struct Closing {
  /// Before the job's end nothing more is started for this long.
  static let aheadNanoseconds: Int64 = 60_000_000_000
  /// A signal says that the end is near, not when: this long after it, everything is over.
  static let signalNanoseconds: Int64 = 28_000_000_000

  /// Thirty years: a job that may run for longer has no limit.
  private static let longestSeconds = 1e9

  /// The end of the job; nil: nobody said.
  private(set) var endsAt: Int64?
  /// When what runs is killed; nil: it may end.
  private(set) var killAt: Int64?
  private(set) var closeAt: Int64?
  private(set) var isDraining = false
  /// The batch system wants it, rather than a person.
  private(set) var isByTime = false
  var hasKilled = false
  var hasClosed = false

  /// `endTime` in seconds since 1970.
  init(endTime: Double?) {
    guard let endTime else { return }
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    let left = endTime - Double(time.tv_sec) - Double(time.tv_nsec) / 1e9
    // Batch systems say "no limit" with times beyond what nanoseconds can count.
    guard left < Self.longestSeconds else { return }
    endsAt = monotonicNanoseconds() + Int64(max(left, 0) * 1e9)
  }

  /// A short job keeps less of its time back.
  private var ahead: Int64 {
    guard let endsAt else { return Self.aheadNanoseconds }
    return min(Self.aheadNanoseconds, max(endsAt - startedAt, 0) / 4)
  }

  let startedAt = monotonicNanoseconds()

  /// Tasks that would run longer are not begun.
  var tasksEndBy: Int64? { endsAt.map { $0 - killAhead } }

  /// What still runs is killed this long before the end.
  private var killAhead: Int64 { ahead / 12 * 5 }
  /// What is not saved by then is given up.
  private var closeAhead: Int64 { ahead / 6 }

  func isDue(at now: Int64) -> Bool { endsAt.map { now >= $0 - ahead } ?? false }

  /// Begins to close, with a time limit where the batch system asks for it.
  mutating func begin(at now: Int64, isByTime: Bool) {
    isDraining = true
    self.isByTime = isByTime
    guard isByTime else { return }
    if let endsAt {
      killAt = endsAt - killAhead
      closeAt = endsAt - closeAhead
    } else {
      killAt = now + Self.signalNanoseconds / 3 * 2
      closeAt = now + Self.signalNanoseconds
    }
  }
}

extension ManagerLoop {
  /// Starts nothing more and lets what runs end; with a time limit if the job is about to end.
  package func drain(because reason: String, isByTime: Bool = false) {
    if closing.isDraining { return }
    closing.begin(at: monotonicNanoseconds(), isByTime: isByTime)
    interruptProgress()
    complain("vine-mpi: \(reason): no further task is started; running ones may end")
    events.append(.drainRequested)
  }

  /// Looks at the clock, each second.
  func watchTime(at now: Int64) {
    if closing.isDue(at: now) { drain(because: "the job's time is nearly over", isByTime: true) }
    if let killAt = closing.killAt, now >= killAt, !closing.hasKilled {
      closing.hasKilled = true
      events.append(.killRequested)
    }
    if let closeAt = closing.closeAt, now >= closeAt, !closing.hasClosed {
      closing.hasClosed = true
      events.append(.closeRequested)
    }
  }
}
