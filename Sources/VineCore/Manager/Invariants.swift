// What must be true of the manager's tables between any two events.

extension Manager {
  /// Ends the process when tables contradict each other. For tests and the simulator: it walks
  /// everything.
  package func checkInvariants() {
    var active = 0
    for (index, row) in tasks.enumerated() {
      let isActive = row.state == .staging || row.state == .sent
      invariant(isActive == (row.slot != .max), "task \(index) is \(row.state) with a wrong slot")
      if isActive {
        active += 1
        invariant(attempts[row.slot].attempt.task.index == index, "an attempt of another task")
      }
      if row.state == .waiting {
        invariant(row.pendingCount > 0, "task \(index) waits for nothing")
      }
    }
    invariant(active == attempts.liveCount, "attempts without tasks")
    for node in nodes.rows.ids { checkPool(of: node) }
    checkPatience()
    checkTransfers()
  }

  private func checkPatience() {
    var counts = Array(repeating: 0, count: patience.queues.count)
    for row in patience.rows.values {
      for node in row.choice.nodes { counts[node.index] += 1 }
      let latest = (patience.since[row.key.task] ?? .zero)
        .adding(nanoseconds: Limits.patienceNanosecondsMax)
      invariant(row.choice.deadline <= latest, "a task waits for its inputs without end")
    }
    for (index, queue) in patience.queues.enumerated() {
      invariant(queue.count == counts[index], "tasks that wait for a node are miscounted")
    }
    for (node, running) in allocationsOfNode.enumerated() {
      for (place, allocation) in running.enumerated() {
        let row = allocations[allocation]
        invariant(
          !row.isFree && row.node.index == node && Int(row.placeOnNode) == place,
          "an allocation is not where its node has it")
      }
    }
  }

  private func checkTransfers() {
    var readers: [UInt32: Int] = [:]
    var helperCounts: [UInt32: Int] = [:]
    var spareCount = 0
    var serveLoads: [NodeID: Int] = [:]
    var receiveLoads: [NodeID: Int] = [:]
    for transfer in transfers.ids {
      guard let row = transfers[transfer] else { continue }
      receiveLoads[row.node, default: 0] += row.cost
      if row.isSpare { spareCount += 1 }
      if row.sourceReplica != .max {
        readers[row.sourceReplica, default: 0] += 1
        serveLoads[replicas[row.sourceReplica].node, default: 0] += row.cost
      }
      for helper in row.helpers {
        helperCounts[helper, default: 0] += 1
        serveLoads[replicas[helper].node, default: 0] += row.cost
      }
      guard row.replica != .max else { continue }
      invariant(
        replicas[row.replica].state == .creating && replicas[row.replica].transfer == transfer,
        "a transfer into a replica that is not being created by it")
      checkChain(from: row.replica)
    }
    invariant(spareCount == spares.transferCount, "spare copies are miscounted")
    for (replica, count) in readers {
      invariant(Int(replicas[replica].readerCount) == count, "readers are miscounted")
      invariant(Int(replicas[replica].pinCount) >= count, "a source is not pinned")
    }
    for (replica, count) in helperCounts {
      let readerCount = readers[replica] ?? 0
      invariant(Int(replicas[replica].pinCount) >= count + readerCount, "a helper is not pinned")
      invariant(replicas[replica].state == .ready, "a helper is not whole")
    }
    for node in nodes.rows.ids where !nodes[node].isDead {
      invariant(nodes[node].serveLoad == serveLoads[node] ?? 0, "a node's load is miscounted")
      invariant(nodes[node].receiveLoad == receiveLoads[node] ?? 0, "a node's load is miscounted")
    }
  }

  /// What a replica is made from ends somewhere: in a ring, all would wait for each other.
  private func checkChain(from replica: UInt32) {
    var next = replica
    for _ in 0...nodes.count {
      guard replicas[next].state == .creating, let row = transfers[replicas[next].transfer],
        row.sourceReplica != .max
      else { return }
      next = row.sourceReplica
    }
    invariant(false, "replicas wait for each other")
  }

  private func checkDisk(of node: NodeID) {
    var byteCount: Int64 = 0
    var freeingCount = 0
    for row in allocations.rows where !row.isFree && row.node == node {
      var slot = row.head
      while slot != .max {
        if attempts[slot].holdsRoom { byteCount &+= attempts[slot].byteCountMax }
        if attempts[slot].isFreeing { freeingCount += 1 }
        slot = attempts[slot].next
      }
    }
    invariant(nodes[node].disk.attemptByteCount == byteCount, "room of attempts is miscounted")
    invariant(nodes[node].disk.freeingCount == freeingCount, "what frees room is miscounted")
    byteCount = 0
    var madeByteCount: Int64 = 0
    for replica in replicas.replicas(on: node) {
      byteCount &+= replicas[replica].byteCount
      if workflow.files[replicas[replica].file].kind == .temp {
        madeByteCount &+= replicas[replica].byteCount
      }
    }
    invariant(
      replicas.usage(of: node).madeByteCount == madeByteCount,
      "intermediate files of a node are miscounted")
    invariant(replicas.usage(of: node).byteCount == byteCount, "room of replicas is miscounted")
  }

  private func checkLane(_ row: AllocationRow) {
    invariant(row.head != .max || row.phase != .none, "an allocation without an attempt")
    var count: UInt32 = 0
    var slot = row.head
    while slot != .max {
      count += 1
      invariant(attempts[slot].next != .max || slot == row.tail, "a lane with another end")
      slot = attempts[slot].next
    }
    invariant(count == row.attemptCount, "a lane is miscounted")
  }

  private func checkPool(of node: NodeID) {
    var held = CPUSet()
    var memory: UInt64 = 0
    for row in allocations.rows where !row.isFree && row.node == node {
      invariant(held.isDisjoint(with: row.grant.cpuset), "a core is granted twice")
      checkLane(row)
      held.formUnion(row.grant.cpuset)
      memory += UInt64(row.grant.memoryMB)
    }
    checkDisk(of: node)
    let pool = nodes[node].pool
    invariant(pool.freeCoreCount + held.count == pool.coreCount, "cores are lost")
    invariant(UInt64(pool.freeMemoryMB) + memory == UInt64(pool.memoryMB), "memory is lost")
  }
}
