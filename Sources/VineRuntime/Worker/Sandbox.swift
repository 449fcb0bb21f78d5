// The directories attempts run in. Inputs are linked from the node's cache under their sandbox
// names, outputs are moved back into it; an empty directory is used again for the next attempt,
// since making and removing one costs more than most messages.

internal import CLinux
internal import Glibc
internal import VineCore

/// Why a sandbox could not be made or emptied.
struct SandboxProblem: Error {
  let ending: Ending
  let reason: String
}

/// One attempt's directory.
struct Sandbox {
  let number: Int
  let descriptor: Int32
  let path: String
  /// State of each input in the cache before the task could touch it.
  var signatures: [UInt64] = []
  /// Monotonic nanoseconds at which an attempt got it.
  var madeAt: Int64 = 0
  /// How the directory was when it was last found empty.
  var emptiness = Emptiness()
}

/// When a directory was seen to be empty, so that it need not be read again while it is as it was
/// then: to make, rename or remove an entry changes the time that no process can set (`st_ctim`,
/// inode(7)). File systems take it from a clock that ticks, most of them every 10 ms or faster: a change
/// counts as seen only if it cannot have come in the tick of the change before, and times of whole seconds
/// are not relied on.
struct Emptiness {
  /// Nanoseconds of the directory's last change; the clock is the file system's.
  private var changeTime: Int64 = -1
  /// Monotonic nanoseconds at which it was first seen empty with that time.
  private var since: Int64 = .max
  private static let tick: Int64 = 100_000_000

  /// The directory was read and is empty.
  mutating func note(_ info: stat, at now: Int64) {
    if changeTime == info.changeNanoseconds { return }
    // A file system that knows whole seconds only.
    if info.st_ctim.tv_nsec == 0 { return changeTime = -1 }
    changeTime = info.changeNanoseconds
    since = now
  }

  /// Whether nothing was made in it from `start` on, when an attempt got it, until now.
  func stillHolds(_ info: stat, from start: Int64) -> Bool {
    changeTime == info.changeNanoseconds && start - Self.tick > since
  }
}

extension stat {
  fileprivate var changeNanoseconds: Int64 {
    Int64(st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(st_ctim.tv_nsec)
  }
}

/// A name in a directory that no symbolic link led to, so that nothing a task makes in its sandbox
/// turns what is done to the name onto a file elsewhere.
private final class Place {
  let parent: Int32
  let name: String
  private let ownsParent: Bool

  private init(parent: Int32, name: String, ownsParent: Bool) {
    self.parent = parent
    self.name = name
    self.ownsParent = ownsParent
  }

  /// The place of the relative `path` below `directory`, with the directories on its way made if
  /// `isMade`; else an errno, ELOOP for a symbolic link on the way. Not to be kept for longer than
  /// `directory` is open.
  static func find(
    _ path: String, below directory: Int32, isMade: Bool = false
  ) -> Result<Place, Errno> {
    if !path.utf8.contains(UInt8(ascii: "/")) {
      return .success(Place(parent: directory, name: path, ownsParent: false))
    }
    return path.withCString { text in
      var last: UnsafePointer<CChar>?
      let parent = clinux_open_parent(directory, text, isMade ? 1 : 0, &last)
      guard parent >= 0, let last else { return .failure(Errno(code: -parent)) }
      return .success(Place(parent: parent, name: String(cString: last), ownsParent: true))
    }
  }

  /// A path to it that does not pass through the sandbox again.
  var path: String { "/proc/self/fd/\(parent)/\(name)" }

  func status(_ info: inout stat) -> Int32 {
    fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno
  }

  deinit { if ownsParent { close(parent) } }
}

private struct Errno: Error {
  let code: Int32
}

/// The sandboxes of one rank.
final class SandboxRoom {
  private let path: String
  private let cachePath: String
  private let cache: Int32
  private var unused: [Sandbox] = []
  private var madeCount = 0
  /// Removes what attempts leave, if it is set.
  var remover: Remover?

