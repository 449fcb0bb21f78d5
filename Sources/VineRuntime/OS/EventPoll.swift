// Waiting for whatever comes first: a signal, a pipe, a finished helper.

internal import CLinux
internal import Glibc

/// An epoll instance (epoll(7)) whose entries carry a number of the owner's choice.
package final class EventPoll {
  /// Itself readable while something it watches is.
  package let descriptor: Int32
  private var events = [epoll_event](repeating: epoll_event(), count: 64)

  package init() throws(RuntimeError) {
    descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    if descriptor < 0 { throw RuntimeError("wait for events", errno: errno) }
  }

  deinit { close(descriptor) }

  /// Reports `token` whenever `target` is readable or closed by its peer.
  package func add(_ target: Int32, token: UInt64) {
    var event = epoll_event()
    event.events = EPOLLIN.rawValue
    event.data.u64 = token
    epoll_ctl(descriptor, EPOLL_CTL_ADD, target, &event)
  }

  /// Reports `token` also when `target`, which was added, takes bytes, or no longer.
  package func watchWriting(_ target: Int32, token: UInt64, isWanted: Bool) {
    var event = epoll_event()
    event.events = EPOLLIN.rawValue | (isWanted ? EPOLLOUT.rawValue : 0)
    event.data.u64 = token
    epoll_ctl(descriptor, EPOLL_CTL_MOD, target, &event)
  }

  package func remove(_ target: Int32) {
    var event = epoll_event()
    epoll_ctl(descriptor, EPOLL_CTL_DEL, target, &event)
  }

  /// Calls `body` with the tokens of what is ready, without waiting.
  package func forEachReady(_ body: (UInt64) -> Void) -> Int {
    let count = epoll_wait(descriptor, &events, Int32(events.count), 0)
    if count <= 0 { return 0 }
    for index in 0..<Int(count) { body(events[index].data.u64) }
    return Int(count)
  }

  /// Sleeps until something is ready, `nanoseconds` at most. ppoll(2) on the epoll descriptor has
  /// the resolution that epoll_wait(2) lacks, on kernels without epoll_pwait2 too.
  /// Returns whether something is, or may be.
  package func wait(nanoseconds: Int64) -> Bool {
    clinux_wait_readable(descriptor, nanoseconds) != 0
  }
}
