// What travels between the roles, as bytes: the core's messages with the text that belongs to
// them, and the few messages of the adapters' own.

internal import VineCore

/// The first byte of a frame.
enum FrameKind: UInt8 {
  // Manager to worker.
  case welcome = 1, startTask, takeBack, killTask, fetch, unlink, commit, leave, placeOutput, ping
  case heartbeat, watch, fence, peerLost, farewell
  case startCall = 24, startInstance, stopInstance
  case recall = 28, adopt, dropOffers, assist
  // Worker to manager.
  case registration = 32, replicaReady, taskFinished, taskReturned, transferEnded, committed
  case note, hashed, leaving, goodbye, pong, replicaDamaged, alive, siblingLost, moved, diskMeasured
  case resultReady = 56, instanceReady, instanceEnded, libraryNote, helperFailed
  case replicaFound = 48, recallEnded, replicaOffered, replicaRefused, offersEnded
  // Worker to worker.
  case readRequest = 64, readGranted, readRefused, readContent, readVerdict, readStop
}

/// Version of the frames; raised when one changes.
let frameVersion: UInt32 = 7

/// What a worker says of itself, once.
struct Registration: Equatable {
  var build: String
  var hostName: String
  /// The lowest rank of its node: names the node.
  var nodeKey: UInt32
  /// Present in the registration of a node's agent.
  var topology: Topology?
  var processID: Int32
  /// Processes can signal each other when boot and process namespace are the same.
  var bootID: String
  var processNamespace: UInt64
}

/// What every worker has to know before its first task.
struct Welcome: Equatable {
  /// Unpredictable name of the run's directory in scratch.
  var token: String
  var runName: String
  /// `--scratch`; empty: the worker looks for itself.
  var scratch: String
  var submitDirectory: String
  var environment: [String]
  var umask: UInt32
  /// Hash each output and say so.
  var wantsHashes: Bool
  /// The manager's process, when it can be signalled from there; else 0.
  var managerProcessID: Int32
  var outputPath: String
  /// A rank that is silent for this long is lost (`--node-timeout`).
  var nodeTimeoutNanoseconds: Int64
  /// What the directory in scratch says of itself.
  var record: CacheRecord
  /// What dead sessions of the run have left is looked for.
  var seeksValues: Bool
}

/// How an input gets into the sandbox, or an output out of it.
struct FileOrder: Equatable {
  /// An input: what to link. An output: what it will be.
  var value: FileValue
  var name: String
  var isCopy: Bool
  var isDirectory: Bool
  /// An output that will be committed.
  var hasPath = false
  /// An input that is one file or directory within the value; empty: all of it.
  var member = ""
}

/// All an executor needs to run an attempt.
struct AttemptOrder: Equatable {
  var attempt: AttemptID
  var allocation: AllocationID
  var timeoutMilliseconds: UInt32
  /// The outputs' hashes come before the end of the attempt.
  var hashesFirst: Bool
  var taskName: String
  var commandKind: CommandKind
  /// NUL-ended arguments, or text for the shell.
  var command: [UInt8]
  /// NUL-ended `KEY=VALUE` texts.
  var environment: [UInt8]
  var usesSandbox: Bool
  var coreCount: UInt16
  var memoryMB: UInt32
  /// What it may write to its sandbox; 0: it did not say.
  var diskMB: UInt32 = 0
  /// Operating system indices of the processing units it is bound to.
  var processingUnits: [UInt32]
  var inputs: [FileOrder]
  var outputs: [FileOrder]
}

/// All an agent needs to bring a file into the cache.
struct FetchOrder: Equatable {
  var value: FileValue
  var transfer: TransferID
  var source: TransferSource
  var byteCount: Int64
  var isDirectory: Bool
  /// A directory that lies there as one archive.
  var isArchive: Bool
  /// An output of a task: its name says which bytes it has.
  var isMade = false
  /// A path for the shared file system, the content itself for a buffer.
  var location: [UInt8]
  /// How it is made, when its source is that.
  var derivation: DerivationOrder?
  /// How it is kept beyond the run, if it is.
  var forever: ForeverOrder?
}

