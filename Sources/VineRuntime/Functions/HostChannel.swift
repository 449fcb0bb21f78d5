// A rank's end of the socket to a host: neither side of it ever makes the rank wait.

internal import CLinux
internal import Glibc

/// Frames to and from one host process. What the host does not read yet waits here; what it says is
/// read a bounded piece at a time.
final class HostChannel {
  private enum Token {
    static let channel: UInt64 = 1
    static let output: UInt64 = 2
  }

  private let socket: Int32
  private let poll: EventPoll
  private let output: OutputCapture
  private let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 4096)
  private var assembler = FrameAssembler()
  private var isWatchingWriting = false
  /// Whether the host's end is closed, or it said what no host says.
  private(set) var isClosed = false
  var frames = FrameBuffer()

  /// Owns `socket`.
  init(socket: Int32, output: OutputCapture) throws(RuntimeError) {
    self.socket = socket
    self.output = output
    do throws(RuntimeError) { poll = try EventPoll() } catch {
      close(socket)
      throw error
    }
    poll.add(socket, token: Token.channel)
    poll.add(output.descriptor, token: Token.output)
  }

  deinit {
    close(socket)
    room.deallocate()
  }

  /// A pair of connected sockets, closed at exec.
  static func makePair() throws(RuntimeError) -> (own: Int32, host: Int32) {
    var ends: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    if socketpair(AF_UNIX, kind, 0, &ends) != 0 {
      throw RuntimeError("make a channel to the host of a library", errno: errno)
    }
    return (ends[0], ends[1])
  }

  /// Readable when there is something to take, or room for what waits.
  var descriptor: Int32 { poll.descriptor }

  /// Sends as much of `frames` as the host takes now.
  func flush() {
    while frames.waitingCount > 0 && !isClosed {
      let start = frames.sentCount
      let count = frames.bytes.withUnsafeBytes { bytes -> Int in
        let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
        return send(
          socket, rest.baseAddress, rest.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
      }
      if count >= 0 {
        frames.consume(count)
      } else if errno != EINTR {
        // A host that is gone is noticed by its end: what it had said before is still to be read.
        if errno != EAGAIN { frames.consume(frames.waitingCount) }
        break
      }
    }
    let isWanted = frames.waitingCount > 0 && !isClosed
    if isWanted != isWatchingWriting {
      isWatchingWriting = isWanted
      poll.watchWriting(socket, token: Token.channel, isWanted: isWanted)
    }
  }

  /// Takes what is there, `roundsMax` pieces at most, and sends what waits.
  func take(
    roundsMax: Int = 16, _ body: (UnsafeRawBufferPointer) throws(HostFrameError) -> Void
  ) throws(HostFrameError) {
    var isReadable = false
    _ = poll.forEachReady { token in
      if token == Token.channel {
        isReadable = true
      } else if !output.drain(with: room) {
        poll.remove(output.descriptor)
      }
    }
    if !isReadable { return }
    for _ in 0..<roundsMax where !isClosed {
      let count = recv(socket, room.baseAddress, room.count, Int32(MSG_DONTWAIT))
      if count < 0 && (errno == EAGAIN || errno == EINTR) { break }
      if count <= 0 {
        shut()
        break
      }
      try assembler.add(UnsafeRawBufferPointer(rebasing: room[..<count]), body)
      if count < room.count { break }
    }
    flush()
  }

  /// Takes what is left when the host has ended.
  func finish(
    _ body: (UnsafeRawBufferPointer) throws(HostFrameError) -> Void
  ) throws(HostFrameError) {
    _ = output.drain(with: room, roundsMax: 1024)
    // A process that it left behind may hold the other end, so this need not come to an end.
    try take(roundsMax: 1 << 16, body)
    shut()
  }

  func shut() {
    if isClosed { return }
    isClosed = true
    poll.remove(socket)
  }
}
