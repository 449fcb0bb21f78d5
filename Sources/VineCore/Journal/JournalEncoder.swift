// Entries in, bytes of one flush after another out.

/// Bytes that become durable together.
package struct JournalFlush: Sendable {
  package var bytes: [UInt8]
  package var lastRecord: UInt64
  /// Of the last frame.
  package var lastChecksum: UInt32
}

/// Numbers records and packs them into frames.
package struct JournalEncoder: Sendable {
  private var writer = WireWriter()
  /// The last number given out.
  package private(set) var lastRecord: UInt64
  private var lastFrameStart = 0
  /// Where the frame that begins the open group lies, and how deep groups are nested: an inner one
  /// is part of the outer one.
  private var groupStart = 0
  private var groupDepth = 0
  private var groupRecord: UInt64 = 0

  /// Goes on behind the record `lastRecord`: 0 in a new run.
  package init(lastRecord: UInt64 = 0) { self.lastRecord = lastRecord }

  /// Bytes that wait to be taken.
  package var byteCount: Int { writer.count }

  /// Appends an entry and returns its record number.
  @discardableResult
  package mutating func append(_ entry: JournalEntry) -> UInt64 {
    frame(entry.frameType) { $0.put(entry) }
  }

  /// All entries up to the matching `endGroup` count, or none.
  package mutating func beginGroup() {
    groupDepth += 1
    if groupDepth > 1 { return }
    beginFlush()
    groupStart = writer.count
    groupRecord = frame(.groupBegin) { $0.put(0 as UInt64) }
  }

  package mutating func endGroup() {
    invariant(groupDepth > 0, "a group of records ended that was not begun")
    groupDepth -= 1
    if groupDepth > 0 { return }
    writer.replace(at: groupStart + 17, with: lastRecord - groupRecord)
    seal(groupStart)
    frame(.groupEnd) { _ in }
  }

  /// What follows, up to `endSnapshot`, stands for all that came before.
  package mutating func beginSnapshot() { frame(.snapshotBegin) { _ in } }
  package mutating func endSnapshot() { frame(.snapshotEnd) { _ in } }

  /// Everything appended so far, to be written now that all up to `syncedRecord` is durable; nil
  /// when there is nothing or a group is open.
  package mutating func takeFlush(syncedRecord: UInt64) -> JournalFlush? {
    guard writer.count > 0, groupDepth == 0 else { return nil }
    writer.replace(at: 17, with: syncedRecord)
    seal(0)
    let bytes = writer.takeBytes()
    let checksum = bytes.withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: lastFrameStart + 4, as: UInt32.self)
    }
    return JournalFlush(
      bytes: bytes, lastRecord: lastRecord, lastChecksum: UInt32(littleEndian: checksum))
  }

  /// Every flush begins with a frame that says what was durable; its number is filled in when the
  /// flush is taken.
  private mutating func beginFlush() {
    if writer.count == 0 { emit(.synced) { $0.put(0 as UInt64) } }
  }

  @discardableResult
  private mutating func frame(_ type: FrameType, _ fill: (inout WireWriter) -> Void) -> UInt64 {
    beginFlush()
    emit(type, fill)
    return lastRecord
  }

  private mutating func emit(_ type: FrameType, _ fill: (inout WireWriter) -> Void) {
    lastRecord += 1
    lastFrameStart = writer.count
    writer.put(0 as UInt64)
    writer.put(lastRecord)
    writer.put(type.rawValue)
    fill(&writer)
    writer.replace(
      at: lastFrameStart, with: UInt32(writer.count - lastFrameStart - JournalFrame.headByteCount))
    seal(lastFrameStart)
  }

  /// Computes the checksum of the frame that begins at `start`.
  private mutating func seal(_ start: Int) {
    let checksum = writer.bytes.withUnsafeBytes { bytes in
      let length = bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self)
      let body = start + JournalFrame.headByteCount
      return crc32c(
        UnsafeRawBufferPointer(rebasing: bytes[body..<body + Int(UInt32(littleEndian: length))]))
    }
    writer.replace(at: start + 4, with: checksum)
  }
}
