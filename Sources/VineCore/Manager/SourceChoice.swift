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
  /// Enters a planned replica among those that wait for a source.
  mutating func demand(_ replica: UInt32) {
    let file = replicas[replica].file
    if demands[file] == nil {
      var demand = FileDemand()
      for other in replicas.replicas(of: file) where replicas[other].state != .planned {
        if replicas[other].isDamaged {
          if values.heirs[other] != nil { demand.usableCount += 1 }
          continue
        }
        demand.usableCount += 1
        if replicas[other].state == .ready { demand.sources.append(replicas[other].node) }
      }
      demands[file] = demand
    }
    demands[file]?.planned.append(replica)
    wake(file)
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
      // Taken out while it changes, so that its queues are not copied.
      demands[file] = nil
      demand.isAwake = false
      plan(file, &demand, at: now, effects: &effects)
      if demand.planned.isEmpty {
        for node in demand.sources { offerServer(node) }
      } else {
        demands[file] = demand
      }
    }
  }

  private mutating func plan(
    _ file: FileID, _ demand: inout FileDemand, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    while let replica = demand.planned.popFirst() {
      // A node that made the value itself meanwhile needs no transfer, and its row may be another's.
      guard replicas[replica].state == .planned, replicas[replica].file == file else { continue }
      let node = replicas[replica].node
      if replicas[replica].pinCount == 0 {
        // Whoever wanted it has failed meanwhile.
        replicas.remove(replica)
        replaceValueIfNeeded(of: file, at: now, effects: &effects)
      } else if nodes[node].receiveCount >= Limits.transfersPerReceiverMax {
        nodes[node].waitingReplicas.append(replica)
      } else if brokenFiles.contains(file) {
        failWaiters(of: replica, error: derivationFailedError, at: now, effects: &effects)
      } else if isDerivedHere(file, on: node, usableCount: demand.usableCount) {
        demand.usableCount += 1
        derive(replica, effects: &effects)
      } else if let (source, sourceReplica) = chooseSource(for: file, &demand) {
        demand.usableCount += 1
        begin(replica, from: source, sourceReplica, effects: &effects)
      } else if demand.usableCount == 0 {
        // Its value is nowhere: no use in waiting.
        valueMissing(replica, at: now, effects: &effects)
      } else {
        demand.planned.prepend(replica)
        return
      }
    }
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
      replicas[replica].pinCount == 0, replicas[replica].state == .planned
    {
      replicas.remove(replica)
    }
    for attempt in withdrawn { requeue(attempt.task, at: now, effects: &effects) }
  }

  /// A node that has the file and serves few, each in turn; else the shared file system, but only
  /// for the first replica: the second waits for it, so that the shared file system is read once.
  private mutating func chooseSource(
    for file: FileID, _ demand: inout FileDemand
  ) -> (TransferSource, UInt32)? {
    if workflow.files[file].kind == .buffer { return (.manager, .max) }
    while let node = demand.sources.popFirst() {
      guard let replica = replicas.find(file, on: node), replicas[replica].isUsable else {
        offerServer(node)
        continue
      }
      if nodes[node].serveCount < Limits.transfersPerSourceMax {
        demand.sources.append(node)
        return (.node(agent: nodes[node].agent), replica)
      }
      nodes[node].waitingFiles.append(file)
    }
    if demand.usableCount > 0 || !isOnSharedFileSystem(file) { return nil }
    return (.sharedFileSystem, .max)
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
    effects: inout [ManagerEffect]
  ) {
    let row = replicas[replica]
    var byteCount = max(row.byteCount, 0)
    var attempt =
      durableValue(of: row.file)?.value.attempt ?? acceptedValue(of: row.file).attempt
    if sourceReplica != .max {
      attempt = replicas[sourceReplica].attempt
      byteCount = replicas[sourceReplica].byteCount
      replicas[sourceReplica].pinCount += 1
      nodes[replicas[sourceReplica].node].serveCount += 1
    }
    nodes[row.node].receiveCount += 1
    replicas[replica].state = .creating
    let transfer = transfers.add(
      TransferRow(
        replica: replica, file: row.file, attempt: attempt, node: row.node, source: source,
        sourceReplica: sourceReplica, began: turnTime))
    effects.append(
      .send(
        .fetch(
          FileValue(row.file, attempt: attempt), transfer: transfer, from: source,
          byteCount: byteCount),
        to: nodes[row.node].agent))
  }

  /// A transfer is over: its two nodes have room for what waits for them.
  mutating func endTraffic(of row: TransferRow, effects: inout [ManagerEffect]) {
    nodes[row.node].receiveCount -= 1
    if let replica = nodes[row.node].waitingReplicas.popFirst() { demand(replica) }
    guard row.sourceReplica != .max else { return }
    let server = replicas[row.sourceReplica].node
    nodes[server].serveCount -= 1
    unpin(row.sourceReplica, effects: &effects)
    offerServer(server)
  }

  /// Lets the next file that waits for `node` to serve it have a look, if the node has room. A
  /// file that then does not use the room passes the offer on.
  private mutating func offerServer(_ node: NodeID) {
    while nodes[node].serveCount < Limits.transfersPerSourceMax,
      let file = nodes[node].waitingFiles.popFirst()
    {
      guard demands[file] != nil else { continue }
      demands[file]?.sources.append(node)
      wake(file)
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
    replicas[replica].byteCount = heir.byteCount
    demands[file]?.sources.append(replicas[replica].node)
    wake(file)
    commitIfWanted(file, effects: &effects)
    wakeWaiters(of: replica, effects: &effects)
    dropIfUnused(replica, effects: &effects)
  }
}
