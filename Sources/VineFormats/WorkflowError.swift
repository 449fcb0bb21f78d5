// What is wrong with a workflow description, for people: each problem with its place.

/// One thing that is wrong, or odd, at one place of a description.
package struct WorkflowProblem: Equatable, Sendable, CustomStringConvertible {
  /// Where: `tasks[17].inputs[2]`, `files.index`, `line 12`; empty for the description as a whole.
  package var place: String
  /// What is wrong there, and what would be right.
  package var message: String
  /// The known name that was probably meant.
  package var suggestion: String?

  package init(_ place: String, _ message: String, suggestion: String? = nil) {
    self.place = place
    self.message = message
    self.suggestion = suggestion
  }

  package var description: String {
    let hint = suggestion.map { " (did you mean \"\($0)\"?)" } ?? ""
    return place.isEmpty ? message + hint : "\(place): \(message)\(hint)"
  }
}

/// Why a description was refused: every semantic problem, or the first one of syntax or type.
package struct WorkflowError: Error, CustomStringConvertible {
  /// The description's path as the user gave it.
  package var path: String
  package var problems: [WorkflowProblem]
  /// Problems beyond those that are kept; see `ProblemList.keptMax`.
  package var droppedCount = 0
  /// Nothing could be read at all: no such file, not JSON, or not a workflow description.
  package var unreadable = false

  package init(path: String, problems: [WorkflowProblem], unreadable: Bool = false) {
    self.path = path
    self.problems = problems
    self.unreadable = unreadable
  }

  /// One problem per line, each as `PATH: place: message`.
  package var description: String {
    var lines = problems.map { "\(path): \($0)" }
    if droppedCount > 0 { lines.append("\(path): and \(droppedCount) more problems") }
    return lines.joined(separator: "\n")
  }
}

/// Collects problems up to a limit: a million tasks with the same mistake need not fill a terminal
/// and the memory.
struct ProblemList {
  static let keptMax = 1000
  private(set) var problems: [WorkflowProblem] = []
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  mutating func add(_ place: String, _ message: String, suggestion: String? = nil) {
    count += 1
    guard problems.count < Self.keptMax else { return }
    problems.append(WorkflowProblem(place, message, suggestion: suggestion))
  }

  func error(path: String) -> WorkflowError {
    var error = WorkflowError(path: path, problems: problems)
    error.droppedCount = count - problems.count
    return error
  }
}

/// Stops a reader: it is thrown where reading cannot go on, and becomes a `WorkflowError` with the
/// path of the file in `loadWorkflow`.
struct ReadFailure: Error {
  var problems: ProblemList
  var isUnreadable = false

  init(_ problems: ProblemList) { self.problems = problems }

  init(_ place: String, _ message: String, isUnreadable: Bool = false) {
    problems = ProblemList()
    problems.add(place, message)
    self.isUnreadable = isUnreadable
  }

  func error(path: String) -> WorkflowError {
    var error = problems.error(path: path)
    error.unreadable = isUnreadable
    return error
  }
}

/// A text in quotes for a message: control characters escaped, cut when it is long.
func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars.prefix(80) {
    switch scalar {
    case "\n": result += "\\n"
    case "\"": result += "\\\""
    case _ where scalar.value < 0x20 || scalar.value == 0x7F:
      result += "\\u{\(String(scalar.value, radix: 16))}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  if text.unicodeScalars.count > 80 { result += "..." }
  return result + "\""
}
