// Whether the disk of a node has room for what a task needs there. All that an attempt needs is
// reserved before its first transfer starts: its missing inputs as planned replicas, its outputs and
// its sandbox as the attempt's own bytes. So two attempts can never wait for each other's bytes.
//
// A node that was found full although by this account it is not has its limit lowered to what was
// seen; what does not fit waits aside until something changes.

import DequeModule
import HeapModule

/// ENOSPC and EDQUOT (errno(3) on Linux): no more bytes or no more inodes.
package func isDiskFull(_ error: Int32) -> Bool { error == 28 || error == 122 }

/// What may lie on the disk of one node, beside the replicas there, which `ReplicaTable` counts.
struct NodeDisk {
  /// As the node registered it, and more for what it turned out to hold already.
  var registered: DiskCapacity
  /// The same, or less since it was found full.
  var limit: DiskCapacity
  /// What the attempts that are placed there may still write.
  var attemptByteCount: Int64 = 0
  var attemptCount: Int64 = 0
  /// Of those attempts, the ones after which intermediate files go.
  var freeingCount = 0
  /// What it said to have free when it was last found full.
  var measured: DiskCapacity?
  /// Times that its lowered limit was forgotten, since nothing else would have gone on.
  var restoreCount = 0
  /// It was short of room once: what it may evict is kept up to date from then on.
  var isPressed = false
  var evictables = Heap<EvictionKey>()
  /// What the evictables were found to amount to, if nothing was added since.
  var evictable: DiskCapacity?

  init(_ capacity: DiskCapacity) {
    registered = capacity
    limit = capacity
  }

  var isLimited: Bool { limit != .unlimited }

  /// Whether it could hold the `disk` of a request if nothing else lay there.
  func couldHold(_ request: Request) -> Bool {
    Int64(request.diskMB) << 20 <= registered.byteCountMax
  }
}

/// What waits for room on disks.
struct RoomQueue {
  /// Ready tasks for which no node with free cores had room, longest waiting first.
  var aside: Deque<TaskID> = []
  /// Of those, the ones after which intermediate files go.
  var freeingAside: Set<TaskID> = []
  /// Of those, the ones put there in this turn.
  var newCount = 0
  /// So many were put aside in this turn that the rest is not looked at before something changes.
  var isCrowded = false
  /// Something was freed, or may be, since the queue was last looked at.
  var hasChanged = false
  /// What `ReplicaTable.removalCount` was then.
  var removalCount = 0
  /// All evictables were gathered anew since a task was last placed.
  var isThorough = false
  /// Of those aside, how many are tried one after the other before anything else is done: together they
  /// had no room, although the account said so.
  var singleTryCount = 0
  /// Tasks that fail next if nothing else helps: twice as many each time, so that a great many that
  /// cannot run do not each cost a look at all.
  var failCountNext = 1
}

/// Why a task was not given a node, or which one it was given.
enum NodeAnswer {
  case node(NodeID)
  /// One that has its inputs will have room soon.
  case wait(WaitChoice)
  case noCores
  case noRoom
}

extension Manager {
  // MARK: Accounts

  /// The bytes of `file` as far as anybody knows; 0 when nobody does.
  func expectedByteCount(of file: FileID) -> Int64 {
    for replica in replicas.replicas(of: file, limit: 4) where replicas[replica].state == .ready {
      return replicas[replica].byteCount
    }
    let known = knownByteCounts[file] ?? workflow.files[file].byteCountHint
    return min(max(known, 0), Limits.fileByteCountMax)
  }

  /// What may still be put on `node` before its limit is reached.
  func free(on node: NodeID) -> DiskCapacity {
    let disk = nodes[node].disk
    if !disk.isLimited { return .unlimited }
    let usage = replicas.usage(of: node)
    // Hints may be absurd, so that sums wrap rather than end the process.
    return DiskCapacity(
      byteCountMax: disk.limit.byteCountMax &- usage.byteCount &- disk.attemptByteCount,
      inodeCountMax: disk.limit.inodeCountMax &- usage.replicaCount
        &- disk.attemptCount &* Limits.sandboxInodeCount)
  }

  /// What the outputs and the sandbox of an attempt may take: the `disk` it declares, or what is known
  /// of its outputs and private copies.
  func attemptByteCount(of task: TaskID) -> Int64 {
    if options.ignoresData { return 0 }
    let declared = Int64(workflow.request(of: task).diskMB) << 20
    guard workflow.tasks[task].usesSandbox else { return declared }
    var known = Limits.sandboxByteCount
    for output in workflow.outputs(of: task) { known &+= expectedByteCount(of: output.file) }
    for input in workflow.inputs(of: task) where input.isCopy {
      known &+= expectedByteCount(of: input.file)
    }
    return max(declared, known)
  }

