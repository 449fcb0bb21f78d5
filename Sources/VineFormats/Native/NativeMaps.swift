// Maps of a native description: one function over many items. A map becomes chunks, each a call over
// a run of items, and a task with the map's id that puts their lists together.

import FoundationEssentials
import VineCore

/// The items of a map.
private enum MapItems {
  /// JSON values.
  case list([[UInt8]])
  case range(first: Int, step: Int, count: Int)

  var count: Int {
    switch self {
    case .list(let items): items.count
    case .range(_, _, let count): count
    }
  }

  /// The items of one chunk, as a chunk's `TaskSpec.command` holds them.
  func text(_ range: Range<Int>) -> [UInt8] {
    switch self {
    case .list(let items):
      var text: [UInt8] = [UInt8(ascii: "[")]
      for index in range {
        if index > range.lowerBound { text.append(UInt8(ascii: ",")) }
        text.append(contentsOf: items[index])
      }
      text.append(UInt8(ascii: "]"))
      return text
    case .range(let first, let step, _):
      return Array(
        "{\"range\":[\(first + step * range.lowerBound),\(step),\(range.count)]}".utf8)
    }
  }
}

extension NativeReader {
  /// Chunks of a map that does not say how large they are: each costs the manager as much as a
  /// task, and more of them than cores by a good factor spread any work evenly.
  private static let chunkCountMax = 2048
  /// Lists or values that one step of a reduction takes.
  private static let fanIn = 32

  /// Reads a task with `map`, whose text is `text`; `draft` has what every task may say.
  mutating func readMap(
    _ object: JSONObject, _ text: JSONText?, _ draft: TaskDraft, after: [String]
  ) throws {
    let map = try object.object("map")
    checkKeys(
      of: map, known: ["library", "function", "over", "args", "kwargs", "chunk", "reduce"],
      kind: "a map")
    var chunk = draft
    chunk.commandKind = .chunk
    try readFunction(map, into: &chunk)
    checkCallKeys(object, draft)
    if !draft.outputs.isEmpty {
      problems.add(at(object, "outputs"), "a map has a `result`, no `outputs`")
      return
    }
    chunk.template =
      map.contains("args") || map.contains("kwargs")
      ? try arguments(of: map, text, isTemplate: true, &chunk)
      : Array("{\"args\":[{\"$item\":true}],\"kwargs\":{}}".utf8)
    if chunk.template.firstRange(of: Array("{\"$item\":true}".utf8)) == nil {
      problems.add(at(map), "neither `args` nor `kwargs` has {\"$item\": true}: items go unused")
    }
    let items = try readItems(map, text)
    let size = try integer(map, "chunk", in: 1...1_000_000_000)
    var reduction: UInt16?
    if map.contains("reduce"), let library = try self.text(map, "library") {
      reduction = try function(map, "reduce", of: library)
      if reduction == nil { return }
    }
    guard let items, chunk.library != .none else { return }
    hasSpecialNames = true
    checkBindings(of: chunk, object)
    let perChunk = size ?? max((items.count + Self.chunkCountMax - 1) / Self.chunkCountMax, 1)
    let lists = appendChunks(of: items, perChunk: perChunk, chunk, after: after, object)
    var last = draft
    last.inputs = []
    last.resultFile = awaitedResults.removeValue(forKey: draft.id)?.file
    try readResult(object, into: &last)
    if let reduction {
      appendReduction(of: lists, reduction, library: chunk.library, last, object)
    } else {
      last.commandKind = .gather
      last.request = Request(cores: 0)
      last.timeoutMilliseconds = 0
      last.inputs = lists.map { BindingDraft($0, use: .reference) }
      last.arguments = listMark(first: 0, count: lists.count)
      _ = append(last, object)
    }
  }

  /// Appends the chunks; returns the files that stand for their lists.
  private mutating func appendChunks(
    of items: MapItems, perChunk: Int, _ chunk: TaskDraft, after: [String], _ object: JSONObject
  ) -> [FileID] {
    var lists: [FileID] = []
    var start = 0
    while start < items.count {
      let end = min(start + perChunk, items.count)
      var part = chunk
      part.id = "\(chunk.id)[\(lists.count)]"
      part.arguments = items.text(start..<end)
      if part.arguments.count >= Limits.textByteCountMax {
        problems.add(at(object, "map"), "the items of one chunk have more than 16 MB")
        return lists
      }
      guard let task = append(part, object) else { return lists }
      refer(to: after, from: task)
      lists.append(workflow.resultFile(of: task))
      start = end
    }
    return lists
  }

