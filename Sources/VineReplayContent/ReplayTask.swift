// One replayed task: reads its inputs, takes its time, writes its outputs.

import Glibc

extension ReplayManifest {
  /// Does what the manifest says, in the current directory. The time for reading and writing counts
  /// towards the task's duration.
  package func run() throws(ReplayFailure) {
    let start = nanoseconds()
    var digests: [(id: String, digest: String)] = []
    for input in inputs {
      let digest = try digestReplayFile(input.sandboxName, byteCount: input.byteCount)
      digests.append((input.id, digest))
    }
    // Outputs are written before the wait, so that what they cost is known; they are complete
    // when the process ends, and nobody looks earlier.
    for output in outputs {
      let content = ReplayContent(
        taskID: taskID, fileID: output.id, inputs: digests, byteCount: output.byteCount)
      try writeReplayFile(content, to: output.sandboxName)
    }
    let (duration, isOverflow) = microseconds.multipliedReportingOverflow(by: 1000)
    let (end, isLate) = start.addingReportingOverflow(isOverflow ? .max : duration)
    wait(until: isLate ? .max : end)
  }

  private func wait(until end: Int64) {
    if spins {
      while nanoseconds() < end {}
      return
    }
    var time = timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
    while nanoseconds() < end {
      _ = clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &time, nil)
    }
  }
}

private func nanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
