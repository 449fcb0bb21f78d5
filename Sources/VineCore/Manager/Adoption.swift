// Values that lie in the caches of a dead session's nodes: their nodes offer them, the manager asks for
// those that count, the nodes compare them with the digests of the journal, and only what is as it
// was becomes a replica.
//
// A value that may still be found that way is sought. Whoever needs it waits, and who made it does not
// run again, until every node has answered or a bounded time has passed. Tasks that need nothing
// sought go on meanwhile. What is found later is one more replica, or nobody's.

/// Why a file that a dead session left in a cache is not used.
package enum AdoptionRefusal: UInt8, Hashable, Sendable, CaseIterable {
  /// It is no output that counts: of a try that came to nothing, of another description, or no file of
  /// a run at all.
  case foreign
  /// Nobody will read it, or the node has it already.
  case unneeded
  /// The journal does not say what it has to be: inputs, directories, what was made in the last moments.
  case unknownContent
  case otherSize
  /// Its bytes are not what they were.
  case damaged
  /// It is gone, cannot be read, or is something else than a file of its own.
  case unreadable
  /// Its task had begun to make it again.
  case late
}

/// What came of the caches of dead sessions.
package struct AdoptionCounts: Equatable, Sendable {
  package var adoptedCount = 0
  package var adoptedByteCount: Int64 = 0
  private var refusedCounts = Array(repeating: 0, count: AdoptionRefusal.allCases.count)

  package internal(set) subscript(refusal: AdoptionRefusal) -> Int {
    get { refusedCounts[Int(refusal.rawValue)] }
    set { refusedCounts[Int(refusal.rawValue)] = newValue }
  }

  package var refusedCount: Int { refusedCounts.reduce(0, +) }
}

/// Where a node stands with what lies there of dead sessions.
struct NodeOffers {
  /// Its agent has not said all that it has.
  var isOpen = false
  /// Files that it was told to compare and has not answered for.
  var comparisonCount = 0

  var isBusy: Bool { isOpen || comparisonCount > 0 }
}

/// What is sought, and what was found.
struct AdoptionBook {
  /// Nodes look for what dead sessions have left there.
  var isExpected = false
  /// Others wait for the answers.
  var isSeeking = false
  var deadline: Instant?
  var busyNodeCount = 0
  var sought: Set<FileID> = []
  /// Of accepted values, by the journal.
  var byteCounts: [FileID: Int64] = [:]
  /// Replicas that are kept until it is clear who needs them.
  var pinned: [(file: FileID, node: NodeID)] = []
  var counts = AdoptionCounts()
}

extension Manager {
  /// What came of the caches of dead sessions so far.
  package var adoptionCounts: AdoptionCounts { adoption.counts }
  /// Whether tasks are held back for values that may still be found.
  package var isSeekingValues: Bool { adoption.isSeeking }

  /// The size that an accepted value of an earlier session has by the journal.
  package func restoredByteCount(of file: FileID) -> Int64 { adoption.byteCounts[file] ?? -1 }

  func isSought(_ file: FileID) -> Bool {
    adoption.isSeeking && adoption.sought.contains(file)
  }

  // MARK: Beginning

  /// Outputs of done tasks that lie nowhere any more may lie in a cache: nobody reads them and nobody
  /// makes them again before that is known.
  mutating func seekValues(_ restored: RestoredRun) {
    adoption.isExpected = true
    adoption.isSeeking = true
    adoption.byteCounts = restored.byteCounts
    for task in workflow.tasks.ids where tasks[task.index].state == .done {
      for output in workflow.outputs(of: task) where !isObtainable(output.file) {
        guard knowsContent(of: output.file) else { continue }
        adoption.sought.insert(output.file)
        retractConsumers(of: output.file)
      }
    }
  }

  private func knowsContent(of file: FileID) -> Bool {
    !workflow.files[file].isDirectory && values.hashes[file]?.isKnown ?? false
      && adoption.byteCounts[file] != nil
  }

  /// A node registers: its agent will say what it has.
  mutating func expectOffers(of node: NodeID) {
    guard adoption.isExpected else { return }
    nodes[node].offers.isOpen = true
    adoption.busyNodeCount += 1
  }

