// The manager's eye on its workers: from silence, ended processes and errors of MPI to the one
// event that the core knows.

internal import Glibc
internal import VineCore

extension ManagerLoop {
  /// One round. A silence is judged when nothing lies unread, which it could be broken by; under a
  /// flood of messages that never ends, after twice the time.
  func lookAfterWorkers(at now: Int64, heardNobody: Bool) {
    liveness.advance(to: now)
    for rank in mailbox.takeFailures() { lose(rank, because: "MPI cannot reach it") }
    for rank in processes.takeEnded(at: now) { lose(rank, because: "its process has ended") }
    for rank in withSiblings(liveness.silent(grace: heardNobody ? 0 : times.nodeTimeout)) {
      fence(rank)
      let seconds = decimal(Double(times.nodeTimeout) / 1e9, 1)
      lose(rank, because: "nothing was heard of it for \(seconds) s")
    }
    if now >= nextHeartbeat {
      nextHeartbeat = now + times.interval
      for worker in directory.live {
        mailbox.send(WireWriter(.heartbeat), to: worker.index, .worker)
      }
    }
  }

  /// A dead node's ranks fall silent within one heartbeat of each other. They are lost together:
  /// else the tasks of one would be given to the next, and would seem to have killed them all.
  private func withSiblings(_ silent: [Int]) -> [Int] {
    if silent.isEmpty { return [] }
    let nodes = Set(silent.compactMap { directory[WorkerID(index: $0)]?.node })
    let others = directory.live.filter { worker in
      guard let node = directory[worker]?.node, node != .none else { return false }
      return nodes.contains(node) && liveness.isNearlySilent(worker.index)
    }
    return Set(silent + others.map(\.index)).sorted()
  }

  /// Begins to look after a rank that has registered.
  func lookAfter(_ worker: WorkerID, _ registration: Registration) {
    let key = SiblingGroups.Key(
      bootID: registration.bootID, processNamespace: registration.processNamespace)
    if worker.index == ownRank { return }
    carryOut(groups.add(worker.index, processID: registration.processID, key: key))
  }

  private func carryOut(_ orders: [SiblingGroups.Order]) {
    for order in orders {
      if order.watcher == 0 {
        processes.watch(order.rank, processID: order.processID)
      } else {
        send(order, .watch)
      }
    }
  }

  private func send(_ order: SiblingGroups.Order, _ kind: FrameKind) {
    let frame = SiblingOrder(rank: UInt32(order.rank), processID: order.processID)
    mailbox.send(WireWriter(frame, kind: kind), to: order.watcher, .worker)
  }

  /// A rank that does not answer may be stopped and wake up later: where another rank of its node
  /// lives, it is ended before its tasks are given to others.
  private func fence(_ rank: Int) {
    guard let order = groups.fence(for: rank), !directory.isLost(WorkerID(index: rank)) else {
      return
    }
    if order.watcher == 0 {
      _ = processes.fence(rank, processID: order.processID)
    } else {
      send(order, .fence)
    }
  }

  /// A worker has found another rank dead, or out of MPI's reach.
  func onSiblingLost(_ loss: SiblingLoss, from worker: WorkerID) {
    let rank = Int(loss.rank)
    if loss.isCertain && groups.areSiblings(rank, worker.index) {
      lose(rank, because: "its process has ended")
    } else {
      liveness.suspect(rank)
    }
  }

  /// What a lost rank still says is dropped: its tasks belong to others now. It is told to leave.
  func answerLost(_ worker: WorkerID) {
    guard directory.isAnswerDue(to: worker) else { return }
    mailbox.sendWithoutHope(WireWriter(Farewell.expulsion), to: worker.index, .worker)
  }

  /// A message that makes no sense: another build before the registration, damage after it.
  func onWireFailure(of rank: Int) {
    if directory[WorkerID(index: rank)] == nil {
      refuseBuild(of: rank)
    } else {
      lose(rank, because: "its messages cannot be understood")
    }
  }

  /// Gives a rank up, for good.
  func lose(_ rank: Int, because reason: String) {
    let worker = WorkerID(index: rank)
    guard rank != ownRank, rank > 0, rank < mpi?.size ?? 1, !directory.isLost(worker),
      !directory.hasDeparted(worker)
    else { return }
    directory.markLost(worker)
    liveness.remove(rank)
    processes.forget(rank)
    mailbox.forget(rank)
    progress.interrupt()
    let place = directory[worker].map { " on \($0.registration.hostName)" } ?? ""
    complain("vine-mpi: rank \(rank)\(place) is lost: \(reason)")
    answerLost(worker)
    for other in directory.live {
      mailbox.send(WireWriter(peerLost: rank), to: other.index, .worker)
    }
    carryOut(groups.remove(rank))
    // A rank that the core was never told of cannot be lost to it.
    if let row = directory[worker], row.node != .none { events.append(.workerLost(worker)) }
    closeRegistrationIfComplete()
    mayBeDeserted = true
  }

  /// When every rank has registered or is lost, nobody else will come.
  func closeRegistrationIfComplete() {
    guard !isRegistrationClosed, directory.isComplete(workerCount) else { return }
    isRegistrationClosed = true
    mayBeDeserted = true
    events.append(.registrationClosed)
  }
}
