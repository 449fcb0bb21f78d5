// What is to be done, whatever format it was written in: tasks, files, and the edges between them.
// Tables are append-only and rows are packed; text lies in one arena.

/// What a task runs.
package enum CommandKind: UInt8, Sendable {
  /// `TaskSpec.command` is text for `sh -c`.
  case shell
  /// `TaskSpec.command` is a NUL-ended list for execve(2).
  case argv
  /// `TaskSpec.command` is text for `bash -c`; task lists promise bash to their users.
  case bash
  /// A function of a library; `TaskSpec.command` is its compiled arguments (`ArgumentMark`).
  case call
  /// The same function over a run of items, which are `TaskSpec.command`: a JSON list, or a range as
  /// `{"range":[FIRST,STEP,COUNT]}`. `TaskSpec.template` is the arguments with holes for the item.
  case chunk
  /// The value that `TaskSpec.command` compiles to, made without any process.
  case gather

  /// Whether it runs in an instance of a library.
  package var isCall: Bool { self == .call || self == .chunk }
  /// Whether its value is a result rather than files alone.
  package var hasResult: Bool { isCall || self == .gather }
}

/// What a run does when a task finally fails.
package enum FailurePolicy: UInt8, Sendable { case stop, continueOthers }

/// The order among ready tasks of equal priority.
package enum TaskOrder: String, Sendable, CaseIterable {
  /// By the time they became ready, then by their place in the file.
  case fifo
  /// By their place in the file.
  case file
  /// Largest bottom level first: own duration plus the heaviest chain below it.
  case heft
  /// Longest duration first.
  case lpt
  /// What is furthest from the start of the workflow first, so that what was begun is ended before
  /// more is begun.
  case depth
}

/// Which node a task goes to.
package enum NodeChoice: String, Sendable, CaseIterable {
  /// Where most of its input bytes are, weighed against waiting.
  case files
  /// The node with most free cores, the lowest on ties.
  case worst
  /// Any node with room, drawn by a fixed generator.
  case random
}

package struct Policy: Sendable, Equatable {
  package var onFailure = FailurePolicy.continueOthers
  /// Finally failed tasks after which the run stops; nil is no limit.
  package var failuresMax: Int?
  package var order = TaskOrder.heft
  package var placement = NodeChoice.files
  /// Transfers that one node serves at once.
  package var transfersPerSource = UInt16(Limits.transfersPerSourceMax)
  /// Nodes that one large file is read from at once, or by which it is read from the shared file
  /// system.
  package var sourcesPerTransfer = UInt16(Limits.sourcesPerTransferMax)
  /// Nodes that shall have what lies on nodes only, as long as tasks may still read it.
  package var tempReplicas: UInt16 = 1
  package init() {}
}

/// What a task asks of a node.
package struct Request: Hashable, Sendable {
  package var cores: UInt16 = 1
  package var gpus: UInt16 = 0
  /// MB = 2^20 bytes; nil counts as the task's share of the node by cores.
  package var memoryMB: UInt32?
  package var diskMB: UInt32 = 0
  /// The library whose calls ask for it: every library has a request of its own.
  package var library = LibraryID.none
  /// Of a library inside ranks: ranks that a call takes at once, and how many of them may be on one
  /// node; 0: no bound. The rest of the request is for each of them.
  package var gangRanks: UInt32 = 0
  package var ranksPerNode: UInt32 = 0
  /// The function gets the communicator of its ranks.
  package var isParallel = false
  package init(cores: UInt16 = 1, gpus: UInt16 = 0, memoryMB: UInt32? = nil, diskMB: UInt32 = 0) {
    self.cores = cores
    self.gpus = gpus
    self.memoryMB = memoryMB
    self.diskMB = diskMB
  }
}

/// Where a file comes from when nobody in the workflow makes it, or where it ends up.
package enum FileKind: UInt8, Sendable {
  /// `location` is a path on the shared file system, absolute.
  case path
  /// `location` is the content itself.
  case buffer
  /// Made by a task, never leaves the nodes.
  case temp
  /// Downloaded, or made of other files where it is needed (`Derivation.swift`).
  case derived
}

