// The fold of a journal: what the sessions so far came to.

package struct PriorRun: Sendable {
  /// Numbers that a damaged journal may jump over: definitions of one lost segment.
  private static let gapMax = 1 << 20

  package internal(set) var tasks: [PriorTask] = []
  package internal(set) var sources: [PriorSource] = []
  /// Of all tasks, one after another (`PriorTask.inputRange`, `outputRange`).
  package internal(set) var inputs: [InputValue] = []
  package internal(set) var outputs: [PriorOutput] = []
  package internal(set) var text = TextArena()
  /// Publications begun and not known to have ended.
  package internal(set) var openIntents: [OutputPlace: PriorIntent] = [:]
  package internal(set) var sessionCount: UInt32 = 0
  package internal(set) var lastOpen: SessionOpen?
  /// Nil when the last session did not end in order.
  package internal(set) var lastClose: SessionClose?
  package internal(set) var doneCount = 0
  package internal(set) var failedCount = 0
  package internal(set) var entryCount = 0
  /// Entries that say again what is known.
  package internal(set) var duplicateCount = 0
  /// Entries that name what is not there.
  package internal(set) var malformedCount = 0
  /// Entries that contradict earlier ones; the first hundred are named.
  package internal(set) var violationCount = 0
  package internal(set) var violations: [String] = []
  private var keyOrder: HashOrder?
  private var definitionOrder: HashOrder?
  /// The row that was found last by its key.
  private var lastRow = -1

  package init() {}

  // MARK: Lookup

  /// The task with this key; the latest if there are several.
  package mutating func number(ofKey key: ContentHash) -> TaskNumber? {
    // Tasks were numbered about in the order in which they are asked for: the neighbourhood of the
    // last answer mostly has the next, and all rows need not be put in order.
    for row in max(lastRow - 15, 0)..<max(min(lastRow + 17, tasks.count), max(lastRow - 15, 0))
    where tasks[row].key == key && key.isKnown {
      lastRow = row
      return TaskNumber(UInt32(row))
    }
    let order =
      keyOrder ?? HashOrder(count: tasks.count) { tasks[$0].key.isKnown ? tasks[$0].key : nil }
    keyOrder = order
    var found: TaskNumber?
    for row in order.candidates(for: key) where tasks[row].key == key {
      found = TaskNumber(UInt32(row))
      lastRow = row
    }
    return found
  }

  /// The tasks whose own part is this, ascending.
  package mutating func numbers(ofDefinition definition: ContentHash) -> [TaskNumber] {
    let order =
      definitionOrder
      ?? HashOrder(count: tasks.count) { tasks[$0].definition.isKnown ? tasks[$0].definition : nil }
    definitionOrder = order
    return order.candidates(for: definition).filter { tasks[$0].definition == definition }
      .map { TaskNumber(UInt32($0)) }
  }

  package func task(_ number: TaskNumber) -> PriorTask? {
    let row = Int(number.rawValue)
    return row < tasks.count && tasks[row].isDefined ? tasks[row] : nil
  }

  package func source(_ number: SourceNumber) -> PriorSource? {
    let row = Int(number.rawValue)
    return row < sources.count && sources[row].isDefined ? sources[row] : nil
  }

  /// The output at this place, if its attempt is the accepted one.
  package func output(_ place: OutputPlace) -> PriorOutput? {
    outputRow(place).map { outputs[$0] }
  }

  package func name(of number: TaskNumber) -> String {
    task(number).map { text.string($0.name) } ?? "task \(number.rawValue)"
  }

  // MARK: Fold

  /// Takes in the next entry, whatever it says.
  package mutating func apply(_ entry: JournalEntry) {
    entryCount += 1
    switch entry {
    case .sessionOpen(let open):
      sessionCount &+= 1
      lastOpen = open
      lastClose = nil
    case .sessionClose(let close): lastClose = close
    case .taskDefinition(let definition): define(definition)
    case .sourceDefinition(let definition): define(definition)
    case .done(let done): complete(done)
    case .failed(let failed): fail(failed)
    case .hashed(let place, let byteCount, let hash):
      settle(place, hash) { $0.byteCount = byteCount }
    case .commit(let place, let byteCount, let mode, let hash, let location):
      commit(place, byteCount, mode, hash, location)
    case .invalidate(let task, let attempt, _): invalidate(task, attempt)
    case .publishIntent(let place, let hash, let path):
      guard outputRow(place) != nil, let path = keep(path) else {
        malformedCount += 1
        return
      }
      openIntents[place] = PriorIntent(path: path, hash: hash)
    case .published(let place): publish(place)
    case .result(let place, let bytes):
      guard let row = outputRow(place), bytes.count <= Limits.textByteCountMax else {
        malformedCount += 1
        return
      }
      outputs[row].byteCount = Int64(bytes.count)
      outputs[row].place = .journal
      outputs[row].path = text.append(bytes: bytes)
    case .snapshot(let sessionCount):
      self = PriorRun()
      self.sessionCount = sessionCount
      entryCount = 1
    }
  }

  private mutating func define(_ definition: TaskDefinition) {
    let row = Int(definition.task.rawValue)
    if let known = task(definition.task) {
      if known.key == definition.key && known.definition == definition.definition
        && text.slice(known.name).elementsEqual(definition.name.utf8)
      {
        duplicateCount += 1
      } else {
        violate("\(name(of: definition.task)) and \(definition.name) have the same number")
      }
      return
    }
    guard row - tasks.count <= Self.gapMax, definition.task != .none,
      let name = keep(definition.name)
    else {
      malformedCount += 1
      return
    }
    while tasks.count <= row { tasks.append(PriorTask()) }
    tasks[row].key = definition.key
    tasks[row].definition = definition.definition
    tasks[row].isDeterministic = definition.isDeterministic
    tasks[row].isDefined = true
    tasks[row].name = name
    keyOrder = nil
    definitionOrder = nil
  }

  private mutating func define(_ definition: SourceDefinition) {
    let row = Int(definition.source.rawValue)
    if let known = source(definition.source) {
      if known.byteCount == definition.byteCount && known.hash == definition.hash
        && known.modificationTime == definition.modificationTime
        && text.slice(known.path).elementsEqual(definition.path.utf8)
      {
        duplicateCount += 1
      } else {
        violate("\(text.string(known.path)) and \(definition.path) have the same number")
      }
      return
    }
    guard row - sources.count <= Self.gapMax, let path = keep(definition.path) else {
      malformedCount += 1
      return
    }
    while sources.count <= row { sources.append(PriorSource()) }
    sources[row] = PriorSource(
      path: path, byteCount: definition.byteCount,
      modificationTime: definition.modificationTime, hash: definition.hash, isDefined: true)
  }

  private mutating func complete(_ done: DoneEntry) {
    guard let known = task(done.task), done.attempt != 0,
      done.outputByteCounts.count <= Int(UInt16.max),
      inputs.count + done.inputs.count <= Int(UInt32.max),
      outputs.count + done.outputByteCounts.count <= Int(UInt32.max)
    else {
      malformedCount += 1
      return
    }
    if known.attempt == done.attempt {
      duplicateCount += 1
      return
    }
    if known.isDone || known.invalidatedAttempt == done.attempt {
      let other = known.isDone ? known.attempt : known.invalidatedAttempt
      violate(
        "\(name(of: done.task)) was done by attempt \(done.attempt) "
          + (known.isDone ? "and by attempt \(other)" : "after that was invalidated"))
      return
    }
    let row = Int(done.task.rawValue)
    if known.isFailed { failedCount -= 1 }
    doneCount += 1
    tasks[row].attempt = done.attempt
    tasks[row].lastAttempt = max(known.lastAttempt, done.attempt)
    tasks[row].isFailed = false
    tasks[row].failureCount = 0
    tasks[row].rank = done.rank
    tasks[row].start = done.completion.start
    tasks[row].end = done.completion.end
    tasks[row].cpuMicroseconds = done.completion.cpuMicroseconds
    tasks[row].maxResidentKB = done.completion.maxResidentKB
    // The rows of a value that was given up are used again where they are enough.
    if done.inputs.count > Int(known.inputCount) {
      tasks[row].inputStart = UInt32(inputs.count)
      inputs.append(contentsOf: done.inputs)
    } else {
      for (place, input) in done.inputs.enumerated() {
        inputs[Int(known.inputStart) + place] = input
      }
    }
    tasks[row].inputCount = UInt32(done.inputs.count)
    if done.outputByteCounts.count > Int(known.outputCount) {
      tasks[row].outputStart = UInt32(outputs.count)
      for byteCount in done.outputByteCounts { outputs.append(PriorOutput(byteCount: byteCount)) }
    } else {
      for (place, byteCount) in done.outputByteCounts.enumerated() {
        outputs[Int(known.outputStart) + place] = PriorOutput(byteCount: byteCount)
      }
    }
    tasks[row].outputCount = UInt32(done.outputByteCounts.count)
  }

  private mutating func fail(_ failed: FailedEntry) {
    guard let known = task(failed.task) else {
      malformedCount += 1
      return
    }
    if known.isDone {
      violate("\(name(of: failed.task)) failed after attempt \(known.attempt) had done it")
      return
    }
    let row = Int(failed.task.rawValue)
    if !known.isFailed { failedCount += 1 }
    tasks[row].isFailed = true
    tasks[row].failureCount = failed.failureCount
    tasks[row].endingCode = failed.ending.journalCode
    tasks[row].endingNumber = failed.ending.journalNumber
    tasks[row].lastAttempt = max(known.lastAttempt, failed.attempt)
  }

  private mutating func invalidate(_ number: TaskNumber, _ attempt: UInt32) {
    guard let known = task(number), attempt != 0 else {
      malformedCount += 1
      return
    }
    let row = Int(number.rawValue)
    tasks[row].invalidatedAttempt = max(known.invalidatedAttempt, attempt)
    tasks[row].lastAttempt = max(known.lastAttempt, attempt)
    guard known.attempt == attempt else { return }
    doneCount -= 1
    tasks[row].attempt = 0
    for place in 0..<UInt16(clamping: known.outputCount) {
      openIntents[OutputPlace(task: number, attempt: attempt, output: place)] = nil
    }
  }

  private mutating func commit(
    _ place: OutputPlace, _ byteCount: Int64, _ mode: UInt16, _ hash: ContentHash,
    _ location: CommitPlace
  ) {
    var path = TextRef.empty
    if case .temporary(let name) = location {
      guard let kept = keep(name) else {
        malformedCount += 1
        return
      }
      path = kept
    }
    settle(place, hash) { output in
      output.byteCount = byteCount
      output.mode = mode
      output.place = location == .objects ? .objects : .temporary
      output.path = path
    }
  }

  /// Changes an output of the accepted attempt, whose content may be named but not contradicted.
  private mutating func settle(
    _ place: OutputPlace, _ hash: ContentHash, _ change: (inout PriorOutput) -> Void
  ) {
    guard let row = outputRow(place) else {
      malformedCount += 1
      return
    }
    if hash.isKnown && outputs[row].hash.isKnown && hash != outputs[row].hash {
      violate(
        "output \(place.output) of \(name(of: place.task)), attempt \(place.attempt), "
          + "has two contents")
      return
    }
    if hash.isKnown { outputs[row].hash = hash }
    change(&outputs[row])
  }

  private mutating func publish(_ place: OutputPlace) {
    guard let row = outputRow(place) else {
      malformedCount += 1
      return
    }
    if let intent = openIntents.removeValue(forKey: place) {
      outputs[row].path = intent.path
      outputs[row].place = .published
    } else if outputs[row].place == .published {
      duplicateCount += 1
    } else {
      malformedCount += 1
    }
  }

  private func outputRow(_ place: OutputPlace) -> Int? {
    guard let task = task(place.task), task.isDone, task.attempt == place.attempt,
      UInt32(place.output) < task.outputCount
    else { return nil }
    return Int(task.outputStart) + Int(place.output)
  }

  private mutating func keep(_ text: String) -> TextRef? {
    text.utf8.count <= Limits.textByteCountMax ? self.text.append(text) : nil
  }

  private mutating func violate(_ what: String) {
    violationCount += 1
    if violations.count < 100 { violations.append(what) }
  }
}
