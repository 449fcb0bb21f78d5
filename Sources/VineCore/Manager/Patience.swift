// Tasks that wait for a busy node which has what they read, since that takes less time than moving
// their inputs to an idle one would.
//
// Such a task stands among no ready tasks, so that those behind it have the idle nodes. It looks again
// when one of its nodes has room, when what it waits for went, or came to another node, and when its
// time is up: it waits for as long as moving would take and no longer. So whatever it waited for, it
// is done after twice the time that the better choice would have cost (the ski rental problem).

import HeapModule

/// Where a task waits, and why.
struct WaitChoice {
  /// Busy nodes that have its inputs; the one that is expected to have room first comes first.
  let nodes: [NodeID]
  /// The largest input that they have.
  let file: FileID
  let deadline: Instant
}

/// A task that waits.
struct PatientRow {
  let choice: WaitChoice
  /// Its place among ready tasks.
  let key: ReadyKey
  /// Tells its entries from those of an earlier wait.
  let stamp: UInt64
  /// What it will take of the first node, as far as that is known.
  let coreNanoseconds: Int64
}

/// An entry of a task that waits or waited.
struct PatientEntry: Comparable {
  let key: ReadyKey
  let stamp: UInt64

  static func < (left: PatientEntry, right: PatientEntry) -> Bool {
    left.key == right.key ? left.stamp < right.stamp : left.key < right.key
  }
}

/// When the time of a task is up.
struct PatienceLimit: Comparable {
  let deadline: Instant
  let entry: PatientEntry

  static func < (left: PatienceLimit, right: PatienceLimit) -> Bool {
    left.deadline == right.deadline ? left.entry < right.entry : left.deadline < right.deadline
  }
}

/// What waits for one node.
struct PatientQueue {
  var entries = Heap<PatientEntry>()
  /// Those of them that count still.
  var count = 0
  /// What those that wait for this node first will take of it.
  var coreNanoseconds: Int64 = 0
}

/// All that wait. Tables are for lookup; entries that a later one replaced are known by their stamps.
struct PatienceBook {
  private(set) var rows: [TaskID: PatientRow] = [:]
  /// When those that wait, or are looked at again, began to.
  var since: [TaskID: Instant] = [:]
  private(set) var queues: [PatientQueue] = []
  private(set) var limits = Heap<PatienceLimit>()
  private var entriesByFile: [FileID: [PatientEntry]] = [:]
  /// Nodes on which something was freed, or was left over, since they were last looked at.
  var roomyNodes: [NodeID] = []
  /// Files that came to a node, and those of which a replica went.
  var arrivals: [(file: FileID, node: NodeID)] = []
  var losses: [FileID] = []
  private var stamp: UInt64 = 0
  /// Tasks that began to wait so far.
  private(set) var waitCount = 0

  var isEmpty: Bool { rows.isEmpty }

  func count(on node: NodeID) -> Int {
    node.index < queues.count ? queues[node.index].count : 0
  }

  func coreNanoseconds(on node: NodeID) -> Int64 {
    node.index < queues.count ? queues[node.index].coreNanoseconds : 0
  }

  mutating func add(_ key: ReadyKey, _ choice: WaitChoice, coreNanoseconds: Int64, at now: Instant)
  {
    invariant(rows[key.task] == nil, "a task waits twice")
    stamp += 1
    let row = PatientRow(choice: choice, key: key, stamp: stamp, coreNanoseconds: coreNanoseconds)
    let entry = PatientEntry(key: key, stamp: stamp)
    if since[key.task] == nil {
      since[key.task] = now
      waitCount += 1
    }
    rows[key.task] = row
    for node in choice.nodes {
      while queues.count <= node.index { queues.append(PatientQueue()) }
      queues[node.index].entries.insert(entry)
      queues[node.index].count += 1
    }
    queues[choice.nodes[0].index].coreNanoseconds += coreNanoseconds
    limits.insert(PatienceLimit(deadline: choice.deadline, entry: entry))
    entriesByFile[choice.file, default: []].append(entry)
  }

  /// Takes out what an entry stands for; nil when that does not wait any more.
  mutating func take(_ entry: PatientEntry) -> PatientRow? {
    guard let row = rows[entry.key.task], row.stamp == entry.stamp else { return nil }
    remove(entry.key.task)
    return row
  }

  func isLive(_ entry: PatientEntry) -> Bool { rows[entry.key.task]?.stamp == entry.stamp }

  mutating func remove(_ task: TaskID) {
    guard let row = rows.removeValue(forKey: task) else { return }
    for node in row.choice.nodes { queues[node.index].count -= 1 }
    queues[row.choice.nodes[0].index].coreNanoseconds -= row.coreNanoseconds
    if rows.isEmpty { forgetEntries() }
  }

  /// A task has its node.
  mutating func forget(_ task: TaskID) {
    remove(task)
    since[task] = nil
  }

  /// What is left are entries of tasks that do not wait any more.
  private mutating func forgetEntries() {
    for index in queues.indices where !queues[index].entries.isEmpty {
      queues[index].entries = Heap()
    }
    limits = Heap()
    entriesByFile = [:]
    roomyNodes = []
    arrivals = []
    losses = []
  }

