// A directory tree as one stream of bytes, for the wire. Own format, since it lives for one
// transfer only and its size must be known before it is written.
//
//     entry := kind (u8: "d", "f", "l") mode (u32) nameLength (u32) name size (u64) content
//     archive := entry* "e"
//
// Names are relative to the top; a reader refuses any that could lead out of its directory.

internal import CLinux
internal import Glibc
internal import VineCore

enum TreeArchive {
  private static let entryByteCount: Int64 = 1 + 4 + 4 + 8
  private static let endMark = UInt8(ascii: "e")

  /// Bytes of the archive of the tree at `path`.
  static func byteCount(of path: String) -> Int64 { byteCount(below: path, name: "") + 1 }

  private static func byteCount(below path: String, name: String) -> Int64 {
    var sum: Int64 = 0
    for entry in FileTree.entries(of: path).entries {
      let inner = name.isEmpty ? entry.name : "\(name)/\(entry.name)"
      let innerPath = "\(path)/\(entry.name)"
      var info = stat()
      guard lstat(innerPath, &info) == 0 else { continue }
      let kind = info.st_mode & S_IFMT
      guard kind == S_IFDIR || kind == S_IFREG || kind == S_IFLNK else { continue }
      sum += entryByteCount + Int64(inner.utf8.count)
      if kind == S_IFDIR {
        sum += byteCount(below: innerPath, name: inner)
      } else {
        sum += Int64(info.st_size)
      }
    }
    return sum
  }

  /// Writes the archive of the tree at `path` to a descriptor.
  static func write(_ path: String, to descriptor: Int32) -> Int32 {
    let error = write(below: path, name: "", to: descriptor)
    if error != 0 { return error }
    var end = endMark
    return withUnsafeBytes(of: &end) { writeAll($0, to: descriptor) }
  }

  private static func write(below path: String, name: String, to descriptor: Int32) -> Int32 {
    let (entries, error) = FileTree.entries(of: path)
    if error != 0 { return error }
    for entry in entries {
      let inner = name.isEmpty ? entry.name : "\(name)/\(entry.name)"
      let failure = write(entry: "\(path)/\(entry.name)", name: inner, to: descriptor)
      if failure != 0 { return failure }
    }
    return 0
  }

  private static func write(entry path: String, name: String, to descriptor: Int32) -> Int32 {
    var info = stat()
    if lstat(path, &info) != 0 { return errno }
    switch info.st_mode & S_IFMT {
    case S_IFDIR:
      let error = writeHeader("d", info.st_mode, name, size: 0, to: descriptor)
      return error != 0 ? error : write(below: path, name: name, to: descriptor)
    case S_IFLNK:
      var text = [UInt8](repeating: 0, count: Int(PATH_MAX) + 1)
      let count = text.withUnsafeMutableBytes {
        readlink(path, $0.assumingMemoryBound(to: CChar.self).baseAddress!, Int(PATH_MAX))
      }
      if count < 0 { return errno }
      let error = writeHeader("l", info.st_mode, name, size: Int64(count), to: descriptor)
      if error != 0 { return error }
      return text.withUnsafeBytes {
        writeAll(UnsafeRawBufferPointer(rebasing: $0.prefix(count)), to: descriptor)
      }
    case S_IFREG:
      let from = clinux_open_at(AT_FDCWD, path, O_RDONLY, 0)
      if from < 0 { return -from }
      defer { close(from) }
      let size = Int64(info.st_size)
      let error = writeHeader("f", info.st_mode, name, size: size, to: descriptor)
      if error != 0 { return error }
      let copied = clinux_copy(from, descriptor, size)
      if copied < 0 { return Int32(-copied) }
      return copied == size ? 0 : EBUSY
    default:
      return 0
    }
  }

  private static func writeHeader(
    _ kind: Character, _ mode: mode_t, _ name: String, size: Int64, to descriptor: Int32
  ) -> Int32 {
    var header = WireWriter(kind.asciiValue ?? 0)
    header.put(UInt32(mode & 0o7777))
    header.put(name)
    header.put(UInt64(size))
    return header.bytes.withUnsafeBytes { writeAll($0, to: descriptor) }
  }

  /// Reads an archive from a descriptor into the directory `target`, which must not exist.
  static func read(from descriptor: Int32, to target: String) -> Int32 {
    if mkdir(target, 0o777) != 0 { return errno }
    // Directories get their modes last: one may forbid writing.
    var modes: [(path: String, mode: mode_t)] = []
    while true {
      guard let kind = readBytes(1, from: descriptor)?.first else { return EIO }
      if kind == endMark { break }
      guard let head = readBytes(8, from: descriptor) else { return EIO }
      let mode = mode_t(number(head[0..<4])) & 0o777
      let nameCount = Int(number(head[4..<8]))
      guard nameCount > 0, nameCount <= Int(PATH_MAX),
        let nameBytes = readBytes(nameCount, from: descriptor),
        let sizeBytes = readBytes(8, from: descriptor)
      else { return EIO }
      let name = String(decoding: nameBytes, as: UTF8.self)
      guard isInside(name) else { return EPERM }
      let path = "\(target)/\(name)"
      let error = extract(
        kind, mode: mode, size: Int64(number(sizeBytes[...])), to: path, from: descriptor)
      if error != 0 { return error }
      if kind == UInt8(ascii: "d") { modes.append((path, mode)) }
    }
    for entry in modes.reversed() { chmod(entry.path, entry.mode) }
    return 0
  }

  private static func extract(
    _ kind: UInt8, mode: mode_t, size: Int64, to path: String, from descriptor: Int32
  ) -> Int32 {
    switch kind {
    case UInt8(ascii: "d"):
      return mkdir(path, 0o700) == 0 ? 0 : errno
    case UInt8(ascii: "l"):
      guard size <= Int64(PATH_MAX), let text = readBytes(Int(size), from: descriptor)
      else { return EIO }
      return symlink(String(decoding: text, as: UTF8.self), path) == 0 ? 0 : errno
    case UInt8(ascii: "f"):
      // O_NOFOLLOW and O_EXCL: no link made by an earlier entry is written through.
      let to = clinux_open_at(
        AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode | 0o200)
      if to < 0 { return -to }
      defer { close(to) }
      let copied = clinux_copy(descriptor, to, size)
      if copied < 0 { return Int32(-copied) }
      fchmod(to, mode)
      return copied == size ? 0 : EIO
    default:
      return EIO
    }
  }

  /// A relative name without `..` and without empty parts.
  static func isInside(_ name: String) -> Bool {
    !name.hasPrefix("/")
      && name.split(separator: "/", omittingEmptySubsequences: false)
        .allSatisfy { !$0.isEmpty && $0 != ".." && $0 != "." }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func readBytes(_ count: Int, from descriptor: Int32) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = bytes.withUnsafeMutableBytes {
        Glibc.read(descriptor, $0.baseAddress! + done, count - done)
      }
      if got < 0 && errno == EINTR { continue }
      if got <= 0 { return nil }
      done += got
    }
    return bytes
  }
}
