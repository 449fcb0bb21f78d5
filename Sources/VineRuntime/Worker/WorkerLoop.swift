// One rank's worker: turns messages, exits and finished helpers into events for the core, and its
// effects into sandboxes, processes and transfers.

internal import CLinux
internal import Glibc
internal import VineCore

package final class WorkerLoop {
  private let mpi: MPIEnvironment?
  private let mailbox: Mailbox
  private let poll: EventPoll
  private let watcher: Watcher
  private let rank: Int
  /// Whether it was the node's agent from the start.
  private let isAgent: Bool
  private var core = Worker()
  private var welcome: Welcome?
  private var scratch: ScratchDirectory?
  private var room: SandboxRoom?
  private var remover: Remover?
  private var launcher: ProcessLauncher?
  private var spool: OutputSpool?
  private var instances: InstanceRoom?
  private var agent: Agent?
  private var derivations: DerivationRunner?
  private var keeper: Keeper?
  private var adopter: Adopter?
  private let bulk: BulkTransfer?
  private let queue: BlockingQueue<HelperResult>
  private let chunks: ChunkHelpers
  private var orders: [TaskID: AttemptOrder] = [:]
  private var fetchOrders: [TransferID: FetchOrder] = [:]
  private var earlyFrames: [(bytes: [UInt8], rank: Int)] = []
  private var assistOrders: [TransferID: [AssistOrder]] = [:]
  private var commitOrders: [FileValue: CommitOrder] = [:]
  private var adoptOrders: [FileValue: [AdoptOrder]] = [:]
  private var children: [Int32: ChildProcess] = [:]
  private var childOfTask: [TaskID: Int32] = [:]
  private let pipes: PipeWatch
  private var events: [WorkerEvent] = []
  private var effects: [WorkerEffect] = []
  private let clock = SystemClock(origin: 0)
  private let siblings: Siblings
  private let looking: Looking
  private var isOutputPlaced = false
  private var hasAnnouncedLeaving = false
  private var leavingSince: Int64?
  /// The loop is over: everything was cleaned up and said.
  package private(set) var isDone = false

  init(
    mpi: MPIEnvironment?, mailbox: Mailbox, poll: EventPoll, watcher: Watcher, nodeKey: Int,
    workersHere: [Int], looking: Looking, scratch: String, cacheLimitMB: Int64?
  ) throws(RuntimeError) {
    self.watcher = watcher
    self.mpi = mpi
    self.mailbox = mailbox
    self.poll = poll
    self.looking = looking
    pipes = PipeWatch(poll: poll)
    rank = mpi?.rank ?? 0
    siblings = Siblings(mailbox: mailbox, poll: poll, rank: rank, workersHere: workersHere)
    isAgent = siblings.isAgent
    bulk = (mpi?.size ?? 1) > 1 ? mpi.map { BulkTransfer(mpi: $0) } : nil
    queue = try BlockingQueue(threadCount: isAgent ? 4 : 1)
    poll.add(queue.descriptor, token: PollToken.workerHelpers)
    chunks = try ChunkHelpers(threadCount: 2)
    poll.add(chunks.descriptor, token: PollToken.workerHelpers)
    var registration = Registration(
      build: BuildIdentity.text, hostName: hostName(), nodeKey: UInt32(nodeKey),
      topology: nil, processID: getpid(), bootID: bootID(), processNamespace: processNamespace())
    if isAgent {
      var topology = TopologyDiscovery.read()
      ScratchRoom.describe(scratch, limitMB: cacheLimitMB, in: &topology)
      registration.topology = topology
    }
    mailbox.send(WireWriter(registration), to: 0, .manager)
  }

  /// Whether the loop must look again soon: MPI moves bulk data only when it is asked.
  package var needsFastPolling: Bool { bulk?.isActive ?? false }

  /// When a chunk last came nearer to where it goes, on the monotonic clock.
  private var lastMove: Int64 = 0

  /// Nanoseconds until chunks have to be looked after: a part of the time that the last one took, since
  /// several are on their way at once. At 10 GB/s, half a megabyte comes in the least; at the speed of a
  /// slow link, looks that find nothing would take processors from those who copy.
  package var pauseWhileMoving: Int64 {
    min(max((monotonicNanoseconds() - lastMove) / 4, 50_000), 1_000_000)
  }

  /// When a call last went to an instance or came back, on the monotonic clock.
  var lastCallTraffic: Int64 { instances?.lastTraffic ?? 0 }

  /// Nanoseconds until a deadline of the core, if there is one.
  package func nanosecondsToDeadline() -> Int64? {
    var due = core.nextDeadline.map { max($0.since(clock.now), 0) }
    for time in [pipes.nextDue, agent?.hashingDue, derivations?.nextDue] {
      if let time { due = min(due ?? .max, max(time - monotonicNanoseconds(), 0)) }
    }
    return due
  }

  // MARK: Turns

  /// One round; returns whether anything happened.
  package func turn(isSparing: Bool) throws(RuntimeError) -> Bool {
    var wireFailure = false
    var count = try mailbox.poll(isSparing: isSparing) { rank, frame in
      do throws(WireError) { try receive(frame, from: rank) } catch { wireFailure = true }
    }
    if wireFailure { throw RuntimeError("understand a message of the manager") }
    count += takeHelperResults()
    if let adopter { events.append(contentsOf: adopter.takeEvents()) }
    // A process that lasts would have to share its processor with us.
    if pipes.watchDue(at: monotonicNanoseconds()) || children.isEmpty || needsFastPolling {
      clinux_move_home()
    }
    if let agent {
      if agent.progress(&events) {
        count += 1
        lastMove = monotonicNanoseconds()
      }
      if agent.hashingDue != nil { agent.hashDue(at: monotonicNanoseconds()) }
    }
    if let deadline = core.nextDeadline, deadline <= clock.now {
      core.handleDeadlines(at: clock.now, effects: &effects)
    }
    derivations?.killDue(at: monotonicNanoseconds(), children)
    count += events.count
    runEvents()
    if core.isLeaving { leaveIfIdle() }
    for peer in bulk?.takeFailures() ?? [] { siblings.suspect(peer) }
    for peer in siblings.turn(at: monotonicNanoseconds()) {
      agent?.forget(peer)
    }
    mailbox.flush()
    return count > 0
  }

  private func runEvents() {
    while !events.isEmpty || !effects.isEmpty {
      let batch = events
      events.removeAll(keepingCapacity: true)
      let now = clock.now
      if let keeper {
        for case .transferred(let transfer, _, let error) in batch {
          keeper.onTransferred(
            transfer, error: error, validators: derivations?.takeValidators(of: transfer))
        }
      }
      for event in batch {
        if let error = event.fullDiskError, let scratch {
          remover?.finish()
          let free = ScratchRoom.free(at: scratch.path, after: error)
          core.handle(.diskMeasured(free), at: now, effects: &effects)
        }
        core.handle(event, at: now, effects: &effects)
      }
      let orders = effects
      effects.removeAll(keepingCapacity: true)
      for effect in orders { carryOut(effect) }
    }
    instances?.flush()
  }

  /// Whether this rank must leave by itself.
  package var hasLostManager: Bool { siblings.hasLostManager }
  /// The manager's last word, with which a rank goes, whether it is ready or not.
  var farewell: Farewell? { siblings.farewell }
  /// Whether other nodes' agents ask this rank for files.
  var servesNode: Bool { siblings.isAgent }

  private func takeHelperResults() -> Int {
    _ = remover?.isIdle
    let results = queue.drain()
    for result in results {
      if case .derived(let event, let text) = result {
        if !text.isEmpty { say(text, of: AttemptID(.none, 0)) }
        events.append(event)
      } else if case .recalled(let value, let part, let recall) = result, let keeper {
        let found = keeper.onRecalled(value, part: part, recall)
        if !found.text.isEmpty { say(found.text, of: AttemptID(.none, 0)) }
        events.append(contentsOf: found.events)
        for order in found.orders { begin(order) }
        for order in found.answered { agent?.hasAlready(order) }
        if keeper.hasRecalledAll { events.append(.recallEnded) }
      } else if let agent {
        events.append(contentsOf: agent.onResult(result))
      }
    }
    return results.count
  }

  // MARK: Messages

  private func receive(_ frame: UnsafeRawBufferPointer, from rank: Int) throws(WireError) {
    var reader = WireReader(frame)
    guard let kind = FrameKind(rawValue: try reader.take()) else { throw WireError() }
    if siblings.isLost(rank) { return }
    if kind.rawValue < FrameKind.readRequest.rawValue { siblings.heardManager() }
    switch kind {
    case .welcome:
      let welcome = try reader.takeWelcome()
      do throws(RuntimeError) { try begin(welcome) } catch {
        leaveWithProblem(error)
      }
      let early = earlyFrames
      earlyFrames = []
      for (bytes, peer) in early {
        let isUnderstood = bytes.withUnsafeBytes { (try? receive($0, from: peer)) != nil }
        if !isUnderstood { throw WireError() }
      }
    case .startTask:
      let order = try reader.takeAttemptOrder()
      orders[order.attempt.task] = order
      events.append(
        .received(
          .startTask(
            order.attempt, allocation: order.allocation,
            timeoutMilliseconds: order.timeoutMilliseconds, hashesFirst: order.hashesFirst)))
    case .startCall:
      let order = try reader.takeCallOrder()
      instances?.receive(order)
      let row = order.attempt
      events.append(
        .received(
          row.commandKind == .gather
            ? .startTask(
              row.attempt, allocation: row.allocation,
              timeoutMilliseconds: row.timeoutMilliseconds, hashesFirst: row.hashesFirst)
            : .startCall(
              row.attempt, allocation: row.allocation,
              timeoutMilliseconds: row.timeoutMilliseconds, hashesFirst: row.hashesFirst)))
    case .startInstance:
      let order = try reader.takeInstanceOrder()
      instances?.receive(order)
      events.append(
        .received(
          .startInstance(
            order.allocation, order.library, slots: order.slots,
            isolatesCalls: order.mode.isolatesCalls,
            timeoutMilliseconds: order.timeoutMilliseconds)))
    case .stopInstance:
      events.append(.received(.stopInstance(AllocationID(rawValue: try reader.take()))))
    case .takeBack: events.append(.received(.takeBack(try reader.takeAttempt())))
    case .killTask: events.append(.received(.killTask(try reader.takeAttempt())))
    case .fetch:
      siblings.actAsAgent()
      let order = try reader.takeFetchOrder()
      fetchOrders[order.transfer] = order
      events.append(
        .received(
          .fetch(
            order.value, transfer: order.transfer, from: order.source, byteCount: order.byteCount)))
    case .assist:
      siblings.actAsAgent()
      let order = try reader.takeAssistOrder()
      assistOrders[order.transfer, default: []].append(order)
      events.append(
        .received(.assist(order.value, transfer: order.transfer, from: order.source)))
    case .recall:
      keeper?.recall(try reader.takeForeverOrders())
      if keeper?.hasRecalledAll ?? true { events.append(.recallEnded) }
    case .adopt:
      let order = try reader.takeAdoptOrder()
      adoptOrders[order.value, default: []].append(order)
      events.append(.received(.adopt(order.value, as: order.attempt)))
    case .dropOffers: events.append(.received(.dropOffers))
    case .unlink: events.append(.received(.unlink(try reader.takeValue())))
    case .commit:
      let order = try reader.takeCommitOrder()
      commitOrders[order.value] = order
      events.append(.received(.commit(order.value)))
    case .leave: events.append(.received(.leave))
    case .heartbeat: break
    case .watch, .fence, .peerLost, .farewell: try siblings.receive(kind, &reader)
    case .placeOutput: bringOutputHome(at: try reader.take())
    case .ping:
      var pong = WireWriter(.pong)
      pong.put(try reader.take(Int64.self))
      pong.put(monotonicNanoseconds())
      mailbox.send(pong, to: 0, .manager)
    default:
      if agent == nil && (kind == .readRequest || kind == .readStop) {
        // A peer that heard of this node from the manager before this node did.
        earlyFrames.append((Array(frame), rank))
        return
      }
      if kind == .readRequest { siblings.actAsAgent() }
      guard let agent, try agent.receive(kind, &reader, from: rank) else { throw WireError() }
    }
  }

  private func begin(_ welcome: Welcome) throws(RuntimeError) {
    self.welcome = welcome
    siblings.begin(welcome)
    let scratch = try ScratchDirectory.open(welcome.scratch, token: welcome.token)
    self.scratch = scratch
    // Below what goes with this rank, however it ends.
    let remover = try Remover(prefix: "\(scratch.sandboxes(of: rank))/trash-")
    self.remover = remover
    poll.add(remover.descriptor, token: PollToken.workerHelpers)
    room = try SandboxRoom(path: scratch.sandboxes(of: rank), cachePath: scratch.cache)
    room?.remover = remover
    let launcher = ProcessLauncher(
      welcome, rank: rank, spillPath: scratch.part("output-\(rank)"))
    launcher.lookingNanoseconds = looking.nanosecondsOfHosts
    self.launcher = launcher
    watcher.lookAfter(
      mark: launcher.markPrefix, directory: scratch.path, sandboxes: scratch.sandboxes(of: rank),
      output: scratch.spool(of: rank))
    watcher.keepDirectory(welcome.record.isKept)
    spool = OutputSpool(path: scratch.spool(of: rank))
    if let room {
      let mailbox = mailbox
      instances = InstanceRoom(
        room: room, launcher: launcher, cachePath: scratch.cache, poll: poll,
        hasGangs: mpi?.hasFunctionThread ?? false,
        say: { mailbox.send(WireWriter($0), to: 0, .manager) },
        sayOfLibrary: { mailbox.send(WireWriter($0), to: 0, .manager) })
    }
    agent = Agent(
      scratch: scratch, runName: welcome.runName, mailbox: mailbox, bulk: bulk, queue: queue,
      chunks: chunks, remover: remover)
    keeper = Keeper(scratch: scratch, runName: welcome.runName, queue: queue)
    if let room {
      derivations = DerivationRunner(
        room: room, launcher: launcher, cachePath: scratch.cache, queue: queue, keeper: keeper)
    }
    if welcome.managerProcessID > 0 && mpi != nil {
      mailbox.doorbells[0] = welcome.managerProcessID
    }
    if isAgent {
      do throws(RuntimeError) { try welcome.record.write(in: scratch.path) } catch {
        // Without it nobody takes values over from here if the session dies.
        say("\(error)", of: AttemptID(.none, 0))
      }
      if welcome.seeksValues {
        let adopter = try Adopter(scratch: scratch)
        poll.add(adopter.descriptor, token: PollToken.workerHelpers)
        adopter.look(of: welcome.record.run, files: welcome.record.files)
        self.adopter = adopter
      }
      queue.submit {
        scratch.removeLeftovers()
        return .removed
      }
      if let warning = scratch.warning { say(warning, of: AttemptID(.none, 0)) }
    }
  }

  private func leaveWithProblem(_ problem: RuntimeError) {
    say("\(hostName()): \(problem)", of: AttemptID(.none, UInt32.max))
  }

  private func say(_ text: String, of attempt: AttemptID, errorTail: [UInt8] = []) {
    mailbox.send(
      WireWriter(AttemptNote(attempt: attempt, reason: text, errorTail: errorTail)), to: 0,
      .manager)
  }

  // MARK: Effects

  private func carryOut(_ effect: WorkerEffect) {
    switch effect {
    case .send(let message):
      var frame = WireWriter(message)
      if case .resultReady(let value, _) = message {
        frame.put(bytes: instances?.takeResult(value) ?? [])
      }
      mailbox.send(frame, to: 0, .manager)
    case .startInstance(let allocation, _):
      events.append(contentsOf: instances?.start(allocation) ?? [])
    case .stopInstance(let allocation, let isKilled):
      instances?.stop(allocation, isKilled: isKilled)
    case .call(let attempt): events.append(contentsOf: instances?.call(attempt) ?? [])
    case .cancelCall(let attempt): instances?.cancel(attempt)
    case .launch(let attempt): launch(attempt)
    case .settle(let attempt, let isSuccess): settle(attempt, isSuccess: isSuccess)
    case .signal(let attempt, let signal):
      if let processID = childOfTask[attempt.task] { children[processID]?.signal(signal) }
    case .forget(let attempt):
      orders[attempt.task] = nil
      instances?.forget(attempt)
    case .fetch(_, let transfer, _, _):
      guard let order = fetchOrders.removeValue(forKey: transfer) else { return }
      switch keeper?.answer(order) {
      case .held?: break
      case .done(let event)?:
        agent?.hasAlready(order)
        events.append(event)
      case .proceed?, nil: begin(order)
      }
    case .adopt(let value, _):
      if let order = adoptOrders[value]?.popLast() { adopter?.adopt(order) }
    case .dropOffers:
      adoptOrders = [:]
      adopter?.drop()
    case .assist(_, let transfer, _):
      for order in assistOrders.removeValue(forKey: transfer) ?? [] { agent?.assist(order) }
    case .unlink(let value): agent?.unlink(value)
    case .commit(let value):
      if let order = commitOrders.removeValue(forKey: value) { agent?.commit(order) }
    case .leave: break
    }
  }

  private func launch(_ attempt: AttemptID) {
    if let instances, instances.isGather(attempt) {
      events.append(contentsOf: instances.gather(attempt))
      return
    }
    guard let order = orders[attempt.task], let room, let launcher else { return }
    do throws(SandboxProblem) {
      let sandbox = order.usesSandbox ? try room.make(for: order) : nil
      do throws(SandboxProblem) {
        // With nothing else here, this thread is wanted when the attempt ends, where it ran.
        let isOnly = children.isEmpty && core.instanceCount == 0 && rank != 0
        let child = try launcher.start(order, in: sandbox, isOnly: isOnly)
        children[child.processID] = child
        childOfTask[attempt.task] = child.processID
        pipes.add(child)
      } catch {
        if let sandbox { room.recycle(sandbox, order) }
        throw error
      }
    } catch {
      orders[attempt.task] = nil
      say(error.reason, of: attempt)
      events.append(.launchFailed(attempt, error.ending))
    }
  }

  private func begin(_ order: FetchOrder) {
    keeper?.expect(order)
    if order.source == .derivation {
      derive(order)
    } else if let event = agent?.fetch(order) {
      events.append(event)
    }
  }

  private func derive(_ order: FetchOrder) {
    switch derivations?.start(order) {
    case .success(let child)?:
      children[child.processID] = child
      pipes.add(child)
    case .failure(let failure)?:
      say(failure.text, of: AttemptID(.none, 0))
      events.append(failure.event)
    case nil: events.append(.transferred(order.transfer, byteCount: 0, error: EAGAIN))
    }
  }

  /// A pipe or a host's channel has something to take; or another rank's process has ended.
  package func onPipeReady(_ token: UInt64) {
    if pipes.onReady(token) { return }
    if let news = instances?.onReady(token) {
      events.append(contentsOf: news)
      runEvents()
      return
    }
    siblings.onReady(token)
  }

  /// Reaps all children that ended.
  package func onChildSignal() {
    var exit = clinux_exit()
    var hasStrayEnded = false
    while clinux_reap(&exit) == 1 {
      let end = monotonicNanoseconds()
      if let news = instances?.onExit(exit) {
        events.append(contentsOf: news)
        // Calls in children of their own outlive it.
        hasStrayEnded = true
        continue
      }
      guard let child = children.removeValue(forKey: exit.pid) else {
        hasStrayEnded = true
        continue
      }
      if !DerivationRunner.isDerivation(child) { childOfTask[child.order.attempt.task] = nil }
      onExit(of: child, exit, end: end)
      // The next of this lane starts before we look at other lanes.
      runEvents()
    }
    // The children of a stray come to us when it ends.
    if hasStrayEnded { launcher?.killStrays(besides: children) }
    runEvents()
  }

  private func onExit(of child: ChildProcess, _ exit: clinux_exit, end: Int64) {
    // What the main process left behind must not outlive the attempt, nor touch its sandbox.
    child.signalGroup(SIGKILL)
    let isAlone = launcher?.killStrays(besides: children) ?? false
    pipes.finish(child)
    if isAlone { launcher?.recyclePipes(of: child) }
    let attempt = child.order.attempt
    if DerivationRunner.isDerivation(child) {
      let problem = launcher?.startProblem(of: child)
      if let end = derivations?.onExit(of: child, exit, startProblem: problem) {
        if !end.text.isEmpty { say(end.text, of: AttemptID(.none, 0)) }
        if let event = end.event { events.append(event) }
      }
      return
    }
    if let problem = launcher?.startProblem(of: child) {
      if let sandbox = child.sandbox { room?.recycle(sandbox, child.order) }
      orders[attempt.task] = nil
      say(problem.reason, of: attempt)
      events.append(.launchFailed(attempt, problem.ending))
      return
    }
    finished[attempt.task] = child
    noteChangedInputs(of: child)
    // Before the next attempt may fill it.
    child.foundDiskFull =
      (exit.is_signaled != 0 || exit.status != 0)
      && child.sandbox.map { ScratchRoom.isFull($0.path) } ?? false
    events.append(
      .exited(
        attempt,
        exit.is_signaled != 0 ? .signaled(exit.status) : .exited(exit.status),
        usage: Completion(
          .succeeded, start: Instant(nanoseconds: child.start), end: Instant(nanoseconds: end),
          cpuMicroseconds: exit.cpu_microseconds, maxResidentKB: exit.max_resident_kb)))
  }

  /// Attempts whose process ended and whose sandbox is still there.
  private var finished: [TaskID: ChildProcess] = [:]

  /// Before anybody links them again.
  private func noteChangedInputs(of child: ChildProcess) {
    guard let sandbox = child.sandbox, let room else { return }
    child.changedInputs = room.changedInputs(in: sandbox, of: child.order)
    for place in child.changedInputs {
      mailbox.send(
        WireWriter(.replicaDamaged(child.order.inputs[place].value)), to: 0, .manager)
    }
  }

  private func settle(_ attempt: AttemptID, isSuccess: Bool) {
    if let settled = instances?.settle(attempt, isSuccess: isSuccess) {
      settleCall(settled, isSuccess: isSuccess)
      return
    }
    guard let child = finished.removeValue(forKey: attempt.task) else { return }
    let order = child.order
    orders[attempt.task] = nil
    var ending = Ending.succeeded
    var reason = ""
    if let sandbox = child.sandbox, let room {
      if let changed = child.changedInputs.first {
        ending = .changedInput(UInt32(changed))
        reason =
          "the task changed its input \(order.inputs[changed].name), which it shares with other "
          + "tasks; declare it with \"copy\": true to get one of its own"
      }
      if let problem = diskProblem(of: child, in: sandbox, isSuccess: isSuccess),
        ending == .succeeded
      {
        ending = problem.ending
        reason = problem.reason
      }
      if isSuccess && ending == .succeeded {
        do throws(SandboxProblem) {
          let sizes = try room.collect(order, from: sandbox)
          announce(order, sizes: sizes)
        } catch {
          ending = error.ending
          reason = error.reason
        }
      }
      room.recycle(sandbox, order, hasFailed: !isSuccess || ending != .succeeded)
    }
    keepOutput(of: child)
    if !isSuccess || ending != .succeeded {
      say(reason, of: attempt, errorTail: child.error.tail(Limits.errorTailByteCount))
    }
    if isSuccess && ending == .succeeded && order.hashesFirst, let agent {
      agent.hashFirst(order)
    } else {
      events.append(.settled(attempt, ending))
    }
  }

  private func settleCall(_ settled: InstanceRoom.Settled, isSuccess: Bool) {
    let order = settled.order
    if !settled.errorText.isEmpty {
      spool?.append(
        settled.errorText, attempt: order.attempt, taskName: order.taskName, stream: 2)
    }
    let hasFiles = isSuccess && settled.ending == .succeeded && !order.outputs.isEmpty
    events.append(contentsOf: settled.events)
    if hasFiles { announce(order, sizes: settled.sizes) }
    if hasFiles && order.hashesFirst, let agent {
      agent.hashFirst(order)
    } else {
      events.append(.settled(order.attempt, settled.ending))
    }
  }

  /// What the disk has to do with the end of an attempt whose sandbox is still there.
  private func diskProblem(
    of child: ChildProcess, in sandbox: Sandbox, isSuccess: Bool
  ) -> SandboxProblem? {
    let order = child.order
    let isFull = !isSuccess && child.foundDiskFull
    if isSuccess && order.diskMB == 0 { return nil }
    if isFull && order.diskMB == 0 {
      // It declared nothing, so nothing was kept free for it.
      return SandboxProblem(
        ending: .succeeded,
        reason: "the node's scratch file system is full; a task that declares its `disk` is given "
          + "what it needs")
    }
    guard isSuccess || isFull else { return nil }
    let megabytes = UInt32(
      clamping: (FileTree.writtenByteCount(of: sandbox.path) + 1_048_575) >> 20)
    if megabytes > order.diskMB {
      return SandboxProblem(
        ending: .overDisk(megabytes),
        reason: "the task wrote \(megabytes) MB, but declares \(order.diskMB) MB of `disk`")
    }
    // It kept to what it declared, so the fault is the node's.
    return isFull
      ? SandboxProblem(
        ending: .sandboxFailed(ENOSPC),
        reason: "the node's scratch file system is full, though the task kept to its `disk`")
      : nil
  }

  /// Contents are hashed beside the tasks: what commits are compared by, and what cuts off work
  /// when a value is made again. A very large file would only compete with them.
  private func wantsHash(of output: FileOrder, byteCount: Int64) -> Bool {
    // What has a path is hashed while it is written there.
    if output.isDirectory || output.hasPath { return false }
    return welcome?.wantsHashes == true || byteCount <= Limits.hashedByteCountMax
  }

  private func announce(_ order: AttemptOrder, sizes: [Int64]) {
    for (output, size) in zip(order.outputs, sizes) {
      events.append(.outputReady(order.attempt, output.value.file, byteCount: size))
      guard !order.hashesFirst, wantsHash(of: output, byteCount: size), let room else { continue }
      let descriptor = room.open(output.value)
      if descriptor >= 0 {
        agent?.hash(output.value, from: descriptor, at: monotonicNanoseconds())
      }
    }
  }

  private func keepOutput(of child: ChildProcess) {
    let order = child.order
    if child.output.totalByteCount > 0 {
      spool?.append(
        child.output.contents(), attempt: order.attempt, taskName: order.taskName, stream: 1)
    }
    if child.error.totalByteCount > 0 {
      spool?.append(
        child.error.contents(), attempt: order.attempt, taskName: order.taskName, stream: 2)
    }
  }

  // MARK: Leaving

  private func leaveIfIdle() {
    agent?.hashNow()
    if let derivations, !derivations.isIdle { return derivations.killAll(children) }
    let isStuck = (instances?.hasRunningFunction ?? false) && isTeardownOver()
    if isStuck && rank != 0 {
      // Its thread may be inside MPI, so this rank cannot end in order: it is lost.
      complain("vine-mpi: \(hostName()): a function inside this rank does not return; leaving")
      _exit(1)
    }
    guard core.attemptCount == 0 || isStuck, queue.pendingCount == 0, remover?.isIdle != false,
      agent?.isMoving != true
    else { return }
    if core.instanceCount > 0 && !isTeardownOver() { return }
    if adopter?.hasEnded() == false { return }
    if !hasAnnouncedLeaving {
      if hasStrays() { return }
      hasAnnouncedLeaving = true
      var totals = agent?.finalTotals ?? WorkerTotals()
      totals.outputByteCount = spool?.byteCount ?? 0
      mailbox.send(WireWriter(totals, kind: .leaving), to: 0, .manager)
      return
    }
    guard isOutputPlaced, !isDone else { return }
    isDone = true
    spool = nil
    scratch?.leave(rank: rank, isAgent: servesNode)
    watcher.dismiss()
    siblings.bePatient()
    mailbox.send(WireWriter(.goodbye), to: 0, .manager)
  }

  /// Instances get a while to tear their contexts down, then they are killed.
  private func isTeardownOver() -> Bool {
    let now = monotonicNanoseconds()
    let since = teardownSince ?? now
    teardownSince = since
    if now - since > Limits.killGraceNanoseconds { instances?.killAll() }
    // A function inside the rank may never return.
    return now - since > 2 * Limits.killGraceNanoseconds
  }

  private var teardownSince: Int64?

  /// Whether processes of ended attempts are still dying; after five seconds nobody waits for them.
  private func hasStrays() -> Bool {
    guard let launcher, launcher.hasChildren else { return false }
    let now = monotonicNanoseconds()
    let since = leavingSince ?? now
    leavingSince = since
    launcher.killStrays(besides: children)
    return now - since < 5_000_000_000
  }

  private func bringOutputHome(at offset: Int64) {
    isOutputPlaced = true
    guard let spool, let welcome, offset >= 0 else { return }
    let error = spool.bringHome(to: welcome.outputPath, at: offset)
    if error != 0 {
      say(
        "cannot bring the output of tasks home to \(welcome.outputPath): \(errorText(error))",
        of: AttemptID(.none, 0))
    }
  }

  /// No time is left: every process of every attempt dies now, and what this rank put into scratch
  /// goes as far as the launcher's patience lets it. If the run `mayGoOn`, the node's cache stays for
  /// that where it is to.
  package func abandon(mayGoOn: Bool) {
    let isKept = mayGoOn && welcome?.record.isKept ?? false
    watcher.keepDirectory(isKept)
    for child in children.values { child.signal(SIGKILL) }
    instances?.killAll()
    launcher?.hostMarks = [:]
    // Whoever had left its group comes to us when its parent is dead, so look again; within 200 ms,
    // since the launcher gives a second for everything.
    for _ in 0..<100 {
      launcher?.killStrays(besides: [:])
      var exit = clinux_exit()
      while clinux_reap(&exit) == 1 {}
      if launcher?.hasChildren != true { break }
      usleep(2000)
    }
    // The node's other ranks may go on.
    scratch?.leave(rank: rank, isAgent: servesNode, isKept: isKept)
  }
}

/// Numbers of the descriptors a loop waits for.
enum PollToken {
  static let signals: UInt64 = 1
  static let workerHelpers: UInt64 = 2
  static let managerHelpers: UInt64 = 3
  static func pipe(_ descriptor: Int32) -> UInt64 {
    1 << 32 | UInt64(UInt32(bitPattern: descriptor))
  }
  static func host(_ descriptor: Int32) -> UInt64 {
    3 << 32 | UInt64(UInt32(bitPattern: descriptor))
  }
  static func process(_ rank: Int) -> UInt64 {
    2 << 32 | UInt64(UInt32(truncatingIfNeeded: rank))
  }
  /// The rank behind a token of a watched process.
  static func rank(of token: UInt64) -> Int? { token >> 32 == 2 ? Int(token & 0xFFFF_FFFF) : nil }
}
