// The end of a session before that of its work, on this machine's clocks.

internal import Glibc
internal import VineCore

extension Closing {
  /// Thirty years: a job that may run for longer has no limit.
  private static let longestSeconds = 1e9

  /// A session that starts now, in a job that ends at `endTime`, in seconds since 1970. Its instants
  /// are those of the monotonic clock.
  init(endTime: Double?) {
    let now = monotonicNanoseconds()
    var jobEndsAt: Instant?
    if let endTime {
      var time = timespec()
      clock_gettime(CLOCK_REALTIME, &time)
      let left = endTime - Double(time.tv_sec) - Double(time.tv_nsec) / 1e9
      // Batch systems say "no limit" with times beyond what nanoseconds can count.
      if left < Self.longestSeconds {
        jobEndsAt = Instant(nanoseconds: now + Int64(max(left, 0) * 1e9))
      }
    }
    self.init(startedAt: Instant(nanoseconds: now), jobEndsAt: jobEndsAt)
  }
}

extension ManagerLoop {
  /// Starts nothing more and lets what runs end; with a time limit if the job is about to end.
  package func drain(because reason: String, isByTime: Bool = false) {
    let now = Instant(nanoseconds: monotonicNanoseconds())
    guard let event = closing.begin(at: now, isByTime: isByTime) else { return }
    announceEnd(because: reason)
    events.append(event)
  }

  /// Looks at the clock, each second.
  func watchTime(at now: Int64) {
    let steps = closing.takeSteps(at: Instant(nanoseconds: now))
    if steps.contains(.drainRequested) { announceEnd(because: "the job's time is nearly over") }
    events.append(contentsOf: steps)
  }

  private func announceEnd(because reason: String) {
    interruptProgress()
    complain("vine-mpi: \(reason): no further task is started; running ones may end")
  }
}