/// How long a replica is kept.
package enum CacheLifetime: UInt8, Sendable { case task, workflow, worker, forever }

package struct FileSpec: Sendable {
  package var id: TextRef
  package var location: TextRef = .empty
  /// A hint from the description in bytes; -1 when unknown.
  package var byteCountHint: Int64 = -1
  package var producer: TaskID = .none
  /// Head and tail of the linked list of input bindings that consume this file.
  package var firstConsumer: UInt32 = .max
  package var lastConsumer: UInt32 = .max
  /// Index into `Workflow.derivations`; `.max`: it is not derived.
  package var derivation: UInt32 = .max
  package var kind: FileKind
  package var lifetime: CacheLifetime = .workflow
  package var isDirectory = false
  /// Made by vine-mpi itself (a replay's manifests): left out of what users are shown.
  package var isInternal = false

  /// Whether the run ends with this file on the shared file system.
  package var isPublished: Bool { kind == .path && producer != .none }
}

/// One input or output of one task: the file and its name in the sandbox.
package struct Binding: Sendable {
  /// Of an input that is one member of a directory, NUL and the member's name in that follow.
  package var name: TextRef
  package var file: FileID
  package var task: TaskID
  /// Next binding that consumes the same file; `.max` ends the list.
  package var nextConsumer: UInt32 = .max
  /// The task may change its input: it gets a copy of its own, not a link.
  package var isCopy = false
  package var use = BindingUse.sandbox
}

/// A control edge (`after`), in the list of its predecessor.
package struct ControlEdge: Sendable {
  package var successor: TaskID
  package var next: UInt32 = .max
}

package struct TaskSpec: Sendable {
  package var id: TextRef
  package var command: TextRef = .empty
  /// `KEY=VALUE` texts, NUL-ended. A call has none of its own, and keeps its `template` here.
  package var environment: TextRef = .empty
  /// Recorded or expected duration in microseconds; -1 when nobody knows.
  package var estimateMicroseconds: Int64 = -1
  package var firstBinding: UInt32 = 0
  package var inputCount: UInt32 = 0
  /// Of them, the last ones: what inputs are derived from (`Workflow.stagedInputs`).
  package var impliedInputCount: UInt16 = 0
  package var outputCount: UInt32 = 0
  /// Head of the list of control edges out of this task.
  package var firstSuccessor: UInt32 = .max
  /// Number of `after` edges into this task.
  package var predecessorCount: UInt32 = 0
  package var priority: Int32 = 0
  /// 0 is no limit.
  package var timeoutMilliseconds: UInt32 = 0
  /// Index into `Workflow.requests`.
  package var request: UInt16 = 0
  /// Index into `Workflow.categories`; 0 is "no category".
  package var category: UInt16 = 0
  /// The task's own failures that are tried again.
  package var retries: UInt16 = 0
  package var commandKind = CommandKind.shell
  /// Runs in the submit directory when false.
  package var usesSandbox = true
  /// A re-run gives the same value.
  package var isDeterministic = false
  /// Index among the functions of the library.
  package var function: UInt16 = 0
  /// The second output is the result as a file.
  package var hasResultFile = false

  /// Of a chunk: its arguments with holes for the item.
  package var template: TextRef { environment }
}

package struct Workflow: Sendable {
  package var name = "workflow"
  package var text = TextArena()
  package private(set) var files = IndexedTable<FileID, FileSpec>()
  package private(set) var tasks = IndexedTable<TaskID, TaskSpec>()
  package private(set) var bindings: [Binding] = []
  package private(set) var controlEdges: [ControlEdge] = []
  /// Each after those that it needs.
  package private(set) var derivations: [DerivationSpec] = []
  /// Distinct requests; a run has few of them, so a task holds an index.
  package private(set) var requests: [Request] = []
  /// Category names; the first is the empty one.
  package private(set) var categories: [String] = [""]
  package internal(set) var libraries = IndexedTable<LibraryID, LibrarySpec>()
  var libraryNames: [String] = []
  package var policy = Policy()

  private var taskIndex = TextIndex()
  private var fileIndex = TextIndex()
  private var requestIndex: [Request: UInt16] = [:]
  private var categoryIndex: [String: UInt16] = ["": 0]
  private var environmentIndex: [[String]: TextRef] = [:]
  var libraryIndex: [LibrarySpec: LibraryID] = [:]
  private var templateIndex: [[UInt8]: TextRef] = [:]

  package init() {}
}