  // MARK: Offers

  mutating func onReplicaOffered(
    _ value: FileValue, byteCount: Int64, from worker: WorkerID, effects: inout [ManagerEffect]
  ) {
    let node = nodeOfWorker[worker.index]
    guard nodes[node].offers.isOpen, nodes[node].agent == worker else { return }
    if let refusal = refusal(of: value, byteCount: byteCount, on: node) {
      refuse(value, refusal, on: node, effects: &effects)
      return
    }
    nodes[node].offers.comparisonCount += 1
    // Another attempt may have made the same again: what counts goes by the name in the journal.
    let attempt = acceptedValue(of: value.file).attempt
    effects.append(.send(.adopt(value, as: attempt), to: worker))
  }

  private func refusal(
    of value: FileValue, byteCount: Int64, on node: NodeID
  ) -> AdoptionRefusal? {
    let file = value.file
    guard file.index < workflow.files.count else { return .foreign }
    let producer = workflow.files[file].producer
    // Inputs are read again: nothing tells what they were when they were read.
    guard producer != .none else { return .unknownContent }
    guard values.accepted[producer.index] != 0 else { return .foreign }
    guard tasks[producer.index].state == .done else { return .late }
    guard usesCommit(producer), knowsContent(of: file) else { return .unknownContent }
    guard adoption.byteCounts[file] == byteCount else { return .otherSize }
    if isSought(file) { return nil }
    return remainingConsumers[file.index] == 0 || replicas.find(file, on: node) != nil
      ? .unneeded : nil
  }

  private mutating func refuse(
    _ value: FileValue, _ refusal: AdoptionRefusal, on node: NodeID,
    effects: inout [ManagerEffect]
  ) {
    adoption.counts[refusal] += 1
    switch refusal {
    case .otherSize, .damaged, .unreadable:
      effects.append(.report(.adoptionRefused(value.file, refusal, on: node)))
    case .foreign, .unneeded, .unknownContent, .late: break
    }
  }

  /// A node compared a file and does not use it; or it found something that is no file of the run, of
  /// which it had not asked.
  mutating func onReplicaRefused(
    _ value: FileValue, _ refusal: AdoptionRefusal, from worker: WorkerID,
    effects: inout [ManagerEffect]
  ) {
    let node = nodeOfWorker[worker.index]
    guard value.file.index < workflow.files.count else {
      adoption.counts[refusal] += 1
      return
    }
    guard nodes[node].offers.comparisonCount > 0 else { return }
    refuse(value, refusal, on: node, effects: &effects)
    endComparison(on: node, effects: &effects)
  }

  /// A node has said all that it has.
  mutating func onOffersEnded(from worker: WorkerID, effects: inout [ManagerEffect]) {
    let node = nodeOfWorker[worker.index]
    guard nodes[node].offers.isOpen, nodes[node].agent == worker else { return }
    nodes[node].offers.isOpen = false
    settleOffers(of: node, effects: &effects)
  }

  private mutating func endComparison(on node: NodeID, effects: inout [ManagerEffect]) {
    nodes[node].offers.comparisonCount -= 1
    settleOffers(of: node, effects: &effects)
  }

  private mutating func settleOffers(of node: NodeID, effects: inout [ManagerEffect]) {
    if nodes[node].offers.isBusy { return }
    effects.append(.send(.dropOffers, to: nodes[node].agent))
    adoption.busyNodeCount -= 1
    endSeekingIfAnswered(effects: &effects)
  }

  /// A node's agent is gone, and with it what it would have said.
  mutating func forgetOffers(of node: NodeID, effects: inout [ManagerEffect]) {
    guard nodes[node].offers.isBusy else { return }
    nodes[node].offers = NodeOffers()
    adoption.busyNodeCount -= 1
    endSeekingIfAnswered(effects: &effects)
  }

  // MARK: Finds

