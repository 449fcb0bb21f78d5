// `tasks` of a native description: one object straight into one row.

import FoundationEssentials
import VineCore

/// A task named in `after`, by its text in `NativeReader.referenceText`.
struct TaskReference {
  var task: TaskID
  var name: TextRef
  /// The task's place in `tasks`, or its line in a .jsonl file.
  var position: UInt32
  /// Index in `after`.
  var index: Int32
}

extension NativeReader {
  private static let taskKeys =
    [
      "id", "command", "argv", "call", "map", "inputs", "outputs", "priority", "category", "after",
      "sandbox", "gang", "result", "verify", "undo", "version",
    ] + Resources.keys

  mutating func readTask(_ object: JSONObject) throws {
    defer { taskPosition += 1 }
    if !openLibraries.isEmpty { enterLibraries() }
    checkKeys(of: object, known: Self.taskKeys, kind: "a task")
    let callText =
      ["call", "map"].filter { object.contains(AnyKey($0)) }
      .map { _ in callTexts.next() }.first ?? nil
    guard let id = try text(object, "id"), !id.isEmpty else {
      problems.add(
        at(object), object.contains("id") ? "the id is empty" : "a task needs an `id`")
      return
    }
    if id.utf8.count > 4096 {
      problems.add(at(object, "id"), "the id has more than 4,096 bytes")
      return
    }
    taskID = id
    var draft = TaskDraft(id: id)
    draft.usesSandbox = try flag(object, "sandbox") ?? true
    try readCommand(object, into: &draft, isCallAllowed: true)
    try readNumbers(object, into: &draft)
    hasSpecialNames = false
    draft.inputs = try bindings(
      object, "inputs", isInput: true, usesSandbox: draft.usesSandbox)
    draft.outputs = try bindings(
      object, "outputs", isInput: false, usesSandbox: draft.usesSandbox)
    try readLaterKeys(object)
    if object.contains("gang") { try readGang(object, into: &draft) }
    let after = object.contains("after") ? try texts(object, "after") ?? [] : []
    if object.contains("map") {
      try readMap(object, callText, draft, after: after)
      return
    }
    if object.contains("call") { try readCall(object, callText, into: &draft) }
    checkBindings(of: draft, object)
    guard let task = append(draft, object) else { return }
    refer(to: after, from: task)
  }

  /// Control edges from tasks that may be read later.
  mutating func refer(to names: [String], from task: TaskID) {
    for (index, name) in names.enumerated() {
      refer(to: name, from: task, index: Int32(truncatingIfNeeded: index))
    }
  }

  private mutating func refer(to name: String, from task: TaskID, index: Int32) {
    references.append(
      TaskReference(
        task: task, name: referenceText.append(name), position: taskPosition, index: index))
  }

  mutating func append(_ draft: TaskDraft, _ object: JSONObject) -> TaskID? {
    if workflow.tasks.count >= Int(UInt32.max) - 1 {
      problems.add(at(object), "there are more than 4,294,967,294 tasks")
      return nil
    }
    do throws(WorkflowConflict) {
      return try workflow.appendTask(draft)
    } catch {
      switch error {
      case .duplicateTask:
        problems.add(at(object, "id"), "the id \(quoted(draft.id)) is taken by another task")
        return nil
      case .secondProducer(let file, let first):
        let task = workflow.taskID(named: draft.id)
        // Listed twice by the same task: said already.
        if task == first { return task }
        problems.add(
          at(object, "outputs"),
          "the file \(quoted(workflow.name(of: file))) is made by the task "
            + "\(quoted(workflow.name(of: first))) already; a file has one producer")
        return task
      case .duplicateFile:
        return nil
      }
    }
  }

  /// Exactly one of `command`, `argv`, `call`.
  mutating func readCommand(
    _ object: JSONObject, into draft: inout TaskDraft, isCallAllowed: Bool
  ) throws {
    let ways = isCallAllowed ? ["command", "argv", "call", "map"] : ["command", "argv"]
    let given = ways.filter { object.contains(AnyKey($0)) }
    if given.count != 1 {
      problems.add(
        at(object),
        given.isEmpty
          ? "the task needs one of \(ways.joined(separator: ", "))"
          : "the task has only one of \(given.joined(separator: " and "))")
    }
    if let command = try nonEmptyText(object, "command", "the command") {
      draft.command = [command]
      if let wrong = argumentProblem(command) { problems.add(at(object, "command"), wrong) }
    }
    if let argv = try texts(object, "argv") {
      draft.commandKind = .argv
      draft.command = argv
      checkArguments(argv, object)
    }
  }

