// A manager with nodes and tasks in a line each, and its effects to compare.

import Testing
import VineCore

/// A workflow under construction, then a manager and what it ordered last.
final class ManagerFixture {
  private(set) var manager: Manager
  /// What the last call ordered.
  private(set) var effects: [ManagerEffect] = []
  private(set) var now = Instant.zero
  private var workerCount = 0

  init(
    options: ManagerOptions = ManagerOptions(), nodes: [(cores: Int, ranks: Int)] = [(1, 1)],
    _ build: (inout WorkflowBuilder) -> Void
  ) {
    var builder = WorkflowBuilder()
    build(&builder)
    manager = Manager(builder.workflow, options: options)
    for node in nodes { addNode(cores: node.cores, ranks: node.ranks) }
  }

  /// Enters what a dead session left; before any node is added.
  func restore(_ restored: RestoredRun) {
    effects = []
    manager.restore(restored, seeksValues: true, effects: &effects)
  }

  /// Registers a node; its ranks get the next worker numbers, its agent the lowest.
  func addNode(
    cores: Int, ranks: Int = 1, memoryMB: UInt32 = 1_000, isRecalling: Bool = false,
    disk: DiskCapacity = .unlimited
  ) {
    var topology = Topology(coreCount: cores, memoryMB: memoryMB)
    topology.disk = disk
    let node = manager.addNode(
      topology, agent: WorkerID(index: workerCount), isRecalling: isRecalling)
    for rank in 1..<max(ranks, 1) {
      manager.addExecutor(WorkerID(index: workerCount + rank), on: node)
    }
    workerCount += ranks
  }

  /// Hands in events that happened together, then lets the manager place tasks.
  func turn(_ events: ManagerEvent..., after milliseconds: Int64 = 0) {
    now = now.adding(nanoseconds: milliseconds * 1_000_000)
    effects = []
    for event in events { manager.handle(event, at: now, effects: &effects) }
    manager.schedule(at: now, effects: &effects)
    manager.checkInvariants()
  }

  /// The report of an attempt that ended after `milliseconds`.
  func finished(
    _ task: TaskID, _ number: UInt32 = 1, _ ending: Ending = .succeeded,
    milliseconds: Int64 = 1_000, by worker: Int = 0
  ) -> ManagerEvent {
    let start = now
    let completion = Completion(
      ending, start: start, end: start.adding(nanoseconds: milliseconds * 1_000_000))
    return .received(
      .taskFinished(AttemptID(task, number), completion), from: WorkerID(index: worker))
  }

  func ready(
    _ file: FileID, attempt: UInt32 = 1, byteCount: Int64 = 10, by worker: Int = 0
  ) -> ManagerEvent {
    .received(
      .replicaReady(FileValue(file, attempt: attempt), byteCount: byteCount),
      from: WorkerID(index: worker))
  }

  func committed(_ value: FileValue, error: Int32 = 0, by worker: Int = 0) -> ManagerEvent {
    .received(.committed(value, byteCount: 10, error: error), from: WorkerID(index: worker))
  }

  func hashed(_ value: FileValue, _ content: UInt64, by worker: Int = 0) -> ManagerEvent {
    .received(
      .hashed(value, byteCount: 10, ContentHash(words: (content, 0, 0, 0))),
      from: WorkerID(index: worker))
  }

  /// What a worker says when it found its disk full.
  func measured(free byteCount: Int64, inodes: Int64 = .max, by worker: Int = 0) -> ManagerEvent {
    .received(
      .diskMeasured(DiskCapacity(byteCountMax: byteCount, inodeCountMax: inodes)),
      from: WorkerID(index: worker))
  }

  /// Everything appended so far is durable.
  var synced: ManagerEvent { .journalSynced(upTo: .max) }

  func transferred(
    _ transfer: Int, error: Int32 = 0, byteCount: Int64 = 10, by worker: Int = 0
  ) -> ManagerEvent {
    .received(
      .transferEnded(TransferID(index: transfer), byteCount: byteCount, error: error),
      from: WorkerID(index: worker))
  }

  /// The attempts that were ordered to start, with their workers.
  var started: [Started] {
    effects.compactMap { effect in
      guard case .send(.startTask(let attempt, _, _, _), let worker) = effect else { return nil }
      return Started(attempt.task, attempt.number, on: worker.index)
    }
  }

  /// The fetches that were ordered.
  var fetched: [Fetched] {
    effects.compactMap { effect in
      guard case .send(.fetch(let value, let transfer, let source, _), let worker) = effect
      else { return nil }
      return Fetched(value.file, transfer: transfer.index, from: source, to: worker.index)
    }
  }

  /// Other orders to workers.
  func orders(_ message: ManagerMessage) -> [Int] {
    effects.compactMap { effect in
      guard case .send(message, let worker) = effect else { return nil }
      return worker.index
    }
  }

  var outcome: Outcome? {
    for case .finish(let outcome) in effects { return outcome }
    return nil
  }
}

/// An attempt and the worker it was sent to.
struct Started: Equatable {
  let task: TaskID
  let number: UInt32
  let worker: Int
  init(_ task: TaskID, _ number: UInt32 = 1, on worker: Int = 0) {
    self.task = task
    self.number = number
    self.worker = worker
  }
}

/// A fetch and the agent it was sent to.
struct Fetched: Equatable {
  let file: FileID
  let transfer: Int
  let source: TransferSource
  let worker: Int
  init(_ file: FileID, transfer: Int, from source: TransferSource, to worker: Int = 0) {
    self.file = file
    self.transfer = transfer
    self.source = source
    self.worker = worker
  }
}

/// Tasks and files by the order they are added in.
struct WorkflowBuilder {
  var workflow = Workflow()

  mutating func file(
    _ kind: FileKind = .path, lifetime: CacheLifetime = .workflow, byteCount: Int64 = -1
  ) -> FileID {
    do {
      return try workflow.appendFile(
        id: "file-\(workflow.files.count)", kind: kind, lifetime: lifetime,
        byteCountHint: byteCount)
    } catch {
      Issue.record(error)
      return .none
    }
  }

  @discardableResult
  mutating func task(
    reads inputs: [FileID] = [], writes outputs: [FileID] = [], after: [TaskID] = [],
    _ adjust: (inout TaskDraft) -> Void = { _ in }
  ) -> TaskID {
    var draft = TaskDraft(id: "task-\(workflow.tasks.count)")
    draft.inputs = inputs.map { BindingDraft($0) }
    draft.outputs = outputs.map { BindingDraft($0) }
    adjust(&draft)
    do {
      let task = try workflow.appendTask(draft)
      for predecessor in after { workflow.appendControlEdge(from: predecessor, to: task) }
      return task
    } catch {
      Issue.record(error)
      return .none
    }
  }
}

/// The `index`-th task that was added.
func task(_ index: Int) -> TaskID { TaskID(index: index) }
/// The `index`-th file that was added.
func file(_ index: Int) -> FileID { FileID(index: index) }
/// The `index`-th file as an attempt of its producer made it; attempt 0: a source.
func value(_ index: Int, _ attempt: UInt32 = 1) -> FileValue {
  FileValue(FileID(index: index), attempt: attempt)
}
