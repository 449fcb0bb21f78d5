// The calls by which the journal reaches its disk, which tests replace.

internal import Glibc

struct JournalSystem: Sendable {
  /// write(2): bytes written, or -errno.
  var write: @Sendable (Int32, UnsafeRawBufferPointer) -> Int
  /// fdatasync(2): 0 or an errno.
  var sync: @Sendable (Int32) -> Int32

  static let real = JournalSystem(
    write: { descriptor, bytes in
      var bytes = bytes
      switch FaultHooks.shared.action(at: "journal.write") {
      case .short(let byteCount):
        bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(max(byteCount, 1)))
      case .flip:
        var changed = Array(bytes)
        if !changed.isEmpty { changed[changed.count / 2] ^= 1 }
        let count = changed.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        return count < 0 ? -Int(errno) : count
      case .drop: return bytes.count
      case let action?:
        if action.errorNumber != 0 { return -Int(action.errorNumber) }
      case nil: break
      }
      let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
      return count < 0 ? -Int(errno) : count
    },
    sync: { descriptor in
      if let action = FaultHooks.shared.action(at: "journal.fsync") {
        if action == .drop { return 0 }
        if action.errorNumber != 0 { return action.errorNumber }
      }
      return fdatasync(descriptor) == 0 ? 0 : errno
    })

  /// Writes all of `bytes`; returns 0 or an errno.
  func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
    var rest = bytes
    while !rest.isEmpty {
      let count = write(descriptor, rest)
      if count == -Int(EINTR) { continue }
      if count < 0 { return Int32(-count) }
      // A device that takes nothing and says nothing would be asked for ever.
      if count == 0 { return EIO }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return 0
  }
}
