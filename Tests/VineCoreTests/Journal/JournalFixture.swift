// A small journal in memory, and one of everything.

@testable import VineCore

/// The segments of a run, as bytes.
struct JournalImage {
  static let run = RunIdentity(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210)
  var segments: [(name: SegmentName, bytes: [UInt8])] = []
  var encoder = JournalEncoder()
  var synced: UInt64 = 0
  var checksum: UInt32 = 0

  init() { begin(epoch: 1) }
  /// A journal without segments.
  init(empty: Void) {}

  /// Begins the first segment of an epoch that goes on where the journal ends, or at `tail`.
  mutating func begin(epoch: UInt32, tail: JournalTail? = nil) {
    if let tail {
      encoder = JournalEncoder(lastRecord: tail.record)
      synced = tail.record
      checksum = tail.checksum
    }
    let last = segments.last
    begin(SegmentName(epoch: epoch, number: 0))
    let tailSegment = tail?.segment ?? last?.name ?? SegmentName(epoch: 0, number: 0)
    append(
      .sessionOpen(
        SessionOpen(
          epoch: epoch, time: 7, version: "1", host: "h", jobID: "", workflowPath: "/w",
          workflowName: "w", tailEpoch: tailSegment.epoch, tailSegment: tailSegment.number,
          tailByteCount: tail?.byteCount ?? UInt64(last?.bytes.count ?? 0),
          tailRecordNumber: synced)))
    flush()
  }

  mutating func begin(_ name: SegmentName) {
    let header = SegmentHeader(
      run: Self.run, name: name, previousRecord: synced, previousChecksum: checksum)
    segments.append((name, header.bytes))
  }

  mutating func append(_ entry: JournalEntry) { encoder.append(entry) }

  mutating func flush() {
    guard let flush = encoder.takeFlush(syncedRecord: synced) else { return }
    segments[segments.count - 1].bytes += flush.bytes
    synced = flush.lastRecord
    checksum = flush.lastChecksum
  }

  /// Reads it all from the best start.
  func read(
    salvages: Bool = false, fromBeginning: Bool = false
  ) -> (entries: [JournalEntry], reading: JournalReading) {
    let plan = JournalPlan(segments.map { ($0.name, Array($0.bytes.prefix(4096))) })
    var entries: [JournalEntry] = []
    for start in fromBeginning ? [0] : plan.starts {
      entries = []
      var reader = JournalReader(plan, start: start, salvages: salvages)
      let sorted = segments.sorted { $0.name < $1.name }
      for place in start..<sorted.count {
        sorted[place].bytes.withUnsafeBytes { bytes in
          reader.read(bytes, of: place) { entry, _ in entries.append(entry) }
        }
      }
      let reading = reader.finish()
      if reading.isStartWhole { return (entries, reading) }
    }
    return (entries, JournalReader(plan).finish())
  }

  /// The offsets at which frames begin in a segment, and its end.
  func frames(of place: Int) -> [Int] {
    segments[place].bytes.withUnsafeBytes { bytes in
      var offsets: [Int] = [SegmentHeader.byteCount]
      while let frame = JournalFrame(bytes, at: offsets[offsets.count - 1]) {
        offsets.append(offsets[offsets.count - 1] + frame.byteCount)
      }
      return offsets
    }
  }
}

func hash(_ number: UInt64) -> ContentHash {
  ContentHash(words: (number &* 0x9E37_79B9_7F4A_7C15, number, 3, 4))
}

func definition(_ number: UInt32) -> JournalEntry {
  .taskDefinition(
    TaskDefinition(
      task: TaskNumber(number), key: hash(UInt64(number) + 1),
      definition: hash(UInt64(number / 2) + 1000), isDeterministic: number % 2 == 0,
      name: "task-\(number)"))
}

func done(
  _ number: UInt32, attempt: UInt32 = 1, inputs: [InputValue] = [.inline],
  outputs: [Int64] = [10]
) -> JournalEntry {
  .done(
    DoneEntry(
      task: TaskNumber(number), attempt: attempt, rank: 3,
      completion: Completion(
        .succeeded, start: Instant(nanoseconds: 5), end: Instant(nanoseconds: 9),
        cpuMicroseconds: 2, maxResidentKB: 1),
      inputs: inputs, outputByteCounts: outputs))
}

func place(_ task: UInt32, attempt: UInt32 = 1, output: UInt16 = 0) -> OutputPlace {
  OutputPlace(task: TaskNumber(task), attempt: attempt, output: output)
}

/// One of each entry, and of each ending.
let oneOfEach: [JournalEntry] =
  [
    .sessionOpen(
      SessionOpen(
        epoch: 2, time: 99, version: "1.0", host: "node", jobID: "77", workflowPath: "/a/b",
        workflowName: "b", tailEpoch: 1, tailSegment: 4, tailByteCount: 1000,
        tailRecordNumber: 55,
        owner: ProcessIdentity(bootID: "b", namespace: 1, number: 2, startTick: 3))),
    definition(4),
    .sourceDefinition(
      SourceDefinition(
        source: SourceNumber(0), path: "/data/ü", byteCount: 5, modificationTime: -1,
        hash: hash(9))),
    done(4, inputs: [.inline, .output(place(1, attempt: 2, output: 3)), .source(SourceNumber(0))]),
    .hashed(place(4), byteCount: 10, hash: hash(1)),
    .commit(place(4), byteCount: 10, mode: 0o644, hash: hash(1), at: .objects),
    .commit(place(4), byteCount: 10, mode: 0o755, hash: hash(1), at: .temporary(".x.vine")),
    .invalidate(TaskNumber(4), attempt: 1, cause: .none),
    .publishIntent(place(4), hash: hash(1), path: "x"), .published(place(4)),
    .sessionClose(SessionClose(reason: .walltime, status: 3, doneCount: 1, failedCount: 2)),
    .snapshot(sessionCount: 3),
  ]
  + [
    Ending.succeeded, .exited(-1), .signaled(9), .timedOut, .missingOutput(.max),
    .wrongOutputKind(1), .changedInput(2), .notStarted(13), .sandboxFailed(28),
    .inputUnavailable(.none, 5), .outputNotWritten(.none, 6), .fitsNoNode, .killed, .lost,
  ].map {
    .failed(FailedEntry(task: TaskNumber(4), attempt: 1, ending: $0, failureCount: 2))
  }

/// SplitMix64.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