// MARK: - Building

/// One input or output as readers hand it over.
package struct BindingDraft {
  package var file: FileID
  /// Name in the sandbox; nil is the file's id.
  package var name: String?
  package var isCopy: Bool
  package var use: BindingUse
  package init(
    _ file: FileID, name: String? = nil, isCopy: Bool = false, use: BindingUse = .sandbox
  ) {
    self.file = file
    self.name = name
    self.isCopy = isCopy
    self.use = use
  }
}

/// A task as readers hand it over.
package struct TaskDraft {
  package var id: String
  package var commandKind = CommandKind.shell
  /// One text for a shell, the argument list for `argv`.
  package var command: [String] = []
  package var environment: [String] = []
  package var inputs: [BindingDraft] = []
  package var outputs: [BindingDraft] = []
  package var request = Request()
  package var category = ""
  package var priority: Int32 = 0
  package var retries: UInt16 = 0
  package var timeoutMilliseconds: UInt32 = 0
  package var estimateMicroseconds: Int64 = -1
  package var usesSandbox = true
  package var isDeterministic = false
  /// Of a call: its library, its function, and its compiled arguments (or items, for a chunk).
  package var library = LibraryID.none
  package var function: UInt16 = 0
  package var arguments: [UInt8] = []
  package var template: [UInt8] = []
  /// The file that stands for the result, if somebody referred to it already.
  package var resultFile: FileID?
  /// The first of `outputs` gets the result.
  package var hasResultFile = false
  /// Ranks that a call takes at once, and at most on one node.
  package var gangRanks: UInt32 = 0
  package var ranksPerNode: UInt32 = 0
  package init(id: String) { self.id = id }
}

/// Why a task or file could not be added.
package enum WorkflowConflict: Error, Equatable {
  case duplicateTask
  case duplicateFile
  /// The file is made by another task already.
  case secondProducer(of: FileID, first: TaskID)
}

extension Workflow {
  package func taskID(named name: String) -> TaskID? {
    taskIndex.find(name, in: text) { tasks.rows[$0].id }.map { TaskID(index: $0) }
  }

  package func fileID(named name: String) -> FileID? {
    fileIndex.find(name, in: text) { files.rows[$0].id }.map { FileID(index: $0) }
  }

  /// Appends a file. Throws `duplicateFile` when the id is taken; nothing is added then.
  @discardableResult
  package mutating func appendFile(
    id: String, kind: FileKind, location: String = "", lifetime: CacheLifetime = .workflow,
    isDirectory: Bool = false, byteCountHint: Int64 = -1, isInternal: Bool = false
  ) throws(WorkflowConflict) -> FileID {
    try appendFile(
      id: id, kind: kind, content: Array(location.utf8), lifetime: lifetime,
      isDirectory: isDirectory, byteCountHint: byteCountHint, isInternal: isInternal)
  }

  /// The same with bytes, for a buffer that is not text.
  @discardableResult
  package mutating func appendFile(
    id: String, kind: FileKind, content: [UInt8], lifetime: CacheLifetime = .workflow,
    isDirectory: Bool = false, byteCountHint: Int64 = -1, isInternal: Bool = false
  ) throws(WorkflowConflict) -> FileID {
    guard fileID(named: id) == nil else { throw .duplicateFile }
    let name = text.append(id)
    let file = files.append(
      FileSpec(
        id: name, location: text.append(bytes: content), byteCountHint: byteCountHint, kind: kind,
        lifetime: lifetime, isDirectory: isDirectory, isInternal: isInternal))
    _ = fileIndex.insert(file.index, in: text) { files.rows[$0].id }
    return file
  }

