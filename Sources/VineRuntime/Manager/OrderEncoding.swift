// The text that belongs to the core's orders, looked up while they are encoded: messages of the core
// hold identifiers only.

internal import VineCore

extension AttemptOrder {
  /// All an executor needs for an attempt in an allocation of `core`.
  init(
    _ attempt: AttemptID, _ allocation: AllocationID, timeoutMilliseconds: UInt32,
    hashesFirst: Bool, of core: borrowing Manager, in directory: borrowing WorkerDirectory
  ) {
    let workflow = core.workflow
    let task = attempt.task
    let grant = core.grant(of: allocation)
    let node = core.node(of: allocation)
    let topology = core.topology(of: node)
    let cores = grant.cpuset.cores
    let row = workflow.tasks[task]
    self.init(
      attempt: attempt, allocation: allocation, timeoutMilliseconds: timeoutMilliseconds,
      hashesFirst: hashesFirst, taskName: workflow.name(of: task), commandKind: row.commandKind,
      command: Array(workflow.text.slice(row.command)),
      environment: Array(workflow.text.slice(row.environment)), usesSandbox: row.usesSandbox,
      coreCount: workflow.request(of: task).cores, memoryMB: grant.memoryMB,
      diskMB: workflow.request(of: task).diskMB,
      processingUnits: cores.flatMap { topology.cores[$0].processingUnits },
      inputs: [], outputs: [])
    if row.usesSandbox {
      for input in workflow.stagedInputs(of: task) {
        let value = core.value(of: input.file, on: node)
        inputs.append(FileOrder(input, value, in: workflow))
      }
      for output in workflow.outputs(of: task) {
        let value = FileValue(output.file, attempt: attempt.number)
        outputs.append(FileOrder(output, value, in: workflow))
      }
    }
    if row.commandKind == .bash {
      let slot = directory.firstCores[node.index] + (cores.first ?? 0)
      environment += launcherVariables(
        slot: slot, coresOfNode: topology.cores.count, coreCount: core.coreCount,
        nodeCount: core.nodeCount)
    }
  }
}

extension FetchOrder {
  init(
    _ value: FileValue, transfer: TransferID, from source: TransferSource, byteCount: Int64,
    on node: NodeID, of core: borrowing Manager, run: RunDirectory, forever: ForeverKeys
  ) {
    let row = core.workflow.files[value.file]
    var location: [UInt8] = []
    var isArchive = false
    switch source {
    case .manager: location = Array(core.workflow.text.slice(row.location))
    case .sharedFileSystem:
      location = Array(run.readablePath(of: value.file, in: core).utf8)
      isArchive = row.isDirectory && row.kind == .temp
    case .node, .relay, .derivation: break
    }
    self.init(
      value: value, transfer: transfer, source: source, byteCount: byteCount,
      isDirectory: row.isDirectory, isArchive: isArchive, isMade: row.producer != .none,
      location: location)
    if source == .derivation {
      derivation = DerivationOrder(value.file, on: node, of: core)
    }
    self.forever = forever.rows[value.file].map { ForeverOrder(value, $0) }
  }
}

extension ForeverOrder {
  init(_ value: FileValue, _ key: ForeverKey) {
    self.init(
      value: value, key: key.hash, kind: key.kind, name: key.name,
      isConditional: key.isConditional)
  }
}

extension DerivationOrder {
  /// All that making `file` on `node` takes; nil when it is not derived.
  init?(_ file: FileID, on node: NodeID, of core: borrowing Manager) {
    let workflow = core.workflow
    guard let row = workflow.derivation(of: file) else { return nil }
    self.init(
      kind: row.kind, name: workflow.name(of: file), commandKind: row.commandKind,
      command: Array(workflow.text.slice(row.command)),
      environment: Array(workflow.text.slice(row.environment)),
      timeoutMilliseconds: row.timeoutMilliseconds,
      processingUnits: core.topology(of: node).cores.flatMap(\.processingUnits),
      outputName: workflow.text.string(row.outputName),
      digest: workflow.text.string(row.digest), inputs: [])
    for input in row.inputs {
      inputs.append(FileOrder(input, core.value(of: input.file, on: node), in: workflow))
    }
  }
}

extension FileOrder {
  init(_ binding: Binding, _ value: FileValue, in workflow: borrowing Workflow) {
    self.init(
      value: value, name: workflow.text.string(binding.name), isCopy: binding.isCopy,
      isDirectory: workflow.files[binding.file].isDirectory,
      hasPath: workflow.files[binding.file].isPublished)
    if let end = name.utf8.firstIndex(of: 0) {
      member = String(name[name.utf8.index(after: end)...])
      name = String(name[..<end])
    }
  }
}

extension CommitOrder {
  init(_ value: FileValue, of workflow: borrowing Workflow, run: RunDirectory) {
    let row = workflow.files[value.file]
    self.init(
      value: value, isDirectory: row.isDirectory, isObject: !row.isPublished,
      path: row.isPublished
        ? run.temporary(of: value, in: workflow) : run.objects)
  }
}

extension RunDirectory {
  /// Where the bytes of intermediates lie that must outlive their nodes.
  var objects: String { "\(path)/objects" }

  /// The name of an output's durable copy before it is published.
  func temporary(of value: FileValue, in workflow: borrowing Workflow) -> String {
    copyNames.temporary(of: value, beside: workflow.locationText(value.file))
  }

  /// Where a node finds `file` on the shared file system now.
  func readablePath(of file: FileID, in core: borrowing Manager) -> String {
    let row = core.workflow.files[file]
    guard row.producer != .none, let (value, standing) = core.durableValue(of: file) else {
      return core.workflow.locationText(file)
    }
    if row.kind != .path {
      return objectPath(of: core.hash(of: file) ?? .unknown, in: objects)
    }
    // While it is renamed it has one name or the other; a reader that comes too late asks again.
    return standing == .published
      ? core.workflow.locationText(file) : temporary(of: value, in: core.workflow)
  }
}

/// A line of a task list sees itself as TACC Launcher and GNU parallel would show it.
private func launcherVariables(
  slot: Int, coresOfNode: Int, coreCount: Int, nodeCount: Int
) -> [UInt8] {
  let text =
    "LAUNCHER_TSK_ID=\(slot)\0LAUNCHER_NPROCS=\(coreCount)\0"
    + "LAUNCHER_NHOSTS=\(nodeCount)\0LAUNCHER_PPN=\(coresOfNode)\0"
    + "PARALLEL_JOBSLOT=\(slot + 1)\0"
  return Array(text.utf8)
}
