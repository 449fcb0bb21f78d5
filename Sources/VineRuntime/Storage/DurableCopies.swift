// Values on the shared file system: outputs beside their targets under temporary names, and
// intermediates among the run's objects, named by their content. Written once, synced, and renamed
// only when complete, so that a crash leaves either all of a copy or nothing under its name.

internal import CLinux
internal import Crypto
internal import Glibc
internal import VineCore

/// What came of writing a durable copy.
struct DurableCopy {
  var byteCount: Int64 = 0
  var hash = ContentHash.unknown
  var error: Int32 = 0
}

/// Where the object of this content lies.
func objectPath(of hash: ContentHash, in objects: String) -> String {
  let text = hash.text
  return "\(objects)/\(text.prefix(2))/\(text.dropFirst(2))"
}

/// Writes an output beside its target.
func keepBeside(_ source: String, _ order: CommitOrder) -> DurableCopy {
  var copy = DurableCopy()
  let target = order.path
  if let slash = target.lastIndex(of: "/") {
    copy.error = FileTree.makeDirectories(String(target[..<slash]))
  }
  if copy.error == 0 { copy.error = injectedError(at: "commit.output") }
  if copy.error != 0 { return copy }
  FileTree.remove(target)
  (copy.byteCount, copy.error) =
    order.isDirectory
    ? FileTree.copyTree(source, to: target, isSynced: true)
    : FileTree.copyFile(source, to: target, isSynced: true)
  if copy.error == 0 && !order.isDirectory { hash(target, into: &copy) }
  return copy
}

/// Writes an intermediate among the objects, a directory as an archive.
func keepObject(_ source: String, _ order: CommitOrder) -> DurableCopy {
  var copy = DurableCopy()
  let objects = order.path
  copy.error = FileTree.makeDirectories("\(objects)/tmp")
  if copy.error == 0 { copy.error = injectedError(at: "commit.object") }
  if copy.error != 0 { return copy }
  let part =
    "\(objects)/tmp/\(order.value.file.rawValue)-\(order.value.attempt)-\(hostName())-\(getpid())"
  FileTree.remove(part)
  if order.isDirectory {
    copy.error = archive(source, to: part)
  } else {
    (copy.byteCount, copy.error) = FileTree.copyFile(source, to: part, isSynced: true)
  }
  if copy.error == 0 { hash(part, into: &copy) }
  if copy.error == 0 {
    let target = objectPath(of: copy.hash, in: objects)
    let directory = String(target[..<(target.lastIndex(of: "/") ?? target.endIndex)])
    copy.error = FileTree.makeDirectories(directory)
    if copy.error == 0 && rename(part, target) != 0 { copy.error = errno }
    if copy.error == 0 { copy.error = FileTree.syncDirectory(directory) }
    if copy.error == 0 { copy.error = FileTree.syncDirectory(objects) }
  }
  if copy.error != 0 { FileTree.remove(part) }
  return copy
}

/// An error that a test wants to see at this point; 0 otherwise.
private func injectedError(at point: String) -> Int32 {
  FaultHooks.shared.action(at: point)?.errorNumber ?? 0
}

private func archive(_ tree: String, to part: String) -> Int32 {
  let to = clinux_open_at(AT_FDCWD, part, O_WRONLY | O_CREAT | O_EXCL, 0o600)
  if to < 0 { return -to }
  defer { close(to) }
  let error = TreeArchive.write(tree, to: to)
  if error != 0 { return error }
  return fsync(to) == 0 ? 0 : errno
}

private func hash(_ path: String, into copy: inout DurableCopy) {
  let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY, 0)
  if descriptor < 0 {
    copy.error = -descriptor
    return
  }
  defer { close(descriptor) }
  (copy.byteCount, copy.hash) = contentHash(of: descriptor)
}

/// SHA-256 of all that `descriptor` reads from its start, or of as much as is wanted.
func contentHash(
  of descriptor: Int32, while isWanted: () -> Bool = { true }
) -> (byteCount: Int64, ContentHash) {
  var hash = SHA256()
  var byteCount: Int64 = 0
  // Most files are small, and a large buffer costs more than they do.
  var info = stat()
  let expected = fstat(descriptor, &info) == 0 ? Int(info.st_size) + 1 : 1 << 18
  var buffer = [UInt8](repeating: 0, count: min(max(expected, 512), 1 << 18))
  while isWanted() {
    let count = buffer.withUnsafeMutableBytes {
      pread(descriptor, $0.baseAddress, $0.count, off_t(byteCount))
    }
    if count < 0 && errno == EINTR { continue }
    if count <= 0 { break }
    buffer.withUnsafeBytes {
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count]))
    }
    byteCount += Int64(count)
  }
  return (byteCount, ContentHash(Array(hash.finalize())) ?? .unknown)
}
