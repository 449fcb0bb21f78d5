// Further sources of one transfer. Its receiver shares the file out among them in stripes, as each is
// quick, and goes on without one that fails; the manager only says whom it may ask.

extension Manager {
  /// How many further sources a transfer of such a file may have: 0 where it is not worth the while.
  private func helperCountMax(for file: FileID, byteCount: Int64) -> Int {
    let row = workflow.files[file]
    // What two nodes have derived for themselves may differ in its bytes.
    if row.isDirectory || row.kind == .buffer || row.kind == .derived { return 0 }
    if byteCount >= 0 && byteCount < Limits.stripedByteCountMin { return 0 }
    return Int(workflow.policy.sourcesPerTransfer) - 1
  }

  /// Before a receiver is told to begin: nodes that have the whole file and serve nobody help its
  /// source, and it may itself be asked to read ranges of the original.
  mutating func nameHelpers(
    of transfer: TransferID, byteCount: Int64, seeksHolders: Bool,
    effects: inout [ManagerEffect]
  ) {
    guard let row = transfers[transfer] else { return }
    let countMax = helperCountMax(for: row.file, byteCount: byteCount)
    let value = FileValue(row.file, attempt: row.attempt)
    let agent = nodes[row.node].agent
    switch row.source {
    case .node where seeksHolders && byteCount >= 0 && countMax > 0:
      for helper in idleHolders(besides: row, countMax: countMax) {
        replicas[helper].pinCount += 1
        nodes[replicas[helper].node].serveLoad += row.cost
        transfers[transfer]?.helpers.append(helper)
        let source = TransferSource.node(agent: nodes[replicas[helper].node].agent)
        effects.append(.send(.assist(value, transfer: transfer, from: source), to: agent))
      }
    case .relay:
      guard let root = sharedReader(behind: row, depthMax: countMax),
        let count = transfers[root]?.readerCount, count < countMax
      else { return }
      transfers[transfer]?.isReader = true
      effects.append(.send(.assist(value, transfer: transfer, from: .sharedFileSystem), to: agent))
    default: break
    }
  }

  /// After a receiver was told to begin: who reads the shared file system hears of those that will
  /// read ranges for it.
  mutating func nameReaders(
    of transfer: TransferID, byteCount: Int64, effects: inout [ManagerEffect]
  ) {
    guard let row = transfers[transfer] else { return }
    let countMax = helperCountMax(for: row.file, byteCount: byteCount)
    if row.isReader {
      guard let root = sharedReader(behind: row, depthMax: countMax) else { return }
      name(transfer, asReaderFor: root, effects: &effects)
    } else if row.source == .sharedFileSystem, replicas[row.replica].readerCount > 0 {
      // It takes over from a reader that was lost, and from that one's helpers.
      for other in replicas.replicas(of: row.file)
      where other != row.replica && transfers[transfer]?.readerCount ?? 0 < countMax
        && replicas[other].state == .creating && reads(other, from: row.replica)
        && transfers[replicas[other].transfer]?.isReader ?? false
      {
        name(replicas[other].transfer, asReaderFor: transfer, effects: &effects)
      }
    }
  }

  private mutating func name(
    _ helper: TransferID, asReaderFor root: TransferID, effects: inout [ManagerEffect]
  ) {
    guard let helping = transfers[helper], let row = transfers[root] else { return }
    transfers[root]?.readerCount += 1
    let source = TransferSource.relay(agent: nodes[helping.node].agent, transfer: helper)
    let value = FileValue(row.file, attempt: row.attempt)
    effects.append(
      .send(.assist(value, transfer: root, from: source), to: nodes[row.node].agent))
  }

  /// The transfer that reads the shared file system for this one, through few other nodes.
  private func sharedReader(behind row: TransferRow, depthMax: Int) -> TransferID? {
    var next = row.sourceReplica
    for _ in 0..<max(depthMax, 0) {
      guard next != .max, replicas[next].state == .creating,
        let known = transfers[replicas[next].transfer]
      else { return nil }
      if known.source == .sharedFileSystem { return replicas[next].transfer }
      next = known.sourceReplica
    }
    return nil
  }

  private func idleHolders(besides row: TransferRow, countMax: Int) -> [UInt32] {
    var found: [UInt32] = []
    for other in replicas.replicas(of: row.file, limit: Limits.helperLooksMax)
    where other != row.sourceReplica && replicas[other].isUsable
      && replicas[other].attempt == row.attempt && nodes[replicas[other].node].serveLoad == 0
      && !nodes[replicas[other].node].isDead && found.count < countMax
    {
      found.append(other)
    }
    return found
  }

  /// A helper is not needed any more.
  mutating func release(_ helper: UInt32, cost: Int, effects: inout [ManagerEffect]) {
    let server = replicas[helper].node
    nodes[server].serveLoad -= cost
    wake(replicas[helper].file)
    unpin(helper, effects: &effects)
    offerServer(server, count: cost)
  }

  /// A receiver goes on without one of its helpers. One that sent damaged bytes again and again has a
  /// damaged replica.
  mutating func onHelperFailed(
    _ transfer: TransferID, _ agent: WorkerID, error: Int32, effects: inout [ManagerEffect]
  ) {
    guard let row = transfers[transfer],
      let place = row.helpers.firstIndex(where: { nodes[replicas[$0].node].agent == agent })
    else { return }
    let helper = row.helpers[place]
    transfers[transfer]?.helpers.remove(at: place)
    if error == damagedSourceError {
      onDamage(to: replicas[helper].value, on: replicas[helper].node)
    }
    release(helper, cost: row.cost, effects: &effects)
  }
}
