// Random workflows: small, odd and legal.

package import VineCore

/// Draws workflows that use every feature a run has, each in a random share of the seeds.
package struct WorkloadGenerator {
  private var random: PRNG
  private var workflow = Workflow()
  /// Files that a task may read, and those of them that lie on the shared file system.
  private var readable: [FileID] = []
  private var readablePaths: [FileID] = []
  private var requests: [Request] = []
  private var fileCount = 0
  private var libraries: [LibraryID] = []
  /// Files that stand for results.
  private var results: [FileID] = []

  // What this seed turns on.
  private let usesRetries: Bool
  private let usesTimeouts: Bool
  private let usesPriorities: Bool
  private let usesOutsideTasks: Bool
  private let usesControlEdges: Bool
  private let derivedRate: Int
  private let usesLibraries: Bool
  private let lifetimes: [CacheLifetime]
  private let durations: [Int]
  private let byteCounts: [Int]
  private let inputCountMax: Int
  private let recency: Int
  private let deterministicRate: Int
  private let tempRate: Int

  package init(random source: inout PRNG) {
    random = source.split()
    usesRetries = random.chance(perMille: 600)
    usesTimeouts = random.chance(perMille: 400)
    usesPriorities = random.chance(perMille: 300)
    usesOutsideTasks = random.chance(perMille: 250)
    usesControlEdges = random.chance(perMille: 500)
    derivedRate = random.pick([0, 0, 100, 400])
    lifetimes = random.pick([
      [.workflow], [.task], [.worker], [.workflow, .task, .worker, .forever],
    ])
    durations = random.pick([
      [0], [1, 50, 900], [1_000, 20_000], [5, 2_000, 3_000_000, 600_000_000],
    ])
    byteCounts = random.pick([[0], [1, 1_000], [0, 1_000_000, 2_000_000_000], [-1, 5_000_000]])
    inputCountMax = random.pick([0, 1, 2, 3, 3, 12])
    recency = random.pick([3, 10, 1_000])
    tempRate = random.pick([300, 600, 900])
    deterministicRate = random.pick([0, 300, 700, 1_000])
    usesLibraries = random.chance(perMille: 400)
  }

  /// A workflow of up to `taskCountMax` tasks, some of which may fit no node of `cluster`.
  package mutating func draw(taskCountMax: Int, for cluster: ClusterModel) -> Workflow {
    drawPolicy()
    drawRequests(for: cluster)
    for _ in 0..<random.below(6) { appendSource() }
    if usesLibraries { for _ in 0..<random.within(1...3) { appendLibrary() } }
    for index in 0..<random.within(1...max(taskCountMax, 1)) {
      if random.chance(perMille: derivedRate) { appendDerived() }
      appendTask(index)
    }
    // Last of all, so that it changes nothing else of what a seed draws.
    if random.chance(perMille: 300) { workflow.policy.tempReplicas = UInt16(random.within(2...3)) }
    return workflow
  }

  private mutating func drawPolicy() {
    workflow.policy.order = random.pick(TaskOrder.allCases)
    workflow.policy.placement = random.pick(NodeChoice.allCases)
    if random.chance(perMille: 250) { workflow.policy.onFailure = .stop }
    if random.chance(perMille: 250) { workflow.policy.failuresMax = random.within(1...5) }
  }

  private mutating func drawRequests(for cluster: ClusterModel) {
    let cores = cluster.nodes.map(\.coreCount).max() ?? 1
    let memory = cluster.nodes.map { Int($0.memoryMB) }.max() ?? 0
    requests = [Request()]
    for _ in 0..<random.below(6) {
      var request = Request(cores: UInt16(random.within(1...cores)))
      if random.chance(perMille: 400) {
        request.memoryMB = UInt32(random.below(memory + 1))
      }
      if random.chance(perMille: 200) { request.diskMB = UInt32(random.below(8)) }
      if random.chance(perMille: 60) { request.cores = UInt16(cores + 1) }
      if random.chance(perMille: 40) { request.memoryMB = UInt32(memory + 1) }
      if random.chance(perMille: 30) { request.cores = 0 }
      if random.chance(perMille: 20) { request.gpus = 1 }
      requests.append(request)
    }
  }

  private mutating func appendSource() {
    let kind: FileKind = random.chance(perMille: 300) ? .buffer : .path
    let file = appendFile(kind)
    readable.append(file)
    if kind == .path { readablePaths.append(file) }
  }

  private mutating func appendFile(_ kind: FileKind) -> FileID {
    fileCount += 1
    let content = kind == .buffer ? "inline" : "/shared/file-\(fileCount)"
    do {
      return try workflow.appendFile(
        id: "file-\(fileCount)", kind: kind, location: content, lifetime: random.pick(lifetimes),
        isDirectory: random.chance(perMille: 50),
        byteCountHint: kind == .buffer ? 6 : Int64(random.pick(byteCounts)))
    } catch {
      invariant(false, "file names are numbered")
      return .none
    }
  }

  /// A download, or what is made of files that are there already, derived ones among them.
  private mutating func appendDerived() {
    let file = appendFile(.derived)
    var draft = DerivationDraft(
      readable.isEmpty || random.chance(perMille: 300) ? .url : .miniTask)
    draft.command = ["make"]
    if draft.kind == .miniTask {
      for _ in 0..<random.within(1...3) {
        let first = max(readable.count - recency, 0)
        let input = readable[first + random.below(readable.count - first)]
        if draft.inputs.contains(where: { $0.file == input }) { continue }
        draft.inputs.append(BindingDraft(input))
      }
    }
    workflow.setDerivation(of: file, draft)
    readable.append(file)
  }

  private mutating func appendTask(_ index: Int) {
    var draft = TaskDraft(id: "task-\(index)")
    draft.usesSandbox = !(usesOutsideTasks && random.chance(perMille: 300))
    draft.isDeterministic = random.chance(perMille: deterministicRate)
    draft.request = random.pick(requests)
    draft.estimateMicroseconds = random.chance(perMille: 50) ? -1 : Int64(random.pick(durations))
    if usesRetries { draft.retries = UInt16(random.below(4)) }
    if usesTimeouts && random.chance(perMille: 500) {
      draft.timeoutMilliseconds = UInt32(random.within(1...5_000))
    }
    if usesPriorities { draft.priority = Int32(random.within(-2...2)) }
    if random.chance(perMille: 200) { draft.category = "category-\(random.below(3))" }
    if !libraries.isEmpty && random.chance(perMille: 600) { makeCall(&draft) }
    let choices = draft.usesSandbox ? readable : readablePaths
    if !choices.isEmpty {
      for _ in 0..<random.below(inputCountMax + 1) {
        let first = max(choices.count - recency, 0)
        draft.inputs.append(
          BindingDraft(
            choices[first + random.below(choices.count - first)],
            name: "input-\(draft.inputs.count)", isCopy: random.chance(perMille: 50)))
      }
    }
    let outputs = appendOutputs(of: &draft)
    let task: TaskID
    do {
      task = try workflow.appendTask(draft)
    } catch {
      return invariant(false, "task names are numbered, and so are their outputs")
    }
    if workflow.resultFile(of: task) != .none { results.append(workflow.resultFile(of: task)) }
    readable += outputs
    readablePaths += outputs.filter { workflow.files[$0].kind == .path }
    if usesControlEdges && index > 0 {
      for _ in 0..<random.below(3) {
        let back = random.within(1...min(index, recency))
        workflow.appendControlEdge(from: TaskID(index: index - back), to: task)
      }
    }
  }

  private mutating func appendLibrary() {
    var spec = LibrarySpec()
    spec.mode = random.pick([.fork, .direct, .inRank])
    spec.slots = spec.mode == .inRank ? 1 : UInt16(random.pick([1, 1, 2, 4]))
    spec.request = random.pick(requests)
    spec.functions = ["f\(libraries.count)"]
    let source = appendFile(.path)
    spec.files.append(LibraryFile(source, name: "source", use: .source))
    if random.chance(perMille: 300) {
      // Made by a task, if one gets to it.
      let input = appendFile(.temp)
      do {
        var draft = TaskDraft(id: "maker-\(libraries.count)")
        draft.request = random.pick(requests)
        draft.isDeterministic = random.chance(perMille: deterministicRate)
        draft.outputs = [BindingDraft(input)]
        try workflow.appendTask(draft)
      } catch { return invariant(false, "makers are numbered") }
      spec.files.append(LibraryFile(input, name: "input", use: .input))
    }
    libraries.append(workflow.appendLibrary(spec, named: "library-\(libraries.count)"))
  }

  /// Makes a call, or a task that gathers results, of a task.
  private mutating func makeCall(_ draft: inout TaskDraft) {
    draft.usesSandbox = true
    if !results.isEmpty {
      for _ in 0..<random.below(4) {
        draft.inputs.append(BindingDraft(random.pick(results), use: .reference))
      }
    }
    let size = random.pick([10, 10, 10, 100_000])
    let file = workflow.appendResultFile(named: draft.id)
    workflow.setByteCountHint(Int64(size), of: file)
    draft.resultFile = file
    if !draft.inputs.isEmpty && random.chance(perMille: 200) {
      draft.commandKind = .gather
      draft.request = Request(cores: 0)
    } else {
      draft.commandKind = .call
      draft.library = random.pick(libraries)
      if workflow.libraries[draft.library].mode == .inRank {
        draft.gangRanks = UInt32(random.pick([1, 1, 2, 2, 3, 5]))
        draft.ranksPerNode = UInt32(random.pick([0, 0, 1, 2]))
      }
    }
  }

  private mutating func appendOutputs(of draft: inout TaskDraft) -> [FileID] {
    var outputs: [FileID] = []
    for _ in 0..<random.below(3) {
      // What a task writes outside a sandbox lies on the shared file system.
      let isTemp = draft.usesSandbox && random.chance(perMille: tempRate)
      let file = appendFile(isTemp ? .temp : .path)
      draft.outputs.append(BindingDraft(file))
      outputs.append(file)
    }
    return outputs
  }
}
