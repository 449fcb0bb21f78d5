// Which replica has to go when a node's disk has no room: what can be had again most cheaply, and
// never what is in use, or what cannot be had again.
//
// Nodes that were never short of room keep no order at all. From the first time on, a replica is
// entered among its node's evictables whenever it may have become one; entries are checked when they
// come up, and an entry that a later one replaced is known by its stamp.

import HeapModule

/// What it takes to have an evicted replica again, cheapest first.
enum EvictionClass: UInt8 {
  /// Nobody will ask for it.
  case unneeded
  /// A copy for safety's sake, and another node has it.
  case spare
  /// Another node has it.
  case copied
  /// It lies on the shared file system, or in the description.
  case shared
  /// Its task would have to run again.
  case remade
}

/// An entry among what a node may evict.
struct EvictionKey: Comparable {
  let kind: EvictionClass
  /// Of what is made again: the time that takes, by its bytes.
  let nanosecondsPerMB: Int64
  /// Later for what was used later.
  let stamp: UInt64
  let replica: UInt32

  static func < (left: EvictionKey, right: EvictionKey) -> Bool {
    (left.kind.rawValue, left.nanosecondsPerMB, left.stamp)
      < (right.kind.rawValue, right.nanosecondsPerMB, right.stamp)
  }
}

extension Manager {
  // MARK: Entering

  /// A replica may be one that its node can evict from now on.
  mutating func offerEviction(_ replica: UInt32) {
    let node = replicas[replica].node
    guard nodes[node].disk.isPressed, let kind = evictionClass(of: replica) else { return }
    enter(replica, kind)
  }

  /// Another copy of `file` is there, or a durable one: those that had to stay need not any more.
  mutating func offerEvictions(of file: FileID) {
    guard isAnyNodePressed else { return }
    for replica in replicas.replicas(of: file, limit: 64)
    where replicas[replica].evictionStamp == 0 {
      offerEviction(replica)
    }
  }

  private mutating func enter(_ replica: UInt32, _ kind: EvictionClass) {
    let row = replicas[replica]
    evictionStamp += 1
    replicas[replica].evictionStamp = evictionStamp
    var cost: Int64 = 0
    if kind == .remade {
      let duration = meanDurations[durationClass(of: workflow.files[row.file].producer)]
      cost = (duration ?? 1_000_000_000) / ((row.byteCount >> 20) + 1)
    }
    if nodes[row.node].disk.evictables.count > 4 * Int(replicas.usage(of: row.node).replicaCount)
      + 64
    {
      forgetStaleEvictables(of: row.node)
    }
    nodes[row.node].disk.evictables.insert(
      EvictionKey(kind: kind, nanosecondsPerMB: cost, stamp: evictionStamp, replica: replica))
    nodes[row.node].disk.evictable = nil
    room.hasChanged = true
  }

  private mutating func forgetStaleEvictables(of node: NodeID) {
    let keys = nodes[node].disk.evictables.unordered
    nodes[node].disk.evictables = Heap()
    for key in keys
    where replicas[key.replica].node == node && replicas[key.replica].evictionStamp == key.stamp {
      nodes[node].disk.evictables.insert(key)
    }
  }

  /// Enters all that lies on `node`.
  mutating func gatherEvictables(on node: NodeID) {
    nodes[node].disk.isPressed = true
    nodes[node].disk.evictables = Heap()
    nodes[node].disk.evictable = nil
    isAnyNodePressed = true
    // The oldest first: nothing better is known of their last use.
    for replica in replicas.replicas(on: node) {
      replicas[replica].evictionStamp = 0
      offerEviction(replica)
    }
  }

  /// How `replica` could be had again; nil when it has to stay.
  func evictionClass(of replica: UInt32) -> EvictionClass? {
    let row = replicas[replica]
    guard row.pinCount == 0, row.isUsable, row.waiters.isEmpty, row.dependants.isEmpty,
      values.heirs[replica] == nil, demands[row.file] == nil,
      // The row may be nobody's by now.
      replicas.find(row.file, on: row.node) == replica
    else { return nil }
    let file = workflow.files[row.file]
    let producer = file.producer
    // Between the report of an output and that of its task's end.
    if producer != .none && tasks[producer.index].state != .done { return nil }
    let standing = values.durable[row.file.index].standing
    let isUnwritten =
      file.isPublished && usesCommit(producer) && !standing.isDurable && !standing.isGivenUp
    if remainingConsumers[row.file.index] == 0 && !isUnwritten { return .unneeded }
    if hasOtherCopy(of: row.file, than: row.node) { return row.isSpare ? .spare : .copied }
    if producer == .none || standing.isDurable || !usesCommit(producer) { return .shared }
    return !isUnwritten && mayBeRemade(producer) ? .remade : nil
  }

