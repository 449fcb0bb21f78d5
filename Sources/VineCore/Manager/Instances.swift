// Instances of libraries: where calls run.
//
// An instance is a lane that does not end with its last attempt: it holds the library's cores and
// memory on a node, and at one of that node's executors a process with the context, for as long as
// nobody needs the room. Calls go to instances that are there; one more is started where calls wait,
// there is room, and what waits takes longer than its set-up.

import DequeModule
import HeapModule

/// The life of an instance, as the manager sees it.
///
///     staging -> starting -> ready -> stopping -> ended -> (freed)
///        |          |          +-------------------^
///        |          +------------------------------^   (it died, or could not be set up)
///        +--> (freed: the files of its first call cannot be had)
enum InstancePhase: UInt8 {
  /// Not an instance.
  case none
  /// The files of its first call are on their way.
  case staging
  /// Its executor was ordered to set it up.
  case starting
  case ready
  /// Part of a gang that another one leads.
  case member
  /// Its executor was ordered to end it.
  case stopping
  /// Its process is gone; some of its calls have not been reported yet.
  case ended
}

/// What is known of one library in this run.
struct LibraryRow {
  /// Instances that may take calls.
  var liveCount = 0
  /// Of these, the ones that were ready once.
  var readyCount = 0
  var setupCount = 0
  /// Set-ups that failed since one succeeded.
  var setupFailureCount = 0
  /// Mean, in nanoseconds; nil before the first.
  var meanSetup: Int64?
}

/// The instances of a run.
struct InstanceBook {
  var libraries: [LibraryRow]
  /// By request: instances that may have a free slot.
  var offered: [Deque<AllocationID>]
  /// By library: which of its files, and of those that they are derived from, tasks make.
  let madeFiles: [[FileID]]
  /// When each task became ready; empty in a workflow without libraries.
  var readySince: [Instant]
  /// By their leaders.
  var gangs: [AllocationID: GangRow] = [:]
  /// Ranks that are part of a gang.
  var rankIsTaken: Set<WorkerID> = []
  /// Nodes besides the leader's on which the call of a gang has its files.
  var otherNodes: [TaskID: [NodeID]] = [:]
  /// Calls that wait for a gang, and for which room is held.
  var heldRequest: Int?

  init(_ workflow: borrowing Workflow) {
    libraries = Array(repeating: LibraryRow(), count: workflow.libraries.count)
    offered = Array(repeating: [], count: workflow.requests.count)
    var made: [[FileID]] = []
    for library in workflow.libraries.ids {
      var files: [FileID] = []
      for file in workflow.libraries[library].files.map(\.file) {
        files += [file] + (workflow.derivation(of: file)?.sources ?? [])
      }
      made.append(files.filter { [files = workflow.files] in files[$0].producer != .none })
    }
    madeFiles = made
    readySince =
      workflow.libraries.isEmpty
      ? [] : Array(repeating: .zero, count: workflow.tasks.count)
  }
}

extension Manager {
  /// Instances that were set up, by library.
  package var setupCounts: [Int] { instances.libraries.map(\.setupCount) }

  /// When a task that is staged or sent became ready, and when it got its place.
  package func callTimes(of task: TaskID) -> (ready: Instant, placed: Instant) {
    let slot = tasks[task.index].slot
    guard slot != .max, !instances.readySince.isEmpty else { return (.zero, .zero) }
    return (instances.readySince[task.index], attempts[slot].placedAt)
  }

  // MARK: Calls