  /// All that an attempt of `task` adds to what lies on `node`.
  private func need(of task: TaskID, on node: NodeID) -> DiskCapacity {
    var need = DiskCapacity(
      byteCountMax: attemptByteCount(of: task), inodeCountMax: Limits.sandboxInodeCount)
    guard needsStaging(task) else { return need }
    for input in workflow.stagedInputs(of: task)
    where replicas.find(input.file, on: node) == nil {
      need.byteCountMax &+= expectedByteCount(of: input.file)
      need.inodeCountMax += 1
      guard let derivation = workflow.derivation(of: input.file),
        !replicas.hasReplica(input.file)
      else { continue }
      // The node makes it, and needs what it is made of.
      for source in derivation.sources where replicas.find(source, on: node) == nil {
        need.byteCountMax &+= expectedByteCount(of: source)
        need.inodeCountMax += 1
      }
    }
    return need
  }

  /// All that an attempt of `task` needs on an empty node.
  private func wholeByteCount(of task: TaskID) -> Int64 {
    var byteCount = attemptByteCount(of: task)
    guard needsStaging(task) else { return byteCount }
    for file in filesNeeded(for: task).sorted() { byteCount &+= expectedByteCount(of: file) }
    return byteCount
  }

  /// What has to lie on a node for `task`: its inputs, and what those are made of.
  func filesNeeded(for task: TaskID) -> Set<FileID> {
    var files: Set<FileID> = []
    for input in workflow.stagedInputs(of: task) {
      files.insert(input.file)
      if let derivation = workflow.derivation(of: input.file) {
        files.formUnion(derivation.sources)
      }
    }
    return files
  }

  // MARK: Reserving

  /// Whether all that `task` needs on `node` finds room there; evicts what has to go for it. Nothing
  /// is evicted for a task that would not fit all the same.
  mutating func makeRoom(
    for task: TaskID, on node: NodeID, effects: inout [ManagerEffect]
  ) -> Bool {
    guard nodes[node].disk.isLimited else { return true }
    if isHeldBack(task, on: node) { return false }
    let need = need(of: task, on: node)
    let free = free(on: node)
    let lacking = DiskCapacity(
      byteCountMax: need.byteCountMax &- free.byteCountMax,
      inodeCountMax: need.inodeCountMax &- free.inodeCountMax)
    if lacking.byteCountMax <= 0 && lacking.inodeCountMax <= 0 { return true }
    return evict(lacking, on: node, for: task, effects: &effects)
  }

  /// An attempt was placed: what it may write is taken.
  mutating func reserve(_ slot: UInt32) {
    let row = attempts[slot]
    guard nodes[row.node].disk.isLimited else { return }
    let byteCount = likelyByteCount(of: row.attempt.task)
    attempts[slot].byteCountMax = byteCount
    nodes[row.node].disk.attemptByteCount &+= byteCount
    nodes[row.node].disk.attemptCount += 1
    attempts[slot].holdsRoom = true
    if freesIntermediates(row.attempt.task) {
      attempts[slot].isFreeing = true
      nodes[row.node].disk.freeingCount += 1
    }
    room.isThorough = false
    room.failCountNext = 1
  }

  /// An attempt left its node.
  mutating func releaseReserve(of slot: UInt32) {
    let row = attempts[slot]
    guard row.holdsRoom else { return }
    nodes[row.node].disk.attemptByteCount &-= row.byteCountMax
    nodes[row.node].disk.attemptCount -= 1
    if row.isFreeing { nodes[row.node].disk.freeingCount -= 1 }
    room.hasChanged = true
  }

  /// An output lies in the cache: it counts as a replica from now on.
  mutating func convertReserve(of slot: UInt32, byteCount: Int64) {
    let converted = min(attempts[slot].byteCountMax, max(byteCount, 0))
    guard attempts[slot].holdsRoom else { return }
    attempts[slot].byteCountMax -= converted
    nodes[attempts[slot].node].disk.attemptByteCount &-= converted
  }

  /// The size of a file turned out.
  mutating func learnByteCount(_ byteCount: Int64, of replica: UInt32) {
    let byteCount = min(max(byteCount, 0), Limits.fileByteCountMax)
    let row = replicas[replica]
    if nodes[row.node].disk.isLimited && byteCount != max(workflow.files[row.file].byteCountHint, 0)
    {
      // It is to be known though no replica is left.
      knownByteCounts[row.file] = byteCount
    }
    if byteCount != row.byteCount { replicas.resize(replica, to: byteCount) }
    relieve(row.node)
  }

  // MARK: Tasks without room

