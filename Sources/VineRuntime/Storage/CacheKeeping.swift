// What `vine-mpi cache` does on a node: lists, compares and removes what runs have left there. Nothing
// outside of `SCRATCH/vine-mpi-UID` is touched, and nothing that a living run holds.

internal import CLinux
internal import Glibc
internal import VineCore

/// One line of `cache ls`.
package struct KeptFile: Sendable {
  package let key: String
  package let entry: ForeverEntry
  /// Seconds since 1970.
  package let lastUse: Int
}

/// The node's directory of one run, alive or left over.
package struct RunRemains: Sendable {
  package let path: String
  package let isAlive: Bool
  /// Its session died, and the next one may still come for what lies there.
  package let isWaiting: Bool
  package let byteCount: Int64
  /// Seconds since 1970.
  package let lastChange: Int
}

package struct NodeCache: Sendable {
  /// `SCRATCH/vine-mpi-UID`.
  package let path: String
  private let forever: ForeverCache

  /// The caches of this user in `scratch`, chosen as a run chooses; nil when there are none.
  package static func find(_ scratch: String) throws(RuntimeError) -> NodeCache? {
    let base = try ScratchDirectory.choose(scratch)
    let path = "\(base)/vine-mpi-\(getuid())"
    var info = stat()
    if lstat(path, &info) != 0 { return nil }
    // Checks that it is ours, as a run does.
    try ScratchDirectory.makePrivate(path)
    return NodeCache(path: path, forever: try ForeverCache.open(below: path))
  }

  // MARK: Looking

  /// What is kept, the last used first.
  package func files() -> [KeptFile] {
    var found: [KeptFile] = []
    for name in FileTree.entries(of: forever.keys).entries.map(\.name) where isKey(name) {
      var info = stat()
      guard lstat("\(forever.keys)/\(name)", &info) == 0, let entry = forever.entry(name)
      else { continue }
      found.append(KeptFile(key: name, entry: entry, lastUse: info.st_mtim.tv_sec))
    }
    return found.sorted { ($1.lastUse, $0.key) < ($0.lastUse, $1.key) }
  }

  private func isKey(_ name: String) -> Bool {
    name.utf8.count == 64 && name.allSatisfy(\.isHexDigit)
  }

  /// The directories of runs.
  package func remains() -> [RunRemains] {
    var found: [RunRemains] = []
    for entry in FileTree.entries(of: path).entries where entry.isDirectory {
      let directory = "\(path)/\(entry.name)"
      var info = stat()
      guard entry.name != "forever", lstat(directory, &info) == 0 else { continue }
      let isAlive = !withFreeLock(of: directory) {}
      found.append(
        RunRemains(
          path: directory, isAlive: isAlive,
          isWaiting: !isAlive && CacheRecord.isWaiting(directory, at: time(nil)),
          byteCount: byteCount(below: directory),
          lastChange: info.st_mtim.tv_sec))
    }
    return found
  }

  /// Does `body` if no process of the run lives; returns whether it did.
  private func withFreeLock(of directory: String, _ body: () -> Void) -> Bool {
    let lock = clinux_open_at(AT_FDCWD, "\(directory)/lock", O_RDWR | O_NOFOLLOW, 0)
    guard lock >= 0 else { return false }
    defer { close(lock) }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { return false }
    body()
    return true
  }

  private func byteCount(below directory: String) -> Int64 {
    var sum: Int64 = 0
    for entry in FileTree.entries(of: directory).entries {
      let path = "\(directory)/\(entry.name)"
      var info = stat()
      if entry.isDirectory {
        sum += byteCount(below: path)
      } else if lstat(path, &info) == 0 {
        sum += Int64(info.st_blocks) * 512
      }
    }
    return sum
  }

  // MARK: Comparing

  /// Compares everything kept with its digest; returns what is damaged, which is removed if
  /// `removes`.
  package func verify(removes: Bool) -> [KeptFile] {
    let lock = ForeverCache.Lock(forever.path, removes ? LOCK_EX : LOCK_SH)
    defer { lock.release() }
    var verdicts: [String: Bool] = [:]
    var damaged: [KeptFile] = []
    for file in files() {
      let content = file.entry.content
      let isGood =
        verdicts[content]
        ?? (ForeverCache.contentName(of: "\(forever.data)/\(content)")?.name == content)
      verdicts[content] = isGood
      if isGood { continue }
      damaged.append(file)
      if removes { remove(file) }
    }
    return damaged
  }

  private func remove(_ file: KeptFile) {
    unlink("\(forever.keys)/\(file.key)")
    FileTree.remove("\(forever.data)/\(file.entry.content)")
  }

  // MARK: Removing

  /// What `gc` has removed.
  package struct Removed: Sendable {
    package var files: [KeptFile] = []
    package var runs: [String] = []
    package var byteCount: Int64 = 0
  }

  /// Removes what was not used for `seconds`, then the longest unused until at most `byteCountMax`
  /// are left, contents that no key stands for, and what dead runs have left.
  package func collect(olderThan seconds: Int?, byteCountMax: Int64?) -> Removed {
    let lock = ForeverCache.Lock(forever.path, LOCK_EX)
    defer { lock.release() }
    var removed = Removed()
    let now = time(nil)
    var kept: [KeptFile] = []
    var sum: Int64 = 0
    // Contents may be shared by keys: they count once.
    var counted: Set<String> = []
    for file in files() {
      let isOld = seconds.map { now - file.lastUse > $0 } ?? false
      let more = counted.contains(file.entry.content) ? 0 : file.entry.byteCount
      let isTooMuch = byteCountMax.map { sum + more > $0 } ?? false
      if isOld || isTooMuch {
        unlink("\(forever.keys)/\(file.key)")
        removed.files.append(file)
      } else {
        kept.append(file)
        sum += more
        counted.insert(file.entry.content)
      }
    }
    let names = Set(kept.map(\.entry.content))
    for entry in FileTree.entries(of: forever.data).entries where !names.contains(entry.name) {
      let path = "\(forever.data)/\(entry.name)"
      var info = stat()
      if lstat(path, &info) == 0 {
        removed.byteCount += entry.isDirectory ? byteCount(below: path) : Int64(info.st_size)
      }
      FileTree.remove(path)
    }
    removeRuns(&removed)
    return removed
  }

  /// Removes what dead sessions of the run in `runPath` have left, and nothing else.
  package func removeRun(in runPath: String) throws(RuntimeError) -> Removed {
    var removed = Removed()
    let journal = JournalDirectory("\(runPath)/journal")
    guard let run = try journal.plan().run else { return removed }
    for cache in DeadCache.find(beside: "\(path)/.", of: "\(run)") {
      removed.runs.append(cache.path)
      removed.byteCount += byteCount(below: cache.path)
      cache.remove()
    }
    return removed
  }

  private func removeRuns(_ removed: inout Removed) {
    for run in remains() where !run.isAlive && !run.isWaiting {
      let isGone = withFreeLock(of: run.path) { FileTree.remove(run.path) }
      if !isGone { continue }
      removed.runs.append(run.path)
      removed.byteCount += run.byteCount
    }
  }
}