  /// Gives a call to an instance that has a slot for it. Returns true when that, or something else,
  /// was done about the call; false when one more instance should be started for it.
  mutating func placeCall(
    _ task: TaskID, of library: LibraryID, _ request: Int, at now: Instant,
    effects: inout [ManagerEffect]
  ) -> Bool {
    let row = instances.libraries[library.index]
    if let allocation = takeOffered(for: task, request) {
      ready[request].removeMin()
      let slot = beginAttempt(of: task, in: allocation, at: now)
      offerInstance(allocation)
      stageInputs(of: slot, at: now, effects: &effects)
      return true
    }
    if row.setupFailureCount >= Limits.setupFailuresMax {
      // Those that live go on; nobody tries another.
      let isGang = workflow.requests[request].gangRanks > 0
      if row.liveCount == 0 || (isGang && !hasGang(of: request)) {
        failAll(of: request, .setupFailed, effects: &effects)
      } else {
        isBlocked[request] = true
      }
      return true
    }
    if workflow.requests[request].gangRanks > 0 {
      startGang(for: task, request, at: now, effects: &effects)
      return true
    }
    if !hasCurrentInstance(of: request, at: now, effects: &effects) { return false }
    if isWorthStarting(row, for: task, request) { return false }
    isBlocked[request] = true
    return true
  }

  /// Whether any instance has the library's files as they are now; idle ones that do not are ended.
  private mutating func hasCurrentInstance(
    of request: Int, at now: Instant, effects: inout [ManagerEffect]
  ) -> Bool {
    let library = workflow.requests[request].library
    if instances.madeFiles[library.index].isEmpty { return true }
    var isFound = false
    for index in allocations.rows.indices {
      let row = allocations.rows[index]
      guard !row.isFree, Int(row.request) == request else { continue }
      switch row.phase {
      case .none, .member, .stopping, .ended: continue
      case .staging, .starting: isFound = true
      case .ready:
        if row.stamp == stamp(of: row) {
          isFound = true
        } else if row.head == .max {
          stopInstance(AllocationID(index: index), at: now, effects: &effects)
        }
      }
    }
    return isFound
  }

  /// Whether what waits would keep the instances that are there busy for longer than it takes to
  /// set up another.
  private func isWorthStarting(_ row: LibraryRow, for task: TaskID, _ request: Int) -> Bool {
    guard row.liveCount > 0, let setup = row.meanSetup,
      let call = meanDurations[durationClass(of: task)]
    else { return true }
    let library = workflow.requests[request].library
    let slots = Int64(row.liveCount) * Int64(workflow.libraries[library].slots)
    let waiting = Int64(ready[request].count)
    return call.multipliedReportingOverflow(by: waiting).overflow || call * waiting / slots > setup
  }

  /// The best of a few instances with a free slot: ready ones first, then those on a node that has
  /// more of the call's own inputs.
  private mutating func takeOffered(for task: TaskID, _ request: Int) -> AllocationID? {
    var found: [(allocation: AllocationID, isReady: Bool, byteCount: Int64)] = []
    let looksAtData = nodes.count > 1 && hasOwnInputs(task)
    while found.count < 8, let allocation = instances.offered[request].popFirst() {
      let row = allocations[allocation.rawValue]
      // The number may stand for a later allocation by now.
      guard row.isOffered, !row.isFree, Int(row.request) == request else { continue }
      guard row.attemptCount < row.slots, takesCalls(row) else {
        allocations[allocation.rawValue].isOffered = false
        continue
      }
      let byteCount = looksAtData ? ownInputBytes(of: task, on: row.node) : 0
      found.append((allocation, row.phase == .ready, byteCount))
      if row.phase == .ready && !looksAtData { break }
    }
    var best = 0
    for place in found.indices.dropFirst()
    where (found[place].isReady ? 1 : 0, found[place].byteCount)
      > (found[best].isReady ? 1 : 0, found[best].byteCount)
    {
      best = place
    }
    for (place, row) in found.enumerated().reversed() where place != best {
      instances.offered[request].prepend(row.allocation)
    }
    guard best < found.count else { return nil }
    allocations[found[best].allocation.rawValue].isOffered = false
    return found[best].allocation
  }

  private func hasOwnInputs(_ task: TaskID) -> Bool {
    workflow.inputs(of: task).contains { $0.use != .library && !isJournaled($0) }
  }

  private func ownInputBytes(of task: TaskID, on node: NodeID) -> Int64 {
    var sum: Int64 = 0
    for input in workflow.inputs(of: task).prefix(32) where input.use != .library {
      if let replica = replicas.find(input.file, on: node) {
        sum += max(replicas[replica].byteCount, 1)
      }
    }
    return sum
  }

