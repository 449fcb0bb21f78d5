// Files that are downloaded or made of other files: `url`, `untar`, `mini_task`.

import FoundationEssentials
import VineCore

/// A derived file whose inputs may be declared further down.
struct PendingDerivation {
  var file: FileID
  var draft: DerivationDraft
  /// Its inputs by name; the place of each is asked for in problems only.
  var inputs: [Input] = []
  /// Where its inputs are named.
  var place: String

  struct Input {
    var id: String
    var name: String?
    var isCopy: Bool
    var place: String
  }
}

extension NativeReader {
  mutating func readDerivation(of id: String, _ object: JSONObject, kind: String) throws {
    guard let file = workflow.fileID(named: id), madeFiles[file] == nil else { return }
    madeFiles[file] = kind
    switch kind {
    case "url":
      var draft = DerivationDraft(.url)
      draft.command = [try text(object, "url") ?? ""]
      draft.digest = try text(object, "sha256") ?? ""
      draft.outputName = "content"
      pendingDerivations.append(
        PendingDerivation(file: file, draft: draft, place: at(object, "url")))
    case "untar":
      var draft = DerivationDraft(.untar)
      draft.outputName = "tree"
      draft.commandKind = .shell
      let place = at(object, "untar")
      var pending = PendingDerivation(file: file, draft: draft, place: place)
      if let archive = try nonEmptyText(object, "untar", "the id of the archive") {
        pending.draft.command = [archive]
        pending.inputs = [.init(id: archive, name: "archive", isCopy: false, place: place)]
      }
      pendingDerivations.append(pending)
    default: try readMiniTask(file, object)
    }
  }

  private mutating func readMiniTask(_ file: FileID, _ object: JSONObject) throws {
    let task = try object.object("mini_task")
    checkKeys(
      of: task, known: ["command", "argv", "inputs", "output", "env", "timeout", "version"],
      kind: "a mini_task")
    var command = TaskDraft(id: "")
    try readCommand(task, into: &command, isCallAllowed: false)
    var draft = DerivationDraft(.miniTask)
    draft.commandKind = command.commandKind
    draft.command = command.command
    let environment = defaults.environment.merging(try environment(task, "env")) { $1 }
    draft.environment = environment.map { "\($0.key)=\($0.value)" }.sorted()
    draft.version = try text(task, "version") ?? ""
    if task.contains("timeout") {
      draft.timeoutMilliseconds = UInt32(try timeout(task) ?? 0)
    } else {
      draft.timeoutMilliseconds = UInt32(defaults.timeoutMilliseconds ?? 0)
    }
    if let output = try text(task, "output") {
      draft.outputName = output
      if let wrong = sandboxNameProblem(output) { problems.add(at(task, "output"), wrong) }
    } else {
      problems.add(at(task), "a mini_task needs an `output`, the name of what it makes")
    }
    var pending = PendingDerivation(file: file, draft: draft, place: at(task, "inputs"))
    pending.inputs = try readInputs(of: task)
    pendingDerivations.append(pending)
  }

  /// The inputs of a mini_task: ids, or objects with `file`, `as` and `copy`.
  private mutating func readInputs(of task: JSONObject) throws -> [PendingDerivation.Input] {
    guard task.contains("inputs") else { return [] }
    var list = try task.list("inputs")
    var inputs: [PendingDerivation.Input] = []
    while !list.isAtEnd {
      let place = "\(at(task, "inputs"))[\(inputs.count)]"
      var input = PendingDerivation.Input(id: "", name: nil, isCopy: false, place: place)
      if let id = try? list.decode(String.self) {
        input.id = id
      } else {
        let item = try list.object()
        checkKeys(of: item, known: ["file", "as", "copy"], kind: "an input")
        input.name = try text(item, "as")
        input.isCopy = try flag(item, "copy") ?? false
        if let id = try text(item, "file") {
          input.id = id
        } else {
          problems.add(at(item), "the key `file` is missing")
          continue
        }
      }
      if let wrong = sandboxNameProblem(input.name ?? input.id) { problems.add(place, wrong) }
      inputs.append(input)
    }
    return inputs
  }

  /// All files are known: enters what derived ones are made of, each after what it needs.
  mutating func resolveDerivations() {
    var rest = pendingDerivations
    pendingDerivations = []
    for index in rest.indices { resolveInputs(of: &rest[index]) }
    var open = Set(rest.map(\.file))
    while !rest.isEmpty {
      var left: [PendingDerivation] = []
      for pending in rest {
        if pending.draft.inputs.contains(where: { open.contains($0.file) }) {
          left.append(pending)
        } else {
          workflow.setDerivation(of: pending.file, pending.draft)
          open.remove(pending.file)
        }
      }
      if left.count == rest.count {
        let names = left.prefix(10).map { quoted(workflow.name(of: $0.file)) }
        problems.add(
          left[0].place, "these files are made of each other: \(names.joined(separator: ", "))")
        return
      }
      rest = left
    }
  }

  private mutating func resolveInputs(of pending: inout PendingDerivation) {
    var names: Set<String> = [pending.draft.outputName]
    for input in pending.inputs {
      guard let file = file(named: input.id, place: input.place) else { continue }
      let name = input.name ?? input.id
      if pending.draft.inputs.contains(where: { $0.file == file }) {
        problems.add(input.place, "the file \(quoted(input.id)) is listed twice")
      } else if !names.insert(name).inserted {
        problems.add(
          input.place, "the sandbox name \(quoted(name)) is used twice in this mini_task")
      }
      pending.draft.inputs.append(
        BindingDraft(file, name: input.name, isCopy: input.isCopy))
    }
    for input in pending.inputs {
      guard let above = directory(above: input.name ?? input.id, in: names) else { continue }
      problems.add(
        input.place, "the sandbox name lies inside \(quoted(above)), a file of this mini_task")
    }
    if let above = directory(above: pending.draft.outputName, in: names) {
      problems.add(pending.place, "the output lies inside \(quoted(above)), an input")
    }
  }
}
