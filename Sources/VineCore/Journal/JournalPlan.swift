// Which bytes of which segments make up the log, seen from the segments' beginnings.

package struct JournalPlan: Sendable {
  /// Bytes of each segment that are enough to plan with: a header and the opening of a session.
  package static let prefixByteCount = 1 << 17

  struct Segment: Sendable {
    var name: SegmentName
    /// Nil when it is damaged.
    var header: SegmentHeader?
    var open: SessionOpen?
    var beginsSnapshot = false
    /// Bytes of it that count; what lies behind was written by a session that had been replaced.
    var byteLimit = Int.max
    /// The last record of it that counts; the next segment holds what follows.
    var recordLimit = UInt64.max
  }

  var segments: [Segment] = []
  /// Says why the journal must not be read at all.
  package private(set) var refusal: JournalVerdict?
  /// Nil when no segment says it.
  package private(set) var run: RunIdentity?
  /// Places to begin at, the best one first: snapshots from the newest on, then the beginning.
  package private(set) var starts: [Int] = []

  /// Takes the first `prefixByteCount` bytes of every segment, or all there are. With `run`, other
  /// runs' segments are refused; without it the first segment says which run it is.
  package init(_ prefixes: [(name: SegmentName, bytes: [UInt8])], run: RunIdentity? = nil) {
    self.run = run
    for (name, bytes) in prefixes.sorted(by: { $0.name < $1.name }) {
      bytes.withUnsafeBytes { add(name, $0) }
    }
    setLimits()
    starts = segments.indices.filter {
      segments[$0].beginsSnapshot && segments[$0].byteLimit > 0
    }
    starts.reverse()
    if starts.last != 0 && !segments.isEmpty { starts.append(0) }
  }

  package var names: [SegmentName] { segments.map(\.name) }
  /// Of the last session that left a file; 0 when there is none.
  package var lastEpoch: UInt32 { segments.last?.name.epoch ?? 0 }

  /// Whether a session that was replaced wrote the whole segment too late.
  package func isFencedOff(_ place: Int) -> Bool { segments[place].byteLimit == 0 }

  private mutating func add(_ name: SegmentName, _ bytes: UnsafeRawBufferPointer) {
    var segment = Segment(name: name)
    switch SegmentHeader.read(bytes) {
    case .damaged: break
    case .otherFormat(let format):
      if refusal == nil { refusal = .otherFormat(name, format: format) }
    case .header(let header):
      if let run, run != header.run {
        if refusal == nil { refusal = .foreign(name, run: header.run, expected: run) }
      } else {
        run = header.run
      }
      // A file under another segment's name is not that segment.
      if header.name == name { segment.header = header }
    }
    if segment.header != nil && name.number == 0 { readOpening(bytes, of: &segment) }
    segments.append(segment)
  }

  private func readOpening(_ bytes: UnsafeRawBufferPointer, of segment: inout Segment) {
    var offset = SegmentHeader.byteCount
    while let frame = JournalFrame(bytes, at: offset) {
      offset += frame.byteCount
      switch frame.type {
      case .synced: continue
      case .sessionOpen where segment.open == nil:
        var reader = WireReader(frame.payload)
        guard case .sessionOpen(let open)? = try? reader.takeEntry(.sessionOpen) else { return }
        segment.open = open
      case .snapshotBegin:
        segment.beginsSnapshot = segment.open != nil
        return
      default: return
      }
    }
  }

  /// From the newest segment to the oldest, with the lowest fence met so far.
  private mutating func setLimits() {
    var fence: (segment: SegmentName, byteCount: UInt64)?
    var nextRecord: UInt64?
    for place in segments.indices.reversed() {
      let name = segments[place].name
      if let fence {
        if name > fence.segment {
          segments[place].byteLimit = 0
        } else if name == fence.segment {
          segments[place].byteLimit = Int(clamping: fence.byteCount)
        }
      }
      if segments[place].byteLimit > 0 {
        if let nextRecord { segments[place].recordLimit = nextRecord }
        if let header = segments[place].header { nextRecord = header.previousRecord }
      }
      if let open = segments[place].open {
        let tail = SegmentName(epoch: open.tailEpoch, number: open.tailSegment)
        if fence.map({ (tail, open.tailByteCount) < ($0.segment, $0.byteCount) }) ?? true {
          fence = (tail, open.tailByteCount)
        }
      }
    }
  }
}
