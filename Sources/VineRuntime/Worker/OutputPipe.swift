// The pipes that attempts write their output into.

internal import CLinux
internal import Glibc

/// A pipe of which we keep both ends, so that one attempt after another can have it: to make and
/// close one takes longer than to read what most attempts write. Its reader sees no end of stream,
/// and needs none, since the end of the attempt is known.
final class OutputPipe {
  /// Does not block.
  let readEnd: Int32
  let writeEnd: Int32

  /// Closed at exec.
  init() throws(RuntimeError) { (readEnd, writeEnd) = try Self.makeEnds() }

  /// The ends of a new pipe, for who closes them by itself.
  static func makeEnds() throws(RuntimeError) -> (read: Int32, write: Int32) {
    var ends: (Int32, Int32) = (-1, -1)
    let error = withUnsafeMutableBytes(of: &ends) {
      clinux_pipe($0.assumingMemoryBound(to: Int32.self).baseAddress)
    }
    if error < 0 { throw RuntimeError("make a pipe", errno: -error) }
    return ends
  }

  deinit {
    close(readEnd)
    close(writeEnd)
  }

  /// Takes back what the last writer may have set: O_NONBLOCK belongs to the pipe's end, not to who
  /// has it open (open(2)), and would make a program that does not expect it fail. Returns whether
  /// the pipe is as new: empty, and of the usual size and mode.
  func renew() -> Bool { clinux_renew_pipe(readEnd, writeEnd) == 1 }
}
