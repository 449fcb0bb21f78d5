// The last step of an output: its synced temporary takes the place of whatever has its name.

internal import CLinux
internal import Glibc

/// Stands for a target that somebody else has changed.
let changedByOthers = ECANCELED

/// Puts the temporary in the place of what is at `path`, unless somebody has changed that since
/// `beganAt` into something else; nil: whoever changed it. Two runs that make the same file do not
/// get into each other's way.
func publish(
  _ temporary: String, at path: String, isDirectory: Bool, unlessChangedSince beganAt: FileTime?
) -> Int32 {
  var info = stat()
  if let beganAt, lstat(path, &info) == 0, FileTime.change(info).isAfter(beganAt),
    !haveSameBytes(path, temporary)
  {
    return changedByOthers
  }
  return isDirectory
    ? replaceDirectory(at: path, by: temporary) : replaceFile(at: path, by: temporary)
}

/// Whether both are regular files of the same content; false also for what cannot be read.
func haveSameBytes(_ left: String, _ right: String) -> Bool {
  var sizes: [Int] = []
  for path in [left, right] {
    var info = stat()
    guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return false }
    sizes.append(info.st_size)
  }
  guard sizes[0] == sizes[1], let left = try? OwnedDescriptor.open(left, O_RDONLY),
    let right = try? OwnedDescriptor.open(right, O_RDONLY)
  else { return false }
  let room = 1 << 20
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * room, alignment: 4096)
  defer { bytes.deallocate() }
  guard let ours = bytes.baseAddress else { return false }
  var offset = 0
  while offset < sizes[0] {
    let count = pread(left.number, ours, room, offset)
    // A short read of one is made whole by the next turn.
    guard count > 0, pread(right.number, ours + room, count, offset) == count,
      memcmp(ours, ours + room, count) == 0
    else { return false }
    offset += count
  }
  return true
}

/// Renames a file onto its target; a directory, a pipe or a device there is an error.
func replaceFile(at path: String, by temporary: String) -> Int32 {
  var info = stat()
  if lstat(path, &info) == 0 {
    switch info.st_mode & S_IFMT {
    case S_IFREG, S_IFLNK: break
    case S_IFDIR: return EISDIR
    default: return ENOTSUP
    }
  }
  if rename(temporary, path) != 0 { return errno }
  let slash = path.lastIndex(of: "/")
  return FileTree.syncDirectory(slash.map { String(path[...$0]) } ?? ".")
}

/// Puts a tree in the place of another, in one step where the file system can exchange two names.
///
/// The exchange leaves the earlier tree behind, which must not be taken for the new one after a
/// crash: so the new one gives up the name by which the journal knows it first.
func replaceDirectory(at path: String, by temporary: String) -> Int32 {
  var info = stat()
  if lstat(path, &info) != 0 { return replaceFile(at: path, by: temporary) }
  if info.st_mode & S_IFMT != S_IFDIR { return ENOTDIR }
  let parting = "\(temporary)-old"
  FileTree.remove(parting)
  if rename(temporary, parting) != 0 { return errno }
  if clinux_exchange(parting, path) == 0 {
    _ = FaultHooks.shared.action(at: "publish.exchanged")
    FileTree.remove(parting)
    let slash = path.lastIndex(of: "/")
    return FileTree.syncDirectory(slash.map { String(path[...$0]) } ?? ".")
  }
  if rename(parting, temporary) != 0 { return errno }
  let aside = "\(temporary)-old"
  if rename(path, aside) != 0 { return errno }
  let error = replaceFile(at: path, by: temporary)
  if error == 0 { FileTree.remove(aside) } else { rename(aside, path) }
  return error
}