  /// Appends a task with its bindings. Throws on a taken id (nothing is added), or when an output
  /// has a producer already (the task is added without that output's producer set).
  @discardableResult
  package mutating func appendTask(_ draft: TaskDraft) throws(WorkflowConflict) -> TaskID {
    guard taskID(named: draft.id) == nil else { throw .duplicateTask }
    let task = TaskID(index: tasks.count)
    var row = TaskSpec(id: text.append(draft.id))
    row.commandKind = draft.commandKind
    switch draft.commandKind {
    case .shell, .bash: row.command = text.append(draft.command.first ?? "")
    case .argv: row.command = text.append(list: draft.command)
    case .call, .chunk, .gather: row.command = text.append(bytes: draft.arguments)
    }
    row.environment =
      draft.commandKind.hasResult
      ? internTemplate(draft.template) : internEnvironment(draft.environment)
    var draft = draft
    if draft.commandKind.hasResult { complete(&draft, named: row.id) }
    row.firstBinding = UInt32(bindings.count)
    let implied = impliedInputs(of: draft.inputs)
    row.inputCount = UInt32(draft.inputs.count + implied.count)
    row.impliedInputCount = UInt16(clamping: implied.count)
    row.outputCount = UInt32(draft.outputs.count)
    row.request = internRequest(draft.request)
    row.function = draft.function
    row.hasResultFile = draft.hasResultFile
    row.category = internCategory(draft.category)
    row.priority = draft.priority
    row.retries = draft.retries
    row.timeoutMilliseconds = draft.timeoutMilliseconds
    row.estimateMicroseconds = draft.estimateMicroseconds
    row.usesSandbox = draft.usesSandbox
    row.isDeterministic = draft.isDeterministic
    tasks.append(row)
    _ = taskIndex.insert(task.index, in: text) { tasks.rows[$0].id }
    for input in draft.inputs { appendInput(input, of: task) }
    for file in implied { appendInput(BindingDraft(file), of: task) }
    var conflict: WorkflowConflict?
    for output in draft.outputs {
      bindings.append(
        Binding(name: nameText(output), file: output.file, task: task, isCopy: output.isCopy))
      if output.use == .reference { bindings[bindings.count - 1].use = .reference }
      let producer = files[output.file].producer
      if producer == .none {
        files[output.file].producer = task
      } else {
        conflict = conflict ?? .secondProducer(of: output.file, first: producer)
      }
    }
    if let conflict { throw conflict }
    return task
  }

  /// `successor` starts only after `predecessor` succeeded.
  package mutating func appendControlEdge(from predecessor: TaskID, to successor: TaskID) {
    controlEdges.append(
      ControlEdge(successor: successor, next: tasks[predecessor].firstSuccessor))
    tasks[predecessor].firstSuccessor = UInt32(controlEdges.count - 1)
    tasks[successor].predecessorCount += 1
  }

  mutating func appendDerivation(_ row: DerivationSpec) {
    files[row.file].derivation = UInt32(derivations.count)
    derivations.append(row)
  }

  /// Room for a known number of rows, so that growth does not double the memory of a large load.
  package mutating func reserveCapacity(tasks taskCount: Int, files fileCount: Int) {
    tasks.reserveCapacity(taskCount)
    files.reserveCapacity(fileCount)
  }

  /// Replaces the expected durations, in microseconds, one per task.
  package mutating func setEstimates(_ microseconds: (TaskID, TaskSpec) -> Int64) {
    for task in tasks.ids { tasks[task].estimateMicroseconds = microseconds(task, tasks[task]) }
  }

  private mutating func appendInput(_ input: BindingDraft, of task: TaskID) {
    let index = UInt32(bindings.count)
    bindings.append(
      Binding(
        name: nameText(input), file: input.file, task: task, isCopy: input.isCopy, use: input.use))
    if files[input.file].firstConsumer == .max {
      files[input.file].firstConsumer = index
    } else {
      bindings[Int(files[input.file].lastConsumer)].nextConsumer = index
    }
    files[input.file].lastConsumer = index
  }

  private mutating func nameText(_ draft: BindingDraft) -> TextRef {
    if draft.use != .sandbox { return .empty }
    if let name = draft.name { return text.append(name) }
    return files[draft.file].id
  }

  /// A file that stands for the result of a task: no name finds it.
  package mutating func appendResultFile(named id: TextRef) -> FileID {
    files.append(FileSpec(id: id, kind: .temp, isInternal: true))
  }

