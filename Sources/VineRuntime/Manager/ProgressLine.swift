// One line every few seconds: how far the run is.

internal import Glibc
internal import VineCore

struct ProgressLine {
  private let isLive: Bool
  private let isQuiet: Bool
  private var last = Progress()
  private var nextAt = Instant(nanoseconds: 2_000_000_000)
  private var hasOpenLine = false

  init(isLive: Bool, isQuiet: Bool) {
    self.isLive = isLive
    self.isQuiet = isQuiet
  }

  mutating func show(_ progress: Progress, at now: Instant) {
    guard !isQuiet, isLive || now >= nextAt, progress != last else { return }
    last = progress
    // Ever rarer: a run of a day needs no line every two seconds.
    nextAt = now.adding(nanoseconds: min(max(now.nanoseconds / 20, 2_000_000_000), 60_000_000_000))
    var text = "\(progress.doneCount)/\(progress.taskCount) done, \(progress.activeCount) running"
    if progress.failedCount > 0 { text += ", \(progress.failedCount) failed" }
    if progress.cancelledCount > 0 { text += ", \(progress.cancelledCount) not run" }
    if progress.transferCount > 0 { text += ", \(progress.transferCount) transfers" }
    let left =
      progress.taskCount - progress.doneCount - progress.failedCount - progress.cancelledCount
    if progress.doneCount > 0 && left > 0 {
      let seconds = Double(now.nanoseconds) / 1e9
      text += ", about \(durationText(seconds * Double(left) / Double(progress.doneCount))) left"
    }
    if isLive {
      var line = "\r\u{1B}[K\(text)"
      _ = line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDOUT_FILENO) }
      hasOpenLine = true
    } else {
      tell("vine-mpi: \(text)")
    }
  }

  /// Another line is about to be written.
  mutating func interrupt() {
    if hasOpenLine { tell("") }
    hasOpenLine = false
  }

  mutating func finish() { interrupt() }
}
