// Files of a replay on a disk: written from their content, read back with their digest.

import Crypto
import Glibc

/// What went wrong while a task was replayed, for its standard error.
package struct ReplayFailure: Error, CustomStringConvertible {
  package var description: String
  init(_ description: String) { self.description = description }

  /// The failure of a system call on a file.
  init(_ what: String, _ path: String) {
    description = "\(what) \(path): \(String(cString: strerror(errno)))"
  }
}

/// One part of a file in memory at a time.
private let partByteCount = 1 << 20

/// Creates `path` with `content`.
package func writeReplayFile(
  _ content: consuming ReplayContent, to path: String
) throws(ReplayFailure) {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
  guard descriptor >= 0 else { throw ReplayFailure("cannot create", path) }
  var part = content.next(byteCountMax: partByteCount)
  var isWritten = true
  while !part.isEmpty && isWritten {
    isWritten = writeAll(part, to: descriptor)
    if isWritten { part = content.next(byteCountMax: partByteCount) }
  }
  let error = errno
  let isClosed = close(descriptor) == 0
  if !isWritten { errno = error }
  guard isWritten && isClosed else { throw ReplayFailure("cannot write", path) }
}

private func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
  bytes.withUnsafeBytes { bytes in
    var written = 0
    while written < bytes.count {
      let count = write(descriptor, bytes.baseAddress! + written, bytes.count - written)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return false }
      written += count
    }
    return true
  }
}

/// Reads all of `path`, which must have `byteCount` bytes; returns its digest in hexadecimal.
package func digestReplayFile(
  _ path: String, byteCount: Int
) throws(ReplayFailure) -> String {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw ReplayFailure("cannot open the input", path) }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw ReplayFailure("cannot look at", path) }
  guard status.st_mode & S_IFMT == S_IFREG else {
    throw ReplayFailure("the input \(path) is not a file")
  }
  guard Int(status.st_size) == byteCount else {
    throw ReplayFailure(
      "the input \(path) has \(status.st_size) bytes; it should have \(byteCount)")
  }
  var hash = SHA256()
  var total = 0
  var part = [UInt8](repeating: 0, count: max(1, min(byteCount, partByteCount)))
  while true {
    let count = part.withUnsafeMutableBytes { read(descriptor, $0.baseAddress!, $0.count) }
    if count < 0 && errno == EINTR { continue }
    guard count >= 0 else { throw ReplayFailure("cannot read", path) }
    if count == 0 { break }
    total += count
    part.withUnsafeBytes {
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count]))
    }
  }
  guard total == byteCount else {
    throw ReplayFailure("the input \(path) changed while it was read")
  }
  return hexadecimal(hash.finalize())
}

/// The content of a small file.
package func readReplayManifest(_ path: String) throws(ReplayFailure) -> ReplayManifest {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw ReplayFailure("cannot open the manifest", path) }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var part = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = part.withUnsafeMutableBytes { read(descriptor, $0.baseAddress!, $0.count) }
    if count < 0 && errno == EINTR { continue }
    guard count >= 0 else { throw ReplayFailure("cannot read the manifest", path) }
    if count == 0 { break }
    bytes.append(contentsOf: part[..<count])
  }
  guard let manifest = ReplayManifest(decoding: bytes) else {
    throw ReplayFailure("\(path) is not a manifest of vine-mpi's replay")
  }
  return manifest
}