/// A further source of a transfer.
struct AssistOrder: Equatable {
  var value: FileValue
  var transfer: TransferID
  var source: TransferSource
  /// A path, when that is the shared file system.
  var location: [UInt8]
}

/// All an agent needs to make a derived file.
struct DerivationOrder: Equatable {
  var kind: DerivationKind
  /// The file's id, for people.
  var name: String
  var commandKind: CommandKind
  /// A URL, text for a shell, or NUL-ended arguments.
  var command: [UInt8]
  /// NUL-ended `KEY=VALUE` texts.
  var environment: [UInt8]
  /// 0 is no limit.
  var timeoutMilliseconds: UInt32
  var processingUnits: [UInt32]
  var outputName: String
  /// The SHA-256 it must have; empty: none is known.
  var digest: String
  var inputs: [FileOrder]
}

struct CommitOrder: Equatable {
  var value: FileValue
  var isDirectory: Bool
  /// An intermediate: `path` is the directory of the run's objects, else the name to write.
  var isObject: Bool
  var path: String
}

/// What a person should see of a failed attempt.
struct AttemptNote: Equatable {
  var attempt: AttemptID
  /// What went wrong beside the exit status; may be empty.
  var reason: String
  var errorTail: [UInt8]
}

/// A worker's sums, sent when it leaves.
struct WorkerTotals: Equatable {
  var outputByteCount: Int64 = 0
  var sharedReadByteCount: Int64 = 0
  var sharedReadCount: Int64 = 0
  var sharedWrittenByteCount: Int64 = 0
  var receivedByteCount: Int64 = 0
  var sentByteCount: Int64 = 0
}

// MARK: - Encoding

extension WireWriter {
  init(_ kind: FrameKind) { self.init(kind.rawValue) }

  mutating func put(_ attempt: AttemptID) {
    put(attempt.task.rawValue)
    put(attempt.number)
  }

  mutating func put(_ value: FileValue) {
    put(value.file.rawValue)
    put(value.attempt)
  }

  mutating func put(_ source: TransferSource) {
    switch source {
    case .sharedFileSystem: put(UInt32.max)
    case .manager: put(UInt32.max - 1)
    case .derivation: put(UInt32.max - 2)
    case .node(let agent): put(agent.rawValue)
    case .relay(let agent, let transfer):
      put(UInt32.max - 3)
      put(agent.rawValue)
      put(transfer.rawValue)
    }
  }

  mutating func put(_ ending: Ending) {
    let (code, first, second): (UInt8, UInt32, Int32) =
      switch ending {
      case .succeeded: (0, 0, 0)
      case .exited(let status): (1, 0, status)
      case .signaled(let signal): (2, 0, signal)
      case .timedOut: (3, 0, 0)
      case .missingOutput(let index): (4, index, 0)
      case .wrongOutputKind(let index): (5, index, 0)
      case .changedInput(let index): (6, index, 0)
      case .notStarted(let errno): (7, 0, errno)
      case .sandboxFailed(let errno): (8, 0, errno)
      case .inputUnavailable(let file, let errno): (9, file.rawValue, errno)
      case .outputNotWritten(let file, let errno): (10, file.rawValue, errno)
      case .fitsNoNode: (11, 0, 0)
      case .killed: (12, 0, 0)
      case .lost: (13, 0, 0)
      case .raised: (20, 0, 0)
      case .instanceLost: (21, 0, 0)
      case .setupFailed: (22, 0, 0)
      case .noRoom(let megabytes): (14, megabytes, 0)
      case .overDisk(let megabytes): (15, megabytes, 0)
      }
    put(code)
    put(first)
    put(second)
  }

  mutating func put(_ completion: Completion) {
    put(completion.ending)
    put(completion.start.nanoseconds)
    put(completion.end.nanoseconds)
    put(completion.cpuMicroseconds)
    put(completion.maxResidentKB)
  }

  mutating func put(_ topology: Topology) {
    put(topology.memoryMB)
    put(topology.gpuCount)
    put(topology.disk.byteCountMax)
    put(topology.disk.inodeCountMax)
    put(UInt32(topology.cores.count))
    for core in topology.cores {
      put(core.numaNode)
      put(core.processingUnits)
    }
  }

  mutating func put(_ numbers: [UInt32]) {
    put(UInt32(numbers.count))
    for number in numbers { put(number) }
  }

