// Whether a task waits for a busy node that has what it reads: how long moving that elsewhere would
// take, and how long it will be until the busy node has room.

extension Manager {
  /// A node that has, or is about to have, some of a task's inputs.
  struct Holder {
    let node: NodeID
    var byteCount: Int64
    /// Of that, what attempts there could read now.
    var usableByteCount: Int64
  }

  /// The nodes that hold some of a task's input bytes, most of them first. Looks at a few replicas of
  /// a few inputs: what is on many nodes does not tell them apart.
  func holders(of task: TaskID) -> [Holder] {
    var holders: [Holder] = []
    for input in workflow.inputs(of: task).prefix(Limits.inputLooksMax) {
      for index in replicas.replicas(of: input.file, limit: 8) {
        let replica = replicas[index]
        // An empty file still saves a transfer.
        let weight = max(replica.byteCount, 1)
        let usable = replica.isUsable ? weight : 0
        if let place = holders.firstIndex(where: { $0.node == replica.node }) {
          holders[place].byteCount += weight
          holders[place].usableByteCount += usable
        } else {
          holders.append(
            Holder(node: replica.node, byteCount: weight, usableByteCount: usable))
        }
      }
    }
    holders.sort { ($1.byteCount, $0.node) < ($0.byteCount, $1.node) }
    return holders
  }

  // MARK: Choosing

  /// Where `task` waits, if that is quicker than going to the best node that has room now; nil when
  /// it is not, or when there is no such node.
  ///
  /// Of two nodes of which neither has all of a file, or which are still getting it, none is worth
  /// waiting for: it comes to the idle one just as fast.
  mutating func reasonToWait(
    _ task: TaskID, _ request: Request, _ holders: [Holder]
  ) -> WaitChoice? {
    guard options.waitsForInputs, request.library == .none, needsStaging(task),
      let most = holders.lazy.map(\.usableByteCount).max(),
      moveNanoseconds(Double(most)) >= Limits.patienceNanosecondsMin,
      let first = holders.first, !nodes.fits(request, on: first.node),
      let other = holders.first(where: { nodes.fits(request, on: $0.node) })?.node
        ?? nodes.roomiest(for: request)
    else { return nil }
    let since = patience.since[task] ?? turnTime
    var best: [(node: NodeID, wait: Int64)] = []
    var deadline = turnTime
    for holder in holders.prefix(Limits.patientNodesMax)
    where holder.usableByteCount > 0 && !nodes.fits(request, on: holder.node) {
      guard nodes[holder.node].pool.couldFit(request),
        patience.count(on: holder.node) < Limits.patientTasksPerNodeMax
      else { continue }
      let cost = nanosecondsToMove(inputsOf: task, from: holder.node, to: other)
      let limit = since.adding(nanoseconds: min(cost, Limits.patienceNanosecondsMax))
      guard cost >= Limits.patienceNanosecondsMin, limit > turnTime,
        let wait = nanosecondsUntilRoom(for: request, on: holder.node),
        turnTime.adding(nanoseconds: wait) < limit
      else { continue }
      best.append((holder.node, wait))
      deadline = max(deadline, limit)
    }
    best.sort { ($0.wait, $0.node) < ($1.wait, $1.node) }
    guard let node = best.first?.node, let file = largestInput(of: task, on: node) else {
      return nil
    }
    return WaitChoice(nodes: best.map(\.node), file: file, deadline: deadline)
  }

  /// What moving `byteCount` takes at what links are known to reach, in nanoseconds.
  private func moveNanoseconds(_ byteCount: Double) -> Int64 {
    let nanoseconds = max(byteCount, 0) / max(bytesPerSecond, 1) * 1e9
    return Int64(min(nanoseconds, Double(Limits.patienceNanosecondsMax) * 4))
  }

  /// How long it takes until what `task` reads on a busy node, and not on another one, is there too.
  ///
  /// A file that more tasks will read than the busy node has cores has to be moved sooner or later: a
  /// part of that is all that one of them saves.
  private func nanosecondsToMove(
    inputsOf task: TaskID, from node: NodeID, to other: NodeID
  ) -> Int64 {
    let coreCount = Double(max(nodes[node].pool.coreCount, 1))
    var byteCount = 0.0
    for input in workflow.inputs(of: task).prefix(Limits.inputLooksMax) {
      guard let replica = replicas.find(input.file, on: node), replicas[replica].isUsable,
        replicas.find(input.file, on: other) == nil
      else { continue }
      let readerCount = Double(max(remainingConsumers[input.file.index], 1))
      byteCount += Double(replicas[replica].byteCount) * min(1, coreCount / readerCount)
    }
    // What the node sends already, and what waits for it to send, comes first.
    let queued = nodes[node].serveLoad / Limits.smallTransfersPerTransfer
    let waiting = nodes[node].waitingFiles.count
    return moveNanoseconds(byteCount * Double(1 + queued + waiting))
  }

  private func largestInput(of task: TaskID, on node: NodeID) -> FileID? {
    var largest: FileID?
    var most: Int64 = -1
    for input in workflow.inputs(of: task).prefix(Limits.inputLooksMax) {
      guard let replica = replicas.find(input.file, on: node), replicas[replica].isUsable,
        replicas[replica].byteCount > most
      else { continue }
      most = replicas[replica].byteCount
      largest = input.file
    }
    return largest
  }

  // MARK: Forecasts

  /// What an attempt of `task` is expected to take, in nanoseconds; nil when nobody knows.
  func expectedNanoseconds(of task: TaskID) -> Int64? {
    if let mean = meanDurations[durationClass(of: task)] { return mean }
    let estimate = workflow.tasks[task].estimateMicroseconds
    return estimate > 0 ? min(estimate, 1 << 50) * 1_000 : nil
  }

  /// How long it will be until `request` fits on `node`, with those that wait for the node already;
  /// nil when nothing that runs there will make room by itself.
  func nanosecondsUntilRoom(for request: Request, on node: NodeID) -> Int64? {
    guard node.index < allocationsOfNode.count else { return nil }
    var ends: [(wait: Int64, cores: Int, memory: UInt32)] = []
    for index in allocationsOfNode[node.index] {
      let row = allocations[index]
      // An instance stays as long as there are calls.
      guard row.phase == .none, row.head != .max else { continue }
      ends.append((nanosecondsLeft(of: row), row.grant.cpuset.count, row.grant.memoryMB))
    }
    ends.sort { $0.wait < $1.wait }
    var cores = 0
    var memory: UInt32 = 0
    for end in ends {
      cores += end.cores
      memory += end.memory
      if nodes[node].pool.fits(request, withCores: cores, memoryMB: memory) {
        let ahead = patience.coreNanoseconds(on: node) / Int64(max(nodes[node].pool.coreCount, 1))
        return end.wait + ahead
      }
    }
    return nil
  }

  /// How long the attempts of an allocation will take. One that takes longer than expected, or of
  /// which nothing is expected, is taken to last as long again as it has.
  private func nanosecondsLeft(of row: AllocationRow) -> Int64 {
    let elapsed = max(turnTime.since(row.headSince), 0)
    guard let expected = expectedNanoseconds(of: attempts[row.head].attempt.task) else {
      return min(elapsed, 1 << 60)
    }
    let first = expected > elapsed ? expected - elapsed : elapsed
    let behind = Int64(row.attemptCount - 1).multipliedReportingOverflow(by: max(expected, 0))
    return min(first, 1 << 60) + (behind.overflow ? 1 << 60 : min(behind.partialValue, 1 << 60))
  }
}