  /// A node has compared a value and put it into its cache.
  mutating func onAdopted(
    _ value: FileValue, byteCount: Int64, from worker: WorkerID, effects: inout [ManagerEffect]
  ) {
    let node = nodeOfWorker[worker.index]
    guard nodes[node].offers.comparisonCount > 0 else { return }
    let producer = workflow.files[value.file].producer
    if value == acceptedValue(of: value.file), tasks[producer.index].state == .done {
      enterAdopted(value, byteCount: byteCount, on: node, effects: &effects)
    } else {
      refuse(value, .late, on: node, effects: &effects)
      // A row of that name is of a transfer or of the task that makes it again.
      if replicas.find(value.file, on: node).map({ replicas[$0].value != value }) ?? true {
        orderUnlink(value, on: node, effects: &effects)
      }
    }
    endComparison(on: node, effects: &effects)
  }

  private mutating func enterAdopted(
    _ value: FileValue, byteCount: Int64, on node: NodeID, effects: inout [ManagerEffect]
  ) {
    let file = value.file
    adoption.counts.adoptedCount += 1
    adoption.counts.adoptedByteCount &+= max(byteCount, 0)
    if !options.hasFixedCacheLimit { growDisk(of: node, by: byteCount) }
    let replica = enterFound(value, byteCount: byteCount, on: node, effects: &effects)
    if let replica, adoption.isSeeking {
      replicas[replica].pinCount += 1
      adoption.pinned.append((file, node))
    }
    isSettlingDue = true
    commitIfWanted(file, effects: &effects)
    wantSpares(of: file)
    if isSought(file) && isObtainable(file) {
      adoption.sought.remove(file)
      releaseConsumers(of: file)
    }
    if let replica, !adoption.isSeeking { dropIfUnused(replica, effects: &effects) }
  }

  /// What lay there took room when the node measured what is free.
  private mutating func growDisk(of node: NodeID, by byteCount: Int64) {
    guard nodes[node].disk.isLimited else { return }
    let more = min(max(byteCount, 0), Limits.fileByteCountMax)
    // Where names alone are limited, there are no more bytes than all.
    let disk = nodes[node].disk
    nodes[node].disk.registered.byteCountMax = min(disk.registered.byteCountMax, .max - more) + more
    nodes[node].disk.limit.byteCountMax = min(disk.limit.byteCountMax, .max - more) + more
  }

  /// Those that waited for a sought value need not wait for it any more.
  private mutating func releaseConsumers(of file: FileID) {
    let producer = workflow.files[file].producer
    let isLate =
      workflow.files[file].isPublished && values.durable[file.index].standing != .published
    for binding in consumerBindings(of: file) where tasks[producer.index].state == .done {
      // Outside a sandbox a task reads the published file, so it waits for that.
      if isLate && !workflow.tasks[workflow.bindings[binding].task].usesSandbox { continue }
      satisfyInput(binding, at: turnTime)
    }
  }

  // MARK: The end

  /// No further node will come: from here on the answers have a bounded time.
  mutating func boundSeeking(at now: Instant, effects: inout [ManagerEffect]) {
    guard adoption.isSeeking else { return }
    adoption.deadline = now.adding(nanoseconds: Limits.adoptionWaitNanoseconds)
    endSeekingIfAnswered(effects: &effects)
  }

  /// Goes on without the answers that are still missing when their time is over.
  mutating func endOverdueSeeking(at now: Instant, effects: inout [ManagerEffect]) {
    if let deadline = adoption.deadline, deadline <= now { endSeeking(effects: &effects) }
  }

  private mutating func endSeekingIfAnswered(effects: inout [ManagerEffect]) {
    if isRegistrationClosed && adoption.busyNodeCount == 0 { endSeeking(effects: &effects) }
  }

  /// What was not found is made again where somebody needs it.
  mutating func endSeeking(effects: inout [ManagerEffect]) {
    guard adoption.isSeeking else { return }
    adoption.isSeeking = false
    adoption.deadline = nil
    let missing = adoption.sought.sorted()
    adoption.sought = []
    for file in missing {
      if isObtainable(file) {
        releaseConsumers(of: file)
      } else {
        replaceValueIfNeeded(of: file, at: turnTime, effects: &effects)
      }
    }
    let pinned = adoption.pinned
    adoption.pinned = []
    for (file, node) in pinned where !nodes[node].isDead {
      if let replica = replicas.find(file, on: node) { unpin(replica, effects: &effects) }
    }
    isSettlingDue = true
    effects.append(.report(.adoptionEnded))
  }
}
