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
}

/// The sandboxes of one rank.
final class SandboxRoom {
  private let path: String
  private let cachePath: String
  private let cache: Int32
  private var unused: [Sandbox] = []
  private var madeCount = 0

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
    if let known = unused.popLast() { sandbox = known } else { sandbox = try makeDirectory() }
    do throws(SandboxProblem) {
      for input in order.inputs {
        sandbox.signatures.append(try link(input, into: sandbox))
      }
      for output in order.outputs { try makeParents(of: output.name, in: sandbox) }
    } catch {
      // Whatever is wrong with it, the next attempt gets another.
      discard(sandbox)
      throw error
    }
    return sandbox
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
    try makeParents(of: input.name, in: sandbox)
    let name = cacheName(input.file)
    let target = "\(sandbox.path)/\(input.name)"
    var error: Int32 = 0
    if input.isDirectory {
      error =
        FileTree.copyTree("\(cachePath)/\(name)", to: target, linksFiles: !input.isCopy).error
    } else if input.isCopy || linkat(cache, name, sandbox.descriptor, input.name, 0) != 0 {
      // EMLINK: a file system allows a file only so many names (65,000 on ext4).
      error = input.isCopy || errno == EMLINK ? 0 : errno
      if error == 0 { error = FileTree.copyFile("\(cachePath)/\(name)", to: target).error }
    }
    if error != 0 { throw problem(error, "cannot put input \(input.name) into the sandbox") }
    return input.isCopy ? 0 : signature(of: input, name: name)
  }

  private func signature(of input: FileOrder, name: String) -> UInt64 {
    if input.isDirectory { return FileTree.signature(of: "\(cachePath)/\(name)") }
    var info = stat()
    guard fstatat(cache, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { return 0 }
    return UInt64(info.st_mode) << 40
      ^ UInt64(bitPattern: Int64(info.st_size)) &* 0x9E37_79B9_7F4A_7C15
      ^ UInt64(bitPattern: Int64(info.st_mtim.tv_sec)) &* 0xC2B2_AE3D_27D4_EB4F
      ^ UInt64(bitPattern: Int64(info.st_mtim.tv_nsec))
  }

  /// The inputs that are not as they were, by their places; their replicas are gone then.
  func changedInputs(in sandbox: Sandbox, of order: AttemptOrder) -> [Int] {
    var changed: [Int] = []
    for (index, input) in order.inputs.enumerated()
    where !input.isCopy && index < sandbox.signatures.count {
      let name = cacheName(input.file)
      if signature(of: input, name: name) == sandbox.signatures[index] { continue }
      FileTree.remove("\(cachePath)/\(name)")
      changed.append(index)
    }
    return changed
  }

  private func makeParents(of name: String, in sandbox: Sandbox) throws(SandboxProblem) {
    guard let slash = name.lastIndex(of: "/") else { return }
    let error = FileTree.makeDirectories("\(sandbox.path)/\(name[..<slash])")
    if error != 0 { throw problem(error, "cannot make the directory of \(name)") }
  }

  // MARK: Outputs

  /// Moves the outputs into the cache, after all were found to be there; returns their sizes.
  func collect(
    _ order: AttemptOrder, from sandbox: Sandbox
  ) throws(SandboxProblem) -> [Int64] {
    var sizes: [Int64] = []
    for (index, output) in order.outputs.enumerated() {
      sizes.append(try measure(output, UInt32(index), in: sandbox))
    }
    for (index, output) in order.outputs.enumerated() {
      let place = try locate(output, UInt32(index), in: sandbox)
      defer { place.close() }
      let error = keep(output, at: place)
      if error != 0 { throw problem(error, "cannot keep output \(output.name)") }
    }
    return sizes
  }

  /// Moves one output into the cache.
  private func keep(_ output: FileOrder, at place: Place) -> Int32 {
    let name = cacheName(output.file)
    var info = stat()
    guard fstatat(place.parent, place.name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { return errno }
    if info.st_mode & S_IFMT == S_IFREG && info.st_nlink > 1 {
      // A further name of an input or of another output: two files of the workflow must not share
      // their bytes, or changing one changes both.
      let part = "\(name)-part"
      let error = copy(place, to: part)
      if error != 0 { return error }
      return renameat(cache, part, cache, name) == 0 ? 0 : errno
    }
    if renameat(place.parent, place.name, cache, name) == 0 { return 0 }
    let error = errno
    guard error == EISDIR || error == ENOTEMPTY || error == EEXIST || error == ENOTDIR
    else { return error }
    // An earlier value of another kind.
    FileTree.remove("\(cachePath)/\(name)")
    return renameat(place.parent, place.name, cache, name) == 0 ? 0 : errno
  }

  private func copy(_ place: Place, to part: String) -> Int32 {
    let target = "\(cachePath)/\(part)"
    FileTree.remove(target)
    // The directory is open, so this path leads to it whatever stands in the sandbox.
    return FileTree.copyFile("/proc/self/fd/\(place.parent)/\(place.name)", to: target).error
  }

  /// Where an output lies: its directory, opened without following a link, and its last name. A
  /// task may have put a link in the place of a directory; what that leads to is not ours.
  private struct Place {
    let parent: Int32
    let name: String
    let isOwned: Bool
    func close() { if isOwned { Glibc.close(parent) } }
  }

  private func locate(
    _ output: FileOrder, _ index: UInt32, in sandbox: Sandbox
  ) throws(SandboxProblem) -> Place {
    let parts = output.name.split(separator: "/").map(String.init)
    var parent = sandbox.descriptor
    for part in parts.dropLast() {
      let next = clinux_open_at(parent, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
      if parent != sandbox.descriptor { Glibc.close(parent) }
      if next >= 0 {
        parent = next
        continue
      }
      if next == -ENOENT { throw missing(output, index) }
      throw SandboxProblem(
        ending: .wrongOutputKind(index),
        reason: "the directory \(part) of output \(output.name) is a link or no directory")
    }
    return Place(
      parent: parent, name: parts.last ?? output.name, isOwned: parent != sandbox.descriptor)
  }

  private func missing(_ output: FileOrder, _ index: UInt32) -> SandboxProblem {
    SandboxProblem(
      ending: .missingOutput(index),
      reason: "missing output \(output.name): the command succeeded without writing it")
  }

  private func measure(
    _ output: FileOrder, _ index: UInt32, in sandbox: Sandbox
  ) throws(SandboxProblem) -> Int64 {
    let place = try locate(output, index, in: sandbox)
    defer { place.close() }
    var info = stat()
    if fstatat(place.parent, place.name, &info, AT_SYMLINK_NOFOLLOW) != 0 {
      throw missing(output, index)
    }
    let kind = info.st_mode & S_IFMT
    if output.isDirectory && kind == S_IFDIR {
      return TreeArchive.byteCount(of: "/proc/self/fd/\(place.parent)/\(place.name)")
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
  func open(_ file: FileID) -> Int32 { clinux_open_at(cache, cacheName(file), O_RDONLY, 0) }

  // MARK: Emptying

  /// Empties a sandbox and keeps its directory for the next attempt.
  func recycle(_ sandbox: Sandbox, _ order: AttemptOrder) {
    // Only names in the sandbox itself: a directory in between may be a link by now.
    for input in order.inputs where !input.isDirectory && !input.name.contains("/") {
      unlinkat(sandbox.descriptor, input.name, 0)
    }
    if fchmod(sandbox.descriptor, 0o700) == 0, isInPlace(sandbox),
      clinux_is_empty(sandbox.descriptor) == 1
    {
      unused.append(
        Sandbox(number: sandbox.number, descriptor: sandbox.descriptor, path: sandbox.path))
      return
    }
    discard(sandbox)
  }

  private func discard(_ sandbox: Sandbox) {
    close(sandbox.descriptor)
    FileTree.remove(sandbox.path)
  }

  /// Whether the sandbox's path still leads to it: a task may have moved its own directory.
  private func isInPlace(_ sandbox: Sandbox) -> Bool {
    var here = stat()
    var there = stat()
    return fstat(sandbox.descriptor, &here) == 0 && lstat(sandbox.path, &there) == 0
      && here.st_ino == there.st_ino && here.st_dev == there.st_dev
  }
}

/// The name of a file in every node's cache of this run.
func cacheName(_ file: FileID) -> String { "f\(file.rawValue)" }