  /// Whether a lane may get a further attempt: an instance that lives and has the files as they are.
  func takesCalls(_ row: AllocationRow) -> Bool {
    switch row.phase {
    case .none: true
    case .staging, .starting: row.attemptCount < row.slots && row.stamp == stamp(of: row)
    case .ready: row.stamp == stamp(of: row)
    case .member, .stopping, .ended: false
    }
  }

  /// Tells values of the library's files apart; 0 for files that nobody makes.
  private func stamp(of row: AllocationRow) -> UInt64 {
    let library = workflow.requests[Int(row.request)].library
    var stamp: UInt64 = 0
    for file in instances.madeFiles[library.index] {
      let producer = workflow.files[file].producer
      stamp = stamp &* 0x100_0000_01B3 &+ UInt64(values.accepted[producer.index])
    }
    return stamp
  }

  /// Whether attempts that wait in a lane would find a place elsewhere.
  mutating func hasRoomElsewhere(for row: AllocationRow) -> Bool {
    let request = Int(row.request)
    if row.phase != .none && hasOfferedSlot(request) { return true }
    return nodes.roomiest(for: workflow.requests[request]) != nil
  }

  private func hasOfferedSlot(_ request: Int) -> Bool {
    instances.offered[request].prefix(8).contains { allocation in
      let row = allocations[allocation.rawValue]
      return row.isOffered && !row.isFree && Int(row.request) == request
        && row.attemptCount < row.slots && row.phase == .ready && takesCalls(row)
    }
  }

  // MARK: Life

  /// A new allocation is an instance of its request's library.
  mutating func openInstance(_ allocation: AllocationID) {
    let request = Int(allocations[allocation.rawValue].request)
    let library = workflow.requests[request].library
    allocations[allocation.rawValue].phase = .staging
    allocations[allocation.rawValue].slots = UInt32(workflow.libraries[library].slots)
    allocations[allocation.rawValue].stamp = stamp(of: allocations[allocation.rawValue])
    instances.libraries[library.index].liveCount += 1
    offerInstance(allocation)
  }

  private mutating func offerInstance(_ allocation: AllocationID) {
    let row = allocations[allocation.rawValue]
    guard !row.isOffered, row.attemptCount < row.slots, takesCalls(row) else { return }
    allocations[allocation.rawValue].isOffered = true
    instances.offered[Int(row.request)].append(allocation)
    isBlocked[Int(row.request)] = false
  }

  /// The first call of an instance has all its files: now it can be made.
  mutating func startInstanceIfNeeded(
    _ allocation: AllocationID, effects: inout [ManagerEffect]
  ) {
    let row = allocations[allocation.rawValue]
    guard row.phase == .staging else { return }
    allocations[allocation.rawValue].phase = .starting
    // Files that were made anew meanwhile are what it gets.
    allocations[allocation.rawValue].stamp = stamp(of: row)
    let library = workflow.requests[Int(row.request)].library
    let spec = workflow.libraries[library]
    for member in instances.gangs[allocation]?.members ?? [allocation] {
      effects.append(
        .send(
          .startInstance(
            member, library, slots: spec.slots, isolatesCalls: spec.mode.isolatesCalls,
            timeoutMilliseconds: spec.setupTimeoutMilliseconds),
          to: allocations[member.rawValue].worker))
    }
  }

  /// An attempt has left an instance.
  mutating func onSlotFreed(of allocation: AllocationID, at now: Instant) {
    let row = allocations[allocation.rawValue]
    if row.head == .max {
      switch row.phase {
      case .none, .member, .stopping: break
      case .ended: if row.leader == .none { free(allocation) }
      case .staging where row.leader != .none:
        instances.libraries[library(of: row).index].liveCount -= 1
        allocations[allocation.rawValue].phase = .stopping
        for member in instances.gangs[allocation]?.members ?? [] { memberEnded(member) }
      case .staging:
        instances.libraries[library(of: row).index].liveCount -= 1
        free(allocation)
      case .starting, .ready:
        allocations[allocation.rawValue].idleSince = now
      }
      if row.phase == .ended || row.phase == .staging { return }
    }
    offerInstance(allocation)
    if options.usesLanes && row.phase == .ready && row.leader == .none { offerLane(allocation) }
  }