  /// A tree of calls of `function`, each with a list of values; the last has the map's id.
  private mutating func appendReduction(
    of lists: [FileID], _ function: UInt16, library: LibraryID, _ last: TaskDraft,
    _ object: JSONObject
  ) {
    var level = lists
    var areLists = true
    var count = 0
    while level.count > Self.fanIn {
      var next: [FileID] = []
      var start = 0
      while start < level.count {
        let end = min(start + Self.fanIn, level.count)
        var step = last
        step.id = "\(last.id)[reduce \(count)]"
        step.outputs = []
        step.hasResultFile = false
        step.resultFile = nil
        count += 1
        fill(&step, Array(level[start..<end]), areLists: areLists, function, library)
        guard let task = append(step, object) else { return }
        next.append(workflow.resultFile(of: task))
        start = end
      }
      level = next
      areLists = false
    }
    var final = last
    fill(&final, level, areLists: areLists, function, library)
    _ = append(final, object)
  }

  private func fill(
    _ draft: inout TaskDraft, _ values: [FileID], areLists: Bool, _ function: UInt16,
    _ library: LibraryID
  ) {
    draft.commandKind = .call
    draft.library = library
    draft.function = function
    draft.inputs = values.map { BindingDraft($0, use: .reference) }
    draft.arguments = Array("{\"args\":[".utf8)
    if areLists {
      draft.arguments += listMark(first: 0, count: values.count)
    } else {
      draft.arguments.append(UInt8(ascii: "["))
      for index in values.indices {
        if index > 0 { draft.arguments.append(UInt8(ascii: ",")) }
        draft.arguments.append(ArgumentMark.result)
        draft.arguments += Array("\(index)".utf8)
        draft.arguments += [ArgumentMark.separator, ArgumentMark.end]
      }
      draft.arguments.append(UInt8(ascii: "]"))
    }
    draft.arguments += Array("],\"kwargs\":{}}".utf8)
  }

  private func listMark(first: Int, count: Int) -> [UInt8] {
    [ArgumentMark.list] + Array("\(first)".utf8) + [ArgumentMark.separator]
      + Array("\(count)".utf8) + [ArgumentMark.end]
  }

  // MARK: Items

  /// `over`: a list, `{"range": [first, end, step?]}` or `{"lines": file}`.
  private mutating func readItems(_ map: JSONObject, _ text: JSONText?) throws -> MapItems? {
    guard map.contains("over") else {
      problems.add(at(map), "a map needs `over`: a list, {\"range\": ...} or {\"lines\": ...}")
      return nil
    }
    if (try? map.list("over")) != nil {
      guard let text, let range = text.member("over") else { return nil }
      return .list(text.elements(of: range).map { text.compact($0) })
    }
    let over = try map.object("over")
    checkKeys(of: over, known: ["range", "lines"], kind: "`over`")
    if over.contains("range") { return try readRange(over) }
    if let id = try self.text(over, "lines") { return readLines(id, place: at(over, "lines")) }
    problems.add(at(over), "`over` is a list, or has `range` or `lines`")
    return nil
  }

  private mutating func readRange(_ over: JSONObject) throws -> MapItems? {
    var list = try over.list("range")
    var numbers: [Int] = []
    while !list.isAtEnd { numbers.append(try list.decode(Int.self)) }
    let bound = 1 << 53
    guard (2...3).contains(numbers.count), numbers.allSatisfy({ abs($0) <= bound }),
      numbers.count == 2 || numbers[2] != 0
    else {
      problems.add(
        at(over, "range"), "a range is [first, end] or [first, end, step], the end not included")
      return nil
    }
    let step = numbers.count == 3 ? numbers[2] : 1
    let span = numbers[1] - numbers[0]
    let count = span.signum() == step.signum() ? (abs(span) + abs(step) - 1) / abs(step) : 0
    return .range(first: numbers[0], step: step, count: count)
  }

  /// The lines of a file that is there already, as texts without their ends.
  private mutating func readLines(_ id: String, place: String) -> MapItems? {
    guard let file = file(named: id, place: place) else { return nil }
    let row = workflow.files[file]
    var bytes: [UInt8]
    switch row.kind {
    case .buffer: bytes = Array(workflow.text.slice(row.location))
    case .path where row.producer == .none:
      let path = workflow.text.string(row.location)
      guard let data = try? Data(contentsOf: URL(filePath: path)) else {
        problems.add(place, "cannot read \(quoted(path)), whose lines are the items")
        return nil
      }
      bytes = Array(data)
    default:
      problems.add(
        place,
        "the lines of a file that is made in the run are not known before it; let a task "
          + "write the list and another workflow map over it")
      return nil
    }
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    if bytes.isEmpty { return .list([]) }
    guard bytes.withUnsafeBufferPointer({ isUTF8($0) }) else {
      problems.add(place, "the lines are not UTF-8 text")
      return nil
    }
    var items: [[UInt8]] = []
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      var item: [UInt8] = []
      JSONText.appendText(line.last == UInt8(ascii: "\r") ? line.dropLast() : line, to: &item)
      items.append(item)
    }
    return .list(items)
  }
}
