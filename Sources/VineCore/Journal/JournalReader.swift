// Bytes of segments in, entries and a verdict out.
//
// The first frame that is damaged, missing or out of turn ends the log, whatever lies behind it: a
// crash may persist a later page and lose an earlier one. Only when something behind says that the
// lost record had been durable, the journal is corrupt. Every flush says that of the one before it,
// and every segment's header of all before it.

package struct JournalReader {
  private enum State {
    case reading
    /// Looking for whoever says that what was lost had been durable.
    case lost(JournalDamage)
    case refused(JournalVerdict)
  }

  private enum Snapshot { case none, skipped, delivered }

  private let plan: JournalPlan
  private let start: Int
  private let salvages: Bool
  private var state = State.reading
  private var snapshot = Snapshot.none
  private var hasWholeStart: Bool
  private var tail = JournalTail()
  private var salvaged: [JournalDamage] = []
  private var entryCount = 0
  private var laterEntryCount = 0

  /// Reads from `start`, one of the plan's starts. With `salvages`, corruption is skipped over.
  package init(_ plan: JournalPlan, start: Int = 0, salvages: Bool = false) {
    self.plan = plan
    self.start = start
    self.salvages = salvages
    // Where older segments were removed, even the first one may begin with a snapshot.
    hasWholeStart = true
    if plan.segments.indices.contains(start), plan.segments[start].beginsSnapshot,
      start > 0 || plan.segments[start].header?.previousRecord != 0
    {
      hasWholeStart = false
    }
    if let refusal = plan.refusal { state = .refused(refusal) }
  }

  /// Reads the segment at `place`, all of it; to be called for each from the start on, in order.
  /// `body` gets each entry that counts with its record number.
  package mutating func read(
    _ bytes: UnsafeRawBufferPointer, of place: Int, _ body: (JournalEntry, UInt64) -> Void
  ) {
    let segment = plan.segments[place]
    if segment.byteLimit == 0 { return }
    let bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(segment.byteLimit))
    switch state {
    case .refused: return
    case .lost: search(bytes, from: 0, of: place, body)
    case .reading:
      // Nothing of it was ever called durable: the next segment goes on where this one would.
      if segment.header == nil && segment.recordLimit == tail.record { return }
      guard begin(place, byteCount: bytes.count) else {
        search(bytes, from: 0, of: place, body)
        return
      }
      readFrames(bytes, from: SegmentHeader.byteCount, of: place, body)
    }
  }

  /// Ends the reading.
  package consuming func finish() -> JournalReading {
    let verdict: JournalVerdict =
      switch state {
      case .reading: .clean
      case .lost(let damage): .tornTail(damage)
      case .refused(let verdict): verdict
      }
    return JournalReading(
      verdict: verdict, tail: tail, salvaged: salvaged, isStartWhole: hasWholeStart,
      entryCount: entryCount, laterEntryCount: laterEntryCount)
  }

  // MARK: Segments

  /// Whether the segment goes on where the log ended so far.
  private mutating func begin(_ place: Int, byteCount: Int) -> Bool {
    let segment = plan.segments[place]
    guard let header = segment.header, byteCount >= SegmentHeader.byteCount else {
      lose(at: 0, in: segment.name)
      return false
    }
    // A snapshot depends on nothing before it.
    if place == start && segment.beginsSnapshot && !hasWholeStart {
      tail.record = header.previousRecord
      tail.checksum = header.previousChecksum
    }
    guard header.previousRecord == tail.record, header.previousChecksum == tail.checksum else {
      if tail.record == 0 || header.previousRecord <= tail.record {
        lose(at: 0, in: segment.name)
      } else {
        lose(at: tail.byteCount, in: tail.segment)
      }
      return false
    }
    // A snapshot that an earlier session did not finish stands for nothing.
    if place > 0 && plan.segments[place - 1].name.epoch != segment.name.epoch { snapshot = .none }
    tail.segment = segment.name
    tail.byteCount = UInt64(SegmentHeader.byteCount)
    return true
  }

  private mutating func readFrames(
    _ bytes: UnsafeRawBufferPointer, from start: Int, of place: Int,
    _ body: (JournalEntry, UInt64) -> Void
  ) {
    let name = plan.segments[place].name
    let limit = plan.segments[place].recordLimit
    var offset = start
    while offset < bytes.count && tail.record < limit {
      guard let frame = next(bytes, at: offset, after: tail.record) else {
        lose(at: UInt64(offset), in: name)
        search(bytes, from: offset + 1, of: place, body)
        return
      }
      if frame.type == .groupBegin {
        guard let length = groupByteCount(bytes, at: offset, limit: limit) else {
          lose(at: UInt64(offset), in: name)
          search(bytes, from: offset + 1, of: place, body)
          return
        }
        deliverGroup(bytes, from: offset, byteCount: length, body)
        offset += length
      } else {
        guard deliver(frame, body) else {
          lose(at: UInt64(offset), in: name)
          search(bytes, from: offset + 1, of: place, body)
          return
        }
        offset += frame.byteCount
      }
      tail.byteCount = UInt64(offset)
    }
  }

  /// The frame at `offset` if it is the one after `record`; entries are not looked into.
  private func next(
    _ bytes: UnsafeRawBufferPointer, at offset: Int, after record: UInt64
  ) -> JournalFrame? {
    guard let frame = JournalFrame(bytes, at: offset), frame.record == record &+ 1
    else { return nil }
    switch frame.type {
    case .synced, .groupBegin: return frame.number == nil ? nil : frame
    // An end without its beginning.
    case .groupEnd: return nil
    case .snapshotBegin, .snapshotEnd: return frame.payload.isEmpty ? frame : nil
    default: return frame
    }
  }

  /// Whether the frame holds what its type says.
  @discardableResult
  private mutating func deliver(
    _ frame: JournalFrame, _ body: (JournalEntry, UInt64) -> Void
  ) -> Bool {
    switch frame.type {
    case .synced, .groupBegin, .groupEnd: break
    case .snapshotBegin: snapshot = hasWholeStart ? .skipped : .delivered
    case .snapshotEnd:
      if snapshot == .delivered { hasWholeStart = true }
      snapshot = .none
    default:
      if snapshot == .skipped { break }
      var reader = WireReader(frame.payload)
      guard let entry = try? reader.takeEntry(frame.type) else { return false }
      entryCount += 1
      if snapshot == .none { laterEntryCount += 1 }
      body(entry, frame.record)
    }
    tail.record = frame.record
    tail.checksum = frame.checksum
    return true
  }

  // MARK: Groups

  /// Bytes of the group that begins at `offset`, its end included; nil when it is not all there.
  private func groupByteCount(
    _ bytes: UnsafeRawBufferPointer, at offset: Int, limit: UInt64
  ) -> Int? {
    guard let first = JournalFrame(bytes, at: offset), let count = first.number else { return nil }
    var position = offset + first.byteCount
    var record = first.record
    while record < limit {
      if record &- first.record == count {
        guard let end = JournalFrame(bytes, at: position), end.type == .groupEnd,
          end.record == record &+ 1, end.record <= limit, end.payload.isEmpty
        else { return nil }
        return position + end.byteCount - offset
      }
      guard let frame = next(bytes, at: position, after: record), !frame.isMarker
      else { return nil }
      var reader = WireReader(frame.payload)
      if (try? reader.takeEntry(frame.type)) == nil { return nil }
      record = frame.record
      position += frame.byteCount
    }
    return nil
  }

  private mutating func deliverGroup(
    _ bytes: UnsafeRawBufferPointer, from offset: Int, byteCount: Int,
    _ body: (JournalEntry, UInt64) -> Void
  ) {
    var position = offset
    while position < offset + byteCount, let frame = JournalFrame(bytes, at: position) {
      deliver(frame, body)
      position += frame.byteCount
    }
  }

  // MARK: Damage

  private mutating func lose(at offset: UInt64, in segment: SegmentName) {
    state = .lost(
      JournalDamage(
        segment: segment, offset: offset, record: tail.record + 1, byteCount: 0, frameCount: 0,
        syncedRecord: 0))
  }

  /// Looks through what lies behind the end of the log, byte by byte, for whoever says that what is
  /// lost had been durable.
  private mutating func search(
    _ bytes: UnsafeRawBufferPointer, from start: Int, of place: Int,
    _ body: (JournalEntry, UInt64) -> Void
  ) {
    guard case .lost(var damage) = state else { return }
    let name = plan.segments[place].name
    let isSameSegment = damage.segment == name && start > 0
    let before = damage.byteCount
    // Bytes of this segment before which nothing is dropped.
    let first = isSameSegment ? Int(clamping: damage.offset) : 0
    damage.byteCount = before + UInt64(max(bytes.count - first, 0))
    var offset = start
    if start == 0 {
      offset = 1
      if let header = plan.segments[place].header {
        offset = min(SegmentHeader.byteCount, bytes.count)
        if header.previousRecord >= damage.record {
          damage.syncedRecord = header.previousRecord
          tail.record = header.previousRecord
          tail.checksum = header.previousChecksum
          snapshot = .none
          resume(bytes, from: offset, of: place, damage, droppedByteCount: before, body)
          return
        }
      }
    }
    while offset + JournalFrame.byteCountMin <= bytes.count {
      let (last, isOver) = damage.record.addingReportingOverflow(1 << 32)
      guard
        let frame = JournalFrame(
          bytes, at: offset, records: damage.record...(isOver ? .max : last))
      else {
        offset += 1
        continue
      }
      if frame.type == .synced, let number = frame.number, number >= damage.record,
        number < frame.record
      {
        damage.syncedRecord = number
        tail.record = frame.record - 1
        resume(
          bytes, from: offset, of: place, damage,
          droppedByteCount: before + UInt64(max(offset - first, 0)), body)
        return
      }
      damage.frameCount += 1
      offset += frame.byteCount
    }
    state = .lost(damage)
  }

  /// Corruption: the end, or a gap that is reported and left behind. A flush begins where reading
  /// goes on, so no group is cut.
  private mutating func resume(
    _ bytes: UnsafeRawBufferPointer, from offset: Int, of place: Int, _ damage: JournalDamage,
    droppedByteCount: UInt64, _ body: (JournalEntry, UInt64) -> Void
  ) {
    guard salvages else {
      state = .refused(.corrupt(damage))
      return
    }
    var skipped = damage
    skipped.byteCount = droppedByteCount
    salvaged.append(skipped)
    state = .reading
    tail.segment = plan.segments[place].name
    tail.byteCount = UInt64(offset)
    readFrames(bytes, from: offset, of: place, body)
  }
}