  mutating func popEntry(on node: NodeID) -> PatientEntry? {
    queues[node.index].entries.popMin()
  }

  mutating func giveBack(_ entries: [PatientEntry], to node: NodeID) {
    queues[node.index].entries.insert(contentsOf: entries)
  }

  /// The next entry whose time is up.
  mutating func popDue(at now: Instant) -> PatientEntry? {
    guard let limit = limits.min, limit.deadline <= now else { return nil }
    return limits.removeMin().entry
  }

  /// Up to `count` entries that wait for `file`, longest first.
  mutating func takeEntries(of file: FileID, count: Int) -> [PatientEntry] {
    guard let entries = entriesByFile[file] else { return [] }
    let live = entries.filter(isLive)
    let rest = live.dropFirst(count)
    entriesByFile[file] = rest.isEmpty ? nil : Array(rest)
    return Array(live.prefix(count))
  }
}

extension Manager {
  /// Tasks that waited for a node which has their inputs rather than have those moved.
  package var patientCount: Int { patience.waitCount }

  /// Has the first task of `request` wait.
  mutating func beginWaiting(_ request: Int, _ choice: WaitChoice, at now: Instant) {
    let key = ready[request].removeMin()
    // It stands there twice if it lost an input, and got that again, while it was ready.
    if patience.rows[key.task] != nil { return }
    let expected =
      expectedNanoseconds(of: key.task) ?? options.defaultEstimateMicroseconds &* 1_000
    let cores = Int64(max(workflow.requests[request].cores, 1))
    patience.add(
      key, choice, coreNanoseconds: min(max(expected, 0), 1 << 44) * cores, at: now)
    replicas.isWatched = true
  }

  // MARK: Waking

  /// Lets those look again for which something changed. Returns whether there were any.
  mutating func wakePatient(at now: Instant) -> Bool {
    if patience.isEmpty {
      if replicas.isWatched { _ = replicas.takeRemoved() }
      replicas.isWatched = false
      return false
    }
    var isAnyWoken = false
    for file in replicas.takeRemoved() + patience.losses {
      for entry in patience.takeEntries(of: file, count: .max) {
        isAnyWoken = wake(entry) || isAnyWoken
      }
    }
    patience.losses = []
    while let entry = patience.popDue(at: now) { isAnyWoken = wake(entry) || isAnyWoken }
    let arrivals = patience.arrivals
    patience.arrivals = []
    for (file, node) in arrivals where !nodes[node].isDead {
      let room = nodes[node].pool.freeCoreCount
      for entry in patience.takeEntries(of: file, count: room) {
        isAnyWoken = wake(entry) || isAnyWoken
      }
    }
    let roomyNodes = patience.roomyNodes
    patience.roomyNodes = []
    for node in roomyNodes { isAnyWoken = wakePatient(on: node) || isAnyWoken }
    return isAnyWoken
  }

  /// Nobody is to wait any longer.
  mutating func wakeAllPatient() {
    for task in patience.rows.keys.sorted() {
      guard let row = patience.rows[task] else { continue }
      _ = wake(PatientEntry(key: row.key, stamp: row.stamp))
    }
  }

  private mutating func wake(_ entry: PatientEntry) -> Bool {
    guard let row = patience.take(entry) else { return false }
    // It may have come to nothing, or to wait for an input again.
    guard tasks[row.key.task.index].state == .ready else { return false }
    let key = isDepthFirst ? readyKey(of: row.key.task, at: turnTime) : row.key
    ready[Int(workflow.tasks[row.key.task].request)].insert(key)
    return true
  }

  /// Wakes as many as may find room on a node. If they do not use it, others have a look.
  private mutating func wakePatient(on node: NodeID) -> Bool {
    if patience.count(on: node) == 0 || nodes[node].isDead { return false }
    var coresLeft = nodes[node].pool.freeCoreCount
    var looksLeft = Limits.patientLooksMax
    var tooLarge: [PatientEntry] = []
    var isAnyWoken = false
    while coresLeft > 0, looksLeft > 0, let entry = patience.popEntry(on: node) {
      guard patience.isLive(entry) else { continue }
      looksLeft -= 1
      let request = workflow.request(of: entry.key.task)
      if !nodes.fits(request, on: node) {
        tooLarge.append(entry)
      } else if wake(entry) {
        isAnyWoken = true
        coresLeft -= max(Int(request.cores), 1)
      }
    }
    if !patience.isEmpty { patience.giveBack(tooLarge, to: node) }
    if isAnyWoken { patience.roomyNodes.append(node) }
    return isAnyWoken
  }

  /// A node of which all ranks were lost has nothing to wait for.
  mutating func wakePatient(ofLost node: NodeID) {
    while patience.count(on: node) > 0, let entry = patience.popEntry(on: node) { _ = wake(entry) }
  }

  /// A replica is there that others could read from.
  mutating func noteArrival(of file: FileID, on node: NodeID) {
    if !patience.isEmpty { patience.arrivals.append((file, node)) }
  }
}
