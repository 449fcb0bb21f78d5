// The end of a session before that of its work: by a signal, by a file, or because the job's time is
// nearly over. Nothing more is started; what runs may end while there is time; what the next session
// will read is saved, the dearest first; the journal is closed.

/// When the manager hears that its session has to end.
package struct Closing: Sendable {
  /// Before the job's end nothing more is started for this long, in nanoseconds.
  package static let aheadNanoseconds: Int64 = 60_000_000_000
  /// A signal says that the end is near, not when: so many nanoseconds after it, everything is over.
  package static let signalNanoseconds: Int64 = 28_000_000_000

  private let startedAt: Instant
  /// The end of the job; nil: nobody said.
  private let jobEndsAt: Instant?
  /// When what runs is killed; nil: it may end.
  private var killsAt: Instant?
  /// When what is not saved yet is given up; nil: there is time.
  private var closesAt: Instant?
  package private(set) var isDraining = false
  /// The batch system wants it, rather than a person.
  package private(set) var isByTime = false

  /// On whatever clock the session has.
  package init(startedAt: Instant, jobEndsAt: Instant?) {
    self.startedAt = startedAt
    self.jobEndsAt = jobEndsAt
  }

  /// Tasks that would run longer are not begun.
  package var tasksEndBy: Instant? { jobEndsAt?.adding(nanoseconds: -killAhead) }

  /// When `takeSteps` will have something; nil: not of itself.
  package var nextStep: Instant? {
    isDraining ? killsAt ?? closesAt : jobEndsAt?.adding(nanoseconds: -ahead)
  }

  /// A short job keeps less of its time back.
  private var ahead: Int64 {
    guard let jobEndsAt else { return Self.aheadNanoseconds }
    return min(Self.aheadNanoseconds, max(jobEndsAt.since(startedAt), 0) / 4)
  }
  private var killAhead: Int64 { ahead / 12 * 5 }
  private var closeAhead: Int64 { ahead / 6 }

  /// Begins to close, with a time limit where the job has one or the batch system asks for it. Returns
  /// what the manager has to hear: nothing if that has begun before.
  package mutating func begin(at now: Instant, isByTime: Bool) -> ManagerEvent? {
    if isDraining && (self.isByTime || !isByTime) { return nil }
    if let jobEndsAt {
      killsAt = jobEndsAt.adding(nanoseconds: -killAhead)
      closesAt = jobEndsAt.adding(nanoseconds: -closeAhead)
    } else if isByTime {
      killsAt = now.adding(nanoseconds: Self.signalNanoseconds / 3 * 2)
      closesAt = now.adding(nanoseconds: Self.signalNanoseconds)
    }
    self.isByTime = isByTime
    if isDraining { return nil }
    isDraining = true
    return .drainRequested
  }

  /// What the manager has to hear by now, each once.
  package mutating func takeSteps(at now: Instant) -> [ManagerEvent] {
    var steps: [ManagerEvent] = []
    if !isDraining, let start = nextStep, start <= now {
      begin(at: now, isByTime: true).map { steps.append($0) }
    }
    if let time = killsAt, time <= now {
      killsAt = nil
      steps.append(.killRequested)
    }
    if let time = closesAt, time <= now {
      closesAt = nil
      steps.append(.closeRequested)
    }
    return steps
  }
}