  init(path: String, cachePath: String) throws(RuntimeError) {
    self.path = path
    self.cachePath = cachePath
    if mkdir(path, 0o700) != 0 { throw RuntimeError("make", path, errno: errno) }
    cache = clinux_open_at(AT_FDCWD, cachePath, O_RDONLY | O_DIRECTORY, 0)
    if cache < 0 { throw RuntimeError("open", cachePath, errno: -cache) }
  }

  /// A sandbox with the inputs of `order` in it.
  func make(for order: AttemptOrder) throws(SandboxProblem) -> Sandbox {
    var sandbox: Sandbox
    if let code = FaultHooks.shared.action(at: "stage", name: order.taskName)?.errorNumber,
      code != 0
    {
      throw problem(code, "cannot make a sandbox")
    }
    if let known = takeUnused() { sandbox = known } else { sandbox = try makeDirectory() }
    sandbox.madeAt = monotonicNanoseconds()
    do throws(SandboxProblem) {
      for input in order.inputs {
        sandbox.signatures.append(try link(input, into: sandbox))
      }
      for output in order.outputs where output.name.utf8.contains(UInt8(ascii: "/")) {
        _ = try makePlace(of: output.name, in: sandbox)
      }
    } catch {
      drop(sandbox)
      throw error
    }
    return sandbox
  }

  private func takeUnused() -> Sandbox? {
    while let known = unused.popLast() {
      if isInPlace(known) { return known }
      drop(known)
    }
    return nil
  }

  /// Whether the path still leads to the directory: tasks see it and may rename it.
  private func isInPlace(_ sandbox: Sandbox) -> Bool {
    var held = stat()
    var found = stat()
    return fstat(sandbox.descriptor, &held) == 0 && lstat(sandbox.path, &found) == 0
      && held.st_dev == found.st_dev && held.st_ino == found.st_ino
  }

  private func makeDirectory() throws(SandboxProblem) -> Sandbox {
    madeCount += 1
    let path = "\(self.path)/\(madeCount)"
    if mkdir(path, 0o700) != 0 { throw problem(errno, "cannot make a sandbox") }
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0)
    if descriptor < 0 { throw problem(-descriptor, "cannot open a sandbox") }
    return Sandbox(number: madeCount, descriptor: descriptor, path: path)
  }

  private func problem(_ code: Int32, _ what: String) -> SandboxProblem {
    SandboxProblem(ending: .sandboxFailed(code), reason: "\(what): \(errorText(code))")
  }

  // MARK: Inputs

  private func link(
    _ input: FileOrder, into sandbox: Sandbox
  ) throws(SandboxProblem) -> UInt64 {
    let place = try makePlace(of: input.name, in: sandbox)
    if !input.member.isEmpty { return try linkMember(of: input, at: place) }
    let name = cacheName(input.value)
    var error: Int32 = 0
    if input.isDirectory {
      error =
        FileTree.copyTree("\(cachePath)/\(name)", to: place.path, linksFiles: !input.isCopy).error
    } else if input.isCopy || linkat(cache, name, place.parent, place.name, 0) != 0 {
      // EMLINK: a file system allows a file only so many names (65,000 on ext4).
      error = input.isCopy || errno == EMLINK ? 0 : errno
      if error == 0 { error = FileTree.copyFile("\(cachePath)/\(name)", to: place.path).error }
    }
    if error != 0 { throw problem(error, "cannot put input \(input.name) into the sandbox") }
    return input.isCopy ? 0 : signature(of: input, name: name)
  }

  /// One file or directory of a tree. A link within the tree leads to what it names.
  private func linkMember(
    of input: FileOrder, at place: Place
  ) throws(SandboxProblem) -> UInt64 {
    let source = "\(cachePath)/\(cacheName(input.value))/\(input.member)"
    var info = stat()
    if stat(source, &info) != 0 {
      throw SandboxProblem(
        ending: .notStarted(errno), reason: "the archive has no member \(input.member)")
    }
    var error: Int32 = 0
    if info.st_mode & S_IFMT == S_IFDIR {
      error = FileTree.copyTree(source, to: place.path, linksFiles: !input.isCopy).error
    } else if input.isCopy
      || linkat(AT_FDCWD, source, place.parent, place.name, AT_SYMLINK_FOLLOW) != 0
    {
      error = input.isCopy || errno == EMLINK ? 0 : errno
      if error == 0 { error = FileTree.copyFile(source, to: place.path).error }
    }
    if error != 0 { throw problem(error, "cannot put input \(input.name) into the sandbox") }
    return input.isCopy ? 0 : FileTree.signature(of: source)
  }