  mutating func put(_ orders: [FileOrder]) {
    put(UInt32(orders.count))
    for order in orders {
      put(order.value)
      put(order.name)
      put(order.isCopy)
      put(order.isDirectory)
      put(order.hasPath)
      put(order.member)
    }
  }

  init(_ registration: Registration) {
    self.init(.registration)
    put(frameVersion)
    put(registration.build)
    put(registration.hostName)
    put(registration.nodeKey)
    put(registration.processID)
    put(registration.bootID)
    put(registration.processNamespace)
    put(registration.topology != nil)
    if let topology = registration.topology { put(topology) }
  }

  init(_ welcome: Welcome) {
    self.init(.welcome)
    put(welcome.token)
    put(welcome.runName)
    put(welcome.scratch)
    put(welcome.submitDirectory)
    put(welcome.environment)
    put(welcome.umask)
    put(welcome.wantsHashes)
    put(welcome.managerProcessID)
    put(welcome.outputPath)
    put(welcome.nodeTimeoutNanoseconds)
    put(welcome.record.run)
    put(welcome.record.name)
    put(welcome.record.epoch)
    put(welcome.record.files)
    put(welcome.record.isKept)
    put(welcome.seeksValues)
  }

  init(_ order: AdoptOrder) {
    self.init(.adopt)
    put(order.value)
    put(order.attempt)
    put(order.byteCount)
    put(bytes: order.hash.bytes)
  }

  init(_ order: AttemptOrder) {
    self.init(.startTask)
    put(order)
  }

  mutating func put(_ order: AttemptOrder) {
    put(order.attempt)
    put(order.allocation.rawValue)
    put(order.timeoutMilliseconds)
    put(order.hashesFirst)
    put(order.taskName)
    put(order.commandKind.rawValue)
    put(bytes: order.command)
    put(bytes: order.environment)
    put(order.usesSandbox)
    put(order.coreCount)
    put(order.memoryMB)
    put(order.diskMB)
    put(order.processingUnits)
    put(order.inputs)
    put(order.outputs)
  }

  init(_ order: FetchOrder) {
    self.init(.fetch)
    put(order.value)
    put(order.transfer.rawValue)
    put(order.source)
    put(order.byteCount)
    put(order.isDirectory)
    put(order.isArchive)
    put(order.isMade)
    put(bytes: order.location)
    put(order.derivation != nil)
    if let derivation = order.derivation { put(derivation) }
    put(order.forever != nil)
    if let forever = order.forever { put(forever) }
  }

  init(_ order: AssistOrder) {
    self.init(.assist)
    put(order.value)
    put(order.transfer.rawValue)
    put(order.source)
    put(bytes: order.location)
  }

  mutating func put(_ order: ForeverOrder) {
    put(order.value)
    put(bytes: order.key.bytes)
    put(order.kind)
    put(order.name)
    put(order.isConditional)
  }

  mutating func put(_ order: DerivationOrder) {
    put(order.kind.rawValue)
    put(order.name)
    put(order.commandKind.rawValue)
    put(bytes: order.command)
    put(bytes: order.environment)
    put(order.timeoutMilliseconds)
    put(order.processingUnits)
    put(order.outputName)
    put(order.digest)
    put(order.inputs)
  }

  init(_ order: CommitOrder) {
    self.init(.commit)
    put(order.value)
    put(order.isDirectory)
    put(order.isObject)
    put(order.path)
  }

  init(_ note: AttemptNote) {
    self.init(.note)
    put(note.attempt)
    put(note.reason)
    put(bytes: note.errorTail)
  }

  init(_ totals: WorkerTotals, kind: FrameKind) {
    self.init(kind)
    put(totals.outputByteCount)
    put(totals.sharedReadByteCount)
    put(totals.sharedReadCount)
    put(totals.sharedWrittenByteCount)
    put(totals.receivedByteCount)
    put(totals.sentByteCount)
  }

