// A rank: starts MPI, hosts the manager, a worker, or both, and runs their loops on one thread.

internal import CLinux
internal import Glibc
package import VineCore

/// A description that was read: its name, which names the run's directory, and the workflow made
/// once that directory is there. Nil: it was refused, and the reason told.
package struct PreparedRun {
  let name: String
  /// The absolute path of the description: names its runs.
  let path: String
  let workflow: (_ runDirectory: String) -> Workflow?

  package init(
    name: String, path: String, workflow: @escaping (_ runDirectory: String) -> Workflow?
  ) {
    self.name = name
    self.path = path
    self.workflow = workflow
  }
}

/// The path of a program that is installed beside this one.
package func siblingProgram(_ name: String) -> String {
  var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
  let count = readlink("/proc/self/exe", &buffer, Int(PATH_MAX))
  guard count > 0 else { return name }
  let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  guard let slash = path.lastIndex(of: "/") else { return name }
  return "\(path[...slash])\(name)"
}

/// Makes a directory and those above it.
package func makeDirectory(_ path: String) throws(RuntimeError) {
  let error = FileTree.makeDirectories(path)
  if error != 0 { throw RuntimeError("make", path, errno: error) }
}

package enum Rank {
  /// Runs a workflow to its end and returns the exit status. `load` is called on rank 0 alone,
  /// after MPI has started: only rank 0 opens the description.
  package static func run(
    options: RunOptions, load: () -> PreparedRun?
  ) -> Int32 {
    // Before anything can take its parent's place.
    let launcher = Launcher.ofThisProcess()
    let watcher = Watcher()
    var mpi: MPIEnvironment?
    var managerBox: Mailbox?
    func departure() -> Departure {
      Departure(watcher: watcher, launcher: mpi?.rank == 0 ? launcher : nil)
    }
    do throws(RuntimeError) {
      // MPI libraries add variables of their own when they start.
      let environment = taskEnvironment()
      let signals = try SignalSource()
      if case .ranks(let count) = Launch.detect() {
        mpi = try MPIEnvironment(
          expecting: count, hasFunctionThread: options.hasFunctionThread)
      }
      return try run(
        options: options, mpi: mpi, signals: signals, departure: departure(),
        managerBox: &managerBox, environment: environment, load: load)
    } catch {
      complain("vine-mpi: \(error)")
      // Other ranks may wait for this one in MPI_Finalize for ever: leave without it.
      refuse(error.exitStatus ?? 2, by: managerBox, size: mpi?.size ?? 1, departure())
    }
  }

  private static func run(
    options: RunOptions, mpi: MPIEnvironment?, signals: SignalSource, departure: Departure,
    managerBox: inout Mailbox?, environment: [String], load: () -> PreparedRun?
  ) throws(RuntimeError) -> Int32 {
    clinux_become_subreaper()
    clinux_set_timer_slack(1000)
    let rank = mpi?.rank ?? 0
    let size = mpi?.size ?? 1
    let neighbours = mpi?.ranksOfNode ?? [0]
    let workersHere = neighbours.filter { $0 != 0 }
    let hostsWorker = rank != 0 || workersHere.isEmpty
    let poll = try EventPoll()
    poll.add(signals.descriptor, token: PollToken.signals)
    var manager: ManagerLoop?
    var worker: WorkerLoop?
    if rank == 0 {
      let box = try Mailbox(role: .manager, mpi: mpi)
      managerBox = box
      guard let prepared = load() else { refuse(2, by: box, size: size, departure) }
      let workerCount = size - 1 + (hostsWorker ? 1 : 0)
      let directory = try RunDirectory.open(
        chosen: options.runDirectory, workflowPath: prepared.path, workflowName: prepared.name,
        isFresh: options.isFresh)
      guard let workflow = prepared.workflow(directory.path) else {
        refuse(2, by: box, size: size, departure)
      }
      let session = try Session.open(
        workflow, workflowPath: prepared.path, in: directory, options: options)
      manager = try ManagerLoop(
        workflow, session: session, options: options, environment: environment, mpi: mpi,
        mailbox: box, poll: poll,
        workerCount: workerCount)
    }
    let looking = Looking(ranksHere: neighbours.count)
    var workerBox: Mailbox?
    if hostsWorker {
      let box = try Mailbox(role: .worker, mpi: mpi)
      box.neighbour = managerBox
      managerBox?.neighbour = box
      worker = try WorkerLoop(
        mpi: mpi, mailbox: box, poll: poll, watcher: departure.watcher, nodeKey: neighbours[0],
        workersHere: workersHere, looking: looking, scratch: options.scratch,
        cacheLimitMB: options.cacheLimitMB)
      workerBox = box
    }
    let loop = RankLoop(
      manager: manager, worker: worker, boxes: [managerBox, workerBox].compactMap { $0 },
      poll: poll, signals: signals, rankCount: size, hasOtherNodes: neighbours.count < size,
      looking: looking)
    let status = try loop.run()
    let lastWord = worker?.farewell
    if status == 2 && rank == 0 && size > 1 { refuse(2, by: managerBox, size: size, departure) }
    if manager?.hasLosses ?? lastWord?.isWithoutFinalize ?? false { departure.leave(status) }
    managerBox?.close()
    workerBox?.close()
    // Other ranks may wait for rank 0 there while it writes its files.
    if let mpi { departure.finalize(mpi, status: status, within: rank == 0 ? 60 : 600) }
    return status
  }

  /// The run cannot go on. A launcher that goes on after losses would leave the others waiting: rank
  /// 0 tells them, and ends it unless it ends by itself.
  private static func refuse(
    _ status: Int32, by box: Mailbox?, size: Int, _ departure: Departure
  ) -> Never {
    let word = Farewell(status: status, isWithoutFinalize: true)
    for rank in 1..<max(size, 1) { box?.send(WireWriter(word), to: rank, .worker) }
    for _ in 0..<50 {
      box?.flush()
      if box?.hasUnfinishedSends != true { break }
      usleep(10_000)
    }
    departure.leave(status, graceMilliseconds: 3000)
  }

  /// Ends this process at once, without MPI_Finalize; the launcher ends the job.
  static func leave(_ status: Int32) -> Never { _exit(status) }
}

