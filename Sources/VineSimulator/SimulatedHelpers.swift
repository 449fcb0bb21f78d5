// Transfers with several sources. What a receiver asks whom for is decided by the book that real
// receivers keep; here it is played at once, when the last byte could have come.

import VineCore

extension Simulation {
  /// An agent hears of a further source.
  mutating func assist(
    _ value: FileValue, _ transfer: TransferID, from source: TransferSource, to worker: WorkerID
  ) {
    let node = ranks[worker.index].node
    if source == .sharedFileSystem { return }
    nodes[node].helpers[transfer, default: []].append(source)
    if case .node(let agent) = source, !ranks[agent.index].isDead {
      let other = ranks[agent.index].node
      checkers?.reads(value, from: other, isThere: nodes[other].cache[value] != nil)
    }
  }

  /// When the bytes of a transfer have come from a node and those that help it.
  mutating func nodesToNode(
    _ source: Int, _ target: Int, _ transfer: TransferID, byteCount: Int64, from now: Instant
  ) -> Instant {
    let helpers = (nodes[target].helpers[transfer] ?? []).compactMap(\.agent)
      .filter { !ranks[$0.index].isDead }.map { ranks[$0.index].node }
    let share = byteCount / Int64(helpers.count + 1)
    var end = network.nodeToNode(
      source, target, byteCount: byteCount - share * Int64(helpers.count), from: now)
    for helper in helpers {
      end = max(end, network.nodeToNode(helper, target, byteCount: share, from: now))
    }
    return end
  }

  /// Shares a file out among the source of its transfer and its helpers: each chunk comes once and has
  /// the right bytes, whoever of them fails on the way.
  mutating func shareOut(_ row: SimulatedTransfer, at now: Instant) {
    let node = ranks[row.worker.index].node
    guard let helpers = nodes[node].helpers.removeValue(forKey: row.transfer), row.error == 0
    else { return }
    let chunkCount = Int((row.byteCount + Limits.chunkByteCount - 1) / Limits.chunkByteCount)
    var book = StripeBook(chunkCount: chunkCount)
    var helping = Array(helpers.indices)
    var chunkReads = Array(repeating: 0, count: chunkCount)
    while !book.isComplete {
      // Who has none left is done with what it was asked for; 0 is the source itself.
      for place in helping where !brings(helpers[place], row) {
        _ = book.take(for: place + 1)
        book.giveBack(allOf: place + 1)
        helping.removeAll { $0 == place }
        helperFailed(helpers[place], row, error: sourceGoneError, at: now)
      }
      let takers = [0] + helping.map { $0 + 1 }
      for taker in takers {
        guard let stripe = book.take(for: taker) else { continue }
        for chunk in book.chunks(of: stripe) {
          if book.accept(chunk) { chunkReads[chunk] += 1 }
        }
      }
      if book.prefixCount == 0 && chunkCount > 0 {
        checkers?.violate("nobody is asked for the first stripe of \(row.value)")
        break
      }
    }
    if chunkReads.contains(where: { $0 != 1 }) {
      checkers?.violate("chunks of \(row.value) do not come exactly once")
    }
    if let place = helping.first, faults?.transferError() ?? 0 != 0 {
      helperFailed(helpers[place], row, error: damagedSourceError, at: now)
    }
  }

  /// Whether a helper brings what it is asked for; that has to be what the source has.
  private mutating func brings(_ helper: TransferSource, _ row: SimulatedTransfer) -> Bool {
    guard let agent = helper.agent, !ranks[agent.index].isDead else { return false }
    guard case .node = helper else { return true }
    let other = ranks[agent.index].node
    let origin = nodes[other].cache[row.value]
    checkers?.reads(row.value, from: other, isThere: origin != nil)
    if let origin, let expected = row.origin, origin != expected {
      checkers?.violate("two sources of \(row.value) have other bytes each")
    }
    return origin != nil
  }

  private mutating func helperFailed(
    _ helper: TransferSource, _ row: SimulatedTransfer, error: Int32, at now: Instant
  ) {
    guard case .node(let agent) = helper else { return }
    tell(row.worker, .helperFailed(row.transfer, agent: agent, error: error), at: now)
  }
}
