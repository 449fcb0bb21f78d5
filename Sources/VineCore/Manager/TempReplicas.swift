// Further copies of what lies on nodes only, so that the loss of one node costs no work: as many as the
// policy's `temp_replicas` says, as long as somebody may still read them.
//
// They are made in the background: none is begun while anything that a task waits for is waiting for
// a source or for room, they take nothing of the nodes' limits on transfers, the end of a run does not
// wait for them, and they are the first to go where a disk fills up. A disk that was short of room
// gets no more of them: what was evicted there would only come back.

import DequeModule

/// Files that may want another copy, and the copies that are on their way.
struct SpareBook {
  /// Those of which there was one copy at most, and the others.
  var scarce: Deque<FileID> = []
  var others: Deque<FileID> = []
  /// All that stand in one of the two.
  var waiting: Set<FileID> = []
  /// Nodes that send or receive one now.
  var sending: Set<NodeID> = []
  var receiving: Set<NodeID> = []
  /// Transfers under way.
  var transferCount = 0
  /// Copies that did not come about, by file.
  var failureCounts: [FileID: Int] = [:]
  /// Where the search for a node goes on.
  var nextNode = 0
  /// Copies that were made so far.
  var madeCount = 0
}

extension Manager {
  /// Copies made for safety's sake so far.
  package var spareCount: Int { spares.madeCount }

  private var copiesWanted: Int { Int(workflow.policy.tempReplicas) }

  // MARK: Noting

  /// The outputs of a task are there.
  mutating func wantSpares(ofOutputsOf task: TaskID) {
    guard copiesWanted > 1 else { return }
    for output in workflow.outputs(of: task) { wantSpares(of: output.file) }
  }

  /// There may be fewer copies of `file` than there should be.
  mutating func wantSpares(of file: FileID) {
    guard copiesWanted > 1, isWorthSpares(file), spares.waiting.insert(file).inserted else {
      return
    }
    if copyCount(of: file) < 2 {
      spares.scarce.append(file)
    } else {
      spares.others.append(file)
    }
  }

  /// Whether the accepted value of `file` is on nodes only, and will stay so while tasks need it.
  private func isWorthSpares(_ file: FileID) -> Bool {
    let row = workflow.files[file]
    guard row.kind == .temp, row.producer != .none, tasks[row.producer.index].state == .done,
      usesCommit(row.producer), remainingConsumers[file.index] > 0
    else { return false }
    switch values.durable[file.index].standing {
    case .volatile, .unwritten: return true
    case .committing, .committed, .publishing, .published, .journaled, .stranded: return false
    }
  }

  /// Nodes that have the value, or are about to have it.
  private func copyCount(of file: FileID) -> Int {
    var count = 0
    var next = replicas.firstReplica(of: file)
    while let replica = next {
      let row = replicas[replica]
      if row.state != .planned && !row.isDamaged && !nodes[row.node].isDead { count += 1 }
      next = row.next == .max ? nil : row.next
    }
    return count
  }

  // MARK: Making

  /// Begins a few copies if nothing more urgent waits.
  mutating func makeSpares(effects: inout [ManagerEffect]) {
    guard !spares.waiting.isEmpty, demands.isEmpty, room.aside.isEmpty, !room.isCrowded else {
      return
    }
    var begunCount = 0
    var scarceLooks = min(spares.scarce.count, Limits.spareLooksMax)
    var otherLooks = min(spares.others.count, Limits.spareLooksMax - scarceLooks)
    while begunCount < Limits.sparesPerTurnMax {
      let file: FileID
      if scarceLooks > 0, let first = spares.scarce.popFirst() {
        scarceLooks -= 1
        file = first
      } else if otherLooks > 0, let first = spares.others.popFirst() {
        otherLooks -= 1
        file = first
      } else {
        return
      }
      spares.waiting.remove(file)
      let count = copyCount(of: file)
      guard isWorthSpares(file), count > 0, count < copiesWanted,
        spares.failureCounts[file, default: 0] < Limits.fetchRetryMax
      else { continue }
      if makeSpare(of: file, effects: &effects) { begunCount += 1 }
      // It has another look until there are enough.
      wantSpares(of: file)
    }
  }

  private mutating func makeSpare(of file: FileID, effects: inout [ManagerEffect]) -> Bool {
    guard let source = spareSource(of: file) else { return false }
    let byteCount = replicas[source].byteCount
    guard let node = spareNode(for: file, byteCount: byteCount) else { return false }
    let agent = nodes[replicas[source].node].agent
    spares.transferCount += 1
    spares.sending.insert(replicas[source].node)
    spares.receiving.insert(node)
    let replica = replicas.add(file, on: node, state: .planned, byteCount: byteCount)
    replicas[replica].isSpare = true
    begin(replica, from: .node(agent: agent), source, isSpare: true, effects: &effects)
    return true
  }

  /// Of those that have it whole, the one that sends least.
  private func spareSource(of file: FileID) -> UInt32? {
    var best: UInt32?
    for replica in replicas.replicas(of: file, limit: Limits.spareNodeLooksMax) {
      let row = replicas[replica]
      guard row.isUsable, !nodes[row.node].isDead, !spares.sending.contains(row.node) else {
        continue
      }
      if let known = best,
        nodes[replicas[known].node].serveLoad <= nodes[row.node].serveLoad
      {
        continue
      }
      best = replica
    }
    return best
  }

  /// Of the next few nodes with room and without a copy, the one that receives least, and among
  /// equals the one with most room.
  private mutating func spareNode(for file: FileID, byteCount: Int64) -> NodeID? {
    var best: NodeID?
    for _ in 0..<min(nodes.count, Limits.spareNodeLooksMax) {
      if spares.nextNode >= nodes.count { spares.nextNode = 0 }
      let node = NodeID(index: spares.nextNode)
      spares.nextNode += 1
      let row = nodes[node]
      guard !row.isDead, !row.disk.isPressed, !spares.receiving.contains(node),
        replicas.find(file, on: node) == nil
      else { continue }
      let free = free(on: node)
      guard free.byteCountMax >= byteCount, free.inodeCountMax >= 1 else { continue }
      if let known = best {
        let load = nodes[known].receiveLoad
        if load < row.receiveLoad { continue }
        if load == row.receiveLoad, self.free(on: known).byteCountMax >= free.byteCountMax {
          continue
        }
      }
      best = node
    }
    return best
  }

  // MARK: Ends

  /// A transfer for a copy is over, well or not.
  mutating func endSpare(_ row: TransferRow) {
    guard row.isSpare else { return }
    spares.transferCount -= 1
    spares.sending.remove(row.server)
    spares.receiving.remove(row.node)
    wantSpares(of: row.file)
  }
}