/// The signals a rank listens to, as a descriptor.
final class SignalSource {
  let descriptor: Int32

  /// SIGURG is the doorbell of other ranks of the node: ignored by default, so that it does no
  /// harm to a stranger, and delivered all the same while it is blocked (signal(7)).
  init() throws(RuntimeError) {
    // What the caller has us ignore stays ignored: nohup, background jobs.
    let asked = [SIGTERM, SIGINT, SIGHUP, SIGUSR1].filter { clinux_is_ignored($0) == 0 }
    let mask = ([SIGCHLD, SIGURG] + asked).reduce(UInt64(0)) { $0 | 1 << UInt64($1 - 1) }
    descriptor = clinux_signal_descriptor(mask)
    if descriptor < 0 { throw RuntimeError("listen to signals", errno: -descriptor) }
    // A reader that went away is an error of write(2), not the end of the run.
    signal(SIGPIPE, SIG_IGN)
  }
}

/// The one thread of a rank.
final class RankLoop {
  private let manager: ManagerLoop?
  private let worker: WorkerLoop?
  private let boxes: [Mailbox]
  private let poll: EventPoll
  private let signals: SignalSource
  private let rankCount: Int
  private let hasOtherNodes: Bool
  private let looking: Looking
  private var idleTurns = 0
  private var mayBeReady = true

  init(
    manager: ManagerLoop?, worker: WorkerLoop?, boxes: [Mailbox], poll: EventPoll,
    signals: SignalSource, rankCount: Int, hasOtherNodes: Bool, looking: Looking
  ) {
    self.manager = manager
    self.worker = worker
    self.boxes = boxes
    self.poll = poll
    self.signals = signals
    self.rankCount = rankCount
    self.hasOtherNodes = hasOtherNodes
    self.looking = looking
  }

  /// Turns until the roles of this rank are done; returns the manager's status, 0 for a worker.
  func run() throws(RuntimeError) -> Int32 {
    while true {
      // After a sleep that nothing ended there is nothing to take.
      var isBusy = mayBeReady && takeReady() > 0
      mayBeReady = true
      if let worker, try worker.turn(isSparing: idleTurns > 16) { isBusy = true }
      if manager == nil, let worker { leaveIfTold(worker) }
      if manager?.isStuck ?? false {
        complain("vine-mpi: \(hostName()): a function inside this rank does not return; leaving")
        abandon()
      }
      if let manager, try manager.turn() { isBusy = true }
      if let status = manager?.exitStatus { return status }
      if manager == nil, let farewell = worker?.farewell { return farewell.status }
      if isBusy { idleTurns = 0 } else { wait() }
    }
  }

