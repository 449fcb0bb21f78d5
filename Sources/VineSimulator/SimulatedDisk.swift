// What a disk keeps of a journal when its machine dies: the bytes that were synced, and of the flush
// under way any of its sectors, whole or in part, in any order. Written and read by the code that
// does so in a real run.

import VineCore

struct SimulatedDisk {
  /// The unit in which disks write.
  private static let sectorByteCount = 512
  private static let run = RunIdentity(high: 1, low: 2)
  private static let first = SegmentName(epoch: 1, number: 0)

  private var encoder = JournalEncoder()
  private var bytes: [UInt8]
  private var syncedRecord: UInt64 = 0

  /// A segment with nothing but the opening of a session in it.
  init() {
    bytes =
      SegmentHeader(
        run: Self.run, name: Self.first, previousRecord: 0, previousChecksum: 0
      ).bytes
    encoder.append(.sessionOpen(Self.open(epoch: 1)))
    bytes += takeFlush()
  }

  private static func open(epoch: UInt32, after tail: JournalTail? = nil) -> SessionOpen {
    SessionOpen(
      epoch: epoch, time: 0, version: "", host: "", jobID: "", workflowPath: "", workflowName: "",
      tailEpoch: tail?.segment.epoch ?? 0, tailSegment: tail?.segment.number ?? 0,
      tailByteCount: tail?.byteCount ?? 0, tailRecordNumber: tail?.record ?? 0)
  }

  private mutating func takeFlush() -> [UInt8] {
    guard let flush = encoder.takeFlush(syncedRecord: syncedRecord) else { return [] }
    syncedRecord = flush.lastRecord
    return flush.bytes
  }

  /// Dense bytes, so that none of them can be lost without a trace.
  private static func entry(for row: Int) -> JournalEntry {
    var random = PRNG(seed: UInt64(row))
    let one: UInt64 = 0x0101_0101_0101_0101
    return .hashed(
      OutputPlace(task: TaskNumber(UInt32(row)), attempt: 1, output: 0),
      byteCount: Int64(random.next() >> 2 | one),
      hash: ContentHash(
        words: (random.next() | one, random.next() | one, random.next() | one, random.next() | one))
    )
  }

  /// A flush of these rows, each by its number; rows of one group are one group.
  private mutating func flush(_ rows: [LogRow], _ range: Range<Int>) -> [UInt8] {
    var group = 0
    for row in range {
      if rows[row].group != group {
        if group != 0 { encoder.endGroup() }
        group = rows[row].group
        if group != 0 { encoder.beginGroup() }
      }
      encoder.append(Self.entry(for: row))
    }
    if group != 0 { encoder.endGroup() }
    return takeFlush()
  }

  /// How many of `rows` are read back after a crash: those that were synced were one flush, the next
  /// one was under way. `report` hears of what must not be.
  mutating func crash(
    _ rows: [LogRow], syncedCount: Int, _ random: inout PRNG, _ report: (String) -> Void
  ) -> Int {
    bytes += flush(rows, 0..<syncedCount)
    var end = random.within(syncedCount...rows.count)
    while end > syncedCount, end < rows.count, rows[end].group != 0,
      rows[end].group == rows[end - 1].group
    { end -= 1 }
    let safeByteCount = bytes.count
    bytes += flush(rows, syncedCount..<end)
    tear(from: safeByteCount, &random)
    let found = read([(Self.first, bytes)])
    if found.reading.verdict.isAlarming {
      report("a crash left a journal that is called damaged: \(found.reading.verdict)")
    }
    let kept = found.rows.count
    if found.rows != Array(0..<kept) || kept < syncedCount {
      report("of \(syncedCount) synced records and some more a crash left \(found.rows)")
    }
    if kept > 0, kept < rows.count, rows[kept].group != 0, rows[kept].group == rows[kept - 1].group
    {
      report("a crash left half of a group of records")
    }
    if random.chance(perMille: 500) { writeOn(rows, end, after: found.reading.tail, kept, report) }
    return kept
  }

  /// Any sector that was not synced may be missing or half written, and the file be shorter.
  private mutating func tear(from start: Int, _ random: inout PRNG) {
    if random.chance(perMille: 300) { bytes.removeLast(random.below(bytes.count - start + 1)) }
    let loss = random.pick([0, 0, 100, 500])
    var offset = start
    while offset < bytes.count {
      let end = min((offset / Self.sectorByteCount + 1) * Self.sectorByteCount, bytes.count)
      if random.chance(perMille: loss) {
        let from = random.chance(perMille: 500) ? offset : random.within(offset...end)
        for place in from..<end { bytes[place] = 0 }
      }
      offset = end
    }
  }

  /// The manager was not dead, only slow: it writes on behind the place at which another one has
  /// gone on, and nothing of that may ever be read.
  private mutating func writeOn(
    _ rows: [LogRow], _ end: Int, after tail: JournalTail, _ kept: Int, _ report: (String) -> Void
  ) {
    var other = JournalEncoder(lastRecord: tail.record)
    other.append(.sessionOpen(Self.open(epoch: 2, after: tail)))
    let name = SegmentName(epoch: 2, number: 0)
    let header = SegmentHeader(
      run: Self.run, name: name, previousRecord: tail.record, previousChecksum: tail.checksum)
    let opening = other.takeFlush(syncedRecord: tail.record)?.bytes ?? []
    bytes += flush(rows, end..<rows.count)
    let found = read([(Self.first, bytes), (name, header.bytes + opening)])
    if found.rows.count != kept || found.reading.verdict.isAlarming {
      report(
        "a replaced manager wrote on, and \(found.rows.count) records are read instead of \(kept)")
    }
  }

  private func read(
    _ segments: [(name: SegmentName, bytes: [UInt8])]
  ) -> (rows: [Int], reading: JournalReading) {
    var rows: [Int] = []
    let plan = JournalPlan(segments)
    var reader = JournalReader(plan)
    for (place, segment) in segments.enumerated() where !plan.isFencedOff(place) {
      segment.bytes.withUnsafeBytes { bytes in
        reader.read(bytes, of: place) { entry, _ in
          guard case .hashed(let output, _, _) = entry else { return }
          let row = Int(output.task.rawValue)
          // A wrong entry is the row that was never written.
          rows.append(entry == Self.entry(for: row) ? row : -1)
        }
      }
    }
    return (rows, reader.finish())
  }
}

extension JournalVerdict {
  /// Whether it says that something durable was lost.
  fileprivate var isAlarming: Bool {
    switch self {
    case .clean, .tornTail: false
    case .corrupt, .foreign, .otherFormat: true
    }
  }
}