  /// Says how large a file is expected to be.
  package mutating func setByteCountHint(_ byteCount: Int64, of file: FileID) {
    files[file].byteCountHint = byteCount
  }

  package mutating func appendResultFile(named id: String) -> FileID {
    appendResultFile(named: text.append(id))
  }

  /// A call reads the files of its library and makes its result, besides what it says itself.
  private mutating func complete(_ draft: inout TaskDraft, named id: TextRef) {
    let result = draft.resultFile ?? appendResultFile(named: id)
    draft.outputs.insert(BindingDraft(result, use: .reference), at: 0)
    guard draft.library != .none else { return }
    for file in libraries[draft.library].files {
      draft.inputs.append(BindingDraft(file.file, use: .library))
    }
    draft.request = libraries[draft.library].request
    if libraries[draft.library].mode == .inRank {
      draft.request.gangRanks = max(draft.gangRanks, 1)
      draft.request.ranksPerNode = draft.ranksPerNode
      draft.request.isParallel = draft.gangRanks > 0
    }
  }

  private mutating func internTemplate(_ template: [UInt8]) -> TextRef {
    if template.isEmpty { return .empty }
    if let known = templateIndex[template] { return known }
    let ref = text.append(bytes: template)
    if templateIndex.count < 1024 { templateIndex[template] = ref }
    return ref
  }

  private mutating func internRequest(_ request: Request) -> UInt16 {
    if let known = requestIndex[request] { return known }
    invariant(requests.count < Int(UInt16.max), "more distinct requests than a task row can name")
    requests.append(request)
    requestIndex[request] = UInt16(requests.count - 1)
    return UInt16(requests.count - 1)
  }

  private mutating func internCategory(_ category: String) -> UInt16 {
    if let known = categoryIndex[category] { return known }
    guard categories.count < Int(UInt16.max) else { return 0 }
    categories.append(category)
    categoryIndex[category] = UInt16(categories.count - 1)
    return UInt16(categories.count - 1)
  }

  private mutating func internEnvironment(_ environment: [String]) -> TextRef {
    if environment.isEmpty { return .empty }
    if let known = environmentIndex[environment] { return known }
    let ref = text.append(list: environment)
    // Only a bounded number is shared: environments that differ in every task must not be hashed
    // and kept a second time.
    if environmentIndex.count < 1024 { environmentIndex[environment] = ref }
    return ref
  }
}

// MARK: - Reading

extension Workflow {
  package func inputs(of task: TaskID) -> ArraySlice<Binding> {
    let row = tasks.rows[task.index]
    let first = Int(row.firstBinding)
    return bindings[first..<first + Int(row.inputCount)]
  }

  package func outputs(of task: TaskID) -> ArraySlice<Binding> {
    let row = tasks.rows[task.index]
    let first = Int(row.firstBinding) + Int(row.inputCount)
    return bindings[first..<first + Int(row.outputCount)]
  }

  package func request(of task: TaskID) -> Request { requests[Int(tasks[task].request)] }
  package func name(of task: TaskID) -> String { text.string(tasks[task].id) }
  package func name(of file: FileID) -> String { text.string(files[file].id) }

  /// Calls `body` for each task that consumes `file`, once per binding.
  package func forEachConsumer(of file: FileID, _ body: (TaskID) -> Void) {
    var next = files[file].firstConsumer
    while next != .max {
      let binding = bindings[Int(next)]
      body(binding.task)
      next = binding.nextConsumer
    }
  }

  /// Calls `body` once per edge (file or control) from `task` to a successor.
  package func forEachSuccessor(of task: TaskID, _ body: (TaskID) -> Void) {
    for output in outputs(of: task) where files[output.file].producer == task {
      forEachConsumer(of: output.file, body)
    }
    var next = tasks[task].firstSuccessor
    while next != .max {
      let edge = controlEdges[Int(next)]
      body(edge.successor)
      next = edge.next
    }
  }

  /// Number of edges into `task`, counted as `forEachSuccessor` counts them.
  package func edgeCount(into task: TaskID) -> Int {
    var count = Int(tasks[task].predecessorCount)
    for input in inputs(of: task) where files[input.file].producer != .none { count += 1 }
    return count
  }
}
