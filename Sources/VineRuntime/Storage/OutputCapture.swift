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
  /// Bytes from the start of the stream that memory or file took; less than all after a failure.
  private var storedByteCount: Int64 = 0
  /// Why nothing is stored any more: a full disk loses output, never the task.
  private var spillError: Int32 = 0
  /// The end of what came after the failure: reports show it.
  private var lastBytes: [UInt8] = []
  private let spillPath: String
  private let openSpill: (String) -> Int32
  /// Whose read end `descriptor` is; nil: its own.
  let pipe: OutputPipe?

  /// Reads from `descriptor`, which it owns.
  init(
    descriptor: Int32, spillPath: String,
    openSpill: @escaping (String) -> Int32 = OutputCapture.openUnlinked
  ) {
    self.descriptor = descriptor
    self.spillPath = spillPath
    self.openSpill = openSpill
    pipe = nil
  }

  /// Reads from `pipe`.
  init(_ pipe: OutputPipe, spillPath: String) {
    self.pipe = pipe
    descriptor = pipe.readEnd
    self.spillPath = spillPath
    openSpill = OutputCapture.openUnlinked
  }

  /// A new file without a name, or -errno.
  private static func openUnlinked(_ path: String) -> Int32 {
    let made = clinux_open_at(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    if made >= 0 { unlink(path) }
    return made
  }

  deinit {
    if pipe == nil { close(descriptor) }
    if spill >= 0 { close(spill) }
  }

  /// Reads what is there, `roundsMax` pieces at most. Returns false when the stream has ended.
  /// `isLast`: also what a short piece may hide, since a writer may have set O_DIRECT, by which a
  /// piece is what was written at once (pipe(2)).
  func drain(
    with buffer: UnsafeMutableRawBufferPointer, roundsMax: Int = 16, isLast: Bool = false
  ) -> Bool {
    for _ in 0..<roundsMax {
      let count = read(descriptor, buffer.baseAddress, buffer.count)
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      if count == 0 { return false }
      keep(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      if count < buffer.count && !isLast { return true }
    }
    return true
  }

  private func keep(_ bytes: UnsafeRawBufferPointer) {
    totalByteCount += Int64(bytes.count)
    if spillError == 0 && spill < 0 {
      if memory.count + bytes.count <= Self.memoryMax {
        memory.append(contentsOf: bytes)
        storedByteCount = totalByteCount
        return
      }
      moveToSpill()
    }
    var rest = bytes
    if spillError == 0 { rest = store(bytes) }
    if spillError != 0 { keepLast(rest) }
  }

  /// Makes the file and puts what is in memory there, or stays in memory.
  private func moveToSpill() {
    let made = openSpill(spillPath)
    if made < 0 {
      spillError = -made
      return
    }
    spill = made
    storedByteCount = 0
    _ = memory.withUnsafeBytes { store($0) }
    if spillError == 0 {
      memory = []
      return
    }
    close(spill)
    spill = -1
    storedByteCount = Int64(memory.count)
  }

  private func keepLast(_ bytes: UnsafeRawBufferPointer) {
    lastBytes.append(contentsOf: bytes.suffix(Limits.errorTailByteCount))
    let surplus = lastBytes.count - Limits.errorTailByteCount
    if surplus > 0 { lastBytes.removeFirst(surplus) }
  }

  /// Stores bytes at their place in the stream: the head where it is, the rest in a ring behind it.
  /// Returns those that found no room.
  private func store(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    var rest = bytes
    while !rest.isEmpty {
      let position = storedByteCount
      let offset: Int64
      let room: Int64
      if position < Self.half {
        offset = position
        room = Self.half - position
      } else {
        offset = Self.half + (position - Self.half) % Self.half
        room = Self.half - (position - Self.half) % Self.half
      }
      let count = pwrite(spill, rest.baseAddress, min(Int(room), rest.count), off_t(offset))
      if count < 0 && errno == EINTR { continue }
      if count <= 0 {
        spillError = count < 0 ? errno : EIO
        break
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      storedByteCount += Int64(count)
    }
    return rest
  }

  /// Bytes that were dropped between head and tail.
  var droppedByteCount: Int64 { max(0, storedByteCount - 2 * Self.half) }

  /// What was kept, with a line where something was dropped or lost.
  func contents() -> [UInt8] {
    var all = spill < 0 ? memory : spilled()
    if spillError == 0 { return all }
    let lostByteCount = totalByteCount - storedByteCount - Int64(lastBytes.count)
    if lostByteCount > 0 {
      let line =
        "\n[vine-mpi: \(lostByteCount) bytes of output lost here: \(errorText(spillError))]\n"
      all += Array(line.utf8)
    }
    return all + lastBytes
  }

  private func spilled() -> [UInt8] {
    let head = stored(at: 0, count: min(storedByteCount, Self.half))
    if storedByteCount <= Self.half { return head }
    let tailCount = min(storedByteCount - Self.half, Self.half)
    let tailStart = storedByteCount - tailCount
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
    let bytes = spillError != 0 && lastBytes.count >= count ? lastBytes : contents()
    return Array(bytes.suffix(count))
  }
}
