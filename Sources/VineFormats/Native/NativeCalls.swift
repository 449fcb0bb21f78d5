// Calls of a native description: arguments go into the tables as they are written, with marks where
// results and paths take their places.

import FoundationEssentials
import VineCore

extension NativeReader {
  /// Reads `call`, whose text is `text`.
  mutating func readCall(
    _ object: JSONObject, _ text: JSONText?, into draft: inout TaskDraft
  ) throws {
    let call = try object.object("call")
    checkKeys(of: call, known: ["library", "function", "args", "kwargs"], kind: "a call")
    draft.commandKind = .call
    try readFunction(call, into: &draft)
    draft.arguments = try arguments(of: call, text, isTemplate: false, &draft)
    checkCallKeys(object, draft)
    if object.contains("gang") { enterGang(object, &draft) }
    draft.resultFile = awaitedResults.removeValue(forKey: draft.id)?.file
    try readResult(object, into: &draft)
  }

  /// The library and the function that `call` names.
  mutating func readFunction(_ call: JSONObject, into draft: inout TaskDraft) throws {
    guard let name = try self.text(call, "library") else {
      problems.add(at(call), "a call needs a `library`")
      return
    }
    guard let library = libraries[name] else {
      problems.add(
        at(call, "library"), "there is no library \(quoted(name))",
        suggestion: suggestion(for: name, among: libraries.keys.sorted()))
      return
    }
    draft.library = library
    if let function = try function(call, "function", of: name) {
      draft.function = function
    } else if !call.contains("function") {
      problems.add(at(call), "a call needs a `function`")
    }
  }

  /// The index of the function that a key of `call` names.
  mutating func function(
    _ call: JSONObject, _ key: String, of library: String
  ) throws -> UInt16? {
    guard let name = try text(call, key), let id = libraries[library] else { return nil }
    let functions = workflow.libraries[id].functions
    if let index = functions.firstIndex(of: name) { return UInt16(clamping: index) }
    problems.add(
      at(call, key), "the library \(quoted(library)) has no function \(quoted(name))",
      suggestion: suggestion(for: name, among: functions.sorted()))
    return nil
  }

  /// What an instance has, a call cannot ask for.
  mutating func checkCallKeys(_ object: JSONObject, _ draft: TaskDraft) {
    for key in ["cores", "memory", "disk", "gpus", "env"] where object.contains(AnyKey(key)) {
      problems.add(at(object, key), "a call runs in its library's instance; say `\(key)` there")
    }
    if !draft.usesSandbox {
      problems.add(at(object, "sandbox"), "a call has a sandbox or no files at all")
    }
  }

  /// `result`: the file that gets the result.
  mutating func readResult(_ object: JSONObject, into draft: inout TaskDraft) throws {
    let place = at(object, "result")
    guard let result = try text(object, "result"), let file = file(named: result, place: place)
    else { return }
    if draft.outputs.contains(where: { $0.file == file }) {
      problems.add(place, "the file \(quoted(result)) is also in `outputs`")
    } else if draft.inputs.contains(where: { $0.file == file && $0.use == .sandbox }) {
      problems.add(place, "the file \(quoted(result)) is also an input of this task")
    } else if workflow.files[file].isDirectory {
      problems.add(place, "the file \(quoted(result)) is a directory; a result is a file")
    } else {
      draft.outputs.insert(BindingDraft(file, name: resultName), at: 0)
      draft.hasResultFile = true
    }
  }

  /// No file of a user has this name in a sandbox: it is not relative to a description.
  private var resultName: String { ".vine-result" }

  /// The compiled `args` and `kwargs` of a call or a map.
  mutating func arguments(
    of call: JSONObject, _ text: JSONText?, isTemplate: Bool, _ draft: inout TaskDraft
  ) throws -> [UInt8] {
    var compiler = ArgumentCompiler(isTemplate: isTemplate)
    compiler.out.append(contentsOf: "{\"args\":".utf8)
    if call.contains("args") {
      _ = try call.list("args")
      if let text, let range = text.member("args") {
        compile(range, of: text, place: at(call, "args"), &compiler, &draft)
      }
    } else {
      compiler.out.append(contentsOf: "[]".utf8)
    }
    compiler.out.append(contentsOf: ",\"kwargs\":".utf8)
    if call.contains("kwargs") {
      _ = try call.object("kwargs")
      if let text, let range = text.member("kwargs") {
        compile(range, of: text, place: at(call, "kwargs"), &compiler, &draft)
      }
    } else {
      compiler.out.append(contentsOf: "{}".utf8)
    }
    compiler.out.append(UInt8(ascii: "}"))
    if compiler.out.count >= Limits.textByteCountMax {
      problems.add(
        at(call), "the arguments have \(compiler.out.count) bytes; put them into a file")
      return []
    }
    return compiler.out
  }

