// What the journal of earlier sessions means for the description at hand: which task stands for which
// number in it, and which values still count.

internal import CLinux
internal import Crypto
internal import Glibc
package import VineCore

/// Size and hash of a file.
struct HashedContent: Sendable {
  let byteCount: Int64
  let hash: ContentHash
}

/// How a run goes on.
package struct Continuation: Sendable {
  package private(set) var restored: RestoredRun
  /// The number of each task in the journal; `.none`: it gets one when something happens to it.
  private(set) var numbers: [TaskNumber]
  /// Finished tasks of the journal that the description has no more.
  package private(set) var orphans: [String] = []
  /// What people should know of what was found.
  package private(set) var notices: [String] = []
  /// Of the outputs of the tasks that may be reused, as far as they are known.
  private(set) var contents: [FileID: HashedContent] = [:]
  /// Results that the journal holds.
  private(set) var results: [FileID: [UInt8]] = [:]
  /// Outputs that are written and not published yet, by the names that they have.
  private(set) var copyPaths: [FileValue: String] = [:]
  private let objects: String
  /// Paths to which a task of an earlier description has published, too: their size tells too little.
  private var contestedPaths: Set<String> = []

  /// When the sessions before wrote last.
  private let lastWrite: FileTime?

  /// Compares by keys. Looks at every durable copy that still matters: of what lies beside its target
  /// or is published the size; what was changed after `lastWrite`, the last word of the sessions
  /// before, and what is an object is read, and its hash compared.
  init(
    _ prior: PriorRun, _ workflow: borrowing Workflow, _ keys: WorkflowKeys, runPath: String,
    lastWrite: FileTime?
  ) {
    self.lastWrite = lastWrite
    restored = RestoredRun(taskCount: workflow.tasks.count)
    numbers = Array(repeating: .none, count: workflow.tasks.count)
    objects = "\(runPath)/objects"
    if prior.tasks.isEmpty { return }
    var prior = prior
    var isKnown = Array(repeating: false, count: prior.tasks.count)
    for task in workflow.tasks.ids {
      guard let number = prior.number(ofKey: keys.keys[task.index]) else { continue }
      numbers[task.index] = number
      isKnown[Int(number.rawValue)] = true
    }
    for (row, task) in prior.tasks.enumerated() where task.isDone && !isKnown[row] {
      for place in task.outputRange where prior.outputs[place].place == .published {
        contestedPaths.insert(prior.text.string(prior.outputs[place].path))
      }
    }
    countAttempts(ofOthersThan: isKnown, prior, workflow)
    guard case .order(let order) = workflow.topologicalOrder() else { return }
    for task in order {
      if numbers[task.index] != .none {
        takeWhole(task, prior, workflow)
      } else if let earlier = find(task, &prior, workflow, keys) {
        isKnown[Int(earlier.rawValue)] = true
        takeConditional(task, earlier, prior, workflow, keys)
      }
    }
    for (row, task) in prior.tasks.enumerated() where task.isDone && !isKnown[row] {
      let name = prior.name(of: TaskNumber(UInt32(row)))
      // An edited task is there still, under another key.
      if workflow.taskID(named: name) == nil { orphans.append(name) }
    }
  }

  /// An edited task goes on counting where its namesakes ended: the number of an attempt is part of
  /// the name of its copies, and no two values may share one.
  private mutating func countAttempts(
    ofOthersThan isKnown: [Bool], _ prior: PriorRun, _ workflow: borrowing Workflow
  ) {
    for row in prior.tasks.indices where !isKnown[row] {
      let last = prior.tasks[row].lastAttempt
      let name = prior.name(of: TaskNumber(UInt32(row)))
      guard last > 0, let task = workflow.taskID(named: name) else { continue }
      restored.attemptCounts[task.index] = max(restored.attemptCounts[task.index], last)
    }
  }

  // MARK: Unchanged tasks

  private mutating func takeWhole(
    _ task: TaskID, _ prior: PriorRun, _ workflow: borrowing Workflow
  ) {
    guard let row = prior.task(numbers[task.index]) else { return }
    restored.attemptCounts[task.index] = max(restored.attemptCounts[task.index], row.lastAttempt)
    guard row.isDone, row.outputRange.count == workflow.outputs(of: task).count else { return }
    for (place, input) in workflow.inputs(of: task).enumerated() {
      let producer = workflow.files[input.file].producer
      guard producer != .none else { continue }
      guard restored.reuse[producer.index] == .whole, place < row.inputRange.count,
        case .output(let read) = prior.inputs[row.inputRange.lowerBound + place],
        prior.task(read.task)?.attempt == read.attempt
      else { return }
    }
    restored.reuse[task.index] = .whole
    restored.accepted[task.index] = row.attempt
    takeOutputs(of: task, row, prior, workflow)
  }

  private mutating func takeOutputs(
    of task: TaskID, _ row: PriorTask, _ prior: PriorRun, _ workflow: borrowing Workflow
  ) {
    for (place, output) in workflow.outputs(of: task).enumerated() {
      let copy = prior.outputs[row.outputRange.lowerBound + place]
      if copy.place == .journal {
        takeResult(output.file, row.attempt, Array(prior.text.slice(copy.path)))
        continue
      }
      if copy.hash.isKnown {
        restored.hashes[output.file] = copy.hash
        restored.byteCounts[output.file] = copy.byteCount
        contents[output.file] = HashedContent(byteCount: copy.byteCount, hash: copy.hash)
      }
      guard copy.place != .none else { continue }
      let path =
        copy.place == .objects
        ? objectPath(of: copy.hash, in: objects) : prior.text.string(copy.path)
      if isIntact(copy, at: path, isDirectory: workflow.files[output.file].isDirectory) {
        var attempt = row.attempt
        if copy.place == .temporary {
          attempt = CopyNames.attempt(of: path) ?? attempt
          copyPaths[FileValue(output.file, attempt: attempt)] = path
        }
        restored.durable.append(
          RestoredRun.Copy(
            file: output.file, attempt: attempt, isPublished: copy.place == .published))
      } else if takeRenamed(copy, output.file, row, workflow) {
        continue
      } else {
        if copy.place == .objects { restored.damaged.insert(task) }
        notices.append(
          "\(path), made by task \(workflow.name(of: task)), is not what was written there; the "
            + "task runs again if that is needed")
      }
    }
  }

  private mutating func takeResult(_ file: FileID, _ attempt: UInt32, _ bytes: [UInt8]) {
    results[file] = bytes
    restored.hashes[file] = hash(of: bytes)
    restored.durable.append(
      RestoredRun.Copy(file: file, attempt: attempt, isPublished: false, isJournaled: true))
  }

  private func hash(of bytes: some Collection<UInt8>) -> ContentHash {
    SHA256.hash(data: Array(bytes)).withUnsafeBytes { ContentHash($0) } ?? .unknown
  }

  /// A crash between a rename and its record leaves the output under its own name already.
  private mutating func takeRenamed(
    _ copy: PriorOutput, _ file: FileID, _ row: PriorTask, _ workflow: borrowing Workflow
  ) -> Bool {
    guard copy.place == .temporary else { return false }
    var published = copy
    published.place = .published
    let path = workflow.locationText(file)
    guard copy.hash.isKnown, contentHash(at: path) == copy.hash else { return false }
    restored.durable.append(
      RestoredRun.Copy(file: file, attempt: row.attempt, isPublished: true))
    return true
  }

  private func isIntact(_ copy: PriorOutput, at path: String, isDirectory: Bool) -> Bool {
    var info = stat()
    guard stat(path, &info) == 0 else { return false }
    switch copy.place {
    case .none, .journal: return false
    case .objects: return contentHash(at: path) == copy.hash
    case .temporary, .published:
      if isDirectory { return info.st_mode & S_IFMT == S_IFDIR }
      guard Int64(info.st_size) == copy.byteCount else { return false }
      let isTrusted = copy.place == .published && !contestedPaths.contains(path)
      if isTrusted && !isDoubtful(.change(info)) { return true }
      return copy.hash.isKnown && contentHash(at: path) == copy.hash
    }
  }

  /// Whether somebody may have changed a file since the sessions before.
  private func isDoubtful(_ change: FileTime) -> Bool {
    lastWrite.map { change.mayBeAfter($0) } ?? true
  }

  private func contentHash(at path: String) -> ContentHash? {
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return VineRuntime.contentHash(of: descriptor).1
  }

  // MARK: Tasks with other inputs

  /// The task of this name whose own definition is the same.
  private func find(
    _ task: TaskID, _ prior: inout PriorRun, _ workflow: borrowing Workflow, _ keys: WorkflowKeys
  ) -> TaskNumber? {
    let name = workflow.name(of: task)
    return prior.numbers(ofDefinition: keys.definitions[task.index]).last {
      prior.name(of: $0) == name && prior.task($0)?.isDone ?? false
    }
  }

  private mutating func takeConditional(
    _ task: TaskID, _ number: TaskNumber, _ prior: PriorRun, _ workflow: borrowing Workflow,
    _ keys: WorkflowKeys
  ) {
    guard let row = prior.task(number),
      row.outputRange.count == workflow.outputs(of: task).count,
      row.inputRange.count == workflow.inputs(of: task).count
    else { return }
    restored.attemptCounts[task.index] = max(restored.attemptCounts[task.index], row.lastAttempt)
    var hashes: [ContentHash] = []
    for (place, input) in workflow.inputs(of: task).enumerated() {
      let read = prior.inputs[row.inputRange.lowerBound + place]
      guard let hash = hashRead(read, input.file, prior, workflow, keys) else { return }
      hashes.append(hash)
    }
    restored.reuse[task.index] = .conditional
    restored.accepted[task.index] = row.attempt
    restored.inputHashes[task] = hashes
    takeOutputs(of: task, row, prior, workflow)
  }

  /// The content an earlier attempt read; `.unknown` for a source that is as it was, nil when it
  /// cannot be told.
  private func hashRead(
    _ read: InputValue, _ file: FileID, _ prior: PriorRun, _ workflow: borrowing Workflow,
    _ keys: WorkflowKeys
  ) -> ContentHash? {
    switch read {
    case .inline:
      let kind = workflow.files[file].kind
      return kind == .buffer || kind == .derived ? .unknown : nil
    case .output(let place):
      guard workflow.files[file].producer != .none, let output = prior.output(place) else {
        return nil
      }
      if output.place == .journal { return hash(of: prior.text.slice(output.path)) }
      return output.hash.isKnown ? output.hash : nil
    case .source(let number):
      guard let source = prior.source(number), let now = keys.sources[file],
        source.byteCount == now.byteCount, source.modificationTime == now.modificationTime,
        prior.text.string(source.path) == workflow.locationText(file)
      else { return nil }
      return .unknown
    }
  }
}