  private mutating func checkArguments(_ argv: [String], _ object: JSONObject) {
    guard let program = argv.first, !program.isEmpty else {
      problems.add(at(object, "argv"), "the first item of `argv` is the program; it is missing")
      return
    }
    var byteCount = 0
    for (index, argument) in argv.enumerated() {
      byteCount += argument.utf8.count + 1
      if let wrong = argumentProblem(argument) {
        problems.add("\(at(object, "argv"))[\(index)]", wrong)
      }
    }
    if byteCount >= Limits.textByteCountMax {
      problems.add(
        at(object, "argv"), "the arguments have \(byteCount) bytes; put them into a `buffer` file")
    }
  }

  private func argumentProblem(_ text: String) -> String? {
    guard text.utf8.count >= Limits.argumentByteCountMax else { return nil }
    return "\(text.utf8.count) bytes in one argument; Linux takes less than "
      + "\(Limits.argumentByteCountMax): put the text into a `buffer` file and name that"
  }

  private mutating func readNumbers(_ object: JSONObject, into draft: inout TaskDraft) throws {
    var values = try resources(object)
    if let category = try text(object, "category"), !category.isEmpty {
      draft.category = category
      if let known = categories[category] {
        values = values.filled(from: known)
      } else if declaresCategories, unknownCategories.insert(category).inserted {
        warnings.add(
          at(object, "category"), "the category \(quoted(category)) is not in `categories`",
          suggestion: suggestion(for: category, among: categories.keys.sorted()))
      }
    }
    values = values.filled(from: defaults)
    draft.request = values.request
    if requests.insert(draft.request).inserted && requests.count >= Int(UInt16.max) {
      if requests.count == Int(UInt16.max) {
        problems.add(
          at(object), "more than 65,534 different requests (cores, memory, disk, gpus); round them")
      }
      draft.request = Request()
    }
    draft.retries = UInt16(values.retries ?? 0)
    draft.isDeterministic = values.isDeterministic ?? false
    draft.timeoutMilliseconds = UInt32(values.timeoutMilliseconds ?? 0)
    draft.priority = Int32(
      try integer(object, "priority", in: Int(Int32.min)...Int(Int32.max)) ?? 0)
    if !values.environment.isEmpty {
      draft.environment = values.environment.map { "\($0.key)=\($0.value)" }.sorted()
      if draft.environment.reduce(0, { $0 + $1.utf8.count + 1 }) >= Limits.textByteCountMax {
        problems.add(at(object, "env"), "the environment is too large; put it into a file")
        draft.environment = []
      }
    }
  }

  /// Inputs or outputs: ids, or objects with `file`, `as` and `copy`.
  mutating func bindings(
    _ object: JSONObject, _ key: String, isInput: Bool, usesSandbox: Bool
  ) throws -> [BindingDraft] {
    guard object.contains(AnyKey(key)) else { return [] }
    var list = try object.list(AnyKey(key))
    var result: [BindingDraft] = []
    result.reserveCapacity(list.count ?? 0)
    var index = 0
    let prefix = linePrefix
    // Built only for a problem: a place costs more than reading the binding.
    func place() -> String {
      "\(prefix)\(VineFormats.place(VineFormats.place(of: object.codingPath), key))[\(index)]"
    }
    while !list.isAtEnd {
      if let id = try? list.decode(String.self) {
        add(id, name: nil, isCopy: false)
      } else {
        let item = try list.object()
        checkKeys(
          of: item, known: isInput ? ["file", "as", "copy", "member"] : ["file", "as", "member"],
          kind: isInput ? "an input" : "an output")
        let isCopy = isInput ? try flag(item, "copy") ?? false : false
        if let id = try text(item, "file") {
          let member = try nonEmptyText(item, "member", "the name of the member")
          add(id, name: try text(item, "as"), isCopy: isCopy, member: member)
        } else {
          problems.add(at(item), "the key `file` is missing")
        }
      }
      index += 1
    }
    return result

    func add(_ id: String, name: String?, isCopy: Bool, member: String? = nil) {
      guard let file = file(named: id, place: place()) else { return }
      if !isInput && packFiles.contains(file) {
        if let binding = packMember(
          of: file, id, as: name, member: member, usesSandbox: usesSandbox, place: place())
        {
          result.append(binding)
        }
        return
      }
      if let member {
        addMember(member, of: file, id, name: name, isCopy: isCopy)
        return
      }
      if usesSandbox || name != nil, let wrong = sandboxNameProblem(name ?? id) {
        problems.add(place(), wrong)
      }
      if !usesSandbox && workflow.files[file].kind != .path {
        problems.add(
          place(),
          "a task without sandbox finds files by their `path` only, and \(quoted(id)) has none")
      }
      if !isInput, let maker = maker(of: file) {
        problems.add(
          place(), "the file \(quoted(id)) is a \(maker); a task cannot make it")
      }
      if name != nil || id.utf8.contains(UInt8(ascii: "/")) { hasSpecialNames = true }
      result.append(BindingDraft(file, name: name == id ? nil : name, isCopy: isCopy))
    }

    func addMember(_ member: String, of file: FileID, _ id: String, name: String?, isCopy: Bool) {
      let name = name ?? member
      guard let tree = unpacked(file, id, place: place()) else { return }
      for text in [name, member] {
        if let wrong = sandboxNameProblem(text) { problems.add(place(), wrong) }
      }
      hasSpecialNames = true
      result.append(BindingDraft(tree, name: "\(name)\0\(member)", isCopy: isCopy))
    }
  }