  /// No node with free cores has room for a ready task: it waits aside, so that those behind it may
  /// have a look.
  mutating func putAside(_ task: TaskID, at now: Instant, effects: inout [ManagerEffect]) {
    let byteCount = wholeByteCount(of: task)
    if isRegistrationClosed && byteCount > nodes.largestDisk {
      let attempt = AttemptID(task, UInt32(tasks[task.index].attemptCount))
      fail(attempt, .noRoom(megabytes(byteCount)), effects: &effects)
      return
    }
    room.aside.append(task)
    if freesIntermediates(task) { room.freeingAside.insert(task) }
    room.newCount += 1
    // Stays so until requests that were blocked for it get another look.
    if room.newCount >= Limits.roomlessLooksMax && !isNothingUnderWay { room.isCrowded = true }
  }

  /// Lets those aside have another look when something changed.
  mutating func readmit(at now: Instant) {
    room.newCount = 0
    guard room.hasChanged || room.removalCount != replicas.removalCount else { return }
    room.hasChanged = false
    room.removalCount = replicas.removalCount
    admit(isNothingUnderWay ? room.aside.count : Limits.roomlessLooksMax, at: now)
  }

  private mutating func admit(_ count: Int, at now: Instant) {
    if room.isCrowded {
      room.isCrowded = false
      for request in isBlocked.indices { isBlocked[request] = false }
    }
    var left = count
    while left > 0, let task = room.aside.popFirst() {
      left -= 1
      room.freeingAside.remove(task)
      if tasks[task.index].state == .ready { enqueue(task, at: now) }
    }
  }

  /// Whether nothing is under way that could free or fill a disk.
  var isNothingUnderWay: Bool {
    attempts.liveCount == 0 && transfers.count == 0 && commits.isEmpty && publishingCount == 0
      && !adoption.isSeeking
  }

  /// Nothing is under way and tasks wait for room that nobody will make: looks for the last means,
  /// and in the end fails the first of them. Returns whether placing is worth another try.
  mutating func settleFullDisks(at now: Instant, effects: inout [ManagerEffect]) -> Bool {
    guard !room.aside.isEmpty || room.isCrowded, isNothingUnderWay, isRegistrationClosed
    else { return false }
    if room.singleTryCount > 0 {
      room.singleTryCount -= 1
      admit(1, at: now)
      return true
    }
    if !room.isThorough {
      room.isThorough = true
      for node in nodes.rows.ids where nodes[node].disk.isPressed { gatherEvictables(on: node) }
    } else if restoreLimits() {
      room.singleTryCount = room.aside.count
      room.hasChanged = false
      room.removalCount = replicas.removalCount
      if room.singleTryCount > 0 { return true }
    } else {
      failFirstAside(effects: &effects)
      room.failCountNext = min(2 * room.failCountNext, 1 << 20)
      room.isThorough = false
    }
    admit(room.aside.count, at: now)
    return true
  }

  /// Fails the first of the tasks aside. While there are some after which intermediate files would go,
  /// the others may have room and only be held back for those.
  private mutating func failFirstAside(effects: inout [ManagerEffect]) {
    reportFullDisk(effects: &effects)
    let hasFreeing = !room.freeingAside.isEmpty
    var failing: [TaskID] = []
    var others: Deque<TaskID> = []
    for task in room.aside {
      let isNext = !hasFreeing || room.freeingAside.contains(task)
      if isNext && failing.count < room.failCountNext {
        failing.append(task)
      } else {
        others.append(task)
      }
    }
    room.aside = others
    for task in failing {
      room.freeingAside.remove(task)
      guard tasks[task.index].state == .ready else { continue }
      let attempt = AttemptID(task, UInt32(tasks[task.index].attemptCount))
      fail(attempt, .noRoom(megabytes(wholeByteCount(of: task))), effects: &effects)
    }
  }

  /// Forgets what lowered the limits of nodes. Returns whether there was such a limit.
  private mutating func restoreLimits() -> Bool {
    var isAnyRestored = false
    for node in nodes.rows.ids where !nodes[node].isDead {
      let disk = nodes[node].disk
      guard disk.limit != disk.registered, disk.restoreCount < Limits.limitRestoresMax else {
        continue
      }
      nodes[node].disk.limit = disk.registered
      nodes[node].disk.restoreCount += 1
      isAnyRestored = true
    }
    return isAnyRestored
  }

  /// Names the files that fill the node with most on it.
  private func reportFullDisk(effects: inout [ManagerEffect]) {
    var fullest: NodeID?
    var most: Int64 = -1
    for node in nodes.rows.ids where !nodes[node].isDead {
      let byteCount = replicas.usage(of: node).byteCount
      if byteCount > most {
        fullest = node
        most = byteCount
      }
    }
    guard let node = fullest else { return }
    effects.append(
      .report(
        .diskFull(
          node, byteCount: replicas.usage(of: node).byteCount,
          of: nodes[node].disk.limit.byteCountMax)))
    var largest = replicas.replicas(on: node).map { (replicas[$0].byteCount, replicas[$0].file) }
    largest.sort { ($1.0, $0.1) < ($0.0, $1.1) }
    for (byteCount, file) in largest.prefix(Limits.fullDiskFilesMax) {
      effects.append(.report(.diskHolds(file, byteCount: byteCount, on: node)))
    }
  }

