// Reads WfFormat, 1.0 to 1.6, by its layout. Real files are irregular, so a wrong type where
// nothing depends on it is a warning, and warnings of one kind become one line.

import FoundationEssentials
import VineCore

/// Collects a recorded workflow with its problems.
struct WfFormatReader {
  var recorded = RecordedWorkflow()
  var problems = ProblemList()
  var warnings = WarningGroups()

  var taskIndex: [String: Int] = [:]
  /// Ids of 1.2 to 1.4, where parents name tasks by name but some writers used the id.
  var oldIndex: [String: Int] = [:]
  var fileIndex: [String: Int] = [:]
  /// Parents and children of each task as they were written.
  var parents: [[String]] = []
  var children: [[String]] = []
  var hasRecord: [Bool] = []
  var machines: Set<String> = []
  var usedMachines: [(task: Int, name: String)] = []
  /// Where the task list is, for places.
  var tasksPlace = "workflow.specification.tasks"
  /// The place in the task list of each task.
  var positions: [Int] = []

  static func read(document: Data) throws -> WfFormatReader {
    var reader: WfFormatReader
    let repeated = try checkSyntax(of: document)
    var document = document
    // The last of several members with one key counts, as it does for the programs that write
    // WfFormat; the decoder would take the first.
    for key in repeated {
      let start = document.startIndex
      for index in key.member { document[start + index] = UInt8(ascii: " ") }
    }
    do {
      reader = try JSONDecoder().decode(WfFormatDocument.self, from: document).reader
    } catch {
      throw failure(from: error)
    }
    reader.checkStructure()
    if !reader.problems.isEmpty { throw ReadFailure(reader.problems) }
    return reader
  }

  mutating func read(_ object: JSONObject) throws {
    if let name = try optionalText(object, "name") { recorded.name = name }
    if let version = try optionalText(object, "schemaVersion") {
      if !["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6"].contains(version) {
        warnings.add(.version, quoted(version))
      }
    } else {
      warnings.add(.noVersion, "")
    }
    guard object.contains("workflow") else {
      throw ReadFailure(
        "", "this is not WfFormat: the key `workflow` is missing", isUnreadable: true)
    }
    let workflow = try object.object("workflow")
    if workflow.contains("specification") {
      recorded.layout = .specification
      try readSpecification(workflow)
    } else if workflow.contains("tasks") || workflow.contains("jobs") {
      recorded.layout = workflow.contains("tasks") ? .tasks : .jobs
      try readOldTasks(workflow, key: recorded.layout.rawValue)
    } else {
      throw ReadFailure(
        "workflow",
        "this is not WfFormat: there is neither `specification` (1.5 and later) nor "
          + "`tasks` nor `jobs` (before)", isUnreadable: true)
    }
    if recorded.tasks.isEmpty && problems.isEmpty {
      problems.add(tasksPlace, "there are no tasks")
    }
  }

  /// Appends a task of the list; nil when it has no id of its own.
  mutating func appendTask(_ id: String?, key: String, position: Int) -> Int? {
    let place = "\(tasksPlace)[\(position)]"
    guard let id, !id.isEmpty else {
      problems.add(place, "a task needs `\(key)`, a text that is not empty")
      return nil
    }
    if id.utf8.count > 4096 || id.utf8.contains(0) {
      problems.add("\(place).\(key)", "a task's id has no NUL and at most 4,096 bytes")
      return nil
    }
    guard taskIndex[id] == nil else {
      problems.add("\(place).\(key)", "the id \(quoted(id)) is taken by another task")
      return nil
    }
    taskIndex[id] = recorded.tasks.count
    recorded.tasks.append(RecordedWorkflow.Task(id: id, category: ""))
    parents.append([])
    children.append([])
    hasRecord.append(false)
    positions.append(position)
    return recorded.tasks.count - 1
  }

  /// The index of a file that a task names.
  mutating func file(_ id: String) -> Int {
    if let known = fileIndex[id] { return known }
    recorded.files.append(RecordedWorkflow.File(id: id))
    fileIndex[id] = recorded.files.count - 1
    return recorded.files.count - 1
  }

  /// Declares a file with its size; the larger of two sizes counts. False when it was declared.
  mutating func declareFile(_ id: String, size: FileSize, place: @autoclosure () -> String) -> Bool
  {
    var byteCount: Double?
    switch size {
    case .missing: warnings.add(.fileWithoutSize, quoted(id))
    case .bytes(let count) where count >= 0: byteCount = count
    case .bytes(let count):
      problems.add(place(), "the file \(quoted(id)) has the size \(count)")
    case .unusable:
      problems.add(place(), "the size of the file \(quoted(id)) is not a number")
    }
    let isNew = fileIndex[id] == nil
    let index = file(id)
    if isNew {
      recorded.files[index].byteCount = byteCount
    } else if let byteCount, recorded.files[index].byteCount != byteCount {
      warnings.add(.sizeConflict, quoted(id))
      recorded.files[index].byteCount = max(byteCount, recorded.files[index].byteCount ?? 0)
    }
    return isNew
  }

