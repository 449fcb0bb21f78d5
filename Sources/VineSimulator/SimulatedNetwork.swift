// How long messages and bytes take.

import VineCore

/// Links that each serve their transfers one after another at full speed. A transfer ends when the
/// slowest link on its way is through with it: total throughput is right, which is what a makespan
/// depends on; how links share time among transfers under way is not modelled.
struct SimulatedNetwork {
  private let model: ClusterModel
  private var sharedFreeAt: Int64 = 0
  private var sendFreeAt: [Int64]
  private var receiveFreeAt: [Int64]
  /// Latest arrival on each channel: MPI keeps the order within a pair of ranks.
  private var lastToWorker: [Int64] = []
  private var lastToManager: [Int64] = []

  init(_ model: ClusterModel, workerCount: Int) {
    self.model = model
    sendFreeAt = Array(repeating: 0, count: model.nodes.count)
    receiveFreeAt = sendFreeAt
    lastToWorker = Array(repeating: 0, count: workerCount)
    lastToManager = lastToWorker
  }

  /// When a message sent now arrives at `worker`.
  mutating func arrival(at worker: WorkerID, from now: Instant, extra: Int64) -> Instant {
    let time = max(
      now.nanoseconds + model.messageLatencyNanoseconds + extra, lastToWorker[worker.index])
    lastToWorker[worker.index] = time
    return Instant(nanoseconds: time)
  }

  /// When a message that `worker` sends now arrives at the manager.
  mutating func arrival(from worker: WorkerID, at now: Instant, extra: Int64) -> Instant {
    let time = max(
      now.nanoseconds + model.messageLatencyNanoseconds + extra, lastToManager[worker.index])
    lastToManager[worker.index] = time
    return Instant(nanoseconds: time)
  }

  /// When bytes from the shared file system have arrived on `node`.
  mutating func sharedToNode(_ node: Int, byteCount: Int64, from now: Instant) -> Instant {
    let shared = serve(&sharedFreeAt, byteCount, model.sharedBandwidth, now)
    let received = serve(&receiveFreeAt[node], byteCount, model.nodeBandwidth, now)
    return done(max(shared, received))
  }

  /// When bytes of `node` lie on the shared file system.
  mutating func nodeToShared(_ node: Int, byteCount: Int64, from now: Instant) -> Instant {
    let shared = serve(&sharedFreeAt, byteCount, model.sharedBandwidth, now)
    let sent = serve(&sendFreeAt[node], byteCount, model.nodeBandwidth, now)
    return done(max(shared, sent))
  }

  /// When bytes of one node have arrived on another.
  mutating func nodeToNode(
    _ source: Int, _ target: Int, byteCount: Int64, from now: Instant
  ) -> Instant {
    let sent = serve(&sendFreeAt[source], byteCount, model.nodeBandwidth, now)
    let received = serve(&receiveFreeAt[target], byteCount, model.nodeBandwidth, now)
    return done(max(sent, received))
  }

  /// Inline bytes that the manager sends along.
  mutating func managerToNode(_ node: Int, byteCount: Int64, from now: Instant) -> Instant {
    done(serve(&receiveFreeAt[node], byteCount, model.nodeBandwidth, now))
  }

  /// How long the last chunk of a file takes from one node to the next.
  func chunkNanoseconds(of byteCount: Int64) -> Int64 {
    var freeAt: Int64 = 0
    return serve(
      &freeAt, min(byteCount, Limits.chunkByteCount), model.nodeBandwidth, Instant.zero)
      + model.messageLatencyNanoseconds
  }

  private func done(_ nanoseconds: Int64) -> Instant {
    Instant(nanoseconds: nanoseconds + model.transferLatencyNanoseconds)
  }

  private func serve(
    _ freeAt: inout Int64, _ byteCount: Int64, _ bandwidth: Int64, _ now: Instant
  ) -> Int64 {
    let start = max(freeAt, now.nanoseconds)
    // Bytes times 10^9 exceeds 64 bits from 9 GB on.
    let product = UInt64(max(byteCount, 0)).multipliedFullWidth(by: 1_000_000_000)
    let nanoseconds = UInt64(max(bandwidth, 1)).dividingFullWidth(product).quotient
    freeAt = start + Int64(nanoseconds)
    return freeAt
  }
}
