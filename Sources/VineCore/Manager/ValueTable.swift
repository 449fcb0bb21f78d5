// What tasks made: which attempt counts, and how safely its outputs lie.

/// How safe the accepted value of a file is.
///
///     volatile -> committing -> committed -> publishing -> published
///        ^  |         |             |
///        |  +------> journaled      |
///        +------------+-------------+   (lost, failed, or made anew)
package enum FileStanding: UInt8, Sendable {
  /// On nodes at most: their loss is its loss.
  case volatile
  /// A node writes it to the shared file system.
  case committing
  /// Synced on the shared file system, under a name that nobody looks at.
  case committed
  /// The intent to rename it is on its way into the journal, or the rename under way.
  case publishing
  /// At its path, for all to see.
  case published
  /// A result that the journal holds: whatever is recorded after it is not durable before it.
  case journaled
  /// Cannot be written, and nobody tries any more.
  case unwritten
  /// Committed, but it cannot be renamed to its path: others may still rely on the copy.
  case stranded

  /// Whether a session, or a node, may end without losing it.
  var isDurable: Bool {
    switch self {
    case .committed, .publishing, .published, .journaled, .stranded: true
    case .volatile, .committing, .unwritten: false
    }
  }

  /// Whether it was given up as an output.
  var isGivenUp: Bool { self == .unwritten || self == .stranded }
}

/// The durable copy of a file, or the want of one.
struct DurableRow {
  var standing = FileStanding.volatile
  /// Of the copy: names it.
  var attempt: UInt32 = 0
}

/// A commit that an agent was ordered.
struct CommitRow {
  let value: FileValue
  let worker: WorkerID
  /// The replica was changed in place while it was read.
  var isDamaged = false
}

/// A content that was told before its attempt ended.
struct EarlyHash {
  let byteCount: Int64
  let hash: ContentHash
}

/// A value that waits on its node until nobody uses the earlier one there.
struct Heir {
  let attempt: UInt32
  let byteCount: Int64
}

/// The values of a run.
struct ValueTable {
  /// The attempt whose outputs count, by task; 0: none.
  var accepted: [UInt32]
  /// By file.
  var durable: [DurableRow]
  /// Contents of accepted values, as far as they are known.
  var hashes: [FileID: ContentHash] = [:]
  /// Contents of attempts that are not accepted yet.
  var earlyHashes: [FileValue: EarlyHash] = [:]
  /// Outputs that a new attempt left on a node that still has the earlier value.
  var arrivals: [FileValue: Int64] = [:]
  /// Results that came before the end of their attempt, with their sizes.
  var arrivedResults: [FileValue: Int64] = [:]
  /// Results of an attempt's references that it holds on its node, since they are files.
  var pinnedReferences: [TaskID: [FileID]] = [:]
  /// Accepted values on nodes where an earlier one is still in use, by the replica row that they
  /// will take over.
  var heirs: [UInt32: Heir] = [:]
  /// Input bindings and control edges that are satisfied.
  var isInputSatisfied: BitArray
  var isControlSatisfied: BitArray
  /// Done by an earlier session behind a task that has failed in this one: they cannot run again.
  var unrepeatable: Set<TaskID> = []
  /// Files that an earlier session published.
  var isFromEarlierSession: BitArray
  /// Tasks whose durable copies turned out to be lost: what was shown of them stands on nothing else.
  var damaged: Set<TaskID> = []

  init(_ workflow: borrowing Workflow) {
    accepted = Array(repeating: 0, count: workflow.tasks.count)
    durable = Array(repeating: DurableRow(), count: workflow.files.count)
    isInputSatisfied = BitArray(count: workflow.bindings.count)
    isControlSatisfied = BitArray(count: workflow.controlEdges.count)
    isFromEarlierSession = BitArray(count: workflow.files.count)
  }
}