  enum FileSize {
    case missing
    case bytes(Double)
    case unusable
  }

  /// What was measured of one task.
  mutating func readRecord(_ object: JSONObject, of task: Int) throws {
    hasRecord[task] = true
    let key = object.contains("runtimeInSeconds") ? "runtimeInSeconds" : "runtime"
    let id = quoted(recorded.tasks[task].id)
    if let runtime = try optionalNumber(object, key) {
      if runtime < 0 {
        problems.add(
          place(place(of: object.codingPath), key), "the task \(id) has the runtime \(runtime)")
      } else if runtime > 1e9 {
        problems.add(
          place(place(of: object.codingPath), key),
          "the runtime \(runtime) of the task \(id) is longer than 30 years")
      } else {
        recorded.tasks[task].runtime = runtime
      }
    } else {
      warnings.add(.noRuntime, id)
    }
    recorded.tasks[task].coreCount = try optionalNumber(
      object, object.contains("coreCount") ? "coreCount" : "cores")
    if let bytes = try optionalNumber(object, "memoryInBytes") {
      recorded.tasks[task].memoryByteCount = bytes
    } else if let kilobytes = try optionalNumber(object, "memory") {
      recorded.tasks[task].memoryByteCount = kilobytes * 1000
    }
    try readCommand(object, of: task)
    if let name = try optionalText(object, "machine") { usedMachines.append((task, name)) }
    if object.contains("machines"),
      var list = try? object.list("machines")
    {
      while !list.isAtEnd {
        guard let name = try? list.decode(String.self) else { break }
        usedMachines.append((task, name))
      }
    }
  }

  private mutating func readCommand(_ object: JSONObject, of task: Int) throws {
    if let command = try? object.object("command") {
      recorded.tasks[task].program = try optionalText(command, "program")
      recorded.tasks[task].arguments = arguments(command)
    } else if let program = try optionalText(object, "command") {
      recorded.tasks[task].program = program
    } else if object.contains("arguments") {
      recorded.tasks[task].arguments = arguments(object)
    }
    if recorded.tasks[task].program ?? "" == "" { recorded.tasks[task].program = nil }
  }

  private func arguments(_ object: JSONObject) -> [String] {
    (try? object.decode([String].self, forKey: "arguments")) ?? []
  }

  mutating func readMachines(_ object: JSONObject) throws {
    guard var list = try? object.list("machines") else { return }
    while !list.isAtEnd {
      guard let machine = try? list.object() else { break }
      if let name = try optionalText(machine, "nodeName") { machines.insert(name) }
    }
  }

  // MARK: Values

  /// A text, or nil when there is none or it is something else.
  func optionalText(_ object: JSONObject, _ key: String) throws -> String? {
    guard object.contains(AnyKey(key)) else { return nil }
    return try? object.decode(String.self, forKey: AnyKey(key))
  }

  /// A number, or nil when there is none or it is something else. One that does not fit a double
  /// ends the reading.
  func optionalNumber(_ object: JSONObject, _ key: String) throws -> Double? {
    guard object.contains(AnyKey(key)) else { return nil }
    do {
      return try object.decode(Double.self, forKey: AnyKey(key))
    } catch DecodingError.typeMismatch, DecodingError.valueNotFound {
      return nil
    }
  }

  func size(_ object: JSONObject, _ keys: [String]) throws -> FileSize {
    for key in keys where object.contains(AnyKey(key)) {
      if try object.isNull(AnyKey(key)) { return .missing }
      return try optionalNumber(object, key).map { .bytes($0) } ?? .unusable
    }
    return .missing
  }

  /// A list of texts without repetitions; null and absence are the empty list.
  mutating func uniqueTexts(_ object: JSONObject, _ key: String) throws -> [String] {
    guard object.contains(AnyKey(key)), try !object.isNull(AnyKey(key)) else {
      return []
    }
    var list = try object.list(AnyKey(key))
    var seen: Set<String> = []
    var texts: [String] = []
    while !list.isAtEnd {
      let text = try list.decode(String.self)
      if text.utf8.contains(0) || text.utf8.count >= Limits.textByteCountMax {
        problems.add(
          "\(place(place(of: object.codingPath), key))[\(texts.count)]",
          "a name has no NUL and less than \(Limits.textByteCountMax) bytes")
      } else if seen.insert(text).inserted {
        texts.append(text)
      } else {
        warnings.add(.repeated, quoted(text))
      }
    }
    return texts
  }
}

private struct WfFormatDocument: Decodable {
  var reader = WfFormatReader()

  init(from decoder: any Decoder) throws {
    let object: JSONObject
    do {
      object = try decoder.object()
    } catch {
      throw ReadFailure("", "this is not WfFormat: it is not a JSON object", isUnreadable: true)
    }
    try reader.read(object)
  }
}
