// Which source each wanted replica reads, and when. Whatever has to wait stands in the queue of what
// it waits for, so that the end of one transfer looks at few others: with every node fetching the
// same file, or one node fetching thousands, looking through all that wait would be quadratic.

import DequeModule

/// The replicas of one file that wait for a source.
struct FileDemand {
  /// Planned replicas.
  var planned: Deque<UInt32> = []
  /// Nodes that may serve it; checked when their turn comes.
  var sources: Deque<NodeID> = []
  /// Replicas that are ready or being created: while there is one, the shared file system is not
  /// read again.
  var usableCount = 0
  /// Stands in `Manager.awakeFiles`.
  var isAwake = false
}

extension Manager {
  /// Enters a planned replica among those that wait for a source. One that others read already goes
  /// first: they wait for it.
  mutating func demand(_ replica: UInt32) {
    let file = replicas[replica].file
    defer { wake(file) }
    if replicas[replica].isQueued { return }
    replicas[replica].isQueued = true
    if demands[file] == nil { demands[file] = makeDemand(for: file) }
    if replicas[replica].readerCount > 0 {
      demands[file]?.planned.prepend(replica)
    } else {
      demands[file]?.planned.append(replica)
    }
  }

  private mutating func makeDemand(for file: FileID) -> FileDemand {
    var demand = FileDemand()
    for other in replicas.replicas(of: file) {
      replicas[other].isOffered = false
      if replicas[other].state == .planned { continue }
      if replicas[other].isDamaged {
        if values.heirs[other] != nil { demand.usableCount += 1 }
        continue
      }
      demand.usableCount += 1
      replicas[other].isOffered = true
      demand.sources.append(replicas[other].node)
    }
    return demand
  }

  /// Others may read a replica from now on, or one more may.
  mutating func offer(_ replica: UInt32) {
    let file = replicas[replica].file
    guard demands[file] != nil, !replicas[replica].isOffered else { return }
    replicas[replica].isOffered = true
    demands[file]?.sources.append(replicas[replica].node)
  }

  /// Something changed for those that wait for `file`.
  mutating func wake(_ file: FileID) {
    guard let demand = demands[file], !demand.isAwake else { return }
    demands[file]?.isAwake = true
    awakeFiles.append(file)
  }

  /// Gives each planned replica a source, as far as sources are free.
  mutating func planTransfers(at now: Instant, effects: inout [ManagerEffect]) {
    while let file = awakeFiles.popFirst() {
      guard var demand = demands[file] else { continue }
      // Taken out while it changes, so that its queues are not copied. What is added meanwhile is
      // kept beside.
      var added = FileDemand()
      added.isAwake = true
      demands[file] = added
      plan(file, &demand, at: now, effects: &effects)
      added = demands[file] ?? FileDemand()
      demand.isAwake = false
      demand.usableCount += added.usableCount
      demand.sources += added.sources
      demand.planned += added.planned
      if demand.planned.isEmpty {
        demands[file] = nil
        for node in demand.sources { offerServer(node) }
      } else {
        demands[file] = demand
        if !added.planned.isEmpty || !added.sources.isEmpty { wake(file) }
      }
    }
  }

  private mutating func plan(
    _ file: FileID, _ demand: inout FileDemand, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    while let replica = demand.planned.popFirst() {
      // Its row may be another's by now.
      guard replicas[replica].file == file else { continue }
      replicas[replica].isQueued = false
      // A node that made the value itself meanwhile needs no transfer.
      guard replicas[replica].state == .planned else { continue }
      let node = replicas[replica].node
      let hasReaders = replicas[replica].readerCount > 0
      if replicas[replica].pinCount == 0 {
        // Whoever wanted it has failed meanwhile.
        forget(replica, effects: &effects)
        replaceValueIfNeeded(of: file, at: now, effects: &effects)
      } else if !hasReaders && nodes[node].receiveLoad >= receiveLoadMax {
        replicas[replica].isQueued = true
        nodes[node].waitingReplicas.append(replica)
      } else if brokenFiles.contains(file) {
        failWaiters(of: replica, error: derivationFailedError, at: now, effects: &effects)
      } else if nodes[node].isRecalling && workflow.files[file].lifetime == .forever
        && workflow.files[file].kind == .derived
      {
        replicas[replica].isQueued = true
        nodes[node].recallReplicas.append(replica)
      } else if !hasReaders && isDerivedHere(file, on: node, usableCount: demand.usableCount) {
        demand.usableCount += 1
        derive(replica, effects: &effects)
      } else {
        switch hasReaders
          ? chooseOtherSource(for: replica, demand) : chooseSource(for: file, &demand)
        {
        case .found(.sharedFileSystem, _) where errandNode(for: file, insteadOf: node) != nil:
          guard let other = errandNode(for: file, insteadOf: node) else { continue }
          let errand = replicas.add(
            file, on: other, state: .planned, byteCount: replicas[replica].byteCount)
          begin(errand, from: .sharedFileSystem, .max, &demand, effects: &effects)
          begin(replica, from: source(of: errand), errand, &demand, effects: &effects)
        case .found(let source, let sourceReplica):
          begin(replica, from: source, sourceReplica, &demand, effects: &effects)
        case .nowhere where hasReaders:
          // What they have so far is of no use to them either. When they are gone, it is seen what
          // becomes of this one.
          dropPart(of: replica, effects: &effects)
        case .nowhere:
          // No use in waiting.
          valueMissing(replica, at: now, effects: &effects)
        case .busy:
          replicas[replica].isQueued = true
          demand.planned.prepend(replica)
          return
        }
      }
    }
  }

