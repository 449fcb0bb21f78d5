// Where each task stands.

/// The life of a task.
///
///     waiting -> ready -> staging -> sent -> done
///      | ^ ^      ^ |       |         |        |
///      | | |      | |       +----+----+--> failed
///      | | |      | |            |             |
///      | | |      +-|---(again)--+             |
///      | | +--------+---(an input was lost)    |
///      | +-------------(its value was lost)----+
///      +------------> cancelled
package enum TaskState: UInt8, Sendable {
  /// Some input or predecessor is not there yet.
  case waiting
  /// It could run now.
  case ready
  /// It has its node; inputs are on their way there.
  case staging
  /// An executor has it: running, or behind a running attempt of the same allocation.
  case sent
  case done
  /// Finally failed.
  case failed
  /// Something it needs failed, so it never ran; or the run was stopped.
  case cancelled

  /// Whether it ended without a value.
  var isFinal: Bool { self == .failed || self == .cancelled }

  package var isTerminal: Bool { self == .done || self == .failed || self == .cancelled }

  func canBecome(_ next: TaskState) -> Bool {
    switch (self, next) {
    case (.waiting, .ready), (.ready, .staging), (.staging, .sent), (.sent, .done): true
    case (.staging, .ready), (.sent, .ready), (.ready, .waiting): true
    case (.staging, .waiting), (.sent, .waiting), (.done, .waiting): true
    case (.staging, .failed), (.sent, .failed), (.ready, .failed), (.waiting, .failed): true
    case (.waiting, .cancelled), (.ready, .cancelled): true
    default: false
    }
  }
}

/// The state of one task, in 16 bytes: there are millions.
struct TaskRow {
  /// Edges into the task that are not satisfied yet.
  var pendingCount: UInt32
  /// Its row in `AttemptTable` while staging or sent.
  var slot: UInt32 = .max
  /// Tries begun so far.
  var attemptCount: UInt32 = 0
  /// Tries that were the task's own failures.
  var failureCount: UInt16 = 0
  /// Tries that were lost without its fault.
  var lossCount: UInt8 = 0
  private(set) var state = TaskState.waiting

  init(pendingCount: Int) { self.pendingCount = UInt32(pendingCount) }

  /// It was done in an earlier session, or its earlier value turned out to count.
  mutating func restoreAsDone() {
    invariant(state == .waiting || state == .ready, "a task is restored as done while \(state)")
    state = .done
  }

  mutating func become(_ next: TaskState) {
    invariant(state.canBecome(next), "a task goes from \(state) to \(next)")
    state = next
  }
}

/// What a task ready to run is ordered by: smaller runs first.
struct ReadyKey: Comparable {
  let negativePriority: Int32
  let task: TaskID
  let order: Int64

  static func < (left: ReadyKey, right: ReadyKey) -> Bool {
    if left.negativePriority != right.negativePriority {
      return left.negativePriority < right.negativePriority
    }
    if left.order != right.order { return left.order < right.order }
    return left.task < right.task
  }
}

/// A try that holds resources of a node.
struct AttemptRow {
  var attempt: AttemptID
  var node: NodeID
  var allocation: AllocationID
  /// Inputs that are not on the node yet.
  var missingCount: UInt32 = 0
  /// What its outputs and its sandbox may take of the node's disk; less what lies there already.
  var byteCountMax: Int64 = 0
  /// Whether that is in its node's account.
  var holdsRoom = false
  /// Intermediate files go after it.
  var isFreeing = false
  /// `takeBack` was sent.
  var isTakenBack = false
  /// It reads a value that is not its producer's any more: whatever comes of it does not count.
  var isVoid = false
  /// The attempt that runs after it in its allocation; `.max` ends the lane.
  var next: UInt32 = .max
  /// When it was given its place.
  var placedAt = Instant.zero
}

/// Resources granted to a lane: attempts that run one after another on the same cores of the same
/// node, at the same executor. The first is running; the others wait at the executor, so that no
/// core idles for a round trip to the manager.
struct AllocationRow {
  var node: NodeID
  var worker: WorkerID
  var grant: Grant
  /// Index into `Workflow.requests`.
  var request: UInt16
  /// First and last of its attempts, in the order they run: rows linked by `AttemptRow.next`,
  /// since an array in each row would cost an allocation and reference counting.
  var head: UInt32 = .max
  var tail: UInt32 = .max
  var attemptCount: UInt32 = 0
  /// When the first attempt came to the front.
  var headSince: Instant
  /// When it is looked at for attempts stuck behind a long one; nil when nobody will.
  var watchedUntil: Instant?
  /// Stands in the list of lanes that could take more.
  var isHungry = false
  var isFree = false
  /// Of an instance of a library; `.none`: the lane ends with its last attempt.
  var phase = InstancePhase.none
  /// Attempts that run at once.
  var slots: UInt32 = 1
  /// Stands in the list of instances with a free slot.
  var isOffered = false
  /// Of a rank's part of a gang: the part that stands for all.
  var leader = AllocationID.none
  /// Since when it has no calls.
  var idleSince = Instant.zero
  /// Tells the values of the library's files apart from later ones.
  var stamp: UInt64 = 0
  /// Where it stands among the allocations of its node; `.max`: it does not.
  var placeOnNode: UInt32 = .max
}

/// When a lane is to be looked at. An entry whose time is not the lane's own any more is stale.
struct LaneWatch: Comparable {
  let deadline: Instant
  let allocation: AllocationID

  static func < (left: LaneWatch, right: LaneWatch) -> Bool {
    (left.deadline, left.allocation) < (right.deadline, right.allocation)
  }
}

/// Rows that come and go, with their numbers used again.
struct Pool<Row> {
  private(set) var rows: [Row] = []
  private var unused: [UInt32] = []
  private(set) var liveCount = 0

  mutating func add(_ row: Row) -> UInt32 {
    liveCount += 1
    if let index = unused.popLast() {
      rows[Int(index)] = row
      return index
    }
    rows.append(row)
    return UInt32(rows.count - 1)
  }

  mutating func remove(_ index: UInt32) {
    liveCount -= 1
    unused.append(index)
  }

  subscript(index: UInt32) -> Row {
    get { rows[Int(index)] }
    _modify { yield &rows[Int(index)] }
  }
}
