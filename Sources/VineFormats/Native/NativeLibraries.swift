// Libraries of a native description.

import FoundationEssentials
import VineCore

/// A library whose files may not be declared yet.
struct LibraryDraft {
  var name: String
  var spec: LibrarySpec
  /// Its files by their ids, with the place that names each.
  var files: [(id: String, name: String?, use: LibraryFileUse, place: String)] = []
}

/// The texts of `call` and `map` as they are written.
struct CallTexts: Sendable {
  private var bytes: [UInt8] = []
  private var places = CallPlaces()
  private var nextTask = 0

  init() {}
  init(_ places: CallPlaces, in document: Data) {
    if places.isEmpty { return }
    bytes = Array(document)
    self.places = places
  }

  /// The value of the next `call` or `map`; nil when the text has no such value.
  mutating func next() -> JSONText? {
    guard nextTask < places.tasks.count else { return nil }
    nextTask += 1
    return text(at: places.tasks[nextTask - 1])
  }

  /// The value of `context` in a library.
  func context(of library: String) -> JSONText? {
    places.contexts[library].flatMap { text(at: $0) }
  }

  private func text(at place: Int) -> JSONText? {
    JSONText(bytes).value(from: place).map { JSONText(bytes[$0]) }
  }
}

extension NativeReader {
  mutating func readLibraries(_ object: JSONObject) throws {
    guard object.contains("libraries") else { return }
    let members = try object.object("libraries")
    for key in members.allKeys.sorted(by: { $0.stringValue < $1.stringValue }) {
      try readLibrary(key.stringValue, members.object(key))
    }
  }

  private mutating func readLibrary(_ name: String, _ library: JSONObject) throws {
    checkKeys(
      of: library,
      known: [
        "language", "module", "shared_object", "functions", "context", "slots", "exec_mode",
        "environment", "inputs", "env", "cores", "memory", "version",
        "setup_timeout",
      ], kind: "a library")
    var draft = LibraryDraft(name: name, spec: LibrarySpec())
    try readLanguage(library, &draft)
    draft.spec.functions = try texts(library, "functions") ?? []
    if draft.spec.functions.isEmpty || draft.spec.functions.contains("") {
      problems.add(at(library), "a library needs `functions`, a list of names")
    } else if draft.spec.functions.count > Int(UInt16.max) {
      problems.add(at(library, "functions"), "more than 65,535 functions")
    }
    if let id = try nonEmptyText(library, "environment", "the environment") {
      draft.files.append((id, nil, .environment, at(library, "environment")))
    }
    draft.spec.version = try text(library, "version") ?? ""
    draft.spec.slots = UInt16(try integer(library, "slots", in: 1...Int(UInt16.max)) ?? 1)
    if draft.spec.slots > 1 && draft.spec.mode != .fork {
      problems.add(
        at(library, "slots"),
        "in this `exec_mode` an instance runs one call at a time; where calls wait, further "
          + "instances are started")
    }
    if library.contains("setup_timeout") {
      draft.spec.setupTimeoutMilliseconds = UInt32(try timeout(library, "setup_timeout") ?? 0)
    }
    draft.spec.request.cores = UInt16(
      try integer(library, "cores", in: 1...Int(UInt16.max)) ?? 1)
    draft.spec.request.memoryMB = try integer(library, "memory", in: 0...Int(UInt32.max))
      .map { UInt32($0) }
    draft.spec.environment = try environment(library, "env").map { "\($0.key)=\($0.value)" }
      .sorted()
    try readLibraryInputs(library, &draft)
    try readContext(library, &draft)
    openLibraries.append(draft)
  }

