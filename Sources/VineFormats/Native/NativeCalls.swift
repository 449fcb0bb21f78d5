// Libraries, calls and gangs of a native description: checked in full, run by a later version.

import FoundationEssentials
import VineCore

/// Any JSON value, for the arguments of calls.
private indirect enum JSONValue: Decodable {
  case text(String)
  case list([JSONValue])
  case object([String: JSONValue])
  case other

  init(from decoder: any Decoder) throws {
    if let object = try? decoder.object() {
      var members: [String: JSONValue] = [:]
      for key in object.allKeys {
        members[key.stringValue] = try object.decode(JSONValue.self, forKey: key)
      }
      self = .object(members)
    } else if var list = try? decoder.unkeyedContainer() {
      var items: [JSONValue] = []
      while !list.isAtEnd { items.append(try list.decode(JSONValue.self)) }
      self = .list(items)
    } else if let text = try? decoder.singleValueContainer().decode(String.self) {
      self = .text(text)
    } else {
      self = .other
    }
  }
}

extension NativeReader {
  mutating func readLibraries(_ object: JSONObject) throws {
    guard object.contains("libraries") else { return }
    let members = try object.object("libraries")
    for key in members.allKeys.sorted(by: { $0.stringValue < $1.stringValue }) {
      let library = try members.object(key)
      notYet(at(library), "a library")
      try readLibrary(key.stringValue, library)
    }
  }

  private mutating func readLibrary(_ name: String, _ library: JSONObject) throws {
    checkKeys(
      of: library,
      known: [
        "language", "module", "shared_object", "functions", "context", "slots", "exec_mode",
        "environment", "inputs", "env", "cores", "memory", "version",
      ], kind: "a library")
    let language = try word(library, "language", among: ["python", "native"])
    if !library.contains("language") {
      problems.add(at(library), "a library needs a `language`, python or native")
    }
    let isNative = language == "native"
    let (own, other) = isNative ? ("shared_object", "module") : ("module", "shared_object")
    if language != nil {
      if try text(library, own) ?? "" == "" {
        problems.add(at(library), "a \(isNative ? "native" : "python") library needs a `\(own)`")
      }
      if library.contains(AnyKey(other)) {
        problems.add(at(library, other), "`\(other)` is not for this language")
      }
      _ = try word(
        library, "exec_mode", among: isNative ? ["process", "rank"] : ["fork", "direct"])
    }
    let functions = try texts(library, "functions") ?? []
    if functions.isEmpty || functions.contains("") {
      problems.add(at(library), "a library needs `functions`, a list of names")
    }
    libraries[name] = Set(functions)
    for key in ["environment", "version"] { _ = try text(library, key) }
    _ = try integer(library, "slots", in: 1...Int(UInt16.max))
    _ = try integer(library, "cores", in: 1...Int(UInt16.max))
    _ = try integer(library, "memory", in: 0...Int(UInt32.max))
    _ = try environment(library, "env")
    if library.contains("inputs") {
      // Files are read later; only the shape is checked here.
      var inputs = try library.list("inputs")
      while !inputs.isAtEnd {
        if (try? inputs.decode(String.self)) != nil { continue }
        let item = try inputs.object()
        checkKeys(of: item, known: ["file", "as", "copy"], kind: "an input")
        if try text(item, "file") == nil { problems.add(at(item), "the key `file` is missing") }
        if let name = try text(item, "as"), let wrong = sandboxNameProblem(name) {
          problems.add(at(item, "as"), wrong)
        }
        _ = try flag(item, "copy")
      }
    }
    guard library.contains("context") else { return }
    let context = try library.object("context")
    checkKeys(of: context, known: ["function", "args"], kind: "a context")
    if try text(context, "function") ?? "" == "" {
      problems.add(at(context), "a context needs a `function`")
    }
    if context.contains("args") { _ = try context.decode([JSONValue].self, forKey: "args") }
  }