  /// Caches of network file systems lag: what one node did not find there, another reads for it, rank
  /// 0's node before all others. Nil: nobody else is asked.
  private func errandNode(for file: FileID, insteadOf node: NodeID) -> NodeID? {
    guard let misses = sharedMisses[file], misses.count == 1, misses[0] == node else { return nil }
    return nodes.rows.ids
      .filter { $0 != node && !nodes[$0].isDead && replicas.find(file, on: $0) == nil }
      .min { nodes[$0].agent < nodes[$1].agent }
  }

  private mutating func begin(
    _ replica: UInt32, from source: TransferSource, _ sourceReplica: UInt32,
    _ demand: inout FileDemand, effects: inout [ManagerEffect]
  ) {
    demand.usableCount += 1
    begin(
      replica, from: source, sourceReplica, seeksHelpers: demand.planned.isEmpty, effects: &effects)
    guard replicas[replica].isServable else { return }
    replicas[replica].isOffered = true
    demand.sources.append(replicas[replica].node)
  }

  /// No replica and no durable copy is left of what `replica` wants. A task that can run again makes
  /// the value anew, and those that wait for it queue behind that.
  private mutating func valueMissing(
    _ replica: UInt32, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let file = replicas[replica].file
    let producer = workflow.files[file].producer
    guard producer != .none, usesCommit(producer) else {
      failWaiters(of: replica, error: lostValueError, at: now, effects: &effects)
      return
    }
    hasLosses = true
    var withdrawn = withdrawDependants(of: replica, at: now, effects: &effects)
    for slot in Set(replicas[replica].waiters).sorted() {
      withdrawn.append(attempts[slot].attempt)
      withdraw(slot, at: now, effects: &effects)
    }
    // With its waiters it lost its pins, and with them its reason.
    if replicas.find(file, on: replicas[replica].node) == replica,
      replicas[replica].state == .planned
    {
      if replicas[replica].pinCount == 0 { forget(replica, effects: &effects) }
    }
    for attempt in withdrawn { requeue(attempt.task, at: now, effects: &effects) }
  }

  private enum Choice {
    case found(TransferSource, replica: UInt32)
    /// Whoever has it serves as many as it may.
    case busy
    /// No source is left.
    case nowhere
  }

  /// A node that has the file, or is getting it, and serves few, each in turn; else the shared file
  /// system, but only for the first replica: all others get it from each other, so that the shared
  /// file system is read once.
  private mutating func chooseSource(for file: FileID, _ demand: inout FileDemand) -> Choice {
    if workflow.files[file].kind == .buffer { return .found(.manager, replica: .max) }
    let readersMax = readersMax(of: file, demand)
    while let node = demand.sources.popFirst() {
      guard let replica = replicas.find(file, on: node) else {
        offerServer(node)
        continue
      }
      replicas[replica].isOffered = false
      guard replicas[replica].isServable, !isDoomed(replica) else {
        offerServer(node)
        continue
      }
      // It is offered again when one of them ends.
      if Int(replicas[replica].readerCount) >= readersMax {
        offerServer(node)
        continue
      }
      if nodes[node].serveLoad < serveLoadMax(of: node) {
        replicas[replica].isOffered = true
        demand.sources.append(node)
        return .found(source(of: replica), replica: replica)
      }
      nodes[node].waitingFiles.append(file)
    }
    if demand.usableCount > 0 { return .busy }
    return isOnSharedFileSystem(file) ? .found(.sharedFileSystem, replica: .max) : .nowhere
  }

