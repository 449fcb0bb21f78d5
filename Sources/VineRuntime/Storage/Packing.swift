// Packs the outputs of many tasks into one tar archive. The same members give the same bytes: no time
// and no owner of the making is in it.

internal import CLinux
internal import Glibc

/// Writes an archive of the files `directory/0`, `directory/1` and so on, whose names in the archive are
/// in the file `names`, each ended by NUL.
package func packArchive(
  names: String, directory: String, to archive: String
) throws(RuntimeError) {
  let list = try readFile(names).split(separator: 0)
  let target = try OwnedDescriptor.open(
    archive, O_WRONLY | O_CREAT | O_EXCL, mode: 0o666, to: "write")
  for (index, name) in list.enumerated() {
    try append("\(directory)/\(index)", as: Array(name), to: target.number, archive)
  }
  // Two blocks of zeros end an archive.
  try write([UInt8](repeating: 0, count: 1024), to: target.number, archive)
}

private func append(
  _ path: String, as name: [UInt8], to target: Int32, _ archive: String
) throws(RuntimeError) {
  let file = try OwnedDescriptor.open(path, O_RDONLY, to: "read")
  var info = stat()
  if fstat(file.number, &info) != 0 { throw RuntimeError("read", path, errno: errno) }
  var header = TarHeader(name: name)
  header.mode = UInt32(info.st_mode & 0o777)
  header.byteCount = Int64(info.st_size)
  guard header.byteCount < 1 << 33 else {
    throw RuntimeError(
      "pack", String(decoding: name, as: UTF8.self),
      detail: "a member has less than 8 GiB; give this file a `path` of its own")
  }
  try write(header.bytes, to: target, archive)
  let copied = clinux_copy(file.number, target, header.byteCount)
  if copied < 0 { throw RuntimeError("write", archive, errno: Int32(-copied)) }
  if copied != header.byteCount { throw RuntimeError("read", path, errno: EIO) }
  let padding = TarHeader.padding(after: header.byteCount)
  try write([UInt8](repeating: 0, count: padding), to: target, archive)
}

private func write(_ bytes: [UInt8], to target: Int32, _ archive: String) throws(RuntimeError) {
  let error = bytes.withUnsafeBytes { writeAll($0, to: target) }
  if error != 0 { throw RuntimeError("write", archive, errno: error) }
}