  private func hasOtherCopy(of file: FileID, than node: NodeID) -> Bool {
    var next = replicas.firstReplica(of: file)
    while let replica = next {
      let row = replicas[replica]
      if row.node != node && row.isUsable && !nodes[row.node].isDead { return true }
      next = row.next == .max ? nil : row.next
    }
    return false
  }

  /// Whether a task may run again for the sake of room: it makes the same again, and out of what will
  /// be there for sure. What is only on nodes now may be dropped before.
  private func mayBeRemade(_ task: TaskID) -> Bool {
    guard workflow.tasks[task].isDeterministic, !values.unrepeatable.contains(task),
      remakeCounts[task, default: 0] < Limits.remakesMax
    else { return false }
    return workflow.inputs(of: task).allSatisfy {
      workflow.files[$0.file].producer == .none
        || values.durable[$0.file.index].standing.isDurable
    }
  }

  // MARK: Evicting

  /// The cheapest replica that may go now, with the entry by which it was found.
  private mutating func popEvictable(on node: NodeID) -> EvictionKey? {
    while let key = nodes[node].disk.evictables.popMin() {
      // The row may be another's by now, and the entry an old one.
      guard replicas[key.replica].node == node, replicas[key.replica].evictionStamp == key.stamp
      else { continue }
      guard let kind = evictionClass(of: key.replica) else {
        replicas[key.replica].evictionStamp = 0
        continue
      }
      if kind.rawValue <= key.kind.rawValue { return key }
      // Its other copy went meanwhile: it is dearer now.
      nodes[node].disk.evictables.insert(
        EvictionKey(
          kind: kind, nanosecondsPerMB: key.nanosecondsPerMB, stamp: key.stamp,
          replica: key.replica))
    }
    return nil
  }

  /// Evicts what frees as much as is lacking, but not the inputs of `task`. If there is not that much,
  /// nothing is evicted.
  mutating func evict(
    _ lacking: DiskCapacity, on node: NodeID, for task: TaskID, effects: inout [ManagerEffect]
  ) -> Bool {
    if !nodes[node].disk.isPressed { gatherEvictables(on: node) }
    if let known = nodes[node].disk.evictable,
      known.byteCountMax < lacking.byteCountMax || known.inodeCountMax < lacking.inodeCountMax
    {
      return false
    }
    let inputs = filesNeeded(for: task)
    var victims: [EvictionKey] = []
    var spared: [EvictionKey] = []
    var found = DiskCapacity(byteCountMax: 0, inodeCountMax: 0)
    var all = found
    while found.byteCountMax < lacking.byteCountMax || found.inodeCountMax < lacking.inodeCountMax {
      guard let key = popEvictable(on: node) else {
        nodes[node].disk.evictables.insert(contentsOf: victims + spared)
        nodes[node].disk.evictable = all
        return false
      }
      let row = replicas[key.replica]
      all.byteCountMax &+= row.byteCount
      all.inodeCountMax += 1
      if inputs.contains(row.file) {
        spared.append(key)
        continue
      }
      victims.append(key)
      found.byteCountMax &+= row.byteCount
      found.inodeCountMax += 1
    }
    nodes[node].disk.evictables.insert(contentsOf: spared)
    for key in victims { evict(key.replica, effects: &effects) }
    return true
  }

  /// More lies on a node than should: evicts what may go.
  mutating func relieve(_ node: NodeID) {
    guard nodes[node].disk.isLimited, free(on: node).byteCountMax < 0 else { return }
    overfullNodes.append(node)
  }

  /// Carries out what `relieve` asked for, at the end of a turn's events.
  mutating func relieveOverfull(effects: inout [ManagerEffect]) {
    while let node = overfullNodes.popLast() {
      if nodes[node].isDead { continue }
      if !nodes[node].disk.isPressed { gatherEvictables(on: node) }
      while free(on: node).byteCountMax < 0, let key = popEvictable(on: node) {
        evict(key.replica, effects: &effects)
      }
    }
  }

  private mutating func evict(_ replica: UInt32, effects: inout [ManagerEffect]) {
    let row = replicas[replica]
    if evictionClass(of: replica) == .remade {
      hasLosses = true
      remakeCounts[workflow.files[row.file].producer, default: 0] += 1
    }
    orderUnlink(row.value, on: row.node, effects: &effects)
    replicas.remove(replica)
    knownByteCounts[row.file] = row.byteCount
    evictionCount += 1
    evictedByteCount &+= row.byteCount
  }
}
