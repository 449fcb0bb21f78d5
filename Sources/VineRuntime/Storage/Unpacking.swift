// Unpacks archives of users. An archive is not trusted: none of its members may lie or point outside
// of the directory it is unpacked into, and nothing that is no data comes out of it.

internal import CLinux
internal import Glibc

/// Unpacks the tar archive `path`, compressed or not, into `target`, which must not exist. The first
/// member that has no place in a tree is an error that names it; what was unpacked stays then.
package func unpackArchive(_ path: String, to target: String) throws(RuntimeError) {
  let archive = try OwnedDescriptor.open(path, O_RDONLY, to: "read")
  if mkdir(target, 0o777) != 0 { throw RuntimeError("make", target, errno: errno) }
  let directory = try OwnedDescriptor.open(target, O_RDONLY | O_DIRECTORY)
  var start = [UInt8](repeating: 0, count: 6)
  let count = start.withUnsafeMutableBytes { pread(archive.number, $0.baseAddress, $0.count, 0) }
  if count < 0 { throw RuntimeError("read", path, errno: errno) }
  var unpacker = TreeUnpacker(directory.number)
  if let program = decompressor(for: start) {
    let stream = try Decompression(program, archive.number, path)
    try unpacker.unpack(stream.output, path)
    try stream.finish()
  } else {
    try unpacker.unpack(archive.number, path)
  }
  if let link = FileTree.linkLeadingOut(of: target) {
    throw RuntimeError(
      "unpack", path, detail: "its member \(link) is a symbolic link that leads out of the tree")
  }
}

/// By the first bytes; nil for what is not compressed.
private func decompressor(for start: [UInt8]) -> String? {
  if start.starts(with: [0x1F, 0x8B]) || start.starts(with: [0x1F, 0x9D]) { return "gzip" }
  if start.starts(with: "BZh".utf8) { return "bzip2" }
  if start.starts(with: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]) { return "xz" }
  if start.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) { return "zstd" }
  return nil
}

/// A process that decompresses a file into a pipe.
private final class Decompression {
  private final class OutputEnd {
    let number: Int32
    init(_ number: Int32) { self.number = number }
    deinit { close(number) }
  }

  private let program: String
  private let path: String
  private let processID: pid_t
  private let pipe: OutputEnd

  var output: Int32 { pipe.number }

  init(_ program: String, _ input: Int32, _ path: String) throws(RuntimeError) {
    (processID, pipe) = try Self.start(program, input, path)
    self.program = program
    self.path = path
  }

  private static func start(
    _ program: String, _ input: Int32, _ path: String
  ) throws(RuntimeError) -> (pid_t, OutputEnd) {
    var ends: [Int32] = [-1, -1]
    if Glibc.pipe(&ends) != 0 { throw RuntimeError("make a pipe", errno: errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let readEnd = OutputEnd(ends[0])
    let writeEnd = OwnedDescriptor(ends[1])
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
    posix_spawn_file_actions_adddup2(&actions, writeEnd.number, STDOUT_FILENO)
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup("-dc"), nil]
    defer { for argument in arguments { free(argument) } }
    var processID = pid_t(0)
    let error = posix_spawnp(&processID, program, &actions, nil, &arguments, environ)
    if error != 0 {
      throw RuntimeError(
        "unpack", path,
        detail: error == ENOENT
          ? "it is compressed, and there is no \(program) on this node"
          : "\(program) could not be started: \(errorText(error))")
    }
    return (processID, readEnd)
  }

  /// Everything was read: says whether it was all of the file.
  func finish() throws(RuntimeError) {
    var status: Int32 = 0
    while waitpid(processID, &status, 0) < 0 && errno == EINTR {}
    if status != 0 {
      throw RuntimeError("unpack", path, detail: "\(program) says that it is damaged")
    }
  }
}

/// Makes a tree out of the members of an archive.
private struct TreeUnpacker {
  private let top: Int32
  /// Directories get their modes last: one may forbid writing.
  private var modes: [(name: [UInt8], mode: mode_t)] = []

  init(_ top: Int32) { self.top = top }

  mutating func unpack(_ descriptor: Int32, _ path: String) throws(RuntimeError) {
    var reader = TarReader(descriptor: descriptor, path: path)
    while let header = try reader.next() {
      do throws(Refusal) {
        try unpack(header, &reader)
      } catch {
        let name = String(decoding: header.name, as: UTF8.self)
        throw RuntimeError("unpack", path, detail: "its member \(name) \(error.reason)")
      }
    }
    try reader.drain()
    for (name, mode) in modes.reversed() {
      guard let place = try? place(of: name) else { continue }
      let directory = clinux_open_at(
        place.parent, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
      if directory >= 0 {
        fchmod(directory, mode)
        close(directory)
      }
    }
  }

  private struct Refusal: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
  }

  /// A directory that no symbolic link led to, and a name in it.
  private final class Place {
    let parent: Int32
    let name: String
    init(parent: Int32, name: String) {
      self.parent = parent
      self.name = name
    }
    deinit { close(parent) }
  }

