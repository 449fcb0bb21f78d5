// A worker and the ranks around it: it says that it is there, listens for the manager, watches other
// ranks of its node when asked to, and knows whom it need not wait for any more.

internal import Glibc
internal import VineCore

final class Siblings {
  private let rank: Int
  private let mailbox: Mailbox
  private let processes: ProcessWatch
  /// Workers of this node, ascending: the lowest one that lives is the agent.
  private let workersHere: [Int]
  private var times: HeartbeatTimes?
  private var manager: Liveness?
  private var nextHeartbeat: Int64 = 0
  private var lost: Set<Int> = []
  /// Lost since the last turn.
  private var fresh: [Int] = []
  /// The manager is dead, or silent for so long that this rank must leave by itself.
  private(set) var hasLostManager = false
  /// The manager's last word to this rank.
  private(set) var farewell: Farewell?

  init(mailbox: Mailbox, poll: EventPoll, rank: Int, workersHere: [Int]) {
    self.mailbox = mailbox
    self.rank = rank
    self.workersHere = workersHere
    processes = ProcessWatch(poll: poll)
  }

  private var hasActedAsAgent = false

  /// Whether this rank does the work of its node's agent, or may soon: other nodes ask it for files.
  var isAgent: Bool {
    hasActedAsAgent || workersHere.first { !lost.contains($0) } ?? rank == rank
  }

  /// The manager has chosen this rank.
  func actAsAgent() { hasActedAsAgent = true }

  /// Whether nothing that comes from a rank counts any more.
  func isLost(_ rank: Int) -> Bool { lost.contains(rank) }

  /// From the welcome on there are heartbeats: before it, the manager may be reading the
  /// description.
  func begin(_ welcome: Welcome) {
    let times = HeartbeatTimes(nodeTimeout: welcome.nodeTimeoutNanoseconds)
    self.times = times
    // A manager in this process needs no watching.
    guard rank != 0 else { return }
    var listening = Liveness(
      HeartbeatTimes(nodeTimeout: times.managerSilence), at: monotonicNanoseconds())
    listening.add(0)
    manager = listening
    processes.watch(0, processID: welcome.managerProcessID)
  }

  /// The manager ends the run: from now on it may be busy for long, with sums and files.
  func bePatient() { manager?.allow(0, silence: (times?.nodeTimeout ?? 0) * 10) }

  /// Anything that comes from the manager shows that it lives.
  func heardManager() { manager?.heard(0) }

  /// Whether the token belongs to a watched process, which has ended.
  func onReady(_ token: UInt64) { processes.onReady(token) }

  /// Takes a frame of the manager's about other ranks.
  func receive(_ kind: FrameKind, _ reader: inout WireReader) throws(WireError) {
    switch kind {
    case .watch:
      let order = try reader.takeSiblingOrder()
      processes.watch(Int(order.rank), processID: order.processID)
    case .fence:
      let order = try reader.takeSiblingOrder()
      _ = processes.fence(Int(order.rank), processID: order.processID)
    case .peerLost: lose(Int(try reader.take(UInt32.self)))
    case .farewell: farewell = try reader.takeFarewell()
    default: throw WireError()
    }
  }

  private func lose(_ peer: Int) {
    mailbox.forget(peer)
    if lost.insert(peer).inserted { fresh.append(peer) }
  }

  /// MPI could not move a file from or to this peer.
  func suspect(_ peer: Int) { report(peer, isCertain: false) }

  /// One round. Returns the ranks that are lost since the last one.
  func turn(at now: Int64) -> [Int] {
    for peer in mailbox.takeFailures() {
      if peer == 0 {
        hasLostManager = true
      } else {
        // The manager hears more than this rank: it decides for all.
        report(peer, isCertain: false)
        if !lost.contains(peer) { fresh.append(peer) }
      }
    }
    for peer in processes.takeEnded(at: now) {
      if peer == 0 { hasLostManager = true } else { report(peer, isCertain: true) }
    }
    if let times {
      manager?.advance(to: now)
      if manager?.silent().isEmpty == false { hasLostManager = true }
      if now >= nextHeartbeat {
        nextHeartbeat = now + times.interval
        mailbox.send(WireWriter(.alive), to: 0, .manager)
      }
    }
    defer { fresh = [] }
    return fresh
  }

  private func report(_ peer: Int, isCertain: Bool) {
    let loss = SiblingLoss(rank: UInt32(truncatingIfNeeded: peer), isCertain: isCertain)
    mailbox.send(WireWriter(loss), to: 0, .manager)
  }
}
