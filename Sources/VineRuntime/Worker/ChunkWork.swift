// What helper threads, and sometimes the loop (`ChunkHelpers`), do with chunks and small files. Calls
// return 0 or an errno and may block.

internal import CChecksum
internal import CLinux
internal import Glibc
internal import VineCore

/// What helper threads give back about files that travel.
enum ChunkResult: Sendable {
  /// A chunk is in its part file. EBADMSG: it was damaged on its way.
  case stored(ChunkPlace, sum: UInt32, ChunkBuffer, error: Int32)
  /// The original of a partial file was opened, or read and stored as a whole.
  case opened(number: Int, epoch: Int, isClaim: Bool, SharedOpening)
  /// The original is as it was when it was opened; EBUSY: it is not.
  case checked(number: Int, epoch: Int, error: Int32)
  /// A whole file has its name in the cache.
  case entered(number: Int, error: Int32)
  /// Small files have their names in the cache.
  case enteredSmall([(number: Int, error: Int32)])
  /// What peers asked for was looked up in the cache.
  case lookedUp([Lookup])
  /// A chunk of a file that is being sent.
  case read(OutgoingKey, index: Int, ChunkBuffer, error: Int32)
}

enum SharedOpening: Sendable {
  case failed(Int32)
  /// It was small, and is in the cache.
  case entered(FileShape)
  case open(HeldDescriptor, FileShape)
}

/// What a peer's request found.
struct Lookup: Sendable {
  enum Found: Sendable {
    case nothing(error: Int32)
    case small(FileShape, sum: UInt32, [UInt8])
    case large(HeldDescriptor, FileShape)
  }
  let request: ReadRequest
  let found: Found
}

/// A small file that came within a message.
struct SmallFile: Sendable {
  let number: Int
  let value: FileValue
  let part: String
  let mode: UInt32
  let bytes: [UInt8]
}

enum ChunkWork {
  static func sum(of bytes: UnsafeRawPointer?, count: Int) -> UInt32 {
    cchecksum_crc32c(0, bytes, count)
  }

  /// Checks a chunk that came over the network and writes it.
  static func store(
    _ buffer: ChunkBuffer, byteCount: Int, at index: Int, in part: HeldDescriptor
  ) -> (sum: UInt32, error: Int32) {
    let sum = sum(of: buffer.bytes, count: byteCount)
    if sum != buffer.sum(behind: byteCount) { return (sum, EBADMSG) }
    return (sum, write(buffer, byteCount: byteCount, at: index, in: part))
  }

  /// Reads a chunk of the original, sums it up and writes it. EBUSY: the original is shorter than it
  /// was, or has another version now, where that is not 0.
  static func copy(
    _ original: HeldDescriptor, _ buffer: ChunkBuffer, byteCount: Int, at index: Int,
    version: UInt64, to part: HeldDescriptor
  ) -> (sum: UInt32, error: Int32) {
    var error = FaultHooks.shared.action(at: "shared.read")?.errorNumber ?? 0
    if error == 0 { error = read(original, into: buffer, byteCount: byteCount, at: index) }
    if error != 0 { return (0, error == ENODATA ? EBUSY : error) }
    if version != 0 {
      error = check(original, version: version)
      if error != 0 { return (0, error) }
    }
    let sum = sum(of: buffer.bytes, count: byteCount)
    buffer.setSum(sum, behind: byteCount)
    return (sum, write(buffer, byteCount: byteCount, at: index, in: part))
  }

  private static func write(
    _ buffer: ChunkBuffer, byteCount: Int, at index: Int, in part: HeldDescriptor
  ) -> Int32 {
    if let error = FaultHooks.shared.action(at: "chunk.write")?.errorNumber, error != 0 {
      return error
    }
    // The part file has its length already: zeros need no room in it.
    if isZero(buffer.bytes, count: byteCount) { return 0 }
    var done = 0
    let start = Int64(index) * Limits.chunkByteCount
    while done < byteCount {
      let count = pwrite(
        part.number, buffer.bytes + done, byteCount - done, off_t(start) + off_t(done))
      if count < 0 && errno == EINTR { continue }
      if count < 0 { return errno }
      done += count
    }
    return 0
  }

  private static func isZero(_ bytes: UnsafeRawPointer, count: Int) -> Bool {
    guard count > 16, bytes.loadUnaligned(as: UInt64.self) == 0,
      bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == 0
    else { return false }
    return memcmp(bytes, bytes + 16, count - 16) == 0
  }

