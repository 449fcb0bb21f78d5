// Replicas that nobody of this session brought: earlier runs and sessions left them on their nodes.

extension Manager {
  /// A node has a file already. Whoever waits for it there need not wait any more; a transfer that is
  /// under way brings the same and goes on.
  mutating func onReplicaFound(
    _ value: FileValue, byteCount: Int64, from worker: WorkerID, effects: inout [ManagerEffect]
  ) {
    guard value.file.index < workflow.files.count else { return }
    if workflow.files[value.file].producer != .none {
      onAdopted(value, byteCount: byteCount, from: worker, effects: &effects)
      return
    }
    let node = nodeOfWorker[worker.index]
    let replica = enterFound(value, byteCount: byteCount, on: node, effects: &effects)
    if let replica { dropIfUnused(replica, effects: &effects) }
  }

  /// Enters what a node has as a replica, if the node does not have one; returns its row then.
  mutating func enterFound(
    _ value: FileValue, byteCount: Int64, on node: NodeID, effects: inout [ManagerEffect]
  ) -> UInt32? {
    let file = value.file
    guard let known = replicas.find(file, on: node) else {
      guard value == acceptedValue(of: file) else {
        orderUnlink(value, on: node, effects: &effects)
        return nil
      }
      let replica = replicas.add(
        file, on: node, state: .ready, byteCount: byteCount, attempt: value.attempt)
      demands[file]?.usableCount += 1
      offer(replica)
      wake(file)
      noteArrival(of: file, on: node)
      relieve(node)
      return replica
    }
    // One with a part goes on from there: its node was told to keep that under the same name.
    guard replicas[known].state == .planned, !replicas[known].hasPart,
      value == acceptedValue(of: file)
    else { return nil }
    replicas[known].state = .ready
    learnByteCount(byteCount, of: known)
    replicas[known].attempt = value.attempt
    demands[file]?.usableCount += 1
    offer(known)
    wake(file)
    wakeWaiters(of: known, effects: &effects)
    return known
  }

  /// A node has said all that it found, or will not say any more.
  mutating func endRecall(on node: NodeID) {
    nodes[node].isRecalling = false
    let waiting = nodes[node].recallReplicas
    nodes[node].recallReplicas = []
    for replica in waiting
    where replicas.find(replicas[replica].file, on: replicas[replica].node) == replica
      && replicas[replica].state == .planned && replicas[replica].isQueued
    {
      replicas[replica].isQueued = false
      demand(replica)
    }
  }
}
