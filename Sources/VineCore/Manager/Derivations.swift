// Derived files: when a node makes one itself, and when it gets it from a node that has it.
//
// A derived replica is made in two steps. First its inputs are brought onto the node and pinned, like
// a task's; then the agent is ordered to make it, which is a transfer that reads nowhere. What a
// derived file is made of is an implied input of every task that uses it, so that dependencies,
// recovery and the barrier know of it without a word about derivations.

/// What making a derived file took the last time.
struct DerivationCost {
  let nanoseconds: Int64
  let byteCount: Int64
}

extension Manager {
  /// Whether a node makes a derived file itself, rather than wait for a copy of a replica elsewhere.
  ///
  /// The first node makes it, and the others wait: nothing is known of its cost before. A download is
  /// never made twice. Anything else is made where that took less time than moving the result would.
  func isDerivedHere(_ file: FileID, on node: NodeID, usableCount: Int) -> Bool {
    guard let derivation = workflow.derivation(of: file) else { return false }
    if usableCount == 0 { return true }
    guard derivation.kind != .url, let cost = derivationCosts[file] else { return false }
    var nanoseconds = cost.nanoseconds
    for input in derivation.inputs {
      if let replica = replicas.find(input.file, on: node), replicas[replica].isUsable { continue }
      nanoseconds += transferNanoseconds(byteCount: byteCount(of: input.file))
    }
    return nanoseconds < transferNanoseconds(byteCount: cost.byteCount)
  }

  private func transferNanoseconds(byteCount: Int64) -> Int64 {
    // A message there and back, even for an empty file.
    1_000_000 + Int64(Double(max(byteCount, 0)) / bytesPerSecond * 1e9)
  }

  /// Learns from a transfer that ended well.
  mutating func learnCost(of row: TransferRow, byteCount: Int64) {
    let nanoseconds = turnTime.since(row.began)
    switch row.source {
    case .derivation:
      derivationCosts[row.file] = DerivationCost(nanoseconds: nanoseconds, byteCount: byteCount)
    case .node where byteCount >= Limits.measuredByteCountMin && nanoseconds > 0:
      let measured = Double(byteCount) / Double(nanoseconds) * 1e9
      bytesPerSecond += (measured - bytesPerSecond) / 8
    case .node, .relay, .manager, .sharedFileSystem: break
    }
  }

  // MARK: Making one

  /// Brings the inputs of a planned replica onto its node, and has it made when all are there.
  mutating func derive(_ replica: UInt32, effects: inout [ManagerEffect]) {
    let row = replicas[replica]
    replicas[replica].state = .creating
    replicas[replica].isRelayable = false
    replicas[replica].isGatheringInputs = true
    var missing: UInt32 = 0
    for input in workflow.derivation(of: row.file)?.inputs ?? [] {
      let other = wantReplica(of: input.file, on: row.node)
      replicas[other].pinCount += 1
      if !replicas[other].isUsable {
        replicas[other].dependants.append(replica)
        missing += 1
      }
    }
    replicas[replica].missingInputCount = missing
    if missing == 0 { make(replica, effects: &effects) }
  }

  /// Every input is there.
  private mutating func make(_ replica: UInt32, effects: inout [ManagerEffect]) {
    if replicas[replica].pinCount == 0 {
      // Whoever wanted it has failed meanwhile.
      let file = replicas[replica].file
      stopGathering(replica, effects: &effects)
      demands[file]?.usableCount -= 1
      wake(file)
      forget(replica, effects: &effects)
      return
    }
    replicas[replica].isGatheringInputs = false
    begin(replica, from: .derivation, .max, effects: &effects)
  }

  /// An input is there.
  mutating func wakeDependants(of replica: UInt32, effects: inout [ManagerEffect]) {
    let dependants = replicas[replica].dependants
    replicas[replica].dependants = []
    for dependant in dependants {
      replicas[dependant].missingInputCount -= 1
      if replicas[dependant].missingInputCount == 0 { make(dependant, effects: &effects) }
    }
  }

  /// Gives up the inputs of a replica that was not begun to be made.
  mutating func stopGathering(_ replica: UInt32, effects: inout [ManagerEffect]) {
    guard replicas[replica].isGatheringInputs else { return }
    let row = replicas[replica]
    replicas[replica].isGatheringInputs = false
    replicas[replica].missingInputCount = 0
    for input in workflow.derivation(of: row.file)?.inputs ?? [] {
      guard let other = replicas.find(input.file, on: row.node) else { continue }
      replicas[other].dependants.removeAll { $0 == replica }
    }
    unpinDerivationInputs(of: row.file, on: row.node, effects: &effects)
  }

  /// A derived file was made, or not: its inputs are not needed for it any more.
  mutating func unpinDerivationInputs(
    of file: FileID, on node: NodeID, effects: inout [ManagerEffect]
  ) {
    for input in workflow.derivation(of: file)?.inputs ?? [] {
      if let other = replicas.find(input.file, on: node), replicas[other].pinCount > 0 {
        unpin(other, effects: &effects)
      }
    }
  }

  // MARK: What goes wrong

  /// An input cannot be had: neither can what is made of it. `cause` is the file to blame.
  mutating func failDependants(
    of replica: UInt32, error: Int32, cause: FileID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    let dependants = replicas[replica].dependants
    replicas[replica].dependants = []
    for dependant in dependants {
      let file = replicas[dependant].file
      stopGathering(dependant, effects: &effects)
      demands[file]?.usableCount -= 1
      wake(file)
      replicas[dependant].state = .planned
      failWaiters(of: dependant, error: error, cause: cause, at: now, effects: &effects)
    }
  }

  /// The value of an input is nowhere and will be made again: all attempts that wait for what is made
  /// of it are withdrawn, and returned.
  mutating func withdrawDependants(
    of replica: UInt32, at now: Instant, effects: inout [ManagerEffect]
  ) -> [AttemptID] {
    var withdrawn: [AttemptID] = []
    let dependants = replicas[replica].dependants
    replicas[replica].dependants = []
    for dependant in dependants {
      let file = replicas[dependant].file
      withdrawn += withdrawDependants(of: dependant, at: now, effects: &effects)
      for slot in Set(replicas[dependant].waiters).sorted() {
        withdrawn.append(attempts[slot].attempt)
        withdraw(slot, at: now, effects: &effects)
      }
      stopGathering(dependant, effects: &effects)
      demands[file]?.usableCount -= 1
      wake(file)
      if replicas[dependant].pinCount == 0 {
        forget(dependant, effects: &effects)
      } else {
        replicas[dependant].state = .planned
        demand(dependant)
      }
    }
    return withdrawn
  }

  /// Another value of `file` counts: nothing that was made of the earlier one does.
  mutating func supersedeDerived(from file: FileID, effects: inout [ManagerEffect]) {
    for derivation in workflow.derivations where derivation.sources.contains(file) {
      derivedVersions[derivation.file, default: 0] += 1
      for replica in replicas.replicas(of: derivation.file) {
        supersede(replica, effects: &effects)
      }
    }
  }
}
