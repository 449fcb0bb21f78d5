// Entries of the journal as payloads of frames.

extension JournalEntry {
  package var frameType: FrameType {
    switch self {
    case .sessionOpen: .sessionOpen
    case .taskDefinition: .taskDefinition
    case .sourceDefinition: .sourceDefinition
    case .done: .done
    case .hashed: .hashed
    case .commit: .commit
    case .failed: .failed
    case .invalidate: .invalidate
    case .publishIntent: .publishIntent
    case .published: .published
    case .sessionClose: .sessionClose
    case .snapshot: .snapshot
    case .result: .result
    }
  }
}

extension WireWriter {
  /// Puts the payload of an entry.
  package mutating func put(_ entry: JournalEntry) {
    switch entry {
    case .sessionOpen(let open): put(open)
    case .taskDefinition(let row): put(row)
    case .sourceDefinition(let row): put(row)
    case .done(let row): put(row)
    case .hashed(let place, let byteCount, let hash):
      put(place)
      put(byteCount)
      put(hash)
    case .commit(let place, let byteCount, let mode, let hash, let location):
      put(place)
      put(byteCount)
      put(mode)
      put(hash)
      // A temporary name is never empty: an empty one stands for the object store.
      if case .temporary(let path) = location { put(path) } else { put("") }
    case .failed(let row):
      put(row.task.rawValue)
      put(row.attempt)
      put(journal: row.ending)
      put(row.failureCount)
    case .invalidate(let task, let attempt, let cause):
      put(task.rawValue)
      put(attempt)
      put(cause.rawValue)
    case .publishIntent(let place, let hash, let path):
      put(place)
      put(hash)
      put(path)
    case .published(let place): put(place)
    case .sessionClose(let close):
      put(close.reason.rawValue)
      put(close.status)
      put(close.doneCount)
      put(close.failedCount)
    case .snapshot(let sessionCount): put(sessionCount)
    case .result(let place, let bytes):
      put(place)
      put(bytes: bytes)
    }
  }

  private mutating func put(_ hash: ContentHash) {
    put(hash.words.0)
    put(hash.words.1)
    put(hash.words.2)
    put(hash.words.3)
  }

  private mutating func put(_ place: OutputPlace) {
    put(place.task.rawValue)
    put(place.attempt)
    put(place.output)
  }

  private mutating func put(journal ending: Ending) {
    put(ending.journalCode)
    put(ending.journalNumber)
  }

  private mutating func put(_ open: SessionOpen) {
    put(open.epoch)
    put(open.time)
    for text in [open.version, open.host, open.jobID, open.workflowPath, open.workflowName] {
      put(text)
    }
    put(open.tailEpoch)
    put(open.tailSegment)
    put(open.tailByteCount)
    put(open.tailRecordNumber)
    put(open.owner.bootID)
    put(open.owner.namespace)
    put(open.owner.number)
    put(open.owner.startTick)
  }

  private mutating func put(_ row: TaskDefinition) {
    put(row.task.rawValue)
    put(row.key)
    put(row.definition)
    put(row.isDeterministic)
    put(row.name)
  }

  private mutating func put(_ row: SourceDefinition) {
    put(row.source.rawValue)
    put(row.path)
    put(row.byteCount)
    put(row.modificationTime)
    put(row.hash)
  }

  private mutating func put(_ row: DoneEntry) {
    put(row.task.rawValue)
    put(row.attempt)
    put(row.rank)
    put(journal: row.completion.ending)
    put(row.completion.start.nanoseconds)
    put(row.completion.end.nanoseconds)
    put(row.completion.cpuMicroseconds)
    put(row.completion.maxResidentKB)
    put(UInt32(row.inputs.count))
    for input in row.inputs {
      switch input {
      case .inline: put(0 as UInt8)
      case .output(let place):
        put(1 as UInt8)
        put(place)
      case .source(let source):
        put(2 as UInt8)
        put(source.rawValue)
      }
    }
    put(UInt32(row.outputByteCounts.count))
    for byteCount in row.outputByteCounts { put(byteCount) }
  }
}

extension WireReader {
  /// The entry of a frame whose payload this is: all of it.
  package mutating func takeEntry(_ type: FrameType) throws(WireError) -> JournalEntry {
    let entry: JournalEntry
    switch type {
    case .sessionOpen: entry = .sessionOpen(try takeSessionOpen())
    case .taskDefinition: entry = .taskDefinition(try takeTaskDefinition())
    case .sourceDefinition: entry = .sourceDefinition(try takeSourceDefinition())
    case .done: entry = .done(try takeDone())
    case .hashed: entry = .hashed(try takePlace(), byteCount: try take(), hash: try takeHash())
    case .commit:
      let (place, byteCount, mode, hash) = (
        try takePlace(), try take(Int64.self), try take(UInt16.self), try takeHash()
      )
      let path = try takeText()
      entry = .commit(
        place, byteCount: byteCount, mode: mode, hash: hash,
        at: path.isEmpty ? .objects : .temporary(path))
    case .failed:
      entry = .failed(
        FailedEntry(
          task: TaskNumber(try take()), attempt: try take(), ending: try takeJournalEnding(),
          failureCount: try take()))
    case .invalidate:
      entry = .invalidate(
        TaskNumber(try take()), attempt: try take(), cause: TaskNumber(try take()))
    case .publishIntent:
      entry = .publishIntent(try takePlace(), hash: try takeHash(), path: try takeText())
    case .published: entry = .published(try takePlace())
    case .sessionClose:
      guard let reason = SessionClose.Reason(rawValue: try take()) else { throw WireError() }
      entry = .sessionClose(
        SessionClose(
          reason: reason, status: try take(), doneCount: try take(), failedCount: try take()))
    case .snapshot: entry = .snapshot(sessionCount: try take())
    case .result: entry = .result(try takePlace(), Array(try takeBytes()))
    case .synced, .groupBegin, .groupEnd, .snapshotBegin, .snapshotEnd: throw WireError()
    }
    guard remainingByteCount == 0 else { throw WireError() }
    return entry
  }

