// What lies behind the seam on a simulated node: its cache, its ranks and their processes.

import VineCore

/// One node: what its cache holds and how slow it is.
struct SimulatedNode {
  let model: NodeModel
  /// Its ranks; the first is the agent.
  let workers: Range<Int>
  /// What it holds, and who made it.
  var cache: [FileValue: Origin] = [:]
  /// What dead sessions have left there.
  var kept: [KeptReplica] = []
  /// What it is getting, by which transfer.
  var growing: [FileValue: TransferID] = [:]
  /// Further sources of transfers that it was ordered.
  var helpers: [TransferID: [TransferSource]] = [:]
  /// What is left of transfers that failed.
  var parts: Set<FileValue> = []
  /// Transfers that have read all there is so far, and wait for the rest.
  var followers: [FileValue: [SimulatedTransfer]] = [:]
  /// The rank that got the last order about files.
  var agent = WorkerID.none

  func isGetting(_ value: FileValue) -> Bool { growing[value] != nil || parts.contains(value) }
  var isRegistered = false
  /// Nobody hears it and it hears nobody.
  var isSilent = false
  /// What would have arrived meanwhile, in order.
  var held: [SimulatedEvent] = []
}

/// A file in the cache of a dead session.
struct KeptReplica {
  /// The name that it had there.
  let value: FileValue
  var byteCount: Int64
  /// Nil: its bytes are nobody's any more.
  var origin: Origin?
}

/// A process that is under way.
struct SimulatedProcess {
  let attempt: AttemptID
  let start: Instant
  let fate: AttemptFate
  /// What it read.
  var reads: [Origin] = []
  /// Part of a gang's call: the leader's process stands for all of it.
  var isMember = false
  /// The number of its pending end; an end with another number was overtaken by a signal.
  var token: UInt32
}

/// A worker rank: the real worker, and the processes it started.
final class SimulatedRank {
  let node: Int
  var worker = Worker()
  var processes: [TaskID: SimulatedProcess] = [:]
  var instances: [AllocationID: SimulatedInstance] = [:]
  /// Counts the events of instances: a number is used once.
  var instanceToken: UInt32 = 0
  /// Calls of gangs that another rank leads.
  var memberCalls: Set<TaskID> = []
  /// The instance of each call that it was given.
  var instanceOfCall: [TaskID: AllocationID] = [:]
  /// When its next deadline is in the heap.
  var timerAt: Instant?
  /// Its processes are gone, and it says nothing any more.
  var isDead = false
  /// The manager was told so.
  var isDeclaredLost = false
  /// What it said last never arrives.
  var losesLastWords = false
  /// Transfers that read from it when it died: their receivers wait until it is declared lost.
  var stalledTransfers: [SimulatedTransfer] = []
  /// The last transfer it was ordered.
  var lastTransfer: TransferID?

  init(node: Int) { self.node = node }
}

/// What happens in a simulation, outside of the manager and the workers.
enum SimulatedEvent {
  case toWorker(WorkerID, ManagerMessage)
  case toManager(WorkerID, WorkerMessage)
  case processEnded(WorkerID, AttemptID, ExitStatus, token: UInt32)
  case settled(WorkerID, AttemptID, isSuccess: Bool)
  case transferEnded(SimulatedTransfer)
  case hashed(WorkerID, FileValue, byteCount: Int64)
  case compared(WorkerID, FileValue, as: UInt32, KeptReplica, ContentHash)
  case instanceReady(WorkerID, AllocationID, token: UInt32, setupNanoseconds: Int64)
  case instanceExited(WorkerID, AllocationID, token: UInt32)
  case stuck(WorkerID, AllocationID, token: UInt32)
  case died(WorkerID)
  case declaredLost(WorkerID)
  case silenceEnds(Int)
  case commitEnded(WorkerID, FileValue, byteCount: Int64, Int32, Origin)
  case published(FileValue, Int32)
  case journalSynced(Int)
  case workerTimer(WorkerID)
  case managerTimer
  case nodeRegisters(Int)
  case registrationClosed
  case drainRequested
  /// A step of the end by the job's time is due.
  case closing
}
