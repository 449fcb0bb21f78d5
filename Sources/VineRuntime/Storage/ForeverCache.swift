// What a node keeps beyond the end of a run: `SCRATCH/vine-mpi-UID/forever`.
//
//     data/CONTENT    a file or a tree; CONTENT is its SHA-256 with its mode
//     keys/KEY        what a KEY stands for, as JSON; its time of modification is its last use
//     lock            shared by who adds and reads, exclusive for who removes
//
// Runs take files out by hard links, so that removing an entry hurts nobody. What is taken is compared
// with its digest first: a wrong byte is never given to anybody.

internal import CLinux
internal import Crypto
internal import FoundationEssentials
internal import Glibc
internal import VineCore

/// What one key stands for.
package struct ForeverEntry: Codable, Equatable, Sendable {
  /// The name below `data`.
  package var content: String
  package var byteCount: Int64
  package var isDirectory: Bool
  /// path, buffer, url, untar or mini_task.
  package var kind: String
  /// The path, the URL or the file's id, for people.
  package var name: String
  /// The run that put it there.
  package var run: String
  /// Of a download without a digest: by these the server tells whether it has changed.
  package var etag: String?
  package var lastModified: String?
}

package struct ForeverCache: Sendable {
  let path: String

  /// The cache below `scratch` (a run's `SCRATCH/vine-mpi-UID`). Its directories are made when there
  /// is something to keep; those that are there must be ours.
  static func open(below scratch: String) throws(RuntimeError) -> ForeverCache {
    let cache = ForeverCache(path: "\(scratch)/forever")
    if access(cache.path, F_OK) == 0 { try cache.make() }
    return cache
  }

  private func make() throws(RuntimeError) {
    for path in [path, data, keys] { try ScratchDirectory.makePrivate(path) }
  }

  var data: String { "\(path)/data" }
  var keys: String { "\(path)/keys" }

  /// The name of a content: its digest, and its mode, which tasks see.
  static func contentName(of path: String) -> (name: String, byteCount: Int64)? {
    var info = stat()
    guard lstat(path, &info) == 0 else { return nil }
    if info.st_mode & S_IFMT == S_IFDIR {
      return treeHash(of: path).map { ("\($0.hash.text)-d", $0.byteCount) }
    }
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let (byteCount, hash) = contentHash(of: descriptor)
    guard byteCount == Int64(info.st_size) else { return nil }
    return ("\(hash.text)-\(String(info.st_mode & 0o777, radix: 8))", byteCount)
  }

  // MARK: Adding

  /// Adds the file or tree at `source` under `key`; `entry` says the rest. Returns an errno.
  func store(_ source: String, as key: ContentHash, _ entry: ForeverEntry) -> Int32 {
    do throws(RuntimeError) { try make() } catch { return error.errno == 0 ? EPERM : error.errno }
    let lock = Lock(path, LOCK_SH)
    defer { lock.release() }
    let part = "\(data)/part-\(getpid())-\(key.text)"
    defer { FileTree.remove(part) }
    let error = Self.link(source, to: part)
    if error != 0 { return error }
    guard let (name, byteCount) = Self.contentName(of: part) else { return EIO }
    var entry = entry
    entry.content = name
    entry.byteCount = byteCount
    if rename(part, "\(data)/\(name)") != 0 && errno != ENOTEMPTY && errno != EEXIST {
      return errno
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let text = try? encoder.encode(entry) else { return EINVAL }
    do throws(RuntimeError) {
      try replaceFile("\(keys)/\(key.text)", with: String(decoding: text, as: UTF8.self) + "\n")
    } catch { return error.errno == 0 ? EIO : error.errno }
    return 0
  }

  /// Gives a file another name, a tree another tree of such names.
  private static func link(_ source: String, to target: String) -> Int32 {
    FileTree.remove(target)
    var info = stat()
    if lstat(source, &info) != 0 { return errno }
    if info.st_mode & S_IFMT == S_IFDIR {
      return FileTree.copyTree(source, to: target, linksFiles: true).error
    }
    if Glibc.link(source, target) == 0 { return 0 }
    return errno == EMLINK ? FileTree.copyFile(source, to: target).error : errno
  }

  // MARK: Taking

  /// What looking for a key came to.
  enum Recall {
    case found(ForeverEntry)
    case missing
    /// Its bytes are not what they were; the entry is gone.
    case damaged(ForeverEntry)
  }

  /// Puts what `key` stands for at `target`, compared with its digest.
  func recall(_ key: ContentHash, to target: String) -> Recall {
    guard let entry = entry(key.text) else { return .missing }
    let lock = Lock(path, LOCK_SH)
    defer { lock.release() }
    let source = "\(data)/\(entry.content)"
    guard Self.link(source, to: target) == 0 else {
      FileTree.remove(target)
      return .missing
    }
    guard let found = Self.contentName(of: target), found.name == entry.content else {
      FileTree.remove(target)
      FileTree.remove(source)
      unlink("\(keys)/\(key.text)")
      return .damaged(entry)
    }
    utimensat(AT_FDCWD, "\(keys)/\(key.text)", nil, 0)
    return .found(entry)
  }

  func entry(_ key: String) -> ForeverEntry? {
    guard let bytes = try? readFile("\(keys)/\(key)"),
      let entry = try? JSONDecoder().decode(ForeverEntry.self, from: Data(bytes)),
      !entry.content.contains("/"), !entry.content.hasPrefix(".")
    else { return nil }
    return entry
  }

  /// A lock that all who use the cache on this node honour; nobody waits long for it.
  struct Lock {
    private let descriptor: Int32

    init(_ path: String, _ operation: Int32) {
      descriptor = clinux_open_at(AT_FDCWD, "\(path)/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
      if descriptor >= 0 { while flock(descriptor, operation) != 0 && errno == EINTR {} }
    }

    func release() { if descriptor >= 0 { close(descriptor) } }
  }
}

/// SHA-256 of names, kinds, modes and contents of all below `path`; nil when some of it cannot be read.
private func treeHash(of path: String) -> (hash: ContentHash, byteCount: Int64)? {
  var hash = SHA256()
  guard mix(path, "", into: &hash) == 0 else { return nil }
  let digest = ContentHash(Array(hash.finalize())) ?? .unknown
  return (digest, TreeArchive.byteCount(of: path))
}

private func mix(_ directory: String, _ inner: String, into hash: inout SHA256) -> Int32 {
  let (entries, error) = FileTree.entries(of: directory)
  if error != 0 { return error }
  for entry in entries {
    let path = "\(directory)/\(entry.name)"
    var info = stat()
    if lstat(path, &info) != 0 { return errno }
    var head = WireWriter()
    head.put("\(inner)\(entry.name)")
    head.put(UInt32(info.st_mode & (S_IFMT | 0o777)))
    switch info.st_mode & S_IFMT {
    case S_IFDIR:
      hash.update(data: head.bytes)
      let error = mix(path, "\(inner)\(entry.name)/", into: &hash)
      if error != 0 { return error }
    case S_IFREG:
      let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
      if descriptor < 0 { return -descriptor }
      defer { close(descriptor) }
      for byte in contentHash(of: descriptor).1.bytes { head.put(byte) }
      hash.update(data: head.bytes)
    default:
      var text = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
      let count = max(readlink(path, &text, Int(PATH_MAX)), 0)
      for byte in text[..<count] { head.put(UInt8(bitPattern: byte)) }
      hash.update(data: head.bytes)
    }
  }
  return 0
}