  /// A rank that has lost its manager leaves by itself, and so does one that its manager has given
  /// up: nobody waits for what it does.
  private func leaveIfTold(_ worker: WorkerLoop) {
    if worker.isDone {
      if worker.hasLostManager { Rank.leave(0) }
      return
    }
    if worker.hasLostManager {
      complain("vine-mpi: \(hostName()): nothing heard of the manager; leaving")
      abandon()
    }
    guard let farewell = worker.farewell else { return }
    if farewell.isExpulsion {
      complain("vine-mpi: \(hostName()): the manager has given this rank up; leaving")
    }
    abandon(farewell.status)
  }

  private func takeReady() -> Int {
    poll.forEachReady { token in
      switch token {
      case PollToken.signals: takeSignals()
      case PollToken.workerHelpers, PollToken.managerHelpers: break
      default:
        if let worker { worker.onPipeReady(token) }
        manager?.processes.onReady(token)
      }
    }
  }

  private func takeSignals() {
    var hasChildEnded = false
    var sender: Int32 = 0
    while true {
      switch clinux_next_signal(signals.descriptor, &sender) {
      case 0:
        if hasChildEnded { worker?.onChildSignal() }
        return
      case SIGCHLD: hasChildEnded = true
      case SIGUSR1: manager?.drain(because: "SIGUSR1", isByTime: true)
      case SIGTERM, SIGINT, SIGHUP: abandon()
      default: break
      }
    }
  }

  /// The launcher kills within a second of its SIGTERM, and at once when a rank has left: so every
  /// rank stays until its neighbours, too, have had time to kill what is theirs.
  private func abandon(_ status: Int32 = 3) -> Never {
    let signalledAt = monotonicNanoseconds()
    // First the processes: what follows may take longer than the launcher waits.
    worker?.abandon(mayGoOn: status == 3 && manager?.partingDeadline == nil)
    manager?.abandon()
    if rankCount > 1 {
      let left = 600_000_000 - (monotonicNanoseconds() - signalledAt)
      if left > 0 { usleep(UInt32(left / 1000)) }
    }
    Rank.leave(manager?.partingDeadline == nil ? status : manager?.finalStatus ?? status)
  }

  /// Sleeps until a signal, a pipe, a helper or a deadline, and a bounded time at most where other
  /// nodes must be listened to: MPI wakes nobody.
  private func wait() {
    idleTurns += 1
    // A message may be reported by MPI's second look only (it makes progress after it looked).
    if isAmongCalls {
      // MPI gives the processor up by itself, where it was told to.
      if !looking.hasSpareProcessors && idleTurns & 3 == 0 { sched_yield() }
      return
    }
    let isMoving = worker?.needsFastPolling ?? false
    if idleTurns < (isMoving ? 2 : 4) && rankCount > 1 { return }
    var limit = sleepLimit()
    if let due = worker?.nanosecondsToDeadline() { limit = min(limit, due) }
    if let due = manager?.nanosecondsToDeadline() { limit = min(limit, due) }
    if limit > 0 { mayBeReady = poll.wait(nanoseconds: limit) }
  }

  /// Whether a call began or ended just now: short ones end, and others follow, sooner than a sleep
  /// can be begun and ended. Costs tasks nothing where there are no calls, and a call of seconds
  /// this once.
  private var isAmongCalls: Bool {
    let last = max(worker?.lastCallTraffic ?? 0, manager?.lastCallTraffic ?? 0)
    return last > 0 && monotonicNanoseconds() - last < Looking.nanoseconds
  }

  /// How many doorbells tell this rank of every message; `Int.max` when some peer has none: another
  /// node's agent asks this node's agent for files.
  private var bellCount: Int {
    if manager != nil { return rankCount - 1 }
    return hasOtherNodes && (worker?.servesNode ?? false) ? .max : 1
  }

  private func sleepLimit() -> Int64 {
    if let worker, worker.needsFastPolling { return worker.pauseWhileMoving }
    let doubled = Int64(20_000) << Int64(min(max(idleTurns - 4, 0), 6))
    if boxes.contains(where: \.hasUnfinishedSends) { return min(doubled, 200_000) }
    // With a doorbell at every peer nothing is missed; the bound is for a bell that got lost.
    let bells = boxes.reduce(0) { $0 + $1.doorbells.count }
    if bells >= bellCount { return 20_000_000 }
    // After a second of silence, a look costs more of a core than it saves in waiting.
    return min(doubled, idleTurns > 1000 ? 1_800_000 : 1_000_000)
  }
}
