// The run's journal: what happened, in order, in frames that show where they were cut off.
//
//     segment := "VINEJRNL" format (u32) epoch (u32) number (u32) frame*
//     frame := length (u32) crc32c (u32) lsn (u64) type (u8) payload
//
// `length` counts lsn, type and payload; `crc32c` is theirs. One writer, plain sequential writes.

internal import CLinux
internal import Glibc
internal import VineCore

final class JournalFile {
  static let format: UInt32 = 1

  enum FrameType: UInt8 {
    case sessionOpen = 1
    case done = 2
    case failed = 3
    case published = 4
    case sessionClose = 5
  }

  private let descriptor: OwnedDescriptor
  private let path: String
  private var pending: [UInt8] = []
  private var sequenceNumber: UInt64 = 0

  init(directory: String, epoch: UInt32) throws(RuntimeError) {
    path = "\(directory)/\(epoch)-0.vj"
    descriptor = try OwnedDescriptor.open(
      path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600, to: "make the journal")
    pending.append(contentsOf: "VINEJRNL".utf8)
    for number in [Self.format, epoch, 0] {
      withUnsafeBytes(of: number.littleEndian) { pending.append(contentsOf: $0) }
    }
  }

  func append(_ type: FrameType, _ fill: (inout WireWriter) -> Void) {
    sequenceNumber += 1
    var payload = WireWriter(type.rawValue)
    fill(&payload)
    var body: [UInt8] = []
    withUnsafeBytes(of: sequenceNumber.littleEndian) { body.append(contentsOf: $0) }
    body.append(contentsOf: payload.bytes)
    let crc = body.withUnsafeBytes { clinux_crc32c(0, $0.baseAddress, $0.count) }
    for number in [UInt32(body.count), crc] {
      withUnsafeBytes(of: number.littleEndian) { pending.append(contentsOf: $0) }
    }
    pending.append(contentsOf: body)
  }

  /// Hands what was appended to the operating system.
  func flush() throws(RuntimeError) {
    if pending.isEmpty { return }
    let error = pending.withUnsafeBytes { writeAll($0, to: descriptor.number) }
    pending.removeAll(keepingCapacity: true)
    if error != 0 { throw RuntimeError("write the journal", path, errno: error) }
  }
}