  private func signature(of input: FileOrder, name: String) -> UInt64 {
    if !input.member.isEmpty {
      return FileTree.signature(of: "\(cachePath)/\(name)/\(input.member)")
    }
    if input.isDirectory { return FileTree.signature(of: "\(cachePath)/\(name)") }
    var info = stat()
    guard fstatat(cache, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { return 0 }
    return FileTree.signature(of: info)
  }

  /// The inputs that are not as they were, by their places; their replicas are gone then.
  func changedInputs(in sandbox: Sandbox, of order: AttemptOrder) -> [Int] {
    var changed: [Int] = []
    for (index, input) in order.inputs.enumerated()
    where !input.isCopy && index < sandbox.signatures.count {
      let name = cacheName(input.value)
      if signature(of: input, name: name) == sandbox.signatures[index] { continue }
      FileTree.remove("\(cachePath)/\(name)")
      changed.append(index)
    }
    return changed
  }

  private func makePlace(of name: String, in sandbox: Sandbox) throws(SandboxProblem) -> Place {
    switch Place.find(name, below: sandbox.descriptor, isMade: true) {
    case .success(let place): return place
    case .failure(let error): throw problem(error.code, "cannot make the directory of \(name)")
    }
  }

  // MARK: Outputs

  /// Moves the outputs into the cache, after all were found to be there; returns their sizes.
  func collect(
    _ order: AttemptOrder, from sandbox: Sandbox
  ) throws(SandboxProblem) -> [Int64] {
    var sizes: [Int64] = []
    var infos: [stat] = []
    for (index, output) in order.outputs.enumerated() {
      let place = try find(output, UInt32(index), in: sandbox)
      var info = stat()
      sizes.append(try measure(output, UInt32(index), at: place, &info))
      infos.append(info)
    }
    for (index, output) in order.outputs.enumerated() {
      // Found anew: its directory may have been an output, and be in the cache by now.
      let place = try find(output, UInt32(index), in: sandbox)
      let error = keep(place, infos[index], as: cacheName(output.value))
      if error != 0 { throw problem(error, "cannot keep output \(output.name)") }
    }
    return sizes
  }

  /// Gives an output its name in the cache. A file with another name, be it an input's replica or
  /// a second output, is copied: two replicas must not be one file.
  private func keep(_ place: Place, _ info: stat, as name: String) -> Int32 {
    let isDirectory = info.st_mode & S_IFMT == S_IFDIR
    if isDirectory ? !FileTree.hasSharedFiles(place.path) : info.st_nlink == 1 {
      return move(place.parent, place.name, to: name)
    }
    let part = "\(name)-part"
    let partPath = "\(cachePath)/\(part)"
    FileTree.remove(partPath)
    var error =
      isDirectory
      ? FileTree.copyTree(place.path, to: partPath).error
      : FileTree.copyFile(place.path, to: partPath).error
    if error == 0 { error = move(cache, part, to: name) }
    if error != 0 { FileTree.remove(partPath) }
    return error
  }

  private func move(_ parent: Int32, _ from: String, to name: String) -> Int32 {
    if renameat(parent, from, cache, name) == 0 { return 0 }
    let error = errno
    guard error == EISDIR || error == ENOTEMPTY || error == EEXIST || error == ENOTDIR
    else { return error }
    // An earlier value of another kind.
    FileTree.remove("\(cachePath)/\(name)")
    return renameat(parent, from, cache, name) == 0 ? 0 : errno
  }

  private func find(
    _ output: FileOrder, _ index: UInt32, in sandbox: Sandbox
  ) throws(SandboxProblem) -> Place {
    switch Place.find(output.name, below: sandbox.descriptor) {
    case .success(let place): return place
    case .failure(let error):
      if error.code == ELOOP {
        throw SandboxProblem(
          ending: .wrongOutputKind(index),
          reason: "output \(output.name) lies behind a symbolic link, but a directory was expected")
      }
      throw missing(output, index)
    }
  }

  private func missing(_ output: FileOrder, _ index: UInt32) -> SandboxProblem {
    SandboxProblem(
      ending: .missingOutput(index),
      reason: "missing output \(output.name): the command succeeded without writing it")
  }

  private func measure(
    _ output: FileOrder, _ index: UInt32, at place: Place, _ info: inout stat
  ) throws(SandboxProblem) -> Int64 {
    if place.status(&info) != 0 { throw missing(output, index) }
    let kind = info.st_mode & S_IFMT
    if output.isDirectory && kind == S_IFDIR {
      // On another node, or where it is published, such a link would show other files.
      if let link = FileTree.linkLeadingOut(of: place.path) {
        throw SandboxProblem(
          ending: .wrongOutputKind(index),
          reason: "output \(output.name) holds a symbolic link \(link) that leads out of it")
      }
      return TreeArchive.byteCount(of: place.path)
    }
    if !output.isDirectory && kind == S_IFREG { return Int64(info.st_size) }
    let found =
      kind == S_IFDIR ? "a directory" : kind == S_IFLNK ? "a symbolic link" : "not a regular file"
    throw SandboxProblem(
      ending: .wrongOutputKind(index),
      reason: "output \(output.name) is \(found), but a "
        + "\(output.isDirectory ? "directory" : "file") was declared")
  }

  /// Opens an output that lies in the cache, for a reader that outlives the replica.
  func open(_ value: FileValue) -> Int32 { clinux_open_at(cache, cacheName(value), O_RDONLY, 0) }

  // MARK: Emptying

  /// Empties a sandbox and keeps its directory for the next attempt.
  func recycle(_ sandbox: Sandbox, _ order: AttemptOrder, hasFailed: Bool = false) {
    // The task may have locked the next one out.
    var info = stat()
    if fstat(sandbox.descriptor, &info) != 0 || info.st_mode & 0o7777 != 0o700 {
      fchmod(sandbox.descriptor, 0o700)
    }
    // Names in directories are left to the removal below: a task may have put a link in their way.
    for input in order.inputs
    where !input.isDirectory && !input.name.utf8.contains(UInt8(ascii: "/")) {
      unlinkat(sandbox.descriptor, input.name, 0)
    }
    // Whether it still is where it was is looked at when it is used again.
    var emptiness = sandbox.emptiness
    let isUntouched = emptiness.stillHolds(info, from: sandbox.madeAt)
    if !isUntouched {
      guard fstat(sandbox.descriptor, &info) == 0, clinux_is_empty(sandbox.descriptor) == 1 else {
        // Its own copies of inputs, and outputs that it did not finish, are counted as well.
        let isDiskCounted = order.diskMB > 0 || hasFailed || order.inputs.contains(where: \.isCopy)
        return drop(sandbox, isDiskCounted: isDiskCounted)
      }
      emptiness.note(info, at: monotonicNanoseconds())
    }
    unused.append(
      Sandbox(
        number: sandbox.number, descriptor: sandbox.descriptor, path: sandbox.path,
        emptiness: emptiness))
  }

  /// Removes a sandbox for good; at once if the manager counts what is in it, and gives its room to
  /// another when this attempt's end is told.
  private func drop(_ sandbox: Sandbox, isDiskCounted: Bool = false) {
    close(sandbox.descriptor)
    if let remover, !isDiskCounted {
      remover.remove(sandbox.path)
    } else {
      FileTree.remove(sandbox.path)
    }
  }
}

/// The name of a file in every node's cache of this run.
func cacheName(_ value: FileValue) -> String {
  value.attempt == 0 ? "f\(value.file.rawValue)" : "f\(value.file.rawValue)-\(value.attempt)"
}