extension Manager {
  /// The value of `file` that counts now.
  package func acceptedValue(of file: FileID) -> FileValue {
    let row = workflow.files[file]
    if row.derivation != .max {
      return FileValue(file, attempt: derivedVersions[file, default: 0])
    }
    return FileValue(file, attempt: row.producer == .none ? 0 : values.accepted[row.producer.index])
  }

  /// The durable copy of `file`, if there is one: for the adapter, which knows its name.
  package func durableValue(of file: FileID) -> (value: FileValue, standing: FileStanding)? {
    let row = values.durable[file.index]
    guard row.standing.isDurable else { return nil }
    return (FileValue(file, attempt: row.attempt), row.standing)
  }

  /// The content of the accepted value, if it is known.
  package func hash(of file: FileID) -> ContentHash? { values.hashes[file] }

  /// Bytes of the accepted value, as far as a node has it; 0 where none has.
  package func byteCount(of file: FileID) -> Int64 {
    replicas.replicas(of: file, limit: 1).first.map { replicas[$0].byteCount } ?? 0
  }

  /// What attempts on `node` link for `file`.
  package func value(of file: FileID, on node: NodeID) -> FileValue {
    guard let replica = replicas.find(file, on: node) else { return acceptedValue(of: file) }
    return replicas[replica].value
  }

  package func standing(of file: FileID) -> FileStanding { values.durable[file.index].standing }

  /// Whether a consumer can have `file` now, or as soon as transfers allow.
  func isObtainable(_ file: FileID) -> Bool {
    let row = workflow.files[file]
    guard row.producer != .none else { return true }
    if values.durable[file.index].standing.isDurable || !usesCommit(row.producer) { return true }
    return replicas.replicas(of: file).contains { replica in
      let row = replicas[replica]
      return row.state != .planned && (!row.isDamaged || values.heirs[replica] != nil)
    }
  }

  /// Whether a consumer reads what is at the path of a produced file: outside a sandbox a task does.
  func readsPublished(_ binding: Int) -> Bool {
    let row = workflow.bindings[binding]
    let file = workflow.files[row.file]
    return !workflow.tasks[row.task].usesSandbox && file.isPublished && usesCommit(file.producer)
  }

  /// Whether the file of a binding can be had by its task, and is the value of a task that is done.
  func isAvailable(at binding: Int) -> Bool {
    let file = workflow.bindings[binding].file
    let producer = workflow.files[file].producer
    if producer == .none { return true }
    if readsPublished(binding) { return values.durable[file.index].standing == .published }
    return tasks[producer.index].state == .done && isObtainable(file)
  }

  // MARK: Edges

  /// The places of the bindings that consume `file`.
  func consumerBindings(of file: FileID) -> [Int] {
    var places: [Int] = []
    var next = workflow.files[file].firstConsumer
    while next != .max {
      places.append(Int(next))
      next = workflow.bindings[Int(next)].nextConsumer
    }
    return places
  }

  mutating func satisfyInput(_ binding: Int, at now: Instant) {
    if values.isInputSatisfied[binding] { return }
    values.isInputSatisfied[binding] = true
    satisfyOneEdge(into: workflow.bindings[binding].task, at: now)
  }

  /// The consumer behind a binding has to wait for it again.
  mutating func retractInput(_ binding: Int) {
    guard values.isInputSatisfied[binding] else { return }
    let task = workflow.bindings[binding].task
    values.isInputSatisfied[binding] = false
    tasks[task.index].pendingCount += 1
    // Its place in the heap of ready tasks is found to be stale when it comes up.
    if tasks[task.index].state == .ready { tasks[task.index].become(.waiting) }
  }

  /// Consumers that have not begun wait for `task` to make `file` again.
  mutating func retractConsumers(of file: FileID) {
    for binding in consumerBindings(of: file) {
      switch tasks[workflow.bindings[binding].task.index].state {
      case .waiting, .ready: retractInput(binding)
      case .staging, .sent, .done, .failed, .cancelled: break
      }
    }
  }
}
