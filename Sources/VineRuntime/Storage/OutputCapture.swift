// What an attempt writes to its standard output and error: drained from pipes, so that a task never
// waits for us, and kept within a bound.

internal import CLinux
internal import Glibc
internal import VineCore

/// One stream of one attempt. The first half of the limit and the last half are kept: in memory
/// while it is little, in an unlinked file beyond.
final class OutputCapture {
  private static let memoryMax = 64 << 10
  private static let half = Int64(Limits.outputByteCountMax / 2)

  let descriptor: Int32
  private var memory: [UInt8] = []
  private var spill: Int32 = -1
  private(set) var totalByteCount: Int64 = 0
  private let spillPath: String

  /// Reads from `descriptor`, which it owns.
  init(descriptor: Int32, spillPath: String) {
    self.descriptor = descriptor
    self.spillPath = spillPath
  }

  deinit {
    close(descriptor)
    if spill >= 0 { close(spill) }
  }

  /// Reads what is there. Returns false when the stream has ended.
  func drain(with buffer: UnsafeMutableRawBufferPointer, roundsMax: Int = 16) -> Bool {
    for _ in 0..<roundsMax {
      let count = read(descriptor, buffer.baseAddress, buffer.count)
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      if count == 0 { return false }
      keep(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      if count < buffer.count { return true }
    }
    return true
  }

  private func keep(_ bytes: UnsafeRawBufferPointer) {
    let start = totalByteCount
    totalByteCount += Int64(bytes.count)
    if spill < 0 && memory.count + bytes.count <= Self.memoryMax {
      memory.append(contentsOf: bytes)
      return
    }
    if spill < 0 {
      let made = clinux_open_at(
        AT_FDCWD, spillPath, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
      if made < 0 { return }
      unlink(spillPath)
      spill = made
      memory.withUnsafeBytes { store($0, at: 0) }
      memory = []
    }
    store(bytes, at: start)
  }

  /// Stores bytes at their place in the stream: the head where it is, the rest in a ring behind it.
  private func store(_ bytes: UnsafeRawBufferPointer, at start: Int64) {
    var rest = bytes
    var position = start
    while !rest.isEmpty {
      let offset: Int64
      let room: Int64
      if position < Self.half {
        offset = position
        room = Self.half - position
      } else {
        offset = Self.half + (position - Self.half) % Self.half
        room = Self.half - (position - Self.half) % Self.half
      }
      let count = min(Int(room), rest.count)
      // A full disk loses output, never the task.
      if pwrite(spill, rest.baseAddress, count, off_t(offset)) < 0 { return }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      position += Int64(count)
    }
  }

  /// Bytes that were dropped between head and tail.
  var droppedByteCount: Int64 { max(0, totalByteCount - 2 * Self.half) }

  /// What was kept, with a line where something was dropped.
  func contents() -> [UInt8] {
    if spill < 0 { return memory }
    let head = stored(at: 0, count: min(totalByteCount, Self.half))
    if totalByteCount <= Self.half { return head }
    let tailCount = min(totalByteCount - Self.half, Self.half)
    let tailStart = totalByteCount - tailCount
    let split = (tailStart - Self.half) % Self.half
    let first = min(Self.half - split, tailCount)
    var all = head
    if droppedByteCount > 0 {
      all += Array("\n[vine-mpi: \(droppedByteCount) bytes dropped here]\n".utf8)
    }
    all += stored(at: Self.half + split, count: first)
    all += stored(at: Self.half, count: tailCount - first)
    return all
  }

  private func stored(at offset: Int64, count: Int64) -> [UInt8] {
    if count <= 0 { return [] }
    var bytes = [UInt8](repeating: 0, count: Int(count))
    let got = bytes.withUnsafeMutableBytes { pread(spill, $0.baseAddress, $0.count, off_t(offset)) }
    return Array(bytes.prefix(max(got, 0)))
  }

  /// The last `count` bytes.
  func tail(_ count: Int) -> [UInt8] {
    spill < 0 ? Array(memory.suffix(count)) : Array(contents().suffix(count))
  }
}
