// The end of a run: everybody leaves in order, whoever is lost meanwhile, and the launcher goes too.

internal import CLinux
internal import Glibc
internal import Synchronization
internal import VineCore

extension ManagerLoop {
  /// Nothing more is to be done: the workers bring home what they have and say goodbye.
  func orderLeaving() {
    hasOrderedLeaving = true
    progress.finish()
    for worker in directory.live { mailbox.send(WireWriter(.leave), to: worker.index, .worker) }
  }

  /// A worker has nothing more to do: it learns where its tasks' output goes.
  func onLeaving(_ worker: WorkerID, _ sums: WorkerTotals) {
    totals.sharedReadByteCount += sums.sharedReadByteCount
    totals.sharedReadCount += sums.sharedReadCount
    totals.sharedWrittenByteCount += sums.sharedWrittenByteCount
    totals.receivedByteCount += sums.receivedByteCount
    // Bringing the output home keeps a rank from saying that it lives.
    liveness.allow(worker.index, silence: times.nodeTimeout * 10)
    var frame = WireWriter(.placeOutput)
    frame.put(outputOffset)
    outputOffset += sums.outputByteCount
    mailbox.send(frame, to: worker.index, .worker)
  }

  /// A worker has left in order: its end is no loss.
  func onGoodbye(of worker: WorkerID) {
    directory.markDeparted(worker)
    liveness.remove(worker.index)
    processes.forget(worker.index)
    departing.append(worker)
  }

  /// Moves the end on: finishes when nobody is left to wait for, and goes when the last words are
  /// out.
  func moveEnding(at now: Int64) {
    if let deadline = partingDeadline {
      if !mailbox.hasUnfinishedSends || now >= deadline { exitStatus = finalStatus }
      return
    }
    guard outcome != nil, directory.isEmpty(workerCount) else { return }
    // Before the files are written: that may take long, and nobody needs to wait for it.
    let word = Farewell(status: 0, isWithoutFinalize: directory.hasLosses)
    for worker in departing { mailbox.send(WireWriter(word), to: worker.index, .worker) }
    mailbox.flush()
    finalStatus = finishOrComplain()
    partingDeadline = monotonicNanoseconds() + Limits.farewellNanoseconds
  }

  /// Ends the run when nobody is left to work.
  func giveUpIfDeserted() {
    guard mayBeDeserted, outcome == nil else { return }
    mayBeDeserted = false
    // Ranks whose agent was lost before it could say what their node has can run nothing.
    let isDeserted = !directory.live.contains { directory[$0]?.node != NodeID.none }
    guard isDeserted, isRegistrationClosed else { return }
    progress.interrupt()
    complain("vine-mpi: all workers are lost; what is not done is left for another start")
    let state = core.progress
    outcome = Outcome(
      doneCount: state.doneCount, failedCount: state.failedCount,
      cancelledCount: state.cancelledCount,
      leftCount: max(
        state.taskCount - state.doneCount - state.failedCount - state.cancelledCount, 1),
      unwrittenOutputCount: unwritten.count)
    isInterrupted = true
    orderLeaving()
  }
}

/// The process that started this rank, if that is the one which started the whole job: with a lost
/// rank it may wait for ever. A daemon on another node is none.
struct Launcher: Equatable, Sendable {
  let processID: Int32
  let startTime: UInt64

  /// Nil when this process was started by something else.
  static func ofThisProcess() -> Launcher? {
    let parent = getppid()
    guard parent > 1, let name = try? readFile("/proc/\(parent)/comm"),
      isLauncher(String(decoding: name.prefix { $0 != 10 }, as: UTF8.self)),
      let startTime = processStartTime(parent)
    else { return nil }
    return Launcher(processID: parent, startTime: startTime)
  }

  /// Whether a program of this name (15 bytes at most) starts jobs of MPI.
  static func isLauncher(_ name: String) -> Bool {
    ["mpirun", "mpiexec", "orterun", "prterun", "prun", "mpiexec.hydra", "hydra"].contains(name)
  }
}

/// How a rank leaves MPI.
struct Departure: Sendable {
  let watcher: Watcher
  /// Rank 0's, where it has one.
  let launcher: Launcher?

  /// Ends this process at once, without MPI_Finalize, and after `graceMilliseconds` a launcher that
  /// does not end by itself: it counts lost ranks as running.
  func leave(_ status: Int32, graceMilliseconds: Int = 200) -> Never {
    if let launcher { watcher.endLauncher(launcher, graceMilliseconds: graceMilliseconds) }
    _exit(status)
  }

  /// MPI_Finalize waits for all ranks: one that is lost only now would hold up this process for
  /// ever, were it not for a thread that ends it after `seconds`.
  func finalize(_ mpi: MPIEnvironment, status: Int32, within seconds: UInt32) {
    if let guardian = try? BlockingQueue<Bool>(threadCount: 1) {
      guardian.submit {
        sleep(seconds)
        leave(status)
      }
    }
    mpi.finish()
  }
}
