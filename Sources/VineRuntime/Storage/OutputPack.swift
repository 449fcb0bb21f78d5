// The packed output of all tasks of a run: `RUN/output.pack`. Each worker collects on its node and
// writes its part at the end, where the manager says: one file, one open per worker.
//
//     entry := "VOUT" task (u32) attempt (u32) stream (u8) nameLength (u32) name length (u64) bytes

internal import CLinux
internal import Glibc
internal import VineCore

/// Collects entries in a file of the node.
final class OutputSpool {
  private let path: String
  private var descriptor: Int32 = -1
  private(set) var byteCount: Int64 = 0

  init(path: String) { self.path = path }
  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Appends one stream of one attempt; `stream` is 1 or 2.
  func append(_ bytes: [UInt8], attempt: AttemptID, taskName: String, stream: UInt8) {
    if bytes.isEmpty { return }
    if descriptor < 0 {
      let made = clinux_open_at(AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
      if made < 0 { return }
      descriptor = made
    }
    var entry = WireWriter(UInt8(ascii: "V"))
    for byte in "OUT".utf8 { entry.put(byte) }
    entry.put(attempt)
    entry.put(stream)
    entry.put(taskName)
    entry.put(UInt64(bytes.count))
    let header = entry.bytes
    let failed =
      header.withUnsafeBytes { writeAll($0, to: descriptor) } != 0
      || bytes.withUnsafeBytes { writeAll($0, to: descriptor) } != 0
    if failed {
      // Half an entry must not hide those behind it.
      ftruncate(descriptor, off_t(byteCount))
      lseek(descriptor, off_t(byteCount), SEEK_SET)
      return
    }
    byteCount += Int64(header.count + bytes.count)
  }

  /// Writes everything to `pack` from `offset` on.
  func bringHome(to pack: String, at offset: Int64) -> Int32 {
    if byteCount == 0 { return 0 }
    let to = clinux_open_at(AT_FDCWD, pack, O_WRONLY | O_CREAT, 0o600)
    if to < 0 { return -to }
    defer { close(to) }
    lseek(to, off_t(offset), SEEK_SET)
    lseek(descriptor, 0, SEEK_SET)
    let copied = clinux_copy(descriptor, to, byteCount)
    return copied < 0 ? Int32(-copied) : 0
  }
}

/// One entry of a pack.
package struct PackedOutput {
  package let taskName: String
  package let attempt: Int
  /// 1 standard output, 2 standard error.
  package let stream: Int
  package let bytes: [UInt8]
}

/// Calls `body` with each entry of the pack at `path` whose task is `taskName`.
package func forEachPackedOutput(
  at path: String, of taskName: String, _ body: (PackedOutput) -> Void
) throws(RuntimeError) {
  let file = try OwnedDescriptor.open(path, O_RDONLY, to: "read")
  var info = stat()
  if fstat(file.number, &info) != 0 { throw RuntimeError("read", path, errno: errno) }
  var offset: Int64 = 0
  let fixed = 4 + 4 + 4 + 1 + 4
  while offset + Int64(fixed) <= Int64(info.st_size) {
    let head = try readExactly(file.number, path, at: offset, count: fixed)
    guard head.starts(with: "VOUT".utf8) else {
      throw RuntimeError("read", path, detail: "no entry begins at byte \(offset)")
    }
    let attempt = little(head[8..<12])
    let nameCount = Int(little(head[13..<17]))
    let rest = try readExactly(
      file.number, path, at: offset + Int64(fixed), count: nameCount + 8)
    let name = String(decoding: rest[..<nameCount], as: UTF8.self)
    let count = Int64(little(rest[nameCount...]))
    let start = offset + Int64(fixed + nameCount + 8)
    if name == taskName {
      body(
        PackedOutput(
          taskName: name, attempt: Int(attempt), stream: Int(head[12]),
          bytes: try readExactly(file.number, path, at: start, count: Int(count))))
    }
    offset = start + count
  }
}

private func little(_ bytes: ArraySlice<UInt8>) -> UInt64 {
  bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

private func readExactly(
  _ descriptor: Int32, _ path: String, at offset: Int64, count: Int
) throws(RuntimeError) -> [UInt8] {
  guard count >= 0, count <= Limits.outputByteCountMax * 2 else {
    throw RuntimeError("read", path, detail: "damaged at byte \(offset)")
  }
  var bytes = [UInt8](repeating: 0, count: count)
  let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, count, off_t(offset)) }
  if got < 0 { throw RuntimeError("read", path, errno: errno) }
  guard got == count else {
    throw RuntimeError("read", path, detail: "it ends within an entry, at byte \(offset)")
  }
  return bytes
}
