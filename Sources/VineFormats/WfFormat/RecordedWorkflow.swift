// A WfFormat file as it was read: tasks, files and edges with what was recorded about them.
// Workflows to run, replay or simulate are made from it.

package import VineCore

package struct RecordedWorkflow: Sendable {
  /// The layouts that are told apart; versions are not trusted (1.6 has no schema of its own).
  package enum Layout: String, Sendable {
    /// 1.0 to 1.2: `workflow.jobs`.
    case jobs
    /// 1.3 and 1.4: `workflow.tasks`.
    case tasks
    /// 1.5 and 1.6: `workflow.specification` and `workflow.execution`.
    case specification
  }

  package struct Task: Sendable {
    package var id: String
    package var category: String
    /// Indices into `files`, without repetitions, in the file's order.
    package var inputs: [Int] = []
    package var outputs: [Int] = []
    /// Seconds; nil when there is no usable record.
    package var runtime: Double?
    package var coreCount: Double?
    package var memoryByteCount: Double?
    package var program: String?
    package var arguments: [String] = []

    /// Whole cores, at least one.
    package var wholeCoreCount: Int {
      guard let coreCount, coreCount > 1 else { return 1 }
      return Int(min(coreCount.rounded(.up), Double(UInt16.max)))
    }
  }

  package struct File: Sendable {
    package var id: String
    /// Bytes as recorded; nil when unknown. A float, since some writers use one.
    package var byteCount: Double?
    /// Tasks, in the file's order.
    package var producers: [Int] = []
    package var consumers: [Int] = []

    package var isSource: Bool { producers.isEmpty }
    /// Nobody needs it but perhaps its own producer.
    package var isFinal: Bool {
      !producers.isEmpty && consumers.allSatisfy { producers.contains($0) }
    }
    /// Several tasks write it one after another; there is no one content then.
    package var isUpdatedInPlace: Bool { producers.count > 1 }
  }

  package struct Edge: Hashable, Comparable, Sendable {
    package var from: Int
    package var to: Int
    package static func < (left: Edge, right: Edge) -> Bool {
      (left.from, left.to) < (right.from, right.to)
    }
  }

  package var name = "workflow"
  package var layout = Layout.specification
  /// In the file's order.
  package var tasks: [Task] = []
  /// The declared ones, then those that only tasks name, in the order of the tasks.
  package var files: [File] = []
  /// Who waits for whom: files and parents and children together, sorted.
  package var edges: [Edge] = []
}

// MARK: - Numbers

extension RecordedWorkflow {
  /// Whole microseconds of a runtime; ties go to the even number. An unknown runtime is 0, and no
  /// sum over all tasks overflows.
  func microseconds(of task: Task, timeScale: Double) -> Int64 {
    let exact = ((task.runtime ?? 0) * timeScale * 1e6).rounded(.toNearestOrEven)
    let largest = Double(Int64.max / 4 / Int64(tasks.count + 1))
    return Int64(max(0, min(exact, largest)))
  }

  /// Bytes of a file in a replay.
  func byteCount(of file: File, bytesScale: Double, byteCountMax: Int) -> Int {
    let exact = ((file.byteCount ?? 0) * bytesScale).rounded(.up)
    return exact >= Double(byteCountMax) ? byteCountMax : Int(max(0, exact))
  }
}

// MARK: - Workflows

extension RecordedWorkflow {
  /// How files and tasks of the recording appear in a workflow that is made of it.
  struct Plan {
    /// Requests, by the recorded cores.
    var usesCores = false
    var usesMemory = false
    var timeScale = 1.0
    var byteCount: (File) -> Int = { _ in 0 }
    /// Where a file is on the shared file system; by its index, or for its version before, by the
    /// index plus the number of files. And its name in the sandbox, nil for its id.
    var location: (Int) -> String = { _ in "" }
    var bindingName: (Int) -> String? = { _ in nil }
    /// Fills in what a task runs.
    var command: (Int, Task, inout TaskDraft, inout Workflow) -> Void = { _, _, _, _ in }
  }