  /// A worker's message without text.
  init(_ message: WorkerMessage) {
    switch message {
    case .replicaReady(let value, let byteCount):
      self.init(.replicaReady)
      put(value)
      put(byteCount)
    case .replicaDamaged(let value):
      self.init(.replicaDamaged)
      put(value)
    case .recallEnded: self.init(FrameKind.recallEnded)
    case .replicaOffered(let value, let byteCount):
      self.init(.replicaOffered)
      put(value)
      put(byteCount)
    case .replicaRefused(let value, let refusal):
      self.init(.replicaRefused)
      put(value)
      put(refusal.rawValue)
    case .offersEnded: self.init(FrameKind.offersEnded)
    case .replicaFound(let value, let byteCount):
      self.init(.replicaFound)
      put(value)
      put(byteCount)
    case .taskFinished(let attempt, let completion):
      self.init(.taskFinished)
      put(attempt)
      put(completion)
    case .taskReturned(let attempt):
      self.init(.taskReturned)
      put(attempt)
    case .transferEnded(let transfer, let byteCount, let error):
      self.init(.transferEnded)
      put(transfer.rawValue)
      put(byteCount)
      put(error)
    case .helperFailed(let transfer, let agent, let error):
      self.init(.helperFailed)
      put(transfer.rawValue)
      put(agent.rawValue)
      put(error)
    case .committed(let value, let byteCount, let error):
      self.init(.committed)
      put(value)
      put(byteCount)
      put(error)
    case .diskMeasured(let free):
      self.init(.diskMeasured)
      put(free.byteCountMax)
      put(free.inodeCountMax)
    case .hashed(let value, let byteCount, let hash):
      self.init(.hashed)
      put(value)
      put(byteCount)
      for word in [hash.words.0, hash.words.1, hash.words.2, hash.words.3] { put(word) }
    case .resultReady(let value, let byteCount):
      self.init(.resultReady)
      put(value)
      put(byteCount)
    case .instanceReady(let allocation, let setup):
      self.init(.instanceReady)
      put(allocation.rawValue)
      put(setup)
    case .instanceEnded(let allocation, let end):
      self.init(.instanceEnded)
      put(allocation.rawValue)
      put(end.rawValue)
    }
  }
}

// MARK: - Decoding

extension WireReader {
  mutating func takeAttempt() throws(WireError) -> AttemptID {
    AttemptID(TaskID(rawValue: try take()), try take())
  }

  mutating func takeFile() throws(WireError) -> FileID { FileID(rawValue: try take()) }

  mutating func takeValue() throws(WireError) -> FileValue {
    FileValue(try takeFile(), attempt: try take())
  }

  mutating func takeHash() throws(WireError) -> ContentHash {
    ContentHash(words: (try take(), try take(), try take(), try take()))
  }

  mutating func takeSource() throws(WireError) -> TransferSource {
    switch try take(UInt32.self) {
    case .max: .sharedFileSystem
    case .max - 1: .manager
    case .max - 2: .derivation
    case .max - 3:
      .relay(agent: WorkerID(rawValue: try take()), transfer: TransferID(rawValue: try take()))
    case let rank: .node(agent: WorkerID(rawValue: rank))
    }
  }

  mutating func takeEnding() throws(WireError) -> Ending {
    let code = try take(UInt8.self)
    let first = try take(UInt32.self)
    let second = try take(Int32.self)
    switch code {
    case 0: return .succeeded
    case 1: return .exited(second)
    case 2: return .signaled(second)
    case 3: return .timedOut
    case 4: return .missingOutput(first)
    case 5: return .wrongOutputKind(first)
    case 6: return .changedInput(first)
    case 7: return .notStarted(second)
    case 8: return .sandboxFailed(second)
    case 9: return .inputUnavailable(FileID(rawValue: first), second)
    case 10: return .outputNotWritten(FileID(rawValue: first), second)
    case 11: return .fitsNoNode
    case 12: return .killed
    case 13: return .lost
    case 20: return .raised
    case 21: return .instanceLost
    case 22: return .setupFailed
    case 14: return .noRoom(first)
    case 15: return .overDisk(first)
    default: throw WireError()
    }
  }

  mutating func takeCompletion() throws(WireError) -> Completion {
    Completion(
      try takeEnding(), start: Instant(nanoseconds: try take()),
      end: Instant(nanoseconds: try take()), cpuMicroseconds: try take(),
      maxResidentKB: try take())
  }