  /// Fills a buffer; ENODATA when the file ends before.
  static func read(
    _ file: HeldDescriptor, into buffer: ChunkBuffer, byteCount: Int, at index: Int
  ) -> Int32 {
    var done = 0
    let start = Int64(index) * Limits.chunkByteCount
    while done < byteCount {
      let count = pread(
        file.number, buffer.bytes + done, byteCount - done, off_t(start) + off_t(done))
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return count < 0 ? errno : ENODATA }
      done += count
    }
    return 0
  }

  /// The same if no device has to be waited for; false: one has to, or something is wrong.
  static func readAtOnce(
    _ file: HeldDescriptor, into buffer: ChunkBuffer, byteCount: Int, at index: Int
  ) -> Bool {
    let start = off_t(index) * off_t(Limits.chunkByteCount)
    return clinux_read_at_once(file.number, buffer.bytes, byteCount, start) == 0
  }

  /// Puts the sum behind a chunk's data; nil: it has to be found.
  static func setSum(_ sum: UInt32?, of buffer: ChunkBuffer, byteCount: Int) {
    buffer.setSum(sum ?? Self.sum(of: buffer.bytes, count: byteCount), behind: byteCount)
  }

  /// Makes the part file of a file of known size.
  static func makePart(_ path: String, byteCount: Int64) -> (HeldDescriptor?, error: Int32) {
    let number = clinux_open_at(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    if number < 0 { return (nil, -number) }
    let part = HeldDescriptor(number)
    if ftruncate(number, off_t(byteCount)) != 0 {
      let error = errno
      unlink(path)
      return (nil, error)
    }
    return (part, 0)
  }

  // MARK: Originals

  /// Opens a file on the shared file system; one that is small, and not being resumed, goes into the
  /// cache at once.
  static func open(
    _ order: FetchOrder, part: String, isResumed: Bool, in scratch: ScratchDirectory
  ) -> SharedOpening {
    let path = String(decoding: order.location, as: UTF8.self)
    var info = stat()
    var number = openOriginal(path, &info)
    if number == -ENOENT || number == -ESTALE {
      // What a node of a network file system knows of others' files may be old.
      usleep(100_000)
      number = openOriginal(path, &info)
    }
    if number < 0 { return .failed(-number) }
    let file = HeldDescriptor(number)
    let shape = FileShape(
      byteCount: Int64(info.st_size), mode: UInt32(info.st_mode & 0o777),
      version: version(of: info))
    if isResumed || shape.byteCount > Limits.chunkByteCount { return .open(file, shape) }
    let (byteCount, copyError) = FileTree.copyFile(from: number, info, to: part)
    let error = scratch.enter(part, as: order.value, error: copyError)
    if error != 0 { return .failed(error) }
    return .entered(FileShape(byteCount: byteCount, mode: shape.mode, version: shape.version))
  }

  private static func openOriginal(_ path: String, _ info: inout stat) -> Int32 {
    let fault = FaultHooks.shared.action(at: "shared.open")?.errorNumber ?? 0
    return fault != 0 ? -fault : FileTree.openRegularFile(path, &info)
  }

  /// Never 0.
  static func version(of info: stat) -> UInt64 {
    let mixed =
      FileTree.signature(of: info) ^ UInt64(info.st_ino) &* 0xA24B_AED4_963E_E407
    return mixed == 0 ? 1 : mixed
  }

  /// Whether the original is still what was opened.
  static func check(_ original: HeldDescriptor, version: UInt64) -> Int32 {
    var info = stat()
    if fstat(original.number, &info) != 0 { return errno }
    return Self.version(of: info) == version ? 0 : EBUSY
  }

  // MARK: Small files and the cache

  /// Gives a small file its name in the cache.
  static func enter(_ file: SmallFile, in scratch: ScratchDirectory) -> Int32 {
    let number = clinux_open_at(
      AT_FDCWD, file.part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    if number < 0 { return -number }
    var error = file.bytes.withUnsafeBytes { writeAll($0, to: number) }
    if error == 0 && fchmod(number, file.mode & 0o777) != 0 { error = errno }
    if close(number) != 0 && error == 0 { error = errno }
    return scratch.enter(file.part, as: file.value, error: error)
  }

  /// Looks up what a peer asked for.
  static func lookUp(_ request: ReadRequest, in scratch: ScratchDirectory) -> Lookup {
    let (path, error) = pathToSend(request, in: scratch)
    if error != 0 { return Lookup(request: request, found: .nothing(error: error)) }
    defer { if request.isDirectory { unlink(path) } }
    var info = stat()
    let number = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
    if number < 0 { return Lookup(request: request, found: .nothing(error: -number)) }
    let file = HeldDescriptor(number)
    if fstat(number, &info) != 0 { return Lookup(request: request, found: .nothing(error: errno)) }
    let shape = FileShape(
      byteCount: Int64(info.st_size), mode: UInt32(info.st_mode & 0o777), version: 0)
    if shape.byteCount > Limits.smallFileByteCountMax || request.isDirectory {
      return Lookup(request: request, found: .large(file, shape))
    }
    var bytes = [UInt8](repeating: 0, count: Int(shape.byteCount))
    let count = bytes.withUnsafeMutableBytes { pread(number, $0.baseAddress, $0.count, 0) }
    if count != bytes.count {
      return Lookup(request: request, found: .nothing(error: count < 0 ? errno : EIO))
    }
    let sum = bytes.withUnsafeBytes { Self.sum(of: $0.baseAddress, count: $0.count) }
    return Lookup(request: request, found: .small(shape, sum: sum, bytes))
  }

  /// The file itself, or an archive of the directory, which the caller removes.
  private static func pathToSend(
    _ request: ReadRequest, in scratch: ScratchDirectory
  ) -> (String, error: Int32) {
    let path = scratch.cachePath(request.value)
    if !request.isDirectory { return (path, 0) }
    let packed = scratch.part("send-\(request.rank)-\(request.tag)")
    FileTree.remove(packed)
    let number = clinux_open_at(AT_FDCWD, packed, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    if number < 0 { return (packed, -number) }
    let error = TreeArchive.write(path, to: number)
    close(number)
    if error != 0 { unlink(packed) }
    return (packed, error)
  }

  /// Unpacks an archive that came into the cache, and removes it.
  static func unpack(_ archive: String, as value: FileValue, in scratch: ScratchDirectory) -> Int32
  {
    let tree = "\(archive)-tree"
    FileTree.remove(tree)
    defer { unlink(archive) }
    let number = clinux_open_at(AT_FDCWD, archive, O_RDONLY, 0)
    if number < 0 { return -number }
    defer { close(number) }
    return scratch.enter(tree, as: value, error: TreeArchive.read(from: number, to: tree))
  }
}
