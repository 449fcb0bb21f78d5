// The function thread of a rank: calls of a native library in the rank's own memory, beside its
// loop (CVineHost/thread.c).

internal import CLinux
internal import CMPI
internal import CVineHost
internal import Glibc

/// Frames to and from the thread that serves one library. Nothing keeps its functions from ending
/// the rank; nothing can end them but their return.
final class FunctionThread {
  private let thread: OpaquePointer
  /// Readable when there is something to take.
  let descriptor: Int32
  private let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 4096)
  private var assembler = FrameAssembler()
  private(set) var hasEnded = false
  var frames = FrameBuffer()

  /// With `hasGangs`, MPI was started for several threads (`MPIEnvironment`).
  init(lookingNanoseconds: Int64, hasGangs: Bool) throws(RuntimeError) {
    let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    if number < 0 { throw RuntimeError("make an event descriptor", errno: errno) }
    descriptor = number
    let runGang:
      @convention(c) (
        UnsafeMutableRawPointer?, UnsafeMutablePointer<vine_call>?, UnsafePointer<Int32>?, Int32,
        Int32, UnsafeMutablePointer<CChar>?
      ) -> Int32 = { function, call, ranks, count, tag, error in
        cmpi_run_gang(function, call, ranks, count, tag, error)
      }
    clinux_move_home()
    guard let thread = vine_thread_start(number, lookingNanoseconds, hasGangs ? runGang : nil)
    else {
      close(number)
      throw RuntimeError("start the function thread")
    }
    self.thread = thread
  }

  deinit {
    // A thread that is still busy keeps what it uses; the rank leaves all the same.
    if vine_thread_join(thread, 100) == 0 { close(descriptor) }
    room.deallocate()
  }

  func flush() {
    if frames.waitingCount == 0 { return }
    let start = frames.sentCount
    let error = frames.bytes.withUnsafeBytes { bytes in
      vine_thread_send(
        thread, bytes.baseAddress?.advanced(by: start).assumingMemoryBound(to: CChar.self),
        bytes.count - start)
    }
    if error == 0 { frames.consume(frames.waitingCount) }
  }

  func take(
    _ body: (UnsafeRawBufferPointer) throws(HostFrameError) -> Void
  ) throws(HostFrameError) {
    flush()
    var count: UInt64 = 0
    _ = read(descriptor, &count, 8)
    while true {
      let count = vine_thread_take(
        thread, room.baseAddress?.assumingMemoryBound(to: CChar.self), room.count)
      if count < 0 { hasEnded = true }
      if count <= 0 { return }
      try assembler.add(UnsafeRawBufferPointer(rebasing: room[..<count]), body)
    }
  }

  /// The call that runs now, and since when on the monotonic clock.
  var running: (number: UInt64, since: Int64)? {
    var number: UInt64 = 0
    var since: Int64 = 0
    return vine_thread_running(thread, &number, &since) != 0 ? (number, since) : nil
  }
}
