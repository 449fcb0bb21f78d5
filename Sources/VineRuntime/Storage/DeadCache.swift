// The cache of a dead session of the same run, found beside the directory of the living one. Nothing in
// it is believed: names say what a file may be, the digest of the journal whether it is.

internal import CLinux
internal import Glibc
internal import VineCore

/// A file in the cache of a dead session.
struct CacheOffer: Equatable, Sendable {
  let value: FileValue
  let byteCount: Int64
  let path: String
}

/// One such directory, held by its lock: nobody else takes or removes it.
struct DeadCache: Sendable {
  let path: String
  private let lock: Int32

  /// How long processes of the dead session may take to let go of it: ranks that lose their manager
  /// leave within this, unless they are slow to notice.
  private static let patienceMicroseconds: UInt32 = 100_000
  private static let patienceCount = 100

  /// The directories beside the one at `path` that sessions of `run` have left. May wait some seconds
  /// for processes that are just dying, for all of them together.
  static func find(beside path: String, of run: String) -> [DeadCache] {
    guard let slash = path.lastIndex(of: "/") else { return [] }
    let parent = String(path[..<slash])
    var waiting: [DeadCache] = []
    for entry in FileTree.entries(of: parent).entries where entry.isDirectory {
      let other = "\(parent)/\(entry.name)"
      guard other != path, isOurs(other), CacheRecord.read(in: other)?.run == run else { continue }
      let lock = clinux_open_at(AT_FDCWD, "\(other)/lock", O_RDWR | O_NOFOLLOW, 0)
      if lock >= 0 { waiting.append(DeadCache(path: other, lock: lock)) }
    }
    var found: [DeadCache] = []
    for turn in 0..<patienceCount where !waiting.isEmpty {
      if turn > 0 { usleep(patienceMicroseconds) }
      waiting.removeAll { cache in
        let isFree = flock(cache.lock, LOCK_EX | LOCK_NB) == 0
        if isFree { found.append(cache) }
        return isFree
      }
    }
    for cache in waiting { close(cache.lock) }
    return found.sorted { $0.path < $1.path }
  }

  private static func isOurs(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
      && info.st_uid == getuid() && info.st_mode & 0o077 == 0
  }

  /// What may be outputs of the run whose files have this digest, and how much else lies there.
  func offers(_ files: String) -> (offers: [CacheOffer], foreignCount: Int) {
    removeAllButTheCache()
    let cache = "\(path)/cache"
    let isKnown = CacheRecord.read(in: path)?.files == files
    var offers: [CacheOffer] = []
    var foreignCount = 0
    for entry in FileTree.entries(of: cache).entries {
      var info = stat()
      let path = "\(cache)/\(entry.name)"
      guard isKnown, let value = cachedValue(named: entry.name), lstat(path, &info) == 0 else {
        foreignCount += 1
        continue
      }
      offers.append(CacheOffer(value: value, byteCount: Int64(info.st_size), path: path))
    }
    return (offers, foreignCount)
  }

  /// Sandboxes hold further names of cached files, by which a process that was overlooked could still
  /// write to them.
  private func removeAllButTheCache() {
    for entry in FileTree.entries(of: path).entries
    where !["cache", "lock", CacheRecord.fileName].contains(entry.name) {
      FileTree.remove("\(path)/\(entry.name)")
    }
  }

  /// Removes what is left of it, and lets go.
  func remove() {
    FileTree.remove(path)
    close(lock)
  }
}

extension CacheOffer {
  /// Compares it with what the journal knows and moves it to `target`; nil when it is there.
  func adopt(
    _ hash: ContentHash, to target: String, while isWanted: () -> Bool = { true }
  ) -> AdoptionRefusal? {
    _ = FaultHooks.shared.action(at: "cache.compare", name: hostName())
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
    guard descriptor >= 0 else { return .unreadable }
    defer { close(descriptor) }
    var info = stat()
    // By another name somebody could change it after it was compared.
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
      info.st_uid == getuid(), info.st_nlink == 1
    else { return .unreadable }
    guard Int64(info.st_size) == byteCount else { return .otherSize }
    let content = contentHash(of: descriptor, while: isWanted)
    guard isWanted() else { return .unreadable }
    guard content.byteCount == byteCount, content.1 == hash else { return .damaged }
    // A process of the dead session may be left that writes to it.
    var after = stat()
    guard fstat(descriptor, &after) == 0,
      FileTree.signature(of: after) == FileTree.signature(of: info)
    else { return .damaged }
    // Never in the place of another: attempts may have linked that.
    if link(path, target) != 0 { return errno == EEXIST ? .unneeded : .unreadable }
    unlink(path)
    return nil
  }
}

/// The value that `cacheName` gives this name; nil: it gives it to none that a task makes.
func cachedValue(named name: String) -> FileValue? {
  let parts = name.dropFirst().split(separator: "-", omittingEmptySubsequences: false)
  guard name.hasPrefix("f"), let file = parts.first.flatMap({ UInt32($0) }),
    let attempt = parts.count == 2 ? UInt32(parts[1]) : parts.count == 1 ? 0 : nil
  else { return nil }
  let value = FileValue(FileID(rawValue: file), attempt: attempt)
  return cacheName(value) == name ? value : nil
}
