// Time of this machine.

internal import Glibc
package import VineCore

/// CLOCK_MONOTONIC in nanoseconds: since the machine's start, never set back.
package func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Instants of a run: monotonic time since `origin`.
package struct SystemClock {
  /// Monotonic nanoseconds at the run's beginning.
  package let origin: Int64
  package init(origin: Int64 = monotonicNanoseconds()) { self.origin = origin }
  package var now: Instant { Instant(nanoseconds: monotonicNanoseconds() - origin) }
}

/// Seconds since 1970.
package func wallSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_REALTIME, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Local time as `20260131-235959`.
package func timestamp() -> String {
  var seconds = time(nil)
  var parts = tm()
  localtime_r(&seconds, &parts)
  func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))-"
    + "\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))"
}
