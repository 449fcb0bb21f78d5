// Caches that outlive their session, whole or damaged, and the nodes of the next one that have them. It
// goes by what lies there: the next session has other nodes, more or fewer, in another order.

import VineCore

/// A file that an agent was ordered to compare.
struct AdoptionKey: Hashable {
  let worker: WorkerID
  let value: FileValue
}

extension Simulation {
  /// The session died: its caches stay where they are, as far as nobody takes or touches them.
  mutating func keepCaches() {
    guard var plan = faults else { return }
    defer { faults = plan }
    for node in nodes {
      let files = remains(of: node)
      if files.isEmpty || plan.losesCache() { continue }
      keptCaches.append(files.filter { _ in !(plan.damagesCache() && plan.coin()) })
    }
    for cache in keptCaches.indices {
      for place in keptCaches[cache].indices where plan.damagesCache() {
        keptCaches[cache][place].origin = nil
        if plan.coin() { keptCaches[cache][place].byteCount += 1 }
      }
    }
  }

  /// What lies on a node, of this session and of dead ones.
  func remains(of node: SimulatedNode) -> [KeptReplica] {
    let values = node.cache.keys.sorted { ($0.file, $0.attempt) < ($1.file, $1.attempt) }
    return node.kept
      + values.map { value in
        KeptReplica(
          value: value, byteCount: byteCount(of: value.file), origin: node.cache[value])
      }
  }

  /// The next session's nodes are some of those, or others.
  mutating func handOutCaches() {
    guard var plan = faults else { return }
    defer { faults = plan }
    for index in nodes.indices where !keptCaches.isEmpty && plan.coin() {
      nodes[index].kept = keptCaches.remove(at: plan.place(below: keptCaches.count))
    }
  }

  /// A node's agent says what lies there, before it has compared any of it.
  mutating func offerKept(onNode index: Int, at now: Instant) {
    if session == 1 { return }
    let agent = WorkerID(index: nodes[index].workers.lowerBound)
    // To look takes a while where there is much, or where a dead session's ranks still go.
    let begin = now.adding(nanoseconds: faults?.coin() ?? false ? 100_000_000 : 0)
    var end = begin
    for kept in nodes[index].kept {
      let time = begin.adding(nanoseconds: faults?.delay() ?? 0)
      heap.insert(
        .toManager(agent, .replicaOffered(kept.value, byteCount: kept.byteCount)), at: time)
      end = max(end, time)
    }
    heap.insert(.toManager(agent, .offersEnded), at: end)
  }

  /// An agent begins to read what it offered.
  mutating func adopt(
    _ value: FileValue, as attempt: UInt32, by worker: WorkerID, at now: Instant
  ) {
    let node = ranks[worker.index].node
    let key = AdoptionKey(worker: worker, value: value)
    guard let hash = adoptionOrders[key] else {
      checkers?.violate("\(value) is to be compared with nothing")
      return
    }
    let byteCount = byteCount(of: value.file)
    let offered = nodes[node].kept.firstIndex { $0.value == value && $0.byteCount == byteCount }
    guard let place = offered else {
      checkers?.violate("\(value) is to be adopted on node \(node), which did not offer it")
      return
    }
    let kept = nodes[node].kept.remove(at: place)
    // Reading it may take longer than anybody waits.
    let isSlow = faults?.losesCache() ?? false
    let delay = isSlow ? 2 * Limits.adoptionWaitNanoseconds : 1_000 + (faults?.delay() ?? 0)
    heap.insert(
      .compared(worker, value, as: attempt, kept, hash), at: now.adding(nanoseconds: delay))
  }

  /// An agent has read what it offered.
  mutating func compared(
    _ worker: WorkerID, _ value: FileValue, as attempt: UInt32, _ kept: KeptReplica,
    _ hash: ContentHash, at now: Instant
  ) {
    let rank = ranks[worker.index]
    if rank.isDead { return }
    guard let origin = kept.origin, let checkers,
      checkers.provenance.hash(of: origin, value.file) == hash
    else {
      tell(worker, .refused(value, .damaged), at: now)
      return
    }
    let adopted = FileValue(value.file, attempt: attempt)
    // The same bytes, though another attempt may have made them.
    let counting = checkers.counting(workflow.files[value.file].producer)
    nodes[rank.node].cache[adopted] = counting ?? origin
    tell(worker, .found(adopted, byteCount: kept.byteCount), at: now)
  }

  /// Counts what the session so far has taken.
  mutating func addAdoptions() {
    result.adoptedCount += manager.adoptionCounts.adoptedCount
    result.refusedCount += manager.adoptionCounts.refusedCount
  }
}
