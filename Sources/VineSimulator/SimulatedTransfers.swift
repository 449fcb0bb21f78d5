// Files on their way into simulated nodes. A node passes a file on while it still gets it: whoever
// reads from it ends a chunk's time behind it, keeps what came when it fails, and goes on there.

import VineCore

/// A movement of a file to a node, as its end will be told.
struct SimulatedTransfer {
  let worker: WorkerID
  let value: FileValue
  let transfer: TransferID
  let source: TransferSource
  let byteCount: Int64
  var error: Int32 = 0
  /// What it brings; of one that reads a node, what that has in the end.
  var origin: Origin?
}

extension Simulation {
  /// Begins a transfer that an agent was ordered.
  mutating func fetch(
    _ value: FileValue, _ transfer: TransferID, from source: TransferSource, byteCount: Int64,
    to worker: WorkerID, at now: Instant
  ) {
    let node = ranks[worker.index].node
    let byteCount = self.byteCount(of: value.file)
    result.transferCount += 1
    let mayBeFound = workflow.files[value.file].lifetime == .forever
    if nodes[node].cache[value] != nil && isPristine && !mayBeFound {
      checkers?.violate("\(value.file) is fetched to node \(node), which has it")
    }
    nodes[node].parts.remove(value)
    nodes[node].growing[value] = transfer
    ranks[worker.index].lastTransfer = max(transfer, ranks[worker.index].lastTransfer ?? transfer)
    var row = SimulatedTransfer(
      worker: worker, value: value, transfer: transfer, source: source, byteCount: byteCount)
    let end: Instant
    switch source {
    case .sharedFileSystem:
      row.origin = shared(value)
      // An order may cross with the end of its value: the reader finds nothing.
      if row.origin == nil && !discarded.contains(value) {
        checkers?.violate("\(value) is fetched before it is written")
      }
      if isPristine && manager.evictionCount == 0 { checkers?.readsShared(value) }
      end = network.sharedToNode(node, byteCount: byteCount, from: now)
      result.bytes.sharedToNode += byteCount
      row.error = row.origin == nil ? 2 : faults?.transferError() ?? 0
      if row.error != 0 && faults?.coin() ?? false { row.error = 2 }
    case .manager:
      row.origin = .source(value.file)
      end = network.managerToNode(node, byteCount: byteCount, from: now)
      result.bytes.managerToNode += byteCount
      row.error = faults?.transferError() ?? 0
    case .derivation:
      row.origin = derive(value, transfer, on: node)
      end = now.adding(nanoseconds: 1 + (faults?.delay() ?? 1_000_000))
      row.error = faults?.transferError() ?? 0
      if row.error != 0 && faults?.coin() ?? false { row.error = derivationFailedError }
    case .node(let agent), .relay(let agent, _):
      let other = ranks[agent.index].node
      if case .node = source, !ranks[agent.index].isDead {
        checkers?.reads(value, from: other, isThere: nodes[other].cache[value] != nil)
      }
      end = nodesToNode(other, node, transfer, byteCount: byteCount, from: now)
      result.bytes.nodeToNode += byteCount
      row.error = faults?.transferError() ?? 0
    }
    heap.insert(.transferEnded(row), at: end)
  }

  /// What a reader of the shared file system finds under the name of a value.
  private func shared(_ value: FileValue) -> Origin? {
    let producer = workflow.files[value.file].producer
    if producer == .none { return .source(value.file) }
    if workflow.tasks[producer].usesSandbox {
      return durableValues[value] ?? publishedCopy(of: value)
    }
    return sharedFiles[value.file]
  }

  private func publishedCopy(of value: FileValue) -> Origin? {
    renamed[value].flatMap { sharedFiles[value.file] == $0 ? $0 : nil }
  }

