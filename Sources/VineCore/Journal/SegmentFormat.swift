// How the journal lies in files.
//
//     segment := header frame*                      in RUN/journal/<epoch>-<number>.vj
//     header  := "VINEJRNL" format (u32) run (16 bytes) epoch (u32) number (u32)
//                previous record (u64) previous checksum (u32) crc32c of all these (u32)
//     frame   := length (u32) crc32c (u32) record (u64) type (u8) payload
//
// `length` counts record, type and payload; `crc32c` is theirs. Every frame has the record number
// after the one before it, through all segments and epochs. A later format keeps the header's
// layout, so that every version can tell a file of the future from a damaged one.

internal import CChecksum

/// CRC-32C of `bytes`.
func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
  cchecksum_crc32c(0, bytes.baseAddress, bytes.count)
}

/// Names one file of the journal; in the order in which they are read.
package struct SegmentName: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// Which session wrote it.
  package var epoch: UInt32
  package var number: UInt32

  package init(epoch: UInt32, number: UInt32) {
    self.epoch = epoch
    self.number = number
  }

  /// From a file name; nil when it is not one of a segment.
  package init?(fileName: String) {
    guard fileName.hasSuffix(".vj") else { return nil }
    let parts = fileName.dropLast(3).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, let epoch = UInt32(parts[0]), let number = UInt32(parts[1]),
      fileName == "\(epoch)-\(number).vj"
    else { return nil }
    self.init(epoch: epoch, number: number)
  }

  package var description: String { "\(epoch)-\(number).vj" }

  package static func < (left: SegmentName, right: SegmentName) -> Bool {
    (left.epoch, left.number) < (right.epoch, right.number)
  }
}

/// The random name a run got when its journal was made.
package struct RunIdentity: Hashable, Sendable, CustomStringConvertible {
  package var high: UInt64
  package var low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  package var description: String {
    let digits = [high, low].map { word in
      let text = String(word, radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }.joined()
    var text = ""
    for (place, digit) in digits.enumerated() {
      if [8, 12, 16, 20].contains(place) { text.append("-") }
      text.append(digit)
    }
    return text
  }
}

/// The beginning of a segment.
package struct SegmentHeader: Equatable, Sendable {
  /// 3 has results of calls.
  package static let format: UInt32 = 3
  /// The oldest that is still read.
  private static let oldestFormat: UInt32 = 2
  package static let byteCount = 52
  private static let magic = Array("VINEJRNL".utf8)

  package var run: RunIdentity
  package var name: SegmentName
  /// The last record that was durable when this segment was begun, and the CRC of its frame: what
  /// is read before must end with it. Both 0 in the first segment of a run.
  package var previousRecord: UInt64
  package var previousChecksum: UInt32

  package init(
    run: RunIdentity, name: SegmentName, previousRecord: UInt64, previousChecksum: UInt32
  ) {
    self.run = run
    self.name = name
    self.previousRecord = previousRecord
    self.previousChecksum = previousChecksum
  }

  package var bytes: [UInt8] {
    var writer = WireWriter()
    for byte in Self.magic { writer.put(byte) }
    writer.put(Self.format)
    writer.put(run.high)
    writer.put(run.low)
    writer.put(name.epoch)
    writer.put(name.number)
    writer.put(previousRecord)
    writer.put(previousChecksum)
    writer.put(writer.bytes.withUnsafeBytes { crc32c($0) })
    return writer.takeBytes()
  }

  /// What the first bytes of a segment turned out to be.
  package enum Reading: Equatable, Sendable {
    case header(SegmentHeader)
    /// Whole, but of another version of vine-mpi.
    case otherFormat(UInt32)
    case damaged
  }

  package static func read(_ bytes: UnsafeRawBufferPointer) -> Reading {
    guard bytes.count >= 12, bytes.prefix(8).elementsEqual(magic) else { return .damaged }
    let format = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    // Format 1 had no checksum here, and two bits lie between it and ours.
    if format == 1 { return .otherFormat(1) }
    guard bytes.count >= byteCount else { return .damaged }
    do throws(WireError) {
      var reader = WireReader(UnsafeRawBufferPointer(rebasing: bytes[12..<byteCount]))
      let run = RunIdentity(high: try reader.take(), low: try reader.take())
      let name = SegmentName(epoch: try reader.take(), number: try reader.take())
      let header = SegmentHeader(
        run: run, name: name, previousRecord: try reader.take(),
        previousChecksum: try reader.take())
      let checksum = crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<(byteCount - 4)]))
      guard try reader.take() == checksum else { return .damaged }
      let isKnown = (oldestFormat...Self.format).contains(format)
      return isKnown ? .header(header) : .otherFormat(format)
    } catch {
      return .damaged
    }
  }
}

/// What a frame holds. Numbers are part of the format: none may change its meaning.
package enum FrameType: UInt8, Sendable {
  case sessionOpen = 1, taskDefinition, sourceDefinition, done, hashed, commit, failed, invalidate
  case publishIntent, published, sessionClose, snapshot
  case result = 24
  /// Begins each flush and names the last record known durable when it was written.
  case synced = 64
  /// That many records follow, of which all count or none.
  case groupBegin, groupEnd
  /// Around entries that stand for all that came before: a reader may start there.
  case snapshotBegin, snapshotEnd
}

/// One frame within the bytes of a segment.
struct JournalFrame {
  static let headByteCount = 8
  /// Of the shortest frame: no payload.
  static let byteCountMin = 17
  /// Longer than any entry: four texts of the greatest length fit.
  static let lengthMax = 1 << 27

  let record: UInt64
  let checksum: UInt32
  let type: FrameType
  let payload: UnsafeRawBufferPointer
  /// Of the whole frame.
  let byteCount: Int

  /// The frame at `offset`, if a whole and undamaged one with such a record number lies there.
  init?(
    _ bytes: UnsafeRawBufferPointer, at offset: Int, records: ClosedRange<UInt64> = 0...UInt64.max
  ) {
    guard bytes.count - offset >= Self.byteCountMin else { return nil }
    func number<Value: FixedWidthInteger>(_ place: Int) -> Value {
      Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + place, as: Value.self))
    }
    let length = Int(number(0) as UInt32)
    guard length >= 9, length <= Self.lengthMax, bytes.count - offset - Self.headByteCount >= length
    else { return nil }
    checksum = number(4)
    record = number(8)
    // Before the checksum: a search asks at every byte.
    guard records.contains(record) else { return nil }
    byteCount = Self.headByteCount + length
    guard let type = FrameType(rawValue: bytes[offset + 16]) else { return nil }
    self.type = type
    let start = offset + Self.headByteCount
    guard crc32c(UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])) == checksum
    else { return nil }
    payload = UnsafeRawBufferPointer(rebasing: bytes[offset + 17..<offset + byteCount])
  }

  /// The number in the payload of `synced` and `groupBegin`.
  var number: UInt64? {
    var reader = WireReader(payload)
    guard let number = try? reader.take(UInt64.self), reader.remainingByteCount == 0
    else { return nil }
    return number
  }

  var isMarker: Bool { type.rawValue >= FrameType.synced.rawValue }
}
