// What can be said of a recorded workflow once all of it is known; the edges are made here.

import VineCore

extension WfFormatReader {
  typealias Edge = RecordedWorkflow.Edge

  mutating func checkStructure() {
    joinFiles()
    checkFiles()
    checkRecords()
    let fileEdges = fileEdges()
    let declared = declaredEdges()
    guard problems.isEmpty else { return }
    recorded.edges = fileEdges.union(declared).sorted()
    let workflow = recorded.simulationWorkflow(ideal: true)
    switch workflow.topologicalOrder() {
    case .cycle(let tasks):
      problems.add(tasksPlace, cycleMessage(tasks, in: workflow))
    case .order(let order):
      warnOfImpliedEdges(fileEdges.subtracting(declared), declared, order.map(\.index))
    }
  }

  private mutating func joinFiles() {
    for (task, row) in recorded.tasks.enumerated() {
      for file in row.inputs { recorded.files[file].consumers.append(task) }
      for file in row.outputs { recorded.files[file].producers.append(task) }
      for file in row.inputs where row.outputs.contains(file) {
        warnings.add(.fileRewritten, quoted(recorded.files[file].id))
      }
    }
  }

  private mutating func checkFiles() {
    var used: Set<Substring> = []
    for file in recorded.files {
      if !file.producers.isEmpty || !file.consumers.isEmpty { used.insert(file.id[...]) }
    }
    for file in recorded.files {
      checkProducers(of: file)
      let id = file.id
      if !id.utf8.allSatisfy({ isAllowed($0, others: "_./:#-") }) {
        warnings.add(.fileName, quoted(id))
      }
      let isRooted = id.hasPrefix("/") || id.contains("://")
      if !isRooted && id.split(separator: "/", omittingEmptySubsequences: false).contains("..") {
        problems.add(
          place("workflow.files", id), "the file's id leaves the work area (\"..\")")
      }
      guard used.contains(id[...]) else { continue }
      var above = id[...]
      while let slash = above.lastIndex(of: "/") {
        above = above[..<slash]
        if !above.isEmpty && used.contains(above) {
          warnings.add(.fileAndDirectory, quoted(String(above)))
          break
        }
      }
    }
  }

  private mutating func checkProducers(of file: RecordedWorkflow.File) {
    guard file.producers.count > 1 else { return }
    let readers = file.producers.count { file.consumers.contains($0) }
    if readers > 0 && readers >= file.producers.count - 1 {
      warnings.add(.fileUpdatedInPlace, quoted(file.id))
      return
    }
    let names = file.producers.prefix(4).map { quoted(recorded.tasks[$0].id) }
    let more = file.producers.count > 4 ? ", ..." : ""
    problems.add(
      place("workflow.files", file.id),
      "is made by \(file.producers.count) tasks (\(names.joined(separator: ", "))\(more)); "
        + "a file has one producer")
  }

  private mutating func checkRecords() {
    for (index, task) in recorded.tasks.enumerated() {
      if !hasRecord[index] { warnings.add(.noRecord, quoted(task.id)) }
      if task.program == nil { warnings.add(.noCommand, quoted(task.id)) }
      if !task.id.utf8.allSatisfy({ isAllowed($0, others: "_.#-") }) {
        warnings.add(.taskName, quoted(task.id))
      }
    }
    for (task, name) in usedMachines where !machines.contains(name) {
      warnings.add(.unknownMachine, "\(quoted(recorded.tasks[task].id)): \(quoted(name))")
    }
  }

  private func isAllowed(_ byte: UInt8, others: String) -> Bool {
    0x30...0x39 ~= byte || 0x41...0x5A ~= byte || 0x61...0x7A ~= byte
      || others.utf8.contains(byte)
  }

  private func fileEdges() -> Set<Edge> {
    var edges: Set<Edge> = []
    for file in recorded.files {
      for producer in file.producers {
        for consumer in file.consumers where consumer != producer {
          edges.insert(Edge(from: producer, to: consumer))
        }
      }
    }
    return edges
  }

  private mutating func declaredEdges() -> Set<Edge> {
    var fromParents: Set<Edge> = []
    var fromChildren: Set<Edge> = []
    for task in recorded.tasks.indices {
      for (index, name) in parents[task].enumerated() {
        if let parent = find(name, from: task, "parents[\(index)]") {
          fromParents.insert(Edge(from: parent, to: task))
        }
      }
      for (index, name) in children[task].enumerated() {
        if let child = find(name, from: task, "children[\(index)]") {
          fromChildren.insert(Edge(from: task, to: child))
        }
      }
    }
    if recorded.layout == .specification,
      !fromChildren.isEmpty || children.contains(where: { !$0.isEmpty })
    {
      for edge in fromParents.symmetricDifference(fromChildren).sorted() {
        warnings.add(.parentsDisagree, describe(edge))
      }
    }
    return fromParents.union(fromChildren)
  }

  private mutating func find(_ name: String, from task: Int, _ key: String) -> Int? {
    let place = "\(tasksPlace)[\(positions[task])].\(key)"
    guard let other = taskIndex[name] ?? oldIndex[name] else {
      problems.add(
        place, "there is no task \(quoted(name))",
        suggestion: problems.count > 20
          ? nil : nearestName(to: name, among: recorded.tasks.lazy.map(\.id)))
      return nil
    }
    if other == task {
      problems.add(place, "the task \(quoted(name)) waits for itself")
      return nil
    }
    return other
  }

  private func describe(_ edge: Edge) -> String {
    "\(quoted(recorded.tasks[edge.from].id)) -> \(quoted(recorded.tasks[edge.to].id))"
  }

  /// File edges that no path of declared edges implies. One bit per pair of tasks, so this is left
  /// out where it would take more than some 50 MB.
  private mutating func warnOfImpliedEdges(
    _ missing: Set<Edge>, _ declared: Set<Edge>, _ order: [Int]
  ) {
    let count = recorded.tasks.count
    guard !missing.isEmpty, count <= 20_000 else { return }
    var successors = Array(repeating: [Int](), count: count)
    for edge in declared { successors[edge.from].append(edge.to) }
    let width = (count + 63) / 64
    var reach = Array(repeating: UInt64(0), count: count * width)
    for task in order.reversed() {
      for next in successors[task] {
        reach[task * width + next / 64] |= 1 << UInt64(next % 64)
        for word in 0..<width { reach[task * width + word] |= reach[next * width + word] }
      }
    }
    for edge in missing.sorted() {
      let word = reach[edge.from * width + edge.to / 64]
      if word & (1 << UInt64(edge.to % 64)) == 0 { warnings.add(.edgeNotDeclared, describe(edge)) }
    }
  }
}