  /// Another source for a replica that lost its own and has readers. It does not wait, whatever the
  /// limits say: its readers hold places of their own nodes, which others may wait for, and so on
  /// in a ring. And it reads nobody who reads it, through any number of nodes.
  private func chooseOtherSource(for replica: UInt32, _ demand: FileDemand) -> Choice {
    let file = replicas[replica].file
    if workflow.files[file].kind == .buffer { return .found(.manager, replica: .max) }
    let readersMax = readersMax(of: file, demand)
    var best: UInt32?
    for other in replicas.replicas(of: file)
    where replicas[other].isServable && !reads(other, from: replica) && !isDoomed(other) {
      if let known = best, replicas[known].readerCount <= replicas[other].readerCount { continue }
      best = other
      if Int(replicas[other].readerCount) < readersMax { break }
    }
    if let best { return .found(source(of: best), replica: best) }
    return isOnSharedFileSystem(file) ? .found(.sharedFileSystem, replica: .max) : .nowhere
  }

  /// Whether what `replica` gets comes from `other`, through any number of nodes.
  func reads(_ replica: UInt32, from other: UInt32) -> Bool {
    var next = replica
    while next != other {
      guard replicas[next].state == .creating, let row = transfers[replicas[next].transfer],
        row.sourceReplica != .max
      else { return false }
      next = row.sourceReplica
    }
    return true
  }

  /// Whether what `replica` gets comes in the end from one that was given up.
  private func isDoomed(_ replica: UInt32) -> Bool {
    if !hasGivenUpSources { return false }
    var next = replica
    while replicas[next].state == .creating, let row = transfers[replicas[next].transfer],
      row.sourceReplica != .max
    { next = row.sourceReplica }
    return replicas[next].state == .planned && !replicas[next].isQueued
  }

  private func source(of replica: UInt32) -> TransferSource {
    let agent = nodes[replicas[replica].node].agent
    return replicas[replica].state == .creating
      ? .relay(agent: agent, transfer: replicas[replica].transfer) : .node(agent: agent)
  }

  /// How many may read one replica at once. A file of many chunks costs N nodes one transfer and N
  /// chunks when each passes it on to one other; with few chunks the way through all nodes would take
  /// longer than the file.
  private func readersMax(of file: FileID, _ demand: FileDemand) -> Int {
    let chunkCount = chunkCount(of: file)
    if chunkCount <= 1 { return Int(UInt16.max) }
    return demand.planned.count + demand.usableCount <= 2 * chunkCount ? 1 : 2
  }

  private func chunkCount(of file: FileID) -> Int {
    let byteCount = knownByteCount(of: file)
    if byteCount < 0 { return Limits.chunksOfUnknownFile }
    return Int((byteCount + Limits.chunkByteCount - 1) / Limits.chunkByteCount)
  }

  /// Of a replica that is whole, or as the description has it; -1: unknown.
  private func knownByteCount(of file: FileID) -> Int64 {
    for replica in replicas.replicas(of: file, limit: 4) where replicas[replica].state == .ready {
      return replicas[replica].byteCount
    }
    return workflow.files[file].byteCountHint
  }

  private var receiveLoadMax: Int {
    Limits.transfersPerReceiverMax * Limits.smallTransfersPerTransfer
  }

  /// Whether a consumer finds the file there: it is a source, made by a task that writes where it
  /// likes, or committed.
  private func isOnSharedFileSystem(_ file: FileID) -> Bool {
    let row = workflow.files[file]
    if values.durable[file.index].standing.isDurable { return true }
    return row.kind == .path && (row.producer == .none || !usesCommit(row.producer))
  }

  mutating func begin(
    _ replica: UInt32, from source: TransferSource, _ sourceReplica: UInt32,
    isSpare: Bool = false, seeksHelpers: Bool = false, effects: inout [ManagerEffect]
  ) {
    let row = replicas[replica]
    var byteCount = knownByteCount(of: row.file)
    var attempt =
      durableValue(of: row.file)?.value.attempt ?? acceptedValue(of: row.file).attempt
    if sourceReplica != .max { attempt = replicas[sourceReplica].attempt }
    if case .node = source { byteCount = replicas[sourceReplica].byteCount }
    let isSmall = byteCount >= 0 && byteCount <= Limits.smallFileByteCountMax
    let cost = isSpare ? 0 : isSmall ? 1 : Limits.smallTransfersPerTransfer
    if sourceReplica != .max {
      replicas[sourceReplica].pinCount += 1
      replicas[sourceReplica].readerCount += 1
      nodes[replicas[sourceReplica].node].serveLoad += cost
    }
    nodes[row.node].receiveLoad += cost
    if row.attempt != attempt { dropPart(of: replica, effects: &effects) }
    let transfer = transfers.add(
      TransferRow(
        replica: replica, file: row.file, attempt: attempt, node: row.node, source: source,
        sourceReplica: sourceReplica, cost: cost, began: turnTime, isSpare: isSpare,
        server: isSpare ? replicas[sourceReplica].node : .none))
    replicas[replica].state = .creating
    replicas[replica].attempt = attempt
    replicas[replica].transfer = transfer
    replicas[replica].isRelayable = source != .derivation && source != .manager
    if !isSpare {
      nameHelpers(
        of: transfer, byteCount: byteCount, seeksHolders: seeksHelpers, effects: &effects)
    }
    effects.append(
      .send(
        .fetch(
          FileValue(row.file, attempt: attempt), transfer: transfer, from: source,
          byteCount: byteCount),
        to: nodes[row.node].agent))
    if !isSpare { nameReaders(of: transfer, byteCount: byteCount, effects: &effects) }
  }