  mutating func takeNumbers() throws(WireError) -> [UInt32] {
    let count = Int(try take(UInt32.self))
    guard count <= Limits.coresPerNodeMax * 8 else { throw WireError() }
    var numbers: [UInt32] = []
    for _ in 0..<count { numbers.append(try take()) }
    return numbers
  }

  mutating func takeTopology() throws(WireError) -> Topology {
    let memory = try take(UInt32.self)
    let gpus = try take(UInt16.self)
    let disk = DiskCapacity(byteCountMax: try take(), inodeCountMax: try take())
    let count = Int(try take(UInt32.self))
    guard count <= Limits.coresPerNodeMax else { throw WireError() }
    var cores: [Core] = []
    for _ in 0..<count {
      let numaNode = try take(UInt32.self)
      cores.append(Core(processingUnits: try takeNumbers(), numaNode: numaNode))
    }
    var topology = Topology(cores: cores, memoryMB: memory, gpuCount: gpus)
    topology.disk = disk
    return topology
  }

  mutating func takeFileOrders() throws(WireError) -> [FileOrder] {
    let count = Int(try take(UInt32.self))
    var orders: [FileOrder] = []
    for _ in 0..<count {
      orders.append(
        FileOrder(
          value: try takeValue(), name: try takeText(), isCopy: try takeBool(),
          isDirectory: try takeBool(), hasPath: try takeBool(), member: try takeText()))
    }
    return orders
  }

  mutating func takeRegistration() throws(WireError) -> Registration {
    guard try take(UInt32.self) == frameVersion else { throw WireError() }
    var registration = Registration(
      build: try takeText(), hostName: try takeText(), nodeKey: try take(), topology: nil,
      processID: try take(), bootID: try takeText(), processNamespace: try take())
    if try takeBool() { registration.topology = try takeTopology() }
    return registration
  }

  mutating func takeWelcome() throws(WireError) -> Welcome {
    Welcome(
      token: try takeText(), runName: try takeText(), scratch: try takeText(),
      submitDirectory: try takeText(), environment: try takeTexts(), umask: try take(),
      wantsHashes: try takeBool(), managerProcessID: try take(), outputPath: try takeText(),
      nodeTimeoutNanoseconds: try take(),
      record: CacheRecord(
        run: try takeText(), name: try takeText(), epoch: try take(), files: try takeText(),
        isKept: try takeBool()),
      seeksValues: try takeBool())
  }

  mutating func takeAdoptOrder() throws(WireError) -> AdoptOrder {
    let value = try takeValue()
    let attempt = try take(UInt32.self)
    let byteCount = try take(Int64.self)
    guard let hash = ContentHash(Array(try takeBytes())) else { throw WireError() }
    return AdoptOrder(value: value, attempt: attempt, byteCount: byteCount, hash: hash)
  }

  mutating func takeAttemptOrder() throws(WireError) -> AttemptOrder {
    let attempt = try takeAttempt()
    let allocation = AllocationID(rawValue: try take())
    let timeout = try take(UInt32.self)
    let hashesFirst = try takeBool()
    let name = try takeText()
    guard let kind = CommandKind(rawValue: try take()) else { throw WireError() }
    return AttemptOrder(
      attempt: attempt, allocation: allocation, timeoutMilliseconds: timeout,
      hashesFirst: hashesFirst, taskName: name,
      commandKind: kind, command: Array(try takeBytes()), environment: Array(try takeBytes()),
      usesSandbox: try takeBool(), coreCount: try take(), memoryMB: try take(),
      diskMB: try take(), processingUnits: try takeNumbers(), inputs: try takeFileOrders(),
      outputs: try takeFileOrders())
  }

  mutating func takeFetchOrder() throws(WireError) -> FetchOrder {
    var order = FetchOrder(
      value: try takeValue(), transfer: TransferID(rawValue: try take()), source: try takeSource(),
      byteCount: try take(), isDirectory: try takeBool(), isArchive: try takeBool(),
      isMade: try takeBool(),
      location: Array(try takeBytes()))
    if try takeBool() { order.derivation = try takeDerivationOrder() }
    if try takeBool() { order.forever = try takeForeverOrder() }
    return order
  }