  private mutating func compile(
    _ range: Range<Int>, of text: JSONText, place: String, _ compiler: inout ArgumentCompiler,
    _ draft: inout TaskDraft
  ) {
    if text.isList(range) {
      compiler.out.append(UInt8(ascii: "["))
      for (index, element) in text.elements(of: range).enumerated() {
        if index > 0 { compiler.out.append(UInt8(ascii: ",")) }
        compile(element, of: text, place: "\(place)[\(index)]", &compiler, &draft)
      }
      compiler.out.append(UInt8(ascii: "]"))
    } else if text.isObject(range) {
      compileObject(range, of: text, place: place, &compiler, &draft)
    } else {
      text.appendCompact(range, to: &compiler.out)
    }
  }

  private mutating func compileObject(
    _ range: Range<Int>, of text: JSONText, place: String, _ compiler: inout ArgumentCompiler,
    _ draft: inout TaskDraft
  ) {
    let members = text.members(of: range)
    let marks = members.filter { text.text(at: $0.key).first == UInt8(ascii: "$") }
    if marks.isEmpty {
      compiler.out.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { compiler.out.append(UInt8(ascii: ",")) }
        compiler.out.append(UInt8(ascii: "\""))
        compiler.out.append(contentsOf: text.bytes[member.key])
        compiler.out.append(contentsOf: "\":".utf8)
        let key = String(decoding: text.text(at: member.key), as: UTF8.self)
        compile(
          member.value, of: text, place: VineFormats.place(place, key), &compiler, &draft)
      }
      compiler.out.append(UInt8(ascii: "}"))
    } else if marks.count > 1 {
      let names = marks.map { string(text, $0.key) }.sorted()
      problems.add(place, "only one of \(names.joined(separator: " and ")) in one object")
    } else {
      compileMark(marks[0], members, of: text, place: place, &compiler, &draft)
    }
  }

  private func string(_ text: JSONText, _ range: Range<Int>) -> String {
    String(decoding: text.text(at: range), as: UTF8.self)
  }

  /// The text of a text value; nil when it is none.
  private func textValue(_ text: JSONText, _ range: Range<Int>) -> String? {
    guard text.isText(range), range.count >= 2 else { return nil }
    return string(text, range.lowerBound + 1..<range.upperBound - 1)
  }

  private mutating func compileMark(
    _ mark: JSONText.Member, _ members: [JSONText.Member], of text: JSONText, place: String,
    _ compiler: inout ArgumentCompiler, _ draft: inout TaskDraft
  ) {
    let name = string(text, mark.key)
    var allowed: Set<String> = []
    switch name {
    case "$ref":
      allowed = ["path"]
      guard let task = textValue(text, mark.value) else {
        problems.add(place, "`$ref` takes a text")
        break
      }
      var pointer = ""
      if let path = members.last(where: { string(text, $0.key) == "path" }) {
        pointer = textValue(text, path.value) ?? "x"
        if !pointer.isEmpty && !pointer.hasPrefix("/") {
          problems.add(place, "`path` is a JSON pointer: empty, or it starts with \"/\"")
        }
      }
      refer(to: task, pointer: pointer, place: place, &compiler, &draft)
    case "$file":
      guard let id = textValue(text, mark.value) else {
        problems.add(place, "`$file` takes a text")
        break
      }
      referToFile(id, place: place, &compiler, &draft)
    case "$json": text.appendCompact(mark.value, to: &compiler.out)
    case "$item" where compiler.isTemplate:
      compiler.out.append(contentsOf: "{\"$item\":true}".utf8)
    default:
      let known = ["$ref", "$file", "$json"] + (compiler.isTemplate ? ["$item"] : [])
      problems.add(
        place,
        "\(quoted(name)) is not known; a key that starts with \"$\" is "
          + "\(known.dropLast().joined(separator: ", ")) or \(known[known.count - 1])",
        suggestion: nearestName(to: name, among: known))
    }
    for other in members.map({ string(text, $0.key) }).sorted()
    where other != name && !allowed.contains(other) {
      problems.add(place, "\(quoted(other)) cannot stand beside \(quoted(name))")
    }
  }

  private mutating func refer(
    to task: String, pointer: String, place: String, _ compiler: inout ArgumentCompiler,
    _ draft: inout TaskDraft
  ) {
    guard let file = resultFile(of: task, place: place) else { return }
    let known = draft.inputs.firstIndex { $0.file == file }
    let index = known ?? draft.inputs.count
    if known == nil { draft.inputs.append(BindingDraft(file, use: .reference)) }
    compiler.out.append(ArgumentMark.result)
    compiler.out.append(contentsOf: "\(index)".utf8)
    compiler.out.append(ArgumentMark.separator)
    compiler.out.append(contentsOf: pointer.utf8)
    compiler.out.append(ArgumentMark.end)
  }

  private mutating func referToFile(
    _ id: String, place: String, _ compiler: inout ArgumentCompiler, _ draft: inout TaskDraft
  ) {
    guard let file = file(named: id, place: place) else { return }
    let known = draft.inputs.firstIndex { $0.file == file && $0.use == .sandbox }
    let index = known ?? draft.inputs.count
    if known == nil {
      if let wrong = sandboxNameProblem(id) { problems.add(place, wrong) }
      if id.utf8.contains(UInt8(ascii: "/")) { hasSpecialNames = true }
      draft.inputs.append(BindingDraft(file))
    }
    compiler.out.append(ArgumentMark.path)
    compiler.out.append(contentsOf: "\(index)".utf8)
    compiler.out.append(ArgumentMark.end)
  }

  /// The file that stands for the result of a task, which may be read later.
  private mutating func resultFile(of name: String, place: String) -> FileID? {
    if let task = workflow.taskID(named: name) {
      if workflow.tasks[task].commandKind.hasResult { return workflow.resultFile(of: task) }
      problems.add(
        place, "the task \(quoted(name)) is a command, which has files but no result; use `$file`")
      return nil
    }
    if let known = awaitedResults[name] { return known.file }
    let file = workflow.appendResultFile(named: name)
    awaitedResults[name] = (file, place)
    return file
  }

  /// Every result that was referred to must come from some call.
  mutating func checkResults() {
    for (name, awaited) in awaitedResults.sorted(by: { $0.value.file < $1.value.file }) {
      if workflow.taskID(named: name) != nil {
        problems.add(
          awaited.place,
          "the task \(quoted(name)) is a command, which has files but no result; use `$file`")
      } else {
        problems.add(
          awaited.place, "there is no task \(quoted(name))",
          suggestion: suggestion(for: name, among: taskNames))
      }
    }
  }

  /// A gang runs inside ranks, whatever the mode of its library for other calls.
  private mutating func enterGang(_ object: JSONObject, _ draft: inout TaskDraft) {
    guard draft.library != .none else { return }
    var spec = workflow.libraries[draft.library]
    if spec.language != .native {
      problems.add(at(object, "gang"), "a gang calls functions of a native library")
    } else if spec.mode != .inRank {
      spec.mode = .inRank
      spec.request.library = .none
      draft.library = workflow.appendLibrary(spec, named: workflow.name(of: draft.library))
    }
    if !draft.outputs.isEmpty {
      problems.add(
        at(object, "outputs"), "the call of a gang has a `result`, no `outputs`")
    }
  }

  mutating func readGang(_ object: JSONObject, into draft: inout TaskDraft) throws {
    let gang = try object.object("gang")
    checkKeys(of: gang, known: ["ranks", "ranks_per_node"], kind: "a gang")
    let ranks = try integer(gang, "ranks", in: 1...1_000_000)
    let perNode = try integer(gang, "ranks_per_node", in: 1...1_000_000)
    draft.gangRanks = UInt32(ranks ?? 1)
    draft.ranksPerNode = UInt32(perNode ?? 0)
    if !gang.contains("ranks") { problems.add(at(gang), "a gang needs `ranks`") }
    if let ranks, let perNode, perNode > ranks {
      problems.add(
        at(gang, "ranks_per_node"), "\(perNode) ranks on a node, but the gang has only \(ranks)")
    }
    if !object.contains("call") {
      problems.add(at(object, "gang"), "a gang runs a `call`, not a command")
    }
  }
}

/// Arguments that are being compiled.
struct ArgumentCompiler {
  /// Of a map: `$item` stands for each item.
  let isTemplate: Bool
  var out: [UInt8] = []

  init(isTemplate: Bool) { self.isTemplate = isTemplate }
}