  /// A transfer is over: its two nodes have room for what waits for them.
  mutating func endTraffic(of row: TransferRow, effects: inout [ManagerEffect]) {
    nodes[row.node].receiveLoad -= row.cost
    endSpare(row)
    // As many as may fit, and not all that wait: each has to be looked at.
    for _ in 0..<row.cost {
      guard let replica = nodes[row.node].waitingReplicas.popFirst() else { break }
      replicas[replica].isQueued = false
      demand(replica)
    }
    for helper in row.helpers { release(helper, cost: row.cost, effects: &effects) }
    guard row.sourceReplica != .max else { return }
    let source = row.sourceReplica
    let server = replicas[source].node
    nodes[server].serveLoad -= row.cost
    replicas[source].readerCount -= 1
    if replicas[source].isServable { offer(source) }
    wake(row.file)
    unpin(source, effects: &effects)
    // One that had no source and waited for its readers to go.
    if replicas[source].state == .planned && replicas[source].readerCount == 0 { demand(source) }
    offerServer(server, count: row.cost)
  }

  /// Lets the next files that wait for `node` to serve them have a look, if the node has room. A
  /// file that then does not use the room passes the offer on.
  mutating func offerServer(_ node: NodeID, count: Int = 1) {
    var left = count
    while left > 0, nodes[node].serveLoad < serveLoadMax(of: node),
      let file = nodes[node].waitingFiles.popFirst()
    {
      guard demands[file] != nil, let replica = replicas.find(file, on: node) else { continue }
      offer(replica)
      wake(file)
      left -= 1
    }
  }
}

// MARK: - Damage

/// ESTALE: stands for a value of which no replica is left.
let lostValueError: Int32 = 116

extension Manager {
  /// A task changed the replica of `file` on `node`: it is discarded as soon as nobody uses it, and
  /// never given to anybody from now on.
  mutating func onDamage(to value: FileValue, on node: NodeID) {
    let file = value.file
    guard let replica = replicas.find(file, on: node), replicas[replica].isUsable,
      replicas[replica].attempt == value.attempt
    else { return }
    replicas[replica].isDamaged = true
    if !patience.isEmpty { patience.losses.append(file) }
    hasLosses = true
    if let commit = commits[value], nodeOfWorker[commit.worker.index] == node {
      commits[value]?.isDamaged = true
    }
    demands[file]?.usableCount -= 1
    wake(file)
  }

  /// Once only attempts that wait for it pin a damaged replica, it is forgotten and wanted anew.
  mutating func settleDamaged(_ replica: UInt32, effects: inout [ManagerEffect]) {
    let row = replicas[replica]
    guard Int(row.pinCount) == row.waiters.count + row.dependants.count else { return }
    orderUnlink(row.value, on: row.node, effects: &effects)
    if let heir = values.heirs.removeValue(forKey: replica) {
      install(heir, in: replica, effects: &effects)
    } else if row.waiters.isEmpty && row.dependants.isEmpty {
      replicas.remove(replica)
    } else {
      replicas[replica].isDamaged = false
      replicas[replica].state = .planned
      demand(replica)
    }
  }

  /// Nobody uses the earlier value of this row any more: the one that counts takes its place.
  private mutating func install(
    _ heir: Heir, in replica: UInt32, effects: inout [ManagerEffect]
  ) {
    let file = replicas[replica].file
    replicas[replica].isDamaged = false
    replicas[replica].attempt = heir.attempt
    learnByteCount(heir.byteCount, of: replica)
    offer(replica)
    wake(file)
    commitIfWanted(file, effects: &effects)
    wakeWaiters(of: replica, effects: &effects)
    dropIfUnused(replica, effects: &effects)
  }
}
