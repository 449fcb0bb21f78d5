// The node-local directory of a run: `SCRATCH/vine-mpi-UID/TOKEN`, with the node's cache in it and
// one directory of sandboxes per rank. Ours alone (0700), never behind a symbolic link.

internal import CLinux
internal import Glibc
internal import VineCore

struct ScratchDirectory {
  let path: String
  let warning: String?
  /// Held open with a shared lock for as long as the run lives here: a directory whose lock nobody
  /// holds is left over. Node-local file systems keep locks well; the shared one is never asked.
  private let lock: Int32

  var cache: String { "\(path)/cache" }

  func sandboxes(of rank: Int) -> String { "\(path)/sandboxes-\(rank)" }
  func spool(of rank: Int) -> String { "\(path)/output-\(rank)" }
  func part(_ name: String) -> String { "\(path)/part-\(name)" }
  func cachePath(_ value: FileValue) -> String { "\(cache)/\(cacheName(value))" }

  /// Gives a complete part its name in the cache, or removes it after an `error`; returns the error.
  func enter(_ part: String, as value: FileValue, error: Int32) -> Int32 {
    var error = error
    if error == 0 && rename(part, cachePath(value)) != 0 {
      // A directory of an earlier value stands in the way.
      FileTree.remove(cachePath(value))
      error = rename(part, cachePath(value)) == 0 ? 0 : errno
    }
    if error != 0 { FileTree.remove(part) }
    return error
  }

  /// Makes or joins the directory named `token` in `scratch`, or in the first usable place.
  static func open(_ scratch: String, token: String) throws(RuntimeError) -> ScratchDirectory {
    let base = try choose(scratch)
    let mine = "\(base)/vine-mpi-\(getuid())"
    try makePrivate(mine)
    let path = "\(mine)/\(token)"
    let lock = try takeLock(in: path)
    let cache = "\(path)/cache"
    if mkdir(cache, 0o700) != 0 && errno != EEXIST {
      throw RuntimeError("make", cache, errno: errno)
    }
    return ScratchDirectory(path: path, warning: warning(about: base), lock: lock)
  }

  /// Makes the directory and takes its lock with the others of the node. In a session that ends as
  /// soon as it began, those may be removing it meanwhile.
  private static func takeLock(in path: String) throws(RuntimeError) -> Int32 {
    var lock: Int32 = 0
    for _ in 0..<100 {
      if mkdir(path, 0o700) != 0 && errno != EEXIST {
        throw RuntimeError("make", path, errno: errno)
      }
      lock = clinux_open_at(AT_FDCWD, "\(path)/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
      if lock == -ENOENT { continue }
      if lock < 0 { break }
      flock(lock, LOCK_SH)
      var (held, named) = (stat(), stat())
      if fstat(lock, &held) == 0, lstat("\(path)/lock", &named) == 0, held.st_ino == named.st_ino {
        // It stays now.
        try makePrivate(path)
        return lock
      }
      close(lock)
      lock = -ENOENT
    }
    throw RuntimeError("use scratch directory", path, errno: -lock)
  }

  /// Removes what this rank put here; the last rank of the node removes the directory and the cache:
  /// one that is only beginning still needs it.
  /// If the directory `isKept`, what it holds stays for the next session.
  func leave(rank: Int, isAgent: Bool, isKept: Bool = false) {
    FileTree.remove(sandboxes(of: rank))
    FileTree.remove(spool(of: rank))
    if isKept {
      close(lock)
      return
    }
    // Whoever cannot have it alone has lost its share, too (flock(2)), so that one of those who leave
    // at once has it alone. Where the file system has no locks, the agent counts as the last.
    let isLast = flock(lock, LOCK_EX | LOCK_NB) == 0 || (errno != EWOULDBLOCK && isAgent)
    defer { close(lock) }
    if !isLast { return }
    FileTree.remove(cache)
    // Lock and record go with the directory: only when nothing else is left in it.
    let left = FileTree.entries(of: path).entries
    if left.allSatisfy({ $0.name == "lock" || $0.name == CacheRecord.fileName }) {
      unlink("\(path)/\(CacheRecord.fileName)")
      unlink("\(path)/lock")
      rmdir(path)
    }
  }

  /// Removes directories beside this one that their runs left behind, unless they wait for a session
  /// that may still come.
  func removeLeftovers() {
    guard let slash = path.lastIndex(of: "/") else { return }
    let parent = String(path[..<slash])
    let now = time(nil)
    for entry in FileTree.entries(of: parent).entries
    where entry.isDirectory && entry.name != "forever" {
      let other = "\(parent)/\(entry.name)"
      var info = stat()
      // A minute's grace for a run that is just making its directory.
      guard other != path, lstat(other, &info) == 0, now - info.st_mtim.tv_sec > 60,
        !CacheRecord.isWaiting(other, at: now)
      else { continue }
      let descriptor = clinux_open_at(AT_FDCWD, "\(other)/lock", O_RDWR | O_NOFOLLOW, 0)
      guard descriptor >= 0 else { continue }
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { FileTree.remove(other) }
      close(descriptor)
    }
  }

  static func choose(_ scratch: String) throws(RuntimeError) -> String {
    if !scratch.isEmpty {
      let error = FileTree.makeDirectories(scratch)
      if error != 0 { throw RuntimeError("use scratch directory", scratch, errno: error) }
      return scratch
    }
    var candidates: [String] = []
    for name in ["VINE_SCRATCH", "SLURM_TMPDIR", "TMPDIR"] {
      if let value = getenv(name) { candidates.append(String(cString: value)) }
    }
    candidates += ["/local/scratch", "/tmp"]
    for candidate in candidates where !candidate.isEmpty {
      if access(candidate, W_OK | X_OK) == 0 { return candidate }
    }
    throw RuntimeError(
      "find a scratch directory",
      detail: "none of $VINE_SCRATCH, $SLURM_TMPDIR, $TMPDIR, "
        + "/local/scratch and /tmp is writable on this node; name one with --scratch")
  }

  /// Makes a directory of our own with 0700, or checks that the one there is one.
  static func makePrivate(_ path: String) throws(RuntimeError) {
    if mkdir(path, 0o700) == 0 { return }
    if errno != EEXIST { throw RuntimeError("make", path, errno: errno) }
    var info = stat()
    if lstat(path, &info) != 0 { throw RuntimeError("use", path, errno: errno) }
    guard info.st_mode & S_IFMT == S_IFDIR, info.st_uid == getuid(), info.st_mode & 0o077 == 0
    else {
      throw RuntimeError(
        "use scratch directory", path,
        detail: "it is not a directory of yours with mode 0700; remove it or choose another "
          + "place with --scratch")
    }
  }

  /// Network file systems by their statfs(2) magic numbers.
  private static func warning(about base: String) -> String? {
    let name: String? =
      switch clinux_file_system(base) {
      case 0x6969: "NFS"
      case 0x0BD0_0BD0: "Lustre"
      case 0x4750_4653: "GPFS"
      case 0x1980_0202, 0x2003_0528: "PVFS or OrangeFS"
      case 0x00C3_6400: "Ceph"
      case 0x6265_6763: "BeeGFS"
      case 0xFF53_4D42, 0x517B: "SMB"
      default: nil
      }
    return name.map {
      "scratch directory \(base) lies on \($0), a network file system: every intermediate file "
        + "will travel twice. Name a node-local one with --scratch."
    }
  }
}
