// The two layouts: what is to be run and what was measured apart (1.5 on), or in one task list.

import FoundationEssentials
import VineCore

extension WfFormatReader {
  // MARK: 1.5 and later

  mutating func readSpecification(_ workflow: JSONObject) throws {
    let specification = try workflow.object("specification")
    // Tasks first: their inputs and outputs number the files after the declared ones.
    var lists: [(inputs: [String], outputs: [String])] = []
    if specification.contains("tasks") {
      var list = try specification.list("tasks")
      var position = 0
      while !list.isAtEnd {
        let object = try list.object()
        let id = try optionalText(object, "id")
        if let task = appendTask(id, key: "id", position: position) {
          let name = try optionalText(object, "name")
          recorded.tasks[task].category = category(name, id: recorded.tasks[task].id)
          parents[task] = try uniqueTexts(object, "parents")
          children[task] = try uniqueTexts(object, "children")
          lists.append(
            (try uniqueTexts(object, "inputFiles"), try uniqueTexts(object, "outputFiles")))
        }
        position += 1
      }
    } else {
      problems.add("workflow.specification", "the key `tasks` is missing")
    }
    try readDeclaredFiles(specification)
    let declaredCount = recorded.files.count
    for (task, names) in lists.enumerated() {
      for id in names.inputs { recorded.tasks[task].inputs.append(file(id)) }
      for id in names.outputs { recorded.tasks[task].outputs.append(file(id)) }
    }
    for file in recorded.files[declaredCount...] {
      warnings.add(.fileNotDeclared, quoted(file.id))
    }
    try readExecution(workflow)
  }

  private mutating func readDeclaredFiles(_ specification: JSONObject) throws {
    guard specification.contains("files"), try !specification.isNull("files") else {
      return
    }
    var list = try specification.list("files")
    while !list.isAtEnd {
      let object = try list.object()
      guard let id = try optionalText(object, "id"), !id.isEmpty, !id.utf8.contains(0) else {
        problems.add(place(of: object.codingPath), "a file needs an `id`")
        continue
      }
      let size = try size(object, ["sizeInBytes"])
      let path = object.codingPath
      if !declareFile(id, size: size, place: "\(place(of: path)).sizeInBytes") {
        warnings.add(.duplicateFile, quoted(id))
      }
    }
  }

  private mutating func readExecution(_ workflow: JSONObject) throws {
    guard workflow.contains("execution"), try !workflow.isNull("execution") else {
      warnings.add(.noExecution, "")
      return
    }
    let execution = try workflow.object("execution")
    try readMachines(execution)
    guard execution.contains("tasks"), try !execution.isNull("tasks") else { return }
    var list = try execution.list("tasks")
    while !list.isAtEnd {
      let object = try list.object()
      let id = try optionalText(object, "id") ?? ""
      guard let task = taskIndex[id] else {
        warnings.add(.recordOfUnknownTask, quoted(id))
        continue
      }
      if hasRecord[task] {
        warnings.add(.secondRecord, quoted(id))
      } else {
        try readRecord(object, of: task)
      }
    }
  }

  // MARK: Before 1.5

  mutating func readOldTasks(_ workflow: JSONObject, key: String) throws {
    tasksPlace = "workflow.\(key)"
    try readMachines(workflow)
    var list = try workflow.list(AnyKey(key))
    var position = 0
    while !list.isAtEnd {
      let object = try list.object()
      if let task = appendTask(
        try optionalText(object, "name"), key: "name", position: position)
      {
        if let id = try optionalText(object, "id") {
          if oldIndex[id] == nil { oldIndex[id] = task } else { warnings.add(.oldID, quoted(id)) }
        }
        recorded.tasks[task].category = category(
          try optionalText(object, "category"), id: recorded.tasks[task].id)
        parents[task] = try uniqueTexts(object, "parents")
        children[task] = try uniqueTexts(object, "children")
        try readOldFiles(object, of: task)
        try readRecord(object, of: task)
      }
      position += 1
    }
  }

  private mutating func readOldFiles(_ task: JSONObject, of index: Int) throws {
    guard task.contains("files"), try !task.isNull("files") else { return }
    var list = try task.list("files")
    while !list.isAtEnd {
      let object = try list.object()
      let path = object.codingPath
      let id =
        (try optionalText(object, "path") ?? "") + (try optionalText(object, "name") ?? "")
      guard !id.isEmpty, !id.utf8.contains(0) else {
        problems.add(place(of: path), "a file needs a `name`")
        continue
      }
      let keys = ["sizeInBytes", "size"]
      _ = declareFile(id, size: try size(object, keys), place: place(of: path))
      let link = try optionalText(object, "link")?.lowercased()
      let file = file(id)
      switch link {
      case "input" where !recorded.tasks[index].inputs.contains(file):
        recorded.tasks[index].inputs.append(file)
      case "output" where !recorded.tasks[index].outputs.contains(file):
        recorded.tasks[index].outputs.append(file)
      case "input", "output": warnings.add(.repeated, quoted(id))
      default:
        problems.add("\(place(of: path)).link", "`link` is either input or output")
      }
    }
  }

  /// The given name where it is one of many tasks'; otherwise the id without its number, since most
  /// writers put the id there.
  private func category(_ name: String?, id: String) -> String {
    if let name, name != id, !name.isEmpty, isUsableCategory(name) { return name }
    guard let underscore = id.lastIndex(of: "_") else { return id.utf8.count > 255 ? "" : id }
    var number = id[id.index(after: underscore)...]
    if number.hasPrefix("ID") { number = number.dropFirst(2) }
    let isNumber = !number.isEmpty && number.utf8.allSatisfy { 0x30...0x39 ~= $0 }
    let stem = isNumber ? String(id[..<underscore]) : id
    return isUsableCategory(stem) ? stem : ""
  }

  private func isUsableCategory(_ name: String) -> Bool {
    name.utf8.count <= 255 && !name.utf8.contains(0)
  }
}