  private mutating func takeHash() throws(WireError) -> ContentHash {
    ContentHash(words: (try take(), try take(), try take(), try take()))
  }

  private mutating func takePlace() throws(WireError) -> OutputPlace {
    OutputPlace(task: TaskNumber(try take()), attempt: try take(), output: try take())
  }

  private mutating func takeJournalEnding() throws(WireError) -> Ending {
    guard let ending = Ending(journalCode: try take(), number: try take()) else {
      throw WireError()
    }
    return ending
  }

  private mutating func takeSessionOpen() throws(WireError) -> SessionOpen {
    SessionOpen(
      epoch: try take(), time: try take(), version: try takeText(), host: try takeText(),
      jobID: try takeText(), workflowPath: try takeText(), workflowName: try takeText(),
      tailEpoch: try take(), tailSegment: try take(), tailByteCount: try take(),
      tailRecordNumber: try take(),
      owner: ProcessIdentity(
        bootID: try takeText(), namespace: try take(), number: try take(), startTick: try take()))
  }

  private mutating func takeTaskDefinition() throws(WireError) -> TaskDefinition {
    TaskDefinition(
      task: TaskNumber(try take()), key: try takeHash(), definition: try takeHash(),
      isDeterministic: try takeBool(), name: try takeText())
  }

  private mutating func takeSourceDefinition() throws(WireError) -> SourceDefinition {
    SourceDefinition(
      source: SourceNumber(try take()), path: try takeText(), byteCount: try take(),
      modificationTime: try take(), hash: try takeHash())
  }

  private mutating func takeDone() throws(WireError) -> DoneEntry {
    var row = DoneEntry(
      task: TaskNumber(try take()), attempt: try take(), rank: try take(),
      completion: Completion(
        try takeJournalEnding(), start: Instant(nanoseconds: try take()),
        end: Instant(nanoseconds: try take()), cpuMicroseconds: try take(),
        maxResidentKB: try take()),
      inputs: [], outputByteCounts: [])
    let inputCount = Int(try take(UInt32.self))
    guard inputCount <= remainingByteCount else { throw WireError() }
    row.inputs.reserveCapacity(inputCount)
    for _ in 0..<inputCount {
      switch try take(UInt8.self) {
      case 0: row.inputs.append(.inline)
      case 1: row.inputs.append(.output(try takePlace()))
      case 2: row.inputs.append(.source(SourceNumber(try take())))
      default: throw WireError()
      }
    }
    let outputCount = Int(try take(UInt32.self))
    guard outputCount <= remainingByteCount / 8 else { throw WireError() }
    row.outputByteCounts.reserveCapacity(outputCount)
    for _ in 0..<outputCount { row.outputByteCounts.append(try take()) }
    return row
  }
}

extension Ending {
  /// Its class in the journal. Numbers are part of the format: none may change its meaning.
  package var journalCode: UInt8 {
    switch self {
    case .succeeded: 0
    case .exited: 1
    case .signaled: 2
    case .timedOut: 3
    case .missingOutput: 4
    case .wrongOutputKind: 5
    case .changedInput: 6
    case .notStarted: 7
    case .sandboxFailed: 8
    case .inputUnavailable: 9
    case .outputNotWritten: 10
    case .fitsNoNode: 11
    case .killed: 12
    case .lost: 13
    case .raised: 20
    case .instanceLost: 21
    case .setupFailed: 22
    case .noRoom: 14
    case .overDisk: 15
    }
  }

  /// What the journal keeps beside the class. The number of a file means nothing in another
  /// session and is left out.
  package var journalNumber: Int32 {
    switch self {
    case .exited(let number), .signaled(let number), .notStarted(let number),
      .sandboxFailed(let number), .inputUnavailable(_, let number),
      .outputNotWritten(_, let number):
      number
    case .missingOutput(let place), .wrongOutputKind(let place), .changedInput(let place),
      .noRoom(let place), .overDisk(let place):
      Int32(bitPattern: place)
    case .succeeded, .timedOut, .fitsNoNode, .killed, .lost, .raised, .instanceLost, .setupFailed: 0
    }
  }

  /// Nil when no ending has that class.
  package init?(journalCode: UInt8, number: Int32) {
    switch journalCode {
    case 0: self = .succeeded
    case 1: self = .exited(number)
    case 2: self = .signaled(number)
    case 3: self = .timedOut
    case 4: self = .missingOutput(UInt32(bitPattern: number))
    case 5: self = .wrongOutputKind(UInt32(bitPattern: number))
    case 6: self = .changedInput(UInt32(bitPattern: number))
    case 7: self = .notStarted(number)
    case 8: self = .sandboxFailed(number)
    case 9: self = .inputUnavailable(.none, number)
    case 10: self = .outputNotWritten(.none, number)
    case 11: self = .fitsNoNode
    case 12: self = .killed
    case 13: self = .lost
    case 20: self = .raised
    case 21: self = .instanceLost
    case 22: self = .setupFailed
    case 14: self = .noRoom(UInt32(bitPattern: number))
    case 15: self = .overDisk(UInt32(bitPattern: number))
    default: return nil
    }
  }
}