  private func library(of row: AllocationRow) -> LibraryID {
    workflow.requests[Int(row.request)].library
  }

  /// The instance that `worker` speaks of, if that is what it has there.
  private func instance(_ allocation: AllocationID, of worker: WorkerID) -> AllocationRow? {
    guard allocation.index < allocations.rows.count else { return nil }
    let row = allocations[allocation.rawValue]
    return row.isFree || row.worker != worker || row.phase == .none ? nil : row
  }

  mutating func onInstanceReady(
    _ allocation: AllocationID, from worker: WorkerID, setupNanoseconds: Int64, at now: Instant
  ) {
    guard var row = instance(allocation, of: worker) else { return }
    var allocation = allocation
    if row.leader != .none {
      guard let gang = instances.gangs[row.leader], !gang.isEnding else { return }
      instances.gangs[row.leader]?.readyCount += 1
      guard gang.readyCount + 1 == gang.members.count else { return }
      allocation = row.leader
      row = allocations[allocation.rawValue]
    }
    guard row.phase == .starting else { return }
    allocations[allocation.rawValue].phase = .ready
    // The time of the set-up is not one that its first calls have run for.
    allocations[allocation.rawValue].headSince = now
    let library = library(of: row).index
    instances.libraries[library].readyCount += 1
    instances.libraries[library].setupCount += 1
    instances.libraries[library].setupFailureCount = 0
    let mean = instances.libraries[library].meanSetup ?? setupNanoseconds
    instances.libraries[library].meanSetup = mean + (setupNanoseconds - mean) / 4
    offerInstance(allocation)
    if options.usesLanes && row.leader == .none { offerLane(allocation) }
  }

  mutating func onInstanceEnded(
    _ allocation: AllocationID, _ end: InstanceEnd, from worker: WorkerID, at now: Instant,
    effects: inout [ManagerEffect]
  ) {
    guard let row = instance(allocation, of: worker), row.phase != .ended else { return }
    let library = library(of: row).index
    if row.leader != .none {
      let isFirst = !(instances.gangs[row.leader]?.isEnding ?? true)
      if isFirst && end == .setupFailed { instances.libraries[library].setupFailureCount += 1 }
      // The report of the call comes behind this, when nobody waits for it any more.
      let ending: Ending? =
        end == .died ? .instanceLost : end == .overdue ? .timedOut : nil
      endGang(row.leader, ending, besides: allocation, at: now, effects: &effects)
      memberEnded(allocation)
      return
    }
    if row.phase != .stopping { instances.libraries[library].liveCount -= 1 }
    if row.phase == .ready { instances.libraries[library].readyCount -= 1 }
    if end == .setupFailed { instances.libraries[library].setupFailureCount += 1 }
    allocations[allocation.rawValue].phase = .ended
    // A library that nobody can set up any more fails its calls when one is looked at.
    isBlocked[Int(row.request)] = false
    if row.head == .max { free(allocation) }
  }

  /// A rank is gone, and with it its instances; their calls leave them next.
  mutating func loseInstances(of worker: WorkerID) {
    for index in allocations.rows.indices {
      let row = allocations.rows[index]
      guard !row.isFree, row.worker == worker, row.phase != .none, row.leader == .none
      else { continue }
      let library = library(of: row).index
      if row.phase != .stopping && row.phase != .ended {
        instances.libraries[library].liveCount -= 1
      }
      if row.phase == .ready { instances.libraries[library].readyCount -= 1 }
      let allocation = AllocationID(index: index)
      allocations[allocation.rawValue].phase = .ended
      isBlocked[Int(row.request)] = false
      if row.head == .max { free(allocation) }
    }
  }

  // MARK: Room