  private func megabytes(_ byteCount: Int64) -> UInt32 {
    UInt32(clamping: (max(byteCount, 0) >> 20) + 1)
  }

  // MARK: Full disks

  /// A node says how much room it really has: for what lies there, and so much more.
  mutating func onDiskMeasured(_ free: DiskCapacity, on node: NodeID) {
    guard node != .none, !nodes[node].isDead else { return }
    var byteCount: Int64 = 0
    for replica in replicas.replicas(on: node) where replicas[replica].state == .ready {
      byteCount &+= replicas[replica].byteCount
    }
    nodes[node].disk.measured = free
    let disk = nodes[node].disk
    let seen = DiskCapacity(
      byteCountMax: byteCount &+ min(max(free.byteCountMax, 0), .max / 2),
      inodeCountMax: replicas.usage(of: node).replicaCount
        + min(max(free.inodeCountMax, 0), .max / 2))
    nodes[node].disk.limit = DiskCapacity(
      byteCountMax: min(disk.registered.byteCountMax, seen.byteCountMax),
      inodeCountMax: min(disk.registered.inodeCountMax, seen.inodeCountMax))
    room.hasChanged = true
  }

  /// Something that was to take `byteCount` more bytes of `node` found no room, whatever the account
  /// says: the same is not tried again before something went. What is being fetched or written is part
  /// of the account already, so with 0 the limit falls below it.
  mutating func lowerLimit(of node: NodeID, by byteCount: Int64) {
    guard !nodes[node].isDead else { return }
    let usage = replicas.usage(of: node)
    let seen = usage.byteCount &+ nodes[node].disk.attemptByteCount &+ byteCount &- 1
    if seen < nodes[node].disk.limit.byteCountMax {
      nodes[node].disk.limit.byteCountMax = max(seen, 0)
    }
  }

  /// Whether a task whose node was full is tried again. It is not charged for that, but disks that are
  /// full whatever they say must not keep a run going for ever; and a call goes where its library is,
  /// full or not.
  mutating func mayTryElsewhere(_ task: TaskID) -> Bool {
    fullDiskCounts[task, default: 0] += 1
    let isCall = workflow.request(of: task).library != .none
    let most = isCall ? Limits.lossRetryMax : Limits.fullDiskRetryMax
    return fullDiskCounts[task, default: 0] <= most
  }

  /// A transfer found its node full: those that wait for it go elsewhere, at nobody's charge. Of a
  /// `byteCount` above 0 it is known that so much was to come.
  mutating func roomRanOut(
    for replica: UInt32, byteCount: Int64, at now: Instant, effects: inout [ManagerEffect]
  ) {
    let row = replicas[replica]
    if byteCount > 0 {
      knownByteCounts[row.file] = min(byteCount, Limits.fileByteCountMax)
    } else if let measured = nodes[row.node].disk.measured, measured.inodeCountMax > 0,
      measured.byteCountMax < Limits.fileByteCountMax
    {
      // It is larger than what was free there, whatever its hint says.
      let known = max(measured.byteCountMax, 0) + 1
      knownByteCounts[row.file] = max(known, expectedByteCount(of: row.file))
    }
    lowerLimit(of: row.node, by: 0)
    dropPart(of: replica, effects: &effects)
    var withdrawn = withdrawDependants(of: replica, at: now, effects: &effects)
    // Some of them waited for what was to be made of it, too.
    for slot in Set(replicas[replica].waiters).sorted() {
      withdrawn.append(attempts[slot].attempt)
      withdraw(slot, at: now, effects: &effects)
    }
    if replicas.find(row.file, on: row.node) == replica, replicas[replica].pinCount == 0,
      replicas[replica].state == .planned
    {
      forget(replica, effects: &effects)
    } else if replicas.find(row.file, on: row.node) == replica, replicas[replica].state == .planned
    {
      // It was fetched for those that read it here.
      replicas[replica].failureCount += 1
      if Int(replicas[replica].failureCount) < Limits.fetchRetryMax {
        demand(replica)
      } else {
        failWaiters(of: replica, error: 28, at: now, effects: &effects)
      }
    }
    for attempt in withdrawn {
      let ending = Ending.inputUnavailable(row.file, 28)
      guard mayTryElsewhere(attempt.task) else {
        fail(attempt, ending, effects: &effects)
        continue
      }
      effects.append(.report(.taskTriedAgain(attempt, ending)))
      requeue(attempt.task, at: now, effects: &effects)
    }
  }
}
