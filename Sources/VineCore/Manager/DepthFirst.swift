// Tight disks: intermediate files fill a node faster than the tasks that end them free it.
//
// Whoever begins new chains while others wait to be ended fills the disks with beginnings, and in the
// end no task has room to end any. So once the intermediate files of a node pass a part of its limit,
// the run goes depth first: among ready tasks of equal priority, what is furthest from the start goes
// first. What only adds to a tight node waits for what runs there and will free something, and never
// takes the room that those who read what it makes will need.

import HeapModule

extension Manager {
  // MARK: The order

  /// Where a ready task stands among those of its request.
  func readyKey(of task: TaskID, at now: Instant) -> ReadyKey {
    let row = workflow.tasks[task]
    let order: Int64
    if isDepthFirst {
      order = -Int64(depths[task.index])
    } else {
      order =
        switch workflow.policy.order {
        case .fifo: now.nanoseconds
        case .file, .depth: 0
        case .heft: -bottomLevels[task.index]
        case .lpt: -row.estimateMicroseconds
        }
    }
    return ReadyKey(negativePriority: 0 &- row.priority, task: task, order: order)
  }

  /// From now on the run goes depth first, whatever the order of the description.
  mutating func goDepthFirstIfDue(at now: Instant) {
    guard isDepthFirstDue, !isDepthFirst else { return }
    depths = workflow.depths() ?? Array(repeating: 0, count: tasks.count)
    isDepthFirst = true
    for request in ready.indices {
      let keys = ready[request].unordered
      ready[request] = Heap(keys.map { readyKey(of: $0.task, at: now) })
    }
  }

  // MARK: Tight nodes

  /// Whether `task` would fill a node so far that it has to wait: it leaves no room for those that will
  /// read what it makes, or the node is tight and is about to get room.
  mutating func isHeldBack(_ task: TaskID, on node: NodeID) -> Bool {
    let disk = nodes[node].disk
    if disk.limit.byteCountMax == .max { return false }
    let limit = max(disk.limit.byteCountMax, 0)
    let held = replicas.usage(of: node).madeByteCount &+ disk.attemptByteCount
    let need = likelyByteCount(of: task)
    guard held > 0, need > 0, held &+ need > limit / 4 else { return false }
    let coreCount = Int64(max(nodes[node].pool.coreCount, 1))
    // Some small files more make no difference.
    guard need > (limit &- held) / (4 * coreCount), makesIntermediates(task) else { return false }
    let isTight = held &+ need > limit / 100 * Limits.tightPerCent
    let isClosing = held &+ need &+ likelyByteCount(ofReadersOf: task) > limit
    guard isTight || isClosing else { return false }
    let isFirst = !isDepthFirst
    // Not at once: whoever asks has the first of the ready tasks in hand.
    if isFirst { isDepthFirstDue = true }
    if freesIntermediates(task) { return false }
    if isClosing && !isNothingUnderWay { return true }
    return isFirst || disk.freeingCount > 0 || !room.freeingAside.isEmpty
  }

  /// Whether something that later tasks read comes of `task`.
  private func makesIntermediates(_ task: TaskID) -> Bool {
    workflow.outputs(of: task).contains {
      workflow.files[$0.file].kind == .temp && remainingConsumers[$0.file.index] > 0
    }
  }

  /// Whether `task` is among the last that read some intermediate file.
  func freesIntermediates(_ task: TaskID) -> Bool {
    workflow.inputs(of: task).contains {
      let file = workflow.files[$0.file]
      return file.kind == .temp && file.producer != .none
        && remainingConsumers[$0.file.index] <= Limits.lastReadersMax
    }
  }

  // MARK: Sizes

  /// What an attempt may write: as declared or known, or as much as others of its kind did.
  func likelyByteCount(of task: TaskID) -> Int64 {
    let known = attemptByteCount(of: task)
    if meanOutputByteCounts.isEmpty || workflow.request(of: task).diskMB > 0 { return known }
    let areAllKnown = workflow.outputs(of: task).allSatisfy { expectedByteCount(of: $0.file) > 0 }
    if areAllKnown { return known }
    return max(known, meanOutputByteCounts[durationClass(of: task)] ?? 0)
  }

  /// What a task that reads what `task` makes may write, the largest of a few.
  private func likelyByteCount(ofReadersOf task: TaskID) -> Int64 {
    var most: Int64 = 0
    for output in workflow.outputs(of: task) where workflow.files[output.file].kind == .temp {
      var next = workflow.files[output.file].firstConsumer
      for _ in 0..<Limits.lastReadersMax where next != .max {
        let binding = workflow.bindings[Int(next)]
        most = max(most, likelyByteCount(of: binding.task))
        next = binding.nextConsumer
      }
    }
    return most
  }

  /// Learns what tasks of this kind write, once it may matter.
  mutating func learnOutputByteCount(of task: TaskID, on node: NodeID) {
    let disk = nodes[node].disk
    guard disk.isLimited, disk.limit.byteCountMax < .max,
      replicas.usage(of: node).madeByteCount > disk.limit.byteCountMax / 8
    else { return }
    var byteCount: Int64 = 0
    for output in workflow.outputs(of: task) {
      if let replica = replicas.find(output.file, on: node) {
        byteCount &+= replicas[replica].byteCount
      }
    }
    if byteCount <= 0 { return }
    let key = durationClass(of: task)
    let mean = meanOutputByteCounts[key] ?? byteCount
    meanOutputByteCounts[key] = mean + (byteCount - mean) / 4
  }
}
