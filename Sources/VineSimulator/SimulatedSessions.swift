// Sessions: the manager dies with the whole job, or its session ends, and another one goes on from
// what lies on the shared file system.

import VineCore

extension Simulation {
  /// The job is killed: what was under way on the shared file system may or may not be finished.
  mutating func crash() {
    options.log?("crash")
    trace.mix(39, log.count, 0, at: .zero)
    guard var plan = faults else { return }
    defer { faults = plan }
    while let (event, _) = heap.popNext() {
      switch event {
      case .commitEnded(_, let value, _, 0, let origin):
        if plan.coin() { durableValues[value] = origin }
      case .published(let value, 0):
        if plan.coin() { rename(value) }
      default: break
      }
    }
    var wrongs: [String] = []
    plan.crash(&log) { wrongs.append($0) }
    for wrong in wrongs { checkers?.violate(wrong) }
    foldAnew()
    keepCaches()
  }

  /// The rename of a publication.
  mutating func rename(_ value: FileValue) {
    guard let origin = durableValues.removeValue(forKey: value) else { return }
    sharedFiles[value.file] = origin
    renamed[value] = origin
    checkers?.renamed(value.file, origin)
  }

  /// The next session, on its own nodes.
  mutating func startAgain(_ restart: Restart) {
    addAdoptions()
    session += 1
    result.outcome = nil
    options.log?("session \(session)")
    setUp(restart.cluster, jobEndsAt: restart.jobEndsAt)
    handOutCaches()
    let restored = restore()
    checkers?.startSession(session, restored, sharedFiles: sharedFiles)
    manager.restore(restored, seeksValues: true, effects: &managerEffects)
    carryOut(at: .zero)
  }

  /// What the log and the shared file system have.
  private func restore() -> RestoredRun {
    var fold = LogFold(taskCount: workflow.tasks.count)
    for row in log.rows { _ = fold.apply(row, workflow) }
    var restored = RestoredRun(taskCount: workflow.tasks.count)
    for task in workflow.tasks.ids {
      restored.attemptCounts[task.index] = fold.last[task.index]
      guard fold.isWhole(task, workflow, producers: restored.reuse) else { continue }
      restored.reuse[task.index] = .whole
      restored.accepted[task.index] = fold.done[task.index]
      for output in workflow.outputs(of: task) {
        restored.hashes[output.file] = fold.hashes[output.file]
        restored.byteCounts[output.file] = byteCount(of: output.file)
        guard let copy = fold.copies[output.file] else { continue }
        let value = FileValue(output.file, attempt: copy.attempt)
        if copy.isJournaled {
          restored.durable.append(
            RestoredRun.Copy(
              file: output.file, attempt: copy.attempt, isPublished: false, isJournaled: true))
          continue
        }
        // A crash between a rename and its record leaves the output at its path already.
        let isRenamed = renamed[value] != nil && sharedFiles[output.file] == renamed[value]
        guard isRenamed || (durableValues[value] != nil && !copy.isPublished) else { continue }
        restored.durable.append(
          RestoredRun.Copy(file: output.file, attempt: copy.attempt, isPublished: isRenamed))
      }
    }
    return restored
  }

  /// Everything of a session but what outlives it.
  mutating func setUp(_ cluster: ClusterModel, jobEndsAt: Instant?) {
    self.cluster = cluster
    closing = Closing(startedAt: .zero, jobEndsAt: jobEndsAt)
    managerOptions.endsAt = closing.tasksEndBy
    checkers?.jobEndsAt = jobEndsAt
    nodes = []
    ranks = []
    var workerCount = 0
    for (index, model) in cluster.nodes.enumerated() {
      nodes.append(
        SimulatedNode(model: model, workers: workerCount..<workerCount + model.rankCount))
      for _ in 0..<model.rankCount { ranks.append(SimulatedRank(node: index)) }
      workerCount += model.rankCount
    }
    network = SimulatedNetwork(cluster, workerCount: workerCount)
    heap = EventHeap()
    namedInputs = [:]
    derivationInputs = [:]
    hashingFirst = []
    grantsOfInstances = [:]
    adoptionOrders = [:]
    workerEffects = []
    managerEffects = []
    managerTimerAt = nil
    managerHeard = true
    sparedNode = faults?.place(below: cluster.nodes.count) ?? 0
    manager = Manager(workflow, options: managerOptions)
  }
}
