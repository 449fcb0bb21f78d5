// What lies behind the seam on a simulated node: its cache, its ranks and their processes.

import VineCore

/// One node: what its cache holds and how slow it is.
struct SimulatedNode {
  let model: NodeModel
  /// Its ranks; the first is the agent.
  let workers: Range<Int>
  var cache: Set<FileValue> = []
}

/// A process that is under way.
struct SimulatedProcess {
  let attempt: AttemptID
  let start: Instant
  let fate: AttemptFate
  /// The number of its pending end; an end with another number was overtaken by a signal.
  var token: UInt32
}

/// A worker rank: the real worker, and the processes it started.
final class SimulatedRank {
  let node: Int
  var worker = Worker()
  var processes: [TaskID: SimulatedProcess] = [:]
  /// When its next deadline is in the heap.
  var timerAt: Instant?

  init(node: Int) { self.node = node }
}

/// What happens in a simulation, outside of the manager and the workers.
enum SimulatedEvent {
  case toWorker(WorkerID, ManagerMessage)
  case toManager(WorkerID, WorkerMessage)
  case processEnded(WorkerID, AttemptID, ExitStatus, token: UInt32)
  case settled(WorkerID, AttemptID, isSuccess: Bool)
  case transferEnded(WorkerID, FileValue, TransferID, TransferSource, byteCount: Int64, Int32)
  case commitEnded(WorkerID, FileValue, byteCount: Int64, Int32)
  case published(FileID, Int32)
  case journalSynced(Int)
  case workerTimer(WorkerID)
  case managerTimer
  case nodeRegisters(Int)
  case registrationClosed
  case drainRequested
}
