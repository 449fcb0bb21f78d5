// The run's journal: what happened, in order, in frames that show where they were cut off.
//
//     segment := "VINEJRNL" format (u32) epoch (u32) number (u32) frame*
//     frame := length (u32) crc32c (u32) lsn (u64) type (u8) payload
//
// `length` counts lsn, type and payload; `crc32c` is theirs. One writer, plain sequential writes.

internal import CChecksum
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
    let crc = body.withUnsafeBytes { cchecksum_crc32c(0, $0.baseAddress, $0.count) }
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

/// Whether a task of this name ended in the run whose journal directory this is. Nil when there is
/// no journal to ask, or it does not read to its end.
package func journalNames(task name: String, in directory: String) -> Bool? {
  let wanted = Array(name.utf8)
  let (entries, error) = FileTree.entries(of: directory)
  if error != 0 { return nil }
  for entry in entries where entry.name.hasSuffix(".vj") {
    guard let bytes = try? readFile("\(directory)/\(entry.name)") else { return nil }
    let found = bytes.withUnsafeBytes { scan($0, for: wanted) }
    if found == true { return true }
  }
  return false
}

/// Looks through the frames of one segment, up to its torn end if it has one.
private func scan(_ bytes: UnsafeRawBufferPointer, for name: [UInt8]) -> Bool {
  // The header: magic, format, epoch, number.
  var position = 20
  while position + 8 <= bytes.count {
    let length = Int(
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
    guard position + 8 + length <= bytes.count else { return false }
    var reader = WireReader(
      UnsafeRawBufferPointer(rebasing: bytes[position + 8..<position + 8 + length]))
    if let _ = try? reader.take(UInt64.self), let code = try? reader.take(UInt8.self),
      let type = JournalFile.FrameType(rawValue: code), type == .done || type == .failed,
      let text = try? reader.takeBytes(), text.elementsEqual(name)
    {
      return true
    }
    position += 8 + length
  }
  return false
}
