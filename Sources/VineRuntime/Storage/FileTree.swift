// Whole files and directory trees: copied, linked, removed, measured, packed for the wire. Calls
// return 0 or an errno and may block; symbolic links are never followed below the top.

internal import CLinux
internal import Glibc

/// One entry of a directory.
struct DirectoryEntry {
  let name: String
  let isDirectory: Bool
}

enum FileTree {
  /// The entries of a directory, sorted by name's bytes, so that walks are the same everywhere.
  static func entries(of path: String) -> (entries: [DirectoryEntry], error: Int32) {
    guard let stream = opendir(path) else { return ([], errno) }
    defer { closedir(stream) }
    var found: [DirectoryEntry] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name == "." || name == ".." { continue }
      var isDirectory = Int(entry.pointee.d_type) == Int(DT_DIR)
      if Int(entry.pointee.d_type) == Int(DT_UNKNOWN) {
        var info = stat()
        isDirectory =
          lstat("\(path)/\(name)", &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
      }
      found.append(DirectoryEntry(name: name, isDirectory: isDirectory))
    }
    found.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    return (found, 0)
  }

  /// Removes `path` and all below it; nothing there is no error.
  @discardableResult
  static func remove(_ path: String) -> Int32 { -clinux_remove_tree(path) }

  /// What the files below `path` take of the disk, in bytes; files with further names, like linked
  /// inputs, are left out.
  static func writtenByteCount(of path: String) -> Int64 {
    var sum: Int64 = 0
    for entry in entries(of: path).entries {
      var info = stat()
      guard lstat("\(path)/\(entry.name)", &info) == 0 else { continue }
      if entry.isDirectory {
        sum += writtenByteCount(of: "\(path)/\(entry.name)")
      } else if info.st_nlink == 1 {
        sum += Int64(info.st_blocks) * 512
      }
    }
    return sum
  }

  /// Makes `path` and the directories above it.
  static func makeDirectories(_ path: String, mode: UInt32 = 0o777) -> Int32 {
    if mkdir(path, mode) == 0 || errno == EEXIST { return 0 }
    guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex
    else { return errno }
    let error = makeDirectories(String(path[..<slash]), mode: mode)
    if error != 0 { return error }
    return mkdir(path, mode) == 0 || errno == EEXIST ? 0 : errno
  }

  /// Copies one regular file with its mode to a path that does not exist; `isSynced` makes it
  /// durable. Fails with EBUSY when the source changes meanwhile, with EISDIR or ENOTSUP when it is
  /// not a regular file.
  static func copyFile(
    _ source: String, to target: String, isSynced: Bool = false
  ) -> (byteCount: Int64, error: Int32) {
    var info = stat()
    let from = openRegularFile(source, &info)
    if from < 0 { return (0, -from) }
    defer { close(from) }
    return copyFile(from: from, info, to: target, isSynced: isSynced)
  }

  /// The same of a file that was just opened and looked at.
  static func copyFile(
    from: Int32, _ info: stat, to target: String, isSynced: Bool = false
  ) -> (byteCount: Int64, error: Int32) {
    let to = clinux_open_at(
      AT_FDCWD, target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, info.st_mode & 0o777 | 0o200)
    if to < 0 { return (0, -to) }
    // Files that a kernel makes up while they are read (proc) have a size of 0.
    let size = info.st_size == 0 ? Int64.max : Int64(info.st_size)
    let copied = clinux_copy(from, to, size)
    var error = copied < 0 ? Int32(-copied) : 0
    var after = stat()
    if error == 0 && fstat(from, &after) != 0 { error = errno }
    if error == 0 && (size != .max && copied != size || !isUnchanged(info, after)) { error = EBUSY }
    if error == 0 && isSynced && fsync(to) != 0 { error = errno }
    if close(to) != 0 && error == 0 { error = errno }
    if error != 0 { unlink(target) }
    return (max(copied, 0), error)
  }

