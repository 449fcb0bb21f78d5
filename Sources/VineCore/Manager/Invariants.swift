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
    let pool = nodes[node].pool
    invariant(pool.freeCoreCount + held.count == pool.coreCount, "cores are lost")
    invariant(UInt64(pool.freeMemoryMB) + memory == UInt64(pool.memoryMB), "memory is lost")
  }
}