  /// The last byte of a transfer could have come by now.
  mutating func transferEnded(_ ended: SimulatedTransfer, at now: Instant) {
    var row = ended
    let node = ranks[row.worker.index].node
    guard !ranks[row.worker.index].isDead, nodes[node].growing[row.value] == row.transfer else {
      return
    }
    for input in derivationInputs.removeValue(forKey: row.transfer) ?? []
    where nodes[node].cache[input] == nil {
      checkers?.violate("\(input) goes while \(row.value) is made of it")
    }
    if let agent = row.source.agent {
      let other = ranks[agent.index]
      if other.isDead && !other.isDeclaredLost {
        other.stalledTransfers.append(row)
        return
      }
      if row.error == 0 && !other.isDead, case .relay(_, let transfer) = row.source,
        nodes[other.node].cache[row.value] == nil,
        nodes[other.node].isGetting(row.value) || (other.lastTransfer.map { $0 < transfer } ?? true)
      {
        nodes[other.node].followers[row.value, default: []].append(row)
        return
      }
      conclude(&row, from: other)
    }
    if row.error == 0 && !hasRoom(for: row.byteCount, on: node) {
      row.error = 28
      tell(row.worker, .diskMeasured(freeRoom(on: node)), at: now)
    }
    shareOut(row, at: now)
    finish(row, on: node, at: now)
  }

  /// What a node that was read has in the end.
  private mutating func conclude(_ row: inout SimulatedTransfer, from other: SimulatedRank) {
    row.origin = other.isDead ? nil : nodes[other.node].cache[row.value]
    if row.error != 0 { return }
    if other.isDead {
      row.error = sourceGoneError
    } else if case .node = row.source {
      checkers?.reads(row.value, from: other.node, isThere: row.origin != nil)
    }
    if row.origin == nil { row.error = sourceGoneError }
  }

  private mutating func finish(_ row: SimulatedTransfer, on node: Int, at now: Instant) {
    nodes[node].growing[row.value] = nil
    if row.error == 0, let origin = row.origin {
      nodes[node].cache[row.value] = origin
      // The last chunk is still on its way to those behind.
      let chunk = network.chunkNanoseconds(of: row.byteCount)
      for follower in nodes[node].followers.removeValue(forKey: row.value) ?? [] {
        heap.insert(.transferEnded(follower), at: now.adding(nanoseconds: chunk))
      }
    } else if row.error == sourceGoneError || faults?.coin() ?? false {
      nodes[node].parts.insert(row.value)
    } else {
      refuseFollowers(of: row.value, on: node, at: now)
    }
    tell(
      row.worker, .transferred(row.transfer, byteCount: row.byteCount, error: row.error), at: now)
  }

  /// Whoever reads a value from `node` gets no more of it.
  private mutating func refuseFollowers(of value: FileValue, on node: Int, at now: Instant) {
    for var follower in nodes[node].followers.removeValue(forKey: value) ?? [] {
      follower.error = sourceGoneError
      heap.insert(.transferEnded(follower), at: now.adding(nanoseconds: 1_000))
    }
  }

  /// A node forgets a value, or what it has of it so far.
  mutating func unlink(_ value: FileValue, on node: Int, at now: Instant) {
    let hadPart = nodes[node].parts.remove(value) != nil
    if hadPart { refuseFollowers(of: value, on: node, at: now) }
    if nodes[node].cache.removeValue(forKey: value) == nil && !hadPart && isPristine
      && faults?.hasFileErrors != true
    {
      checkers?.violate("\(value) is unlinked on node \(node), which does not have it")
    }
  }

  /// An agent died: what it was getting is lost, and those that read from it wait until they hear.
  mutating func loseTransfers(of worker: WorkerID, _ rank: SimulatedRank) {
    let node = rank.node
    let values = nodes[node].followers.keys.sorted {
      ($0.file, $0.attempt) < ($1.file, $1.attempt)
    }
    for value in values {
      guard let rows = nodes[node].followers[value] else { continue }
      rank.stalledTransfers += rows.filter { $0.source.agent == worker }
      nodes[node].followers[value] = rows.filter { $0.source.agent != worker }
    }
    if nodes[node].agent == worker {
      nodes[node].growing = [:]
      nodes[node].helpers = [:]
      nodes[node].parts = []
    }
  }
}
