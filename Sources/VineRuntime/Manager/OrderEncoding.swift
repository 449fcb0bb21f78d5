// The text that belongs to the core's orders, looked up while they are encoded: messages of the core
// hold identifiers only.

internal import VineCore

extension AttemptOrder {
  /// All an executor needs for an attempt in an allocation of `core`.
  init(
    _ attempt: AttemptID, _ allocation: AllocationID, timeoutMilliseconds: UInt32,
    of core: borrowing Manager, in directory: borrowing WorkerDirectory
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
      taskName: workflow.name(of: task), commandKind: row.commandKind,
      command: Array(workflow.text.slice(row.command)),
      environment: Array(workflow.text.slice(row.environment)), usesSandbox: row.usesSandbox,
      coreCount: workflow.request(of: task).cores, memoryMB: grant.memoryMB,
      processingUnits: cores.flatMap { topology.cores[$0].processingUnits },
      inputs: row.usesSandbox ? workflow.fileOrders(workflow.inputs(of: task)) : [],
      outputs: row.usesSandbox ? workflow.fileOrders(workflow.outputs(of: task)) : [])
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
    _ file: FileID, transfer: TransferID, from source: TransferSource, byteCount: Int64,
    of workflow: borrowing Workflow
  ) {
    let row = workflow.files[file]
    let hasLocation = source == .sharedFileSystem || source == .manager
    self.init(
      file: file, transfer: transfer, source: source, byteCount: byteCount,
      isDirectory: row.isDirectory,
      location: hasLocation ? Array(workflow.text.slice(row.location)) : [])
  }
}

extension Workflow {
  fileprivate func fileOrders(_ bindings: ArraySlice<Binding>) -> [FileOrder] {
    bindings.map {
      FileOrder(
        file: $0.file, name: text.string($0.name), isCopy: $0.isCopy,
        isDirectory: files[$0.file].isDirectory)
    }
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