  private func maker(of file: FileID) -> String? {
    madeFiles[file] ?? (workflow.files[file].kind == .buffer ? "buffer" : nil)
  }

  /// Names are unique in the sandbox, and no file's name is the directory of another.
  mutating func checkBindings(of draft: TaskDraft, _ object: JSONObject) {
    let count = draft.inputs.count + draft.outputs.count
    if count < 2 || (!hasSpecialNames && count <= 16 && areDistinct(draft.inputs + draft.outputs)) {
      return
    }
    var files: [FileID: Bool] = [:]
    var names: Set<String> = []
    func place(_ isInput: Bool, _ index: Int) -> String {
      "\(at(object, isInput ? "inputs" : "outputs"))[\(index)]"
    }
    for (isInput, list) in [(true, draft.inputs), (false, draft.outputs)] {
      for (index, binding) in list.enumerated() where binding.use == .sandbox {
        let id = workflow.name(of: binding.file)
        let name = binding.name ?? id
        // Of one archive a task may read several members.
        let isMember = name.utf8.contains(0)
        if !isMember, let wasInput = files.updateValue(isInput, forKey: binding.file) {
          let both = wasInput != isInput
          problems.add(
            place(isInput, index),
            both
              ? "the file \(quoted(id)) is also an input of this task; give the output another file"
              : "the file \(quoted(id)) is listed twice")
        } else if !names.insert(sandboxName(of: name)).inserted {
          problems.add(
            place(isInput, index), "the sandbox name \(quoted(name)) is used twice in this task")
        }
      }
    }
    for (isInput, list) in [(true, draft.inputs), (false, draft.outputs)] {
      for (index, binding) in list.enumerated() where binding.use == .sandbox {
        let name = binding.name ?? workflow.name(of: binding.file)
        guard let above = directory(above: sandboxName(of: name), in: names) else { continue }
        problems.add(
          place(isInput, index),
          "the sandbox name \(quoted(name)) lies inside \(quoted(above)), a file of this task")
      }
    }
  }

  /// The name of a member goes behind that in the sandbox.
  private func sandboxName(of name: String) -> String {
    String(decoding: name.utf8.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// Distinct files under plain ids have distinct names.
  private func areDistinct(_ bindings: [BindingDraft]) -> Bool {
    for (index, binding) in bindings.enumerated() {
      if bindings[..<index].contains(where: { $0.file == binding.file }) { return false }
    }
    return true
  }

  func directory(above name: String, in names: Set<String>) -> String? {
    var rest = name[...]
    while let slash = rest.lastIndex(of: "/") {
      rest = rest[..<slash]
      if names.contains(String(rest)) { return String(rest) }
    }
    return nil
  }

  /// Keys that a later version runs.
  private mutating func readLaterKeys(_ object: JSONObject) throws {
    for key in ["verify", "undo"] {
      guard try nonEmptyText(object, key, "the command") != nil else { continue }
      notYet(at(object, key), "`\(key)`")
    }
    _ = try text(object, "version")
    if object.contains("result") && !object.contains("call") && !object.contains("map") {
      problems.add(
        at(object, "result"), "`result` goes with `call` and `map`; a command has `outputs`")
    }
  }
}