  private mutating func readLanguage(
    _ library: JSONObject, _ draft: inout LibraryDraft
  ) throws {
    let language = try word(library, "language", among: ["python", "native"])
    if !library.contains("language") {
      problems.add(at(library), "a library needs a `language`, python or native")
    }
    guard let language else { return }
    let isNative = language == "native"
    let (own, other) = isNative ? ("shared_object", "module") : ("module", "shared_object")
    draft.spec.language = isNative ? .native : .python
    if let id = try text(library, own), !id.isEmpty {
      draft.files.append((id, nil, .source, at(library, own)))
    } else {
      problems.add(at(library), "a \(isNative ? "native" : "python") library needs a `\(own)`")
    }
    if library.contains(AnyKey(other)) {
      problems.add(at(library, other), "`\(other)` is not for this language")
    }
    let modes = isNative ? ["process", "rank"] : ["fork", "direct"]
    switch try word(library, "exec_mode", among: modes) ?? modes[0] {
    case "direct": draft.spec.mode = .direct
    case "process": draft.spec.mode = .process
    case "rank": draft.spec.mode = .inRank
    default: draft.spec.mode = .fork
    }
  }

  private mutating func readLibraryInputs(
    _ library: JSONObject, _ draft: inout LibraryDraft
  ) throws {
    guard library.contains("inputs") else { return }
    var inputs = try library.list("inputs")
    var index = 0
    while !inputs.isAtEnd {
      let place = "\(at(library, "inputs"))[\(index)]"
      index += 1
      if let id = try? inputs.decode(String.self) {
        draft.files.append((id, nil, .input, place))
        continue
      }
      let item = try inputs.object()
      checkKeys(of: item, known: ["file", "as", "copy"], kind: "an input")
      _ = try flag(item, "copy")
      let name = try text(item, "as")
      if let name, let wrong = sandboxNameProblem(name) { problems.add(at(item, "as"), wrong) }
      if let id = try text(item, "file") {
        draft.files.append((id, name, .input, place))
      } else {
        problems.add(at(item), "the key `file` is missing")
      }
    }
  }

  private mutating func readContext(
    _ library: JSONObject, _ draft: inout LibraryDraft
  ) throws {
    guard library.contains("context") else { return }
    let context = try library.object("context")
    checkKeys(of: context, known: ["function", "args"], kind: "a context")
    draft.spec.contextFunction = try text(context, "function") ?? ""
    if draft.spec.contextFunction.isEmpty {
      problems.add(at(context), "a context needs a `function`")
    }
    guard context.contains("args") else { return }
    _ = try context.list("args")
    if let text = callTexts.context(of: draft.name), let args = text.member("args") {
      draft.spec.contextArguments = text.compact(args)
    }
  }

  /// Every declared file is known by now: libraries get their files and their numbers.
  mutating func enterLibraries() {
    let drafts = openLibraries
    openLibraries = []
    resolveDerivations()
    for var draft in drafts {
      var names: Set<String> = []
      for entry in draft.files {
        guard var file = file(named: entry.id, place: entry.place) else { continue }
        if entry.use == .environment { file = unpacked(file) }
        let name = entry.name ?? baseName(of: entry.id)
        if !names.insert(name).inserted {
          problems.add(entry.place, "the name \(quoted(name)) is used twice in this library")
        }
        draft.spec.files.append(LibraryFile(file, name: name, use: entry.use))
      }
      libraries[draft.name] = workflow.appendLibrary(draft.spec, named: draft.name)
    }
  }

  /// The tree in an archive with a software environment: unpacked once on each node.
  private mutating func unpacked(_ archive: FileID) -> FileID {
    if workflow.files[archive].isDirectory { return archive }
    let id = "\(workflow.name(of: archive)) unpacked"
    if let known = workflow.fileID(named: id) { return known }
    guard let tree = try? workflow.appendFile(id: id, kind: .derived, isDirectory: true) else {
      return archive
    }
    var draft = DerivationDraft(.untar)
    draft.outputName = "tree"
    draft.commandKind = .shell
    draft.command = [workflow.name(of: archive)]
    draft.inputs = [BindingDraft(archive, name: "archive")]
    workflow.setDerivation(of: tree, draft)
    return tree
  }

  private func baseName(of id: String) -> String {
    id.split(separator: "/").last.map(String.init) ?? id
  }
}
