// Who was heard of, and for how long somebody was not.

internal import VineCore

/// The intervals that follow from the time after which a silent rank is lost.
struct HeartbeatTimes: Equatable {
  /// A silent rank is lost after this long.
  let nodeTimeout: Int64
  /// Either side says that it is there this often: ten times before anybody gives it up.
  var interval: Int64 { max(nodeTimeout / 10, 200_000_000) }
  /// A worker leaves by itself when it has not heard the manager for this long: always before the
  /// manager gives its tasks to others.
  var managerSilence: Int64 { nodeTimeout / 3 * 2 }
}

/// Adds up silences, in time during which the observer itself ran: while it was stopped or held up,
/// nobody was silent. Times are monotonic nanoseconds.
struct Liveness {
  private let times: HeartbeatTimes
  /// Nanoseconds in which the observer ran, as far as it can tell.
  private var observed: Int64 = 0
  private var lastLook: Int64
  private struct Row {
    /// Until when, in observed time, it must be heard of.
    var deadline: Int64
    /// How long it may be silent.
    var limit: Int64
  }

  private var rows: [Int: Row] = [:]

  init(_ times: HeartbeatTimes, at now: Int64) {
    self.times = times
    lastLook = now
  }

  /// Listens for a rank from now on.
  mutating func add(_ rank: Int) {
    rows[rank] = Row(deadline: observed + times.nodeTimeout, limit: times.nodeTimeout)
  }

  /// From now on a rank may be silent for longer: it does something that takes its time.
  mutating func allow(_ rank: Int, silence: Int64) {
    if rows[rank] != nil { rows[rank] = Row(deadline: observed + silence, limit: silence) }
  }

  /// Anything that comes from a rank shows that it lives.
  mutating func heard(_ rank: Int) {
    if let limit = rows[rank]?.limit { rows[rank]?.deadline = observed + limit }
  }

  /// Somebody has doubts: a rank that lives says so within three heartbeats.
  mutating func suspect(_ rank: Int) {
    guard let row = rows[rank] else { return }
    rows[rank]?.deadline = min(row.deadline, observed + 3 * times.interval)
  }

  /// Listens for a rank no more.
  mutating func remove(_ rank: Int) { rows[rank] = nil }

  /// To be called every round; a long gap between two calls counts as a short one.
  mutating func advance(to now: Int64) {
    observed += min(max(now - lastLook, 0), min(Limits.silenceStepNanoseconds, times.interval))
    lastLook = now
  }

  /// Whether a rank's time is over but for two heartbeats.
  func isNearlySilent(_ rank: Int) -> Bool {
    rows[rank].map { $0.deadline < observed + 2 * times.interval } ?? false
  }

  /// The ranks whose time has been over for longer than `grace`, in their order.
  func silent(grace: Int64 = 0) -> [Int] {
    rows.filter { $0.value.deadline + grace < observed }.keys.sorted()
  }
}