  /// For the simulator: estimates and sizes, nothing that could run. `ideal` asks for one core per
  /// task and no memory, so that schedules can be compared with other programs'.
  package func simulationWorkflow(ideal: Bool) -> Workflow {
    var plan = Plan()
    plan.usesCores = !ideal
    plan.usesMemory = !ideal
    plan.byteCount = { self.byteCount(of: $0, bytesScale: 1, byteCountMax: 1 << 53) }
    plan.location = { self.files[$0 % self.files.count].id }
    plan.command = { _, task, draft, _ in
      draft.commandKind = .argv
      draft.command = [task.program ?? "true"]
    }
    return workflow(by: plan)
  }

  /// Tables with all tasks and edges. A task that rewrites one of its inputs reads a file of its
  /// own, the version before, which is internal.
  func workflow(by plan: Plan) -> Workflow {
    var workflow = Workflow()
    workflow.name = name
    workflow.reserveCapacity(tasks: tasks.count, files: files.count)
    var ids: [FileID] = []
    for (index, file) in files.enumerated() {
      let isTemp = !file.isSource && !file.isFinal
      let id = try? workflow.appendFile(
        id: file.id, kind: isTemp ? .temp : .path,
        location: isTemp ? "" : plan.location(index),
        byteCountHint: Int64(plan.byteCount(file)))
      ids.append(id ?? .none)
    }
    for (index, task) in tasks.enumerated() {
      var draft = TaskDraft(id: task.id)
      draft.category = task.category
      draft.estimateMicroseconds = microseconds(of: task, timeScale: plan.timeScale)
      draft.request = request(of: task, plan)
      draft.inputs = task.inputs.map { input in
        let file = files[input]
        let isOwn = file.producers == [index]
        return BindingDraft(
          isOwn ? earlier(input, &workflow, plan) : ids[input],
          name: plan.bindingName(isOwn ? files.count + input : input))
      }
      // Of several producers only the one that does not read the file counts as its maker; the
      // others update it in place, and their order is in the edges.
      draft.outputs = task.outputs.filter { output in
        !files[output].isUpdatedInPlace || !task.inputs.contains(output)
      }.map { BindingDraft(ids[$0], name: plan.bindingName($0)) }
      plan.command(index, task, &draft, &workflow)
      _ = try? workflow.appendTask(draft)
    }
    appendOtherEdges(to: &workflow)
    return workflow
  }

  /// The version of a file before the only task that writes it, and reads it too.
  private func earlier(_ index: Int, _ workflow: inout Workflow, _ plan: Plan) -> FileID {
    let file = files[index]
    var id = "\(file.id) (before)"
    while workflow.fileID(named: id) != nil { id += "'" }
    let made = try? workflow.appendFile(
      id: id, kind: .path, location: plan.location(files.count + index),
      byteCountHint: Int64(plan.byteCount(file)), isInternal: true)
    return made ?? .none
  }

  private func request(of task: Task, _ plan: Plan) -> Request {
    var request = Request()
    if plan.usesCores { request.cores = UInt16(task.wholeCoreCount) }
    if plan.usesMemory, let bytes = task.memoryByteCount, bytes > 0 {
      // In steps of an eighth, so that measured values do not make every request its own.
      let megabytes = min((bytes / 1_048_576).rounded(.up), Double(Int32.max))
      var step = 1.0
      while step * 16 < megabytes { step *= 2 }
      request.memoryMB = UInt32((megabytes / step).rounded(.up) * step)
    }
    return request
  }

  /// Edges that no file carries become control edges.
  private func appendOtherEdges(to workflow: inout Workflow) {
    var carried: Set<Int> = []
    var from = -1
    for edge in edges {
      if edge.from != from {
        from = edge.from
        carried.removeAll(keepingCapacity: true)
        for output in tasks[from].outputs
        where workflow.files[FileID(index: output)].producer == TaskID(index: from) {
          carried.formUnion(files[output].consumers)
        }
      }
      if carried.contains(edge.to) { continue }
      workflow.appendControlEdge(from: TaskID(index: from), to: TaskID(index: edge.to))
    }
  }
}
