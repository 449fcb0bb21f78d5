// From one number to one whole run: cluster, workload, policy and faults.

import VineCore

/// What came of a seed.
package struct SeededRun: Sendable {
  package let seed: UInt64
  package let taskCount: Int
  package let nodeCount: Int
  package let result: SimulationResult

  /// Whether every promise was kept.
  package var isGood: Bool { result.violation == nil }

  /// One line; equal in every process for the same seed and the same program.
  package var summary: String {
    let hash = String(result.traceHash, radix: 16)
    let zeros = String(repeating: "0", count: 16 - hash.count)
    let outcome = result.outcome
    return "seed \(seed) hash \(zeros)\(hash) tasks \(taskCount) nodes \(nodeCount)"
      + " done \(outcome?.doneCount ?? 0) failed \(outcome?.failedCount ?? 0)"
      + " cancelled \(outcome?.cancelledCount ?? 0) left \(outcome?.leftCount ?? 0)"
      + " attempts \(result.attemptCount) transfers \(result.transferCount)"
  }
}

/// Plays the run of `seed`, watched by every checker; `log` gets a line for all that happens. With
/// `crashAfter` the first session dies after so many events, and another one goes on on its nodes.
package func simulateSeed(
  _ seed: UInt64, crashAfter: Int? = nil, log: (@Sendable (String) -> Void)? = nil
) -> SeededRun {
  var random = PRNG(seed: seed)
  var cluster = drawCluster(&random)
  // Most bugs need few tasks, and small runs are many runs; a few seeds are larger.
  let taskCountMax = random.pick([3, 8, 8, 20, 20, 60, 60, 300])
  var generator = WorkloadGenerator(random: &random)
  let workflow = generator.draw(taskCountMax: taskCountMax, for: cluster)
  var options = SimulationOptions()
  options.checks = true
  options.checksEveryTurn = workflow.tasks.count <= 60
  options.usesLanes = random.chance(perMille: 700)
  options.isIdeal = random.chance(perMille: 50)
  options.faults = .swarm(&random)
  options.defaultMicroseconds = Int64(random.pick([0, 1_000, 1_000_000]))
  if random.chance(perMille: 150) {
    options.drainsAt = Instant(
      nanoseconds: Int64(random.below(random.pick([1_000_000, 1_000_000_000, 60_000_000_000]))))
  }
  if random.chance(perMille: 300) {
    options.registrationClosesAt = Instant(nanoseconds: Int64(random.below(3_000_000_000)))
  }
  if !options.isIdeal && random.chance(perMille: 350) { drawSessions(&options, &random) }
  if let crashAfter {
    options.faults?.makeHonest()
    options.isIdeal = false
    options.crashAfter = crashAfter
    options.restarts = [Restart(cluster: cluster, crashAfter: nil)]
  }
  if random.chance(perMille: 300) { options.sizeSpread = 3 }
  if !options.isIdeal && random.chance(perMille: 150) { drawJobEnds(&options, &random) }
  options.eventCountMax = 300_000
  options.log = log
  if !workflow.libraries.isEmpty {
    // A call goes to its library's instance, whatever room there is.
    cluster.forgetDisks()
    for place in options.restarts.indices { options.restarts[place].cluster.forgetDisks() }
  }
  let result = Simulation.run(workflow, on: cluster, options: options)
  return SeededRun(
    seed: seed, taskCount: workflow.tasks.count, nodeCount: cluster.nodes.count, result: result)
}

/// Crashes at any event, and sessions on other nodes after them.
private func drawSessions(_ options: inout SimulationOptions, _ random: inout PRNG) {
  options.faults?.makeHonest()
  let span = random.pick([20, 100, 500, 2_000])
  options.crashAfter = random.chance(perMille: 800) ? random.below(span) : nil
  for _ in 0..<random.within(1...4) {
    let crashAfter = random.chance(perMille: 500) ? random.below(span) : nil
    options.restarts.append(Restart(cluster: drawCluster(&random), crashAfter: crashAfter))
  }
}

/// Jobs whose time ends while there is work, or some time later.
private func drawJobEnds(_ options: inout SimulationOptions, _ random: inout PRNG) {
  let span = random.pick([1_000_000, 1_000_000_000, 60_000_000_000, 600_000_000_000])
  options.jobEndsAt = Instant(nanoseconds: Int64(random.below(span)))
  for place in options.restarts.indices where random.chance(perMille: 500) {
    options.restarts[place].jobEndsAt = Instant(nanoseconds: Int64(random.below(span)))
  }
}

/// Disks with limits, which some of them do not really have room for.
private func drawDisks(_ nodes: inout [NodeModel], _ random: inout PRNG) {
  let limit = Int64(random.pick([200_000, 2_000_000, 12_000_000, 5_000_000_000]))
  let isFalse = random.chance(perMille: 400)
  for index in nodes.indices {
    nodes[index].disk.byteCountMax = limit
    if random.chance(perMille: 200) {
      nodes[index].disk.inodeCountMax = Int64(random.within(8...60))
    }
    nodes[index].diskByteCount =
      isFalse && random.chance(perMille: 500) ? limit / 10 * Int64(random.within(3...9)) : limit
  }
}

private func drawCluster(_ random: inout PRNG) -> ClusterModel {
  let nodeCount = random.pick([1, 2, 3, 3, 5, 12])
  let cores = random.pick([1, 2, 4, 16, 70])
  let memory = UInt32(random.pick([100, 1_000, 64_000]))
  let isUneven = random.chance(perMille: 300)
  let isLate = random.chance(perMille: 200)
  let isSlow = random.chance(perMille: 300)
  var nodes: [NodeModel] = []
  for index in 0..<nodeCount {
    var node = NodeModel(
      coreCount: isUneven ? random.within(1...cores) : cores, memoryMB: memory,
      rankCount: random.pick([1, 1, 2, 4]))
    if isSlow && random.chance(perMille: 300) { node.slownessPercent = 1_000 }
    if isLate && index > 0 {
      node.registersAt = Instant(nanoseconds: Int64(random.below(2_000_000_000)))
    }
    nodes.append(node)
  }
  if random.chance(perMille: 350) { drawDisks(&nodes, &random) }
  var cluster = ClusterModel(nodes: nodes)
  cluster.messageLatencyNanoseconds = Int64(random.pick([0, 1_000, 20_000, 5_000_000]))
  cluster.transferLatencyNanoseconds = Int64(random.pick([0, 200_000, 50_000_000]))
  cluster.nodeBandwidth = Int64(random.pick([1_000_000, 1_250_000_000]))
  cluster.sharedBandwidth = Int64(random.pick([1_000_000, 5_000_000_000]))
  return cluster
}
