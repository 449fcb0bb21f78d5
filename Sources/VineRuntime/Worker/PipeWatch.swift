// The pipes of attempts that run, drained as they fill.

/// Takes what attempts write out of their pipes. Most attempts write little, which the pipe holds
/// until they end, so a pipe is watched from two milliseconds after the start only: a short task
/// costs no epoll_ctl(2), and its rank is woken by its end, not by its closing its output before.
final class PipeWatch {
  private static let delayNanoseconds: Int64 = 2_000_000

  private let poll: EventPoll
  /// What a pipe's token stands for.
  private var pipes: [UInt64: OutputCapture] = [:]
  /// Attempts whose pipes are not watched yet, in the order of their starts.
  private var fresh: [ChildProcess] = []
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 4096)

  init(poll: EventPoll) { self.poll = poll }

  deinit { buffer.deallocate() }

  func add(_ child: ChildProcess) { fresh.append(child) }

  /// When `watchDue` wants to be called, on the monotonic clock.
  var nextDue: Int64? { fresh.first.map { $0.start + Self.delayNanoseconds } }

  /// Returns whether an attempt has lasted for so long now.
  func watchDue(at now: Int64) -> Bool {
    let due = fresh.prefix { $0.start + Self.delayNanoseconds <= now }
    if due.isEmpty { return false }
    for child in due {
      for capture in [child.output, child.error] {
        let token = PollToken.pipe(capture.descriptor)
        pipes[token] = capture
        poll.add(capture.descriptor, token: token)
      }
    }
    fresh.removeFirst(due.count)
    return true
  }

  /// A pipe has bytes. Returns whether the token is a pipe's.
  func onReady(_ token: UInt64) -> Bool {
    guard let capture = pipes[token] else { return false }
    if !capture.drain(with: buffer) { forget(capture) }
    return true
  }

  /// Takes what is left once the attempt has ended; bounded, as a stray may go on writing.
  func finish(_ child: ChildProcess) {
    fresh.removeAll { $0 === child }
    for capture in [child.output, child.error] {
      _ = capture.drain(with: buffer, roundsMax: 1024, isLast: true)
      forget(capture)
    }
  }

  private func forget(_ capture: OutputCapture) {
    if pipes.isEmpty { return }
    if pipes.removeValue(forKey: PollToken.pipe(capture.descriptor)) != nil {
      poll.remove(capture.descriptor)
    }
  }
}
