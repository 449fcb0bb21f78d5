// Reads the native description, workflow.json and workflow.jsonl, into a `Workflow`. Tasks go from
// the decoder into the tables one by one, since a list of decoded tasks would need several times
// the memory of the tables.

import FoundationEssentials
import VineCore

/// State of one reading. Semantic problems are collected; syntax and type errors end it.
struct NativeReader {
  let base: String
  var workflow = Workflow()
  var problems = ProblemList()
  var warnings = ProblemList()
  var unsupported = ProblemList()

  var defaults = Resources()
  var categories: [String: Resources] = [:]
  var declaresCategories = false
  var unknownCategories: Set<String> = []
  /// Libraries by their names, and those of which the files are not entered yet.
  var libraries: [String: LibraryID] = [:]
  var openLibraries: [LibraryDraft] = []
  /// The texts of calls, which are kept as they are written.
  var callTexts = CallTexts()
  /// Results that were referred to before their task was read.
  var awaitedResults: [String: (file: FileID, place: String)] = [:]
  var strictFiles = false
  /// Files that something other than a task makes: "url", "untar", "mini_task".
  var madeFiles: [FileID: String] = [:]
  /// Files with `pack`, and what tasks put into them.
  var packFiles: Set<FileID> = []
  var packs: [FileID: PackDraft] = [:]
  /// The id of the task being read.
  var taskID = ""
  /// Of those, what they are made of, until all files are known.
  var pendingDerivations: [PendingDerivation] = []
  /// Files that no description declares: paths relative to it.
  var impliedFiles: [FileID] = []
  /// `after` and `$ref`, resolved once all tasks are known.
  var references: [TaskReference] = []
  var referenceText = TextArena()
  var requests: Set<Request> = []
  /// Whether the task being read has sandbox names that could clash.
  var hasSpecialNames = false
  /// The number of the task being read in `tasks`, or the number of its line.
  var taskPosition: UInt32 = 0
  /// The first line of a .jsonl file that is not blank.
  private var headerLine = 0
  var isJSONLines: Bool { headerLine > 0 }
  /// "line 12: " in a .jsonl file.
  var linePrefix = ""
  /// Suggestions look at every name, so a file full of mistakes gets only some.
  var suggestionCount = 0

  init(base: String) { self.base = base }

  /// Reads a whole workflow.json.
  static func read(document: Data, base: String) throws -> NativeReader {
    let decoder = JSONDecoder()
    decoder.userInfo[.baseDirectory] = base
    let syntax = try readSyntax(of: document)
    decoder.userInfo[.callTexts] = CallTexts(syntax.calls, in: document)
    var reader: NativeReader
    do {
      reader = try decoder.decode(NativeDocument.self, from: document).reader
    } catch {
      throw failure(from: error)
    }
    reader.note(syntax.repeatedKeys)
    try reader.finish()
    return reader
  }

  /// Reads the lines of a workflow.jsonl: file lines first, so that tasks may come before them.
  static func read(lines: Data, base: String) throws -> NativeReader {
    var reader = NativeReader(base: base)
    let decoder = JSONDecoder()
    let ranges = lineRanges(of: lines)
    for wantsFiles in [true, false] {
      if !wantsFiles { reader.resolveDerivations() }
      for (index, range) in ranges.enumerated() {
        let line = lines[lines.startIndex + range.lowerBound..<lines.startIndex + range.upperBound]
        let isHeader = reader.headerLine == 0
        if line.allSatisfy({ isBlank($0) }) || index + 1 == reader.headerLine { continue }
        guard isHeader || startsWithFile(line) == wantsFiles else { continue }
        reader.linePrefix = "line \(index + 1): "
        reader.taskPosition = UInt32(clamping: index + 1)
        do {
          let syntax = try readSyntax(of: line)
          reader.note(syntax.repeatedKeys)
          reader.callTexts = CallTexts(syntax.calls, in: line)
          let object = try decoder.decode(CapturedObject.self, from: Data(line)).object
          if isHeader {
            reader.headerLine = index + 1
            try reader.readHeader(object, extraKeys: ["files"])
            try reader.readFiles(of: object)
          } else {
            try reader.readLine(object)
          }
        } catch {
          throw failure(from: error).prefixed(reader.linePrefix)
        }
      }
    }
    reader.linePrefix = ""
    guard reader.headerLine > 0 else {
      throw ReadFailure("", "the file is empty", isUnreadable: true)
    }
    try reader.finish()
    return reader
  }

  private mutating func note(_ repeated: [RepeatedKey]) {
    for key in repeated {
      problems.add(linePrefix + key.place, "this key stands twice in the same object")
    }
  }

  /// Whether a line holds a file, judged by its first key.
  private static func startsWithFile(_ line: Data) -> Bool {
    var rest = line.drop { isBlank($0) }
    guard rest.popFirst() == UInt8(ascii: "{") else { return false }
    return rest.drop { isBlank($0) }.starts(with: "\"file\"".utf8)
  }

  private mutating func readLine(_ object: JSONObject) throws {
    checkKeys(of: object, known: ["task", "file"], kind: "a line")
    let hasTask = object.contains("task")
    guard hasTask != object.contains("file") else {
      problems.add(linePrefix.dropLast(2).description, "a line holds either a task or a file")
      return
    }
    if hasTask {
      try readTask(object.object("task"))
      return
    }
    let file = try object.object("file")
    guard let id = try text(file, "id") else {
      problems.add(at(file), "a file needs an `id`")
      return
    }
    try readFile(id, file, extraKeys: ["id"])
  }
}

extension ReadFailure {
  /// The same failure inside a line of the file.
  fileprivate func prefixed(_ prefix: String) -> ReadFailure {
    var result = ReadFailure(ProblemList())
    result.isUnreadable = isUnreadable
    for problem in problems.problems {
      let place = problem.place.hasPrefix(prefix) ? problem.place : prefix + problem.place
      result.problems.add(
        problem.place.isEmpty ? String(prefix.dropLast(2)) : place, problem.message,
        suggestion: problem.suggestion)
    }
    return result
  }
}

extension CodingUserInfoKey {
  fileprivate static let baseDirectory = CodingUserInfoKey(rawValue: "baseDirectory")!
  fileprivate static let callTexts = CodingUserInfoKey(rawValue: "callTexts")!
}

/// The whole document. The tables are filled while the decoder stands in it.
private struct NativeDocument: Decodable {
  var reader: NativeReader

  init(from decoder: any Decoder) throws {
    reader = NativeReader(base: decoder.userInfo[.baseDirectory] as? String ?? "/")
    reader.callTexts = decoder.userInfo[.callTexts] as? CallTexts ?? CallTexts()
    let object = try decoder.object()
    try reader.readHeader(object, extraKeys: ["files", "tasks"])
    try reader.readFiles(of: object)
    reader.resolveDerivations()
    guard object.contains("tasks") else {
      reader.problems.add("", "the key `tasks` is missing")
      return
    }
    var tasks = try object.list("tasks")
    reader.workflow.reserveCapacity(tasks: tasks.count ?? 0, files: 0)
    while !tasks.isAtEnd {
      try reader.readTask(tasks.object())
    }
  }
}
