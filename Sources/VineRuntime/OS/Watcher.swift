// The process that cleans up after a rank that had no time to do it (CLinux/watcher.c).

internal import CLinux
internal import Glibc

/// Must be made before MPI and before any thread is started.
final class Watcher: Sendable {
  private let descriptor: Int32

  init() { descriptor = clinux_start_watcher() }

  /// Says what belongs to this rank: processes whose environment has a variable that begins with
  /// `mark`, its directories, and the node's directory of the run when no other rank lives there.
  func lookAfter(mark: String, directory: String, sandboxes: String, output: String) {
    tell([mark, directory, sandboxes, output])
  }

  /// Whether the node's directory of the run outlives this rank.
  func keepDirectory(_ isKept: Bool) { tell([isKept ? "+" : "-"]) }

  /// All is in order: nothing is to be cleaned up.
  func dismiss() { tell(["!"]) }

  /// Once this process has ended, and after a grace, the launcher has to be ended too.
  func endLauncher(_ launcher: Launcher, graceMilliseconds: Int) {
    tell(["@\(launcher.processID) \(launcher.startTime) \(graceMilliseconds)"])
  }

  private func tell(_ texts: [String]) {
    guard descriptor >= 0 else { return }
    let text = texts.map { $0 + "\0" }.joined()
    _ = Array(text.utf8).withUnsafeBytes { writeAll($0, to: descriptor) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }
}