  mutating func takeAssistOrder() throws(WireError) -> AssistOrder {
    AssistOrder(
      value: try takeValue(), transfer: TransferID(rawValue: try take()), source: try takeSource(),
      location: Array(try takeBytes()))
  }

  mutating func takeForeverOrder() throws(WireError) -> ForeverOrder {
    let value = try takeValue()
    guard let key = ContentHash(Array(try takeBytes())) else { throw WireError() }
    return ForeverOrder(
      value: value, key: key, kind: try takeText(), name: try takeText(),
      isConditional: try takeBool())
  }

  mutating func takeForeverOrders() throws(WireError) -> [ForeverOrder] {
    var orders: [ForeverOrder] = []
    for _ in 0..<(try take(UInt32.self)) { orders.append(try takeForeverOrder()) }
    return orders
  }

  mutating func takeDerivationOrder() throws(WireError) -> DerivationOrder {
    guard let kind = DerivationKind(rawValue: try take()) else { throw WireError() }
    let name = try takeText()
    guard let commandKind = CommandKind(rawValue: try take()) else { throw WireError() }
    return DerivationOrder(
      kind: kind, name: name, commandKind: commandKind, command: Array(try takeBytes()),
      environment: Array(try takeBytes()), timeoutMilliseconds: try take(),
      processingUnits: try takeNumbers(), outputName: try takeText(), digest: try takeText(),
      inputs: try takeFileOrders())
  }

  mutating func takeCommitOrder() throws(WireError) -> CommitOrder {
    CommitOrder(
      value: try takeValue(), isDirectory: try takeBool(), isObject: try takeBool(),
      path: try takeText())
  }

  mutating func takeNote() throws(WireError) -> AttemptNote {
    AttemptNote(
      attempt: try takeAttempt(), reason: try takeText(), errorTail: Array(try takeBytes()))
  }

  mutating func takeTotals() throws(WireError) -> WorkerTotals {
    WorkerTotals(
      outputByteCount: try take(), sharedReadByteCount: try take(), sharedReadCount: try take(),
      sharedWrittenByteCount: try take(), receivedByteCount: try take(),
      sentByteCount: try take())
  }

  /// The core's message of a worker, of `kind`; nil for the adapters' own kinds.
  mutating func takeWorkerMessage(_ kind: FrameKind) throws(WireError) -> WorkerMessage? {
    switch kind {
    case .replicaReady: .replicaReady(try takeValue(), byteCount: try take())
    case .replicaDamaged: .replicaDamaged(try takeValue())
    case .recallEnded: .recallEnded
    case .replicaOffered: .replicaOffered(try takeValue(), byteCount: try take())
    case .replicaRefused: .replicaRefused(try takeValue(), try takeRefusal())
    case .offersEnded: .offersEnded
    case .replicaFound: .replicaFound(try takeValue(), byteCount: try take())
    case .taskFinished: .taskFinished(try takeAttempt(), try takeCompletion())
    case .taskReturned: .taskReturned(try takeAttempt())
    case .transferEnded:
      .transferEnded(
        TransferID(rawValue: try take()), byteCount: try take(), error: try take())
    case .helperFailed:
      .helperFailed(
        TransferID(rawValue: try take()), agent: WorkerID(rawValue: try take()), error: try take())
    case .committed: .committed(try takeValue(), byteCount: try take(), error: try take())
    case .hashed: .hashed(try takeValue(), byteCount: try take(), try takeHash())
    case .resultReady: .resultReady(try takeValue(), byteCount: try take())
    case .instanceReady:
      .instanceReady(AllocationID(rawValue: try take()), setupNanoseconds: try take())
    case .instanceEnded:
      .instanceEnded(AllocationID(rawValue: try take()), try takeInstanceEnd())
    case .diskMeasured:
      .diskMeasured(DiskCapacity(byteCountMax: try take(), inodeCountMax: try take()))
    default: nil
    }
  }

  private mutating func takeRefusal() throws(WireError) -> AdoptionRefusal {
    guard let refusal = AdoptionRefusal(rawValue: try take()) else { throw WireError() }
    return refusal
  }

  private mutating func takeInstanceEnd() throws(WireError) -> InstanceEnd {
    guard let end = InstanceEnd(rawValue: try take()) else { throw WireError() }
    return end
  }
}
