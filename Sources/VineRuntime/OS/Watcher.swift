// The process that cleans up after a rank that had no time to do it (CLinux/watcher.c).

internal import CLinux
internal import Glibc

/// Must be made before MPI and before any thread is started.
final class Watcher {
  private let descriptor: Int32

  init() { descriptor = clinux_start_watcher() }

  /// Says what belongs to this rank: processes whose environment has a variable that begins with
  /// `mark`, its directories, and the node's directory of the run when no other rank lives there.
  func lookAfter(mark: String, directory: String, sandboxes: String, output: String) {
    guard descriptor >= 0 else { return }
    let text = [mark, directory, sandboxes, output].map { $0 + "\0" }.joined()
    _ = Array(text.utf8).withUnsafeBytes { writeAll($0, to: descriptor) }
  }

  /// All is in order: nothing is to be cleaned up.
  func dismiss() {
    guard descriptor >= 0 else { return }
    var mark = UInt8(ascii: "!")
    _ = withUnsafeBytes(of: &mark) { writeAll($0, to: descriptor) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }
}
