// A file descriptor with one owner.

internal import CLinux
internal import Glibc

/// Closes its descriptor when it goes out of scope.
package struct OwnedDescriptor: ~Copyable {
  package let number: Int32

  package init(_ number: Int32) { self.number = number }

  deinit { close(number) }

  /// Opens `path` (open(2)); O_CLOEXEC is always set.
  package static func open(
    _ path: String, _ flags: Int32, mode: UInt32 = 0o600, to operation: String = "open"
  ) throws(RuntimeError) -> OwnedDescriptor {
    let number = clinux_open_at(AT_FDCWD, path, flags, mode)
    if number < 0 { throw RuntimeError(operation, path, errno: -number) }
    return OwnedDescriptor(number)
  }

  /// Hands the descriptor over to the caller, who closes it.
  package consuming func release() -> Int32 {
    let number = number
    discard self
    return number
  }
}

/// Writes all of `bytes`; returns 0 or an errno.
package func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
  var rest = bytes
  while !rest.isEmpty {
    let count = write(descriptor, rest.baseAddress, rest.count)
    if count < 0 {
      if errno == EINTR { continue }
      return errno
    }
    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
  }
  return 0
}

/// The whole file, or the errno that kept it away.
package func readFile(_ path: String) throws(RuntimeError) -> [UInt8] {
  let descriptor = try OwnedDescriptor.open(path, O_RDONLY, to: "read")
  var info = stat()
  var bytes: [UInt8] = []
  if fstat(descriptor.number, &info) == 0 && info.st_size > 0 {
    bytes.reserveCapacity(Int(info.st_size) + 1)
  }
  // Files of /proc have no size and are small.
  let room = bytes.capacity > 0 ? 1 << 18 : 4096
  while true {
    var failure: Int32 = 0
    let start = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: room))
    let count = bytes.withUnsafeMutableBytes {
      read(descriptor.number, $0.baseAddress! + start, room)
    }
    if count < 0 { failure = errno }
    bytes.removeLast(room - max(count, 0))
    if failure == EINTR { continue }
    if failure != 0 { throw RuntimeError("read", path, errno: failure) }
    if count == 0 { return bytes }
  }
}

/// Writes a file beside `path` and renames it, so that readers see all of it or nothing.
package func replaceFile(_ path: String, with text: String) throws(RuntimeError) {
  let temporary = "\(path).part-\(getpid())"
  do {
    let descriptor = try OwnedDescriptor.open(
      temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644, to: "write")
    var text = text
    let error = text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: descriptor.number) }
    if error != 0 {
      unlink(temporary)
      throw RuntimeError("write", temporary, errno: error)
    }
  }
  if rename(temporary, path) != 0 {
    let error = errno
    unlink(temporary)
    throw RuntimeError("write", path, errno: error)
  }
}