  /// What found no room is looked at again while instances are idle, whose room it may need.
  mutating func unblockForIdleInstances() {
    if workflow.libraries.isEmpty || !isBlocked.contains(true) { return }
    let hasIdle = allocations.rows.contains {
      !$0.isFree && $0.phase == .ready && $0.head == .max
    }
    guard hasIdle else { return }
    for request in isBlocked.indices { isBlocked[request] = false }
  }

  /// Ends the instances that are idle for longest and in the way of `request`, on one node where
  /// that makes enough room, if there is one.
  mutating func reclaimRoom(
    for request: Request, at now: Instant, effects: inout [ManagerEffect]
  ) {
    if workflow.libraries.isEmpty { return }
    var cores: [NodeID: Int] = [:]
    var memory: [NodeID: UInt32] = [:]
    var idle: [AllocationID] = []
    for (index, row) in allocations.rows.enumerated() where !row.isFree {
      if row.phase == .stopping {
        cores[row.node, default: 0] += row.grant.cpuset.count
        memory[row.node, default: 0] += row.grant.memoryMB
        // What is about to be free may be enough.
        if canFit(request, row.node, cores, memory) { return }
      } else if row.phase == .ready && row.head == .max && !hasUse(row) {
        idle.append(AllocationID(index: index))
      }
    }
    idle.sort {
      (allocations[$0.rawValue].idleSince, $0) < (allocations[$1.rawValue].idleSince, $1)
    }
    var victims: [NodeID: [AllocationID]] = [:]
    for allocation in idle {
      let row = allocations[allocation.rawValue]
      cores[row.node, default: 0] += row.grant.cpuset.count
      memory[row.node, default: 0] += row.grant.memoryMB
      victims[row.node, default: []].append(allocation)
      guard canFit(request, row.node, cores, memory) else { continue }
      for victim in victims[row.node] ?? [] { stopInstance(victim, at: now, effects: &effects) }
      return
    }
    // A gang holds more than its leader's share, on other nodes, too.
    if let gang = idle.first(where: { allocations[$0.rawValue].leader != .none }) {
      stopInstance(gang, at: now, effects: &effects)
    }
  }

  /// Whether an idle instance is about to get a call.
  private func hasUse(_ row: AllocationRow) -> Bool {
    takesCalls(row)
      && ready[Int(row.request)].min.map { tasks[$0.task.index].state == .ready } ?? false
  }

  private func canFit(
    _ request: Request, _ node: NodeID, _ cores: [NodeID: Int], _ memory: [NodeID: UInt32]
  ) -> Bool {
    !nodes[node].isDead
      && nodes[node].pool.fits(
        request, withCores: cores[node] ?? 0, memoryMB: memory[node] ?? 0)
  }

  mutating func stopInstance(
    _ allocation: AllocationID, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let row = allocations[allocation.rawValue]
    if row.leader != .none {
      endGang(row.leader, nil, at: now, effects: &effects)
      return
    }
    let library = library(of: row).index
    instances.libraries[library].liveCount -= 1
    instances.libraries[library].readyCount -= 1
    allocations[allocation.rawValue].phase = .stopping
    effects.append(.send(.stopInstance(allocation), to: row.worker))
  }

  // MARK: Results

  /// Whether an input is a result that the journal holds: it travels with the order.
  func isJournaled(_ input: Binding) -> Bool {
    input.use == .reference && values.durable[input.file.index].standing == .journaled
  }

  /// The result that came with an accepted attempt is the task's from now on.
  mutating func adoptResult(of attempt: AttemptID, effects: inout [ManagerEffect]) {
    let file = workflow.resultFile(of: attempt.task)
    guard file != .none,
      let byteCount = values.arrivedResults.removeValue(
        forKey: FileValue(file, attempt: attempt.number)),
      !values.durable[file.index].standing.isDurable
    else { return }
    // What was made again as it had been goes on under the number that it had.
    values.durable[file.index] = DurableRow(
      standing: .journaled, attempt: values.accepted[attempt.task.index])
    append(
      .result(FileValue(file, attempt: attempt.number), byteCount: byteCount), effects: &effects)
  }
}