  /// Reads `call`; returns the tasks whose results are its arguments.
  mutating func readCall(_ object: JSONObject, into draft: inout TaskDraft) throws -> [String] {
    notYet(at(object, "call"), "`call`")
    let call = try object.object("call")
    checkKeys(of: call, known: ["library", "function", "args", "kwargs"], kind: "a call")
    if let name = try text(call, "library") {
      try checkFunction(call, library: name)
    } else {
      problems.add(at(call), "a call needs a `library`")
    }
    if !call.contains("function") { problems.add(at(call), "a call needs a `function`") }
    var tasks: [String] = []
    if call.contains("args") {
      let values = try call.decode([JSONValue].self, forKey: "args")
      for (index, value) in values.enumerated() {
        readArgument(value, place: "\(at(call, "args"))[\(index)]", &draft, &tasks)
      }
    }
    if call.contains("kwargs") {
      let values = try call.decode([String: JSONValue].self, forKey: "kwargs")
      for (key, value) in values.sorted(by: { $0.key < $1.key }) {
        readArgument(value, place: place(at(call, "kwargs"), key), &draft, &tasks)
      }
    }
    let resultPlace = at(object, "result")
    if let result = try text(object, "result"), let file = file(named: result, place: resultPlace) {
      if draft.outputs.contains(where: { $0.file == file }) {
        problems.add(resultPlace, "the file \(quoted(result)) is also in `outputs`")
      } else {
        draft.outputs.append(BindingDraft(file))
      }
    }
    return tasks
  }

  private mutating func checkFunction(_ call: JSONObject, library: String) throws {
    guard let functions = libraries[library] else {
      problems.add(
        at(call, "library"), "there is no library \(quoted(library))",
        suggestion: suggestion(for: library, among: libraries.keys.sorted()))
      return
    }
    guard let function = try text(call, "function"), !functions.contains(function) else { return }
    problems.add(
      at(call, "function"), "the library \(quoted(library)) has no function \(quoted(function))",
      suggestion: suggestion(for: function, among: functions.sorted()))
  }

  private mutating func readArgument(
    _ value: JSONValue, place: String, _ draft: inout TaskDraft, _ tasks: inout [String]
  ) {
    switch value {
    case .text, .other: return
    case .list(let items):
      for (index, item) in items.enumerated() {
        readArgument(item, place: "\(place)[\(index)]", &draft, &tasks)
      }
    case .object(let members):
      let marks = members.keys.filter { $0.hasPrefix("$") }.sorted()
      if marks.isEmpty {
        for (key, member) in members.sorted(by: { $0.key < $1.key }) {
          readArgument(member, place: VineFormats.place(place, key), &draft, &tasks)
        }
      } else if marks.count > 1 {
        problems.add(place, "only one of \(marks.joined(separator: " and ")) in one object")
      } else {
        readMark(marks[0], members, place: place, &draft, &tasks)
      }
    }
  }

  private mutating func readMark(
    _ mark: String, _ members: [String: JSONValue], place: String, _ draft: inout TaskDraft,
    _ tasks: inout [String]
  ) {
    var others = members.keys.filter { $0 != mark }
    switch (mark, members[mark]) {
    case ("$ref", .text(let task)?):
      tasks.append(task)
      if case .text(let pointer)? = members["path"], pointer.isEmpty || pointer.hasPrefix("/") {
        others.removeAll { $0 == "path" }
      } else if members["path"] != nil {
        problems.add(place, "`path` is a JSON pointer: empty, or it starts with \"/\"")
        others.removeAll { $0 == "path" }
      }
    case ("$file", .text(let id)?):
      guard let file = file(named: id, place: place) else { break }
      if !draft.inputs.contains(where: { $0.file == file }) {
        draft.inputs.append(BindingDraft(file))
      }
    case ("$json", _): break
    case ("$ref", _), ("$file", _): problems.add(place, "`\(mark)` takes a text")
    default:
      problems.add(
        place, "\(quoted(mark)) is not known; a key that starts with \"$\" is $ref, $file or $json",
        suggestion: nearestName(to: mark, among: ["$ref", "$file", "$json"]))
    }
    for key in others.sorted() {
      problems.add(place, "\(quoted(key)) cannot stand beside \(quoted(mark))")
    }
  }

  mutating func readGang(_ object: JSONObject) throws {
    notYet(at(object, "gang"), "`gang`")
    let gang = try object.object("gang")
    checkKeys(of: gang, known: ["ranks", "ranks_per_node"], kind: "a gang")
    let ranks = try integer(gang, "ranks", in: 1...1_000_000)
    let perNode = try integer(gang, "ranks_per_node", in: 1...1_000_000)
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