  private mutating func unpack(
    _ header: TarHeader, _ reader: inout TarReader
  ) throws(Refusal) {
    let name = try inner(header.name, "has a name")
    if name.isEmpty {
      guard header.kind == UInt8(ascii: "5") else { throw Refusal("has no name") }
      return
    }
    switch header.kind {
    case UInt8(ascii: "0"), UInt8(ascii: "7"): try makeFile(header, name, &reader)
    case UInt8(ascii: "5"), UInt8(ascii: "D"): try makeDirectory(header, name)
    case UInt8(ascii: "1"): try makeLink(header, name)
    case UInt8(ascii: "2"): try makeSymbolicLink(header, name)
    case UInt8(ascii: "3"), UInt8(ascii: "4"): throw Refusal("is a device")
    case UInt8(ascii: "6"): throw Refusal("is a pipe")
    case UInt8(ascii: "S"): throw Refusal("is stored as a sparse file; pack it without --sparse")
    default: throw Refusal("is of a kind that is not known")
    }
  }

  /// A name without "." and empty parts, which must stay within the tree.
  private func inner(_ name: [UInt8], _ what: String) throws(Refusal) -> [UInt8] {
    if name.first == UInt8(ascii: "/") { throw Refusal("\(what) that is absolute") }
    let parts = name.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
    if parts.contains(where: { $0.elementsEqual("..".utf8) }) {
      throw Refusal("\(what) with \"..\" in it")
    }
    guard String(validating: name, as: UTF8.self) != nil else {
      throw Refusal("\(what) that is not UTF-8")
    }
    return Array(parts.joined(separator: [UInt8(ascii: "/")]))
  }

  private func place(of name: [UInt8]) throws(Refusal) -> Place {
    let text = String(decoding: name, as: UTF8.self)
    var found: Place?
    var error: Int32 = 0
    text.withCString { path in
      var last: UnsafePointer<CChar>?
      let parent = clinux_open_parent(top, path, 1, &last)
      if parent >= 0, let last {
        found = Place(parent: parent, name: String(cString: last))
      } else {
        error = -parent
      }
    }
    guard let found else {
      throw Refusal(
        error == ELOOP || error == ENOTDIR
          ? "lies behind a symbolic link or a file" : "cannot be made: \(errorText(error))")
    }
    return found
  }

  private func makeFile(
    _ header: TarHeader, _ name: [UInt8], _ reader: inout TarReader
  ) throws(Refusal) {
    let place = try place(of: name)
    // A later member of the same name takes its place.
    unlinkat(place.parent, place.name, 0)
    let mode = mode_t(header.mode & 0o777)
    let file = clinux_open_at(
      place.parent, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode | 0o200)
    if file < 0 { throw Refusal("cannot be made: \(errorText(-file))") }
    defer { close(file) }
    do throws(RuntimeError) {
      try reader.readContent { bytes throws(RuntimeError) in
        let error = writeAll(bytes, to: file)
        if error != 0 { throw RuntimeError("write", errno: error) }
      }
    } catch {
      throw Refusal(
        error.errno != 0 ? "cannot be written: \(errorText(error.errno))" : "is cut off")
    }
    if mode & 0o200 == 0 { fchmod(file, mode) }
  }

  private mutating func makeDirectory(_ header: TarHeader, _ name: [UInt8]) throws(Refusal) {
    let place = try place(of: name)
    if mkdirat(place.parent, place.name, 0o700) != 0 {
      var info = stat()
      guard errno == EEXIST, fstatat(place.parent, place.name, &info, AT_SYMLINK_NOFOLLOW) == 0,
        info.st_mode & S_IFMT == S_IFDIR
      else { throw Refusal("is a directory where something else is already") }
    }
    modes.append((name, mode_t(header.mode & 0o777)))
  }

  private func makeLink(_ header: TarHeader, _ name: [UInt8]) throws(Refusal) {
    let target = try inner(header.linkName, "is a link to a name")
    let from = try place(of: target)
    let to = try place(of: name)
    unlinkat(to.parent, to.name, 0)
    if linkat(from.parent, from.name, to.parent, to.name, 0) != 0 {
      throw Refusal(
        "is a link to \(String(decoding: target, as: UTF8.self)): \(errorText(errno))")
    }
  }

  private func makeSymbolicLink(_ header: TarHeader, _ name: [UInt8]) throws(Refusal) {
    let text = String(decoding: header.linkName, as: UTF8.self)
    if text.isEmpty { throw Refusal("is a symbolic link to nowhere") }
    if text.hasPrefix("/") { throw Refusal("is a symbolic link that leads out of the tree") }
    let place = try place(of: name)
    unlinkat(place.parent, place.name, 0)
    if symlinkat(text, place.parent, place.name) != 0 {
      throw Refusal("cannot be made: \(errorText(errno))")
    }
  }
}