  /// Opens a regular file to read it: a descriptor or -errno. A pipe is not waited for.
  static func openRegularFile(_ path: String, _ info: inout stat) -> Int32 {
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)
    // A socket, or a device without a driver.
    if descriptor < 0 { return descriptor == -ENXIO ? -ENOTSUP : descriptor }
    var error: Int32 = 0
    if fstat(descriptor, &info) != 0 {
      error = errno
    } else if info.st_mode & S_IFMT != S_IFREG {
      error = info.st_mode & S_IFMT == S_IFDIR ? EISDIR : ENOTSUP
    }
    if error == 0 { return descriptor }
    close(descriptor)
    return -error
  }

  /// Same size and same time of modification.
  static func isUnchanged(_ one: stat, _ other: stat) -> Bool {
    one.st_size == other.st_size && one.st_mtim.tv_sec == other.st_mtim.tv_sec
      && one.st_mtim.tv_nsec == other.st_mtim.tv_nsec
  }

  /// Copies a tree: directories, files with modes, symbolic links as they are. `target` must not
  /// exist. With `linksFiles`, files are hard links.
  static func copyTree(
    _ source: String, to target: String, linksFiles: Bool = false, isSynced: Bool = false
  ) -> (byteCount: Int64, error: Int32) {
    if mkdir(target, 0o777) != 0 { return (0, errno) }
    let (entries, error) = entries(of: source)
    if error != 0 { return (0, error) }
    var byteCount: Int64 = 0
    for entry in entries {
      let (count, failure) = copyEntry(
        "\(source)/\(entry.name)", to: "\(target)/\(entry.name)", isDirectory: entry.isDirectory,
        linksFiles: linksFiles, isSynced: isSynced)
      if failure != 0 { return (byteCount, failure) }
      byteCount += count
    }
    var info = stat()
    if stat(source, &info) == 0 { chmod(target, info.st_mode & 0o777) }
    return (byteCount, isSynced ? syncDirectory(target) : 0)
  }

  private static func copyEntry(
    _ source: String, to target: String, isDirectory: Bool, linksFiles: Bool, isSynced: Bool
  ) -> (byteCount: Int64, error: Int32) {
    if isDirectory {
      return copyTree(source, to: target, linksFiles: linksFiles, isSynced: isSynced)
    }
    var info = stat()
    if lstat(source, &info) != 0 { return (0, errno) }
    switch info.st_mode & S_IFMT {
    case S_IFLNK:
      var text = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
      let count = readlink(source, &text, Int(PATH_MAX))
      if count < 0 { return (0, errno) }
      return (0, symlink(text, target) == 0 ? 0 : errno)
    case S_IFREG:
      if linksFiles && link(source, target) == 0 { return (Int64(info.st_size), 0) }
      return copyFile(source, to: target, isSynced: isSynced)
    default:
      // Sockets, pipes and devices are not data.
      return (0, 0)
    }
  }

  /// Whether a file below the directory `path` has more than one name.
  static func hasSharedFiles(_ path: String) -> Bool {
    entries(of: path).entries.contains { entry in
      let inner = "\(path)/\(entry.name)"
      if entry.isDirectory { return hasSharedFiles(inner) }
      var info = stat()
      return lstat(inner, &info) == 0 && info.st_mode & S_IFMT == S_IFREG && info.st_nlink > 1
    }
  }

  /// The name below the directory `path` of a symbolic link that leads out of it, if there is one.
  static func linkLeadingOut(of path: String) -> String? {
    linkLeadingOut(of: path, inner: "", depth: 0)
  }

  private static func linkLeadingOut(of top: String, inner: String, depth: Int) -> String? {
    for entry in entries(of: inner.isEmpty ? top : "\(top)/\(inner)").entries {
      let name = inner.isEmpty ? entry.name : "\(inner)/\(entry.name)"
      if entry.isDirectory {
        if let found = linkLeadingOut(of: top, inner: name, depth: depth + 1) { return found }
      } else if leadsOut("\(top)/\(name)", of: top, depth: depth) {
        return name
      }
    }
    return nil
  }

  /// Whether `path`, `depth` directories below `top`, is a symbolic link that leads out of it.
  private static func leadsOut(_ path: String, of top: String, depth: Int) -> Bool {
    var text = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let count = readlink(path, &text, Int(PATH_MAX))
    if count < 0 { return errno != EINVAL }
    if text[0] == CChar(UInt8(ascii: "/")) { return true }
    let parts = text.prefix(count).split(separator: CChar(UInt8(ascii: "/")))
    let up = Array("..".utf8CString.dropLast())
    let upCount = parts.prefix { $0.elementsEqual(up) }.count
    if upCount > depth { return true }
    // What follows goes down, through links that are looked at as well. Only after a name, which may
    // be such a link, ".." has to be asked of the kernel.
    guard parts.dropFirst(upCount).contains(where: { $0.elementsEqual(up) }) else { return false }
    guard let end = realPath(path), let start = realPath(top) else { return true }
    return end != start && !end.starts(with: start + [UInt8(ascii: "/")])
  }

  private static func realPath(_ path: String) -> [UInt8]? {
    guard let text = realpath(path, nil) else { return nil }
    defer { free(text) }
    return Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
  }

  static func syncDirectory(_ path: String) -> Int32 {
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0)
    if descriptor < 0 { return -descriptor }
    defer { close(descriptor) }
    return fsync(descriptor) == 0 ? 0 : errno
  }

  /// Stands for the state of a file or of all files below a directory: changes when the size, time
  /// or permission of one of them does.
  static func signature(of path: String) -> UInt64 {
    var info = stat()
    guard lstat(path, &info) == 0 else { return 0 }
    var sum = signature(of: info)
    guard info.st_mode & S_IFMT == S_IFDIR else { return sum }
    for entry in entries(of: path).entries {
      sum = sum &* 31 &+ signature(of: "\(path)/\(entry.name)")
    }
    return sum
  }

  static func signature(of info: stat) -> UInt64 {
    UInt64(bitPattern: Int64(info.st_size)) &* 0x9E37_79B9_7F4A_7C15
      ^ UInt64(bitPattern: Int64(info.st_mtim.tv_sec)) &* 0xC2B2_AE3D_27D4_EB4F
      ^ UInt64(bitPattern: Int64(info.st_mtim.tv_nsec)) &* 0x1656_67B1_9E37_79F9
      ^ UInt64(info.st_mode) &* 0xD6E8_FEB8_6659_FD93
  }
}
