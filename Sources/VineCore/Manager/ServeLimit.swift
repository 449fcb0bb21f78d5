// How many transfers a node serves at once. The description's number is a guess: a node with a quick
// link and disk gets more out of more streams, one with a slow disk gets less out of many. What it
// sent per second while more was wanted of it than it may serve tells which.

/// The limit of one node, learnt from what it sent.
struct ServeLimit {
  /// What the limit is compared with at the end of the window under way, if it was changed.
  private struct Trial {
    let count: Int
    let bytesPerSecond: Double
  }

  /// As the description has it; what is learnt stays within a half and four times of that.
  private let first: Int
  private(set) var count: Int
  private var trial: Trial?
  private var hasRisen = false
  /// Windows in which nothing is tried.
  private var restCount = 0
  private var windowStart: Instant?
  private var windowByteCount: Int64 = 0
  private var windowTransferCount = 0

  private static let gainMin = 1.05
  private static let lossMax = 0.97
  private static let restWindows = 8

  init(_ first: Int) {
    self.first = max(first, 1)
    count = self.first
  }

  private var countMin: Int { max(first / 2, 1) }
  private var countMax: Int { first * 4 }
  private var step: Int { max(count / 4, 1) }

  /// A transfer that the node served has ended. With `isWanted` it served as many as it may, and
  /// somebody waits: only then more, or fewer, would have been another thing.
  mutating func served(_ byteCount: Int64, at now: Instant, isWanted: Bool) {
    guard isWanted else {
      windowStart = nil
      return
    }
    guard let start = windowStart else { return begin(at: now) }
    windowByteCount &+= byteCount
    windowTransferCount += 1
    let nanoseconds = now.nanoseconds - start.nanoseconds
    guard windowTransferCount >= 2 * count, nanoseconds > 0 else { return }
    decide(Double(windowByteCount) * 1e9 / Double(nanoseconds))
    begin(at: now)
  }

  private mutating func begin(at now: Instant) {
    windowStart = now
    windowByteCount = 0
    windowTransferCount = 0
  }

  private mutating func decide(_ bytesPerSecond: Double) {
    guard let trial else {
      if restCount > 0 {
        restCount -= 1
      } else {
        hasRisen = false
        change(to: count + step, from: bytesPerSecond)
      }
      return
    }
    self.trial = nil
    if count > trial.count {
      if bytesPerSecond >= trial.bytesPerSecond * Self.gainMin {
        hasRisen = true
        return change(to: count + step, from: bytesPerSecond)
      }
      count = trial.count
      // As much with fewer streams is better: each file is there sooner.
      if !hasRisen { return change(to: count - step, from: trial.bytesPerSecond) }
    } else {
      if bytesPerSecond >= trial.bytesPerSecond * Self.lossMax {
        return change(to: count - step, from: bytesPerSecond)
      }
      count = trial.count
    }
    restCount = Self.restWindows
  }

  private mutating func change(to wanted: Int, from bytesPerSecond: Double) {
    let next = min(max(wanted, countMin), countMax)
    if next == count {
      restCount = Self.restWindows
      return
    }
    trial = Trial(count: count, bytesPerSecond: bytesPerSecond)
    count = next
  }
}

extension Manager {
  /// What `node` may serve at once, in shares of a transfer.
  func serveLoadMax(of node: NodeID) -> Int {
    (nodes[node].serveLimit?.count ?? Int(workflow.policy.transfersPerSource))
      * Limits.smallTransfersPerTransfer
  }

  /// A transfer that one node sent to another has ended well; before its load is taken off.
  mutating func learnServing(of row: TransferRow, byteCount: Int64, at now: Instant) {
    guard row.sourceReplica != .max, row.cost > 0, row.helpers.isEmpty,
      byteCount >= Limits.measuredByteCountMin
    else { return }
    let server = replicas[row.sourceReplica].node
    let isWanted =
      nodes[server].serveLoad >= serveLoadMax(of: server) && !nodes[server].waitingFiles.isEmpty
    // Most nodes never serve so many.
    if nodes[server].serveLimit == nil && !isWanted { return }
    var limit = nodes[server].serveLimit ?? ServeLimit(Int(workflow.policy.transfersPerSource))
    limit.served(byteCount, at: now, isWanted: isWanted)
    nodes[server].serveLimit = limit
  }
}
