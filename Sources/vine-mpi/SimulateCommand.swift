// `vine-mpi simulate`: the same manager and workers, in virtual time.

import ArgumentParser
import Glibc
import VineCore
import VineFormats
import VineSimulator

/// Simulates a workflow on a cluster that need not exist, or plays random runs from seeds.
struct SimulateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Play a workflow on a simulated cluster, or random runs from seeds.",
    discussion: """
      With a workflow, prints a line `makespan SECONDS`, then how busy the cores were and the bytes \
      moved by route. With --seed N, plays one random cluster, workload and set of faults and \
      prints one line; equal seeds give equal lines. --seeds COUNT plays that many, from --seed on.
      """)

  @Argument(help: "The workflow to simulate.")
  var workflow: String?
  @Option(help: "Nodes of the cluster.")
  var nodes = 1
  @Option(help: "Cores of each node.")
  var coresPerNode = 1
  @Option(help: "Memory of each node, in MB.")
  var memory: UInt32 = 1 << 20
  @Option(help: "Order among ready tasks: fifo, file, heft, lpt or depth; default: the workflow's.")
  var order: String?
  @Flag(help: "No transfer time, no latency, tasks to the node with most free cores.")
  var ideal = false
  @Option(help: "Microseconds one way between manager and worker.")
  var latency = 20
  @Option(help: "Microseconds to set up a transfer.")
  var transferLatency = 200
  @Option(help: "Each way of a node's link, in MB (10^6 bytes) per second.")
  var nodeBandwidth = 1_250
  @Option(help: "Of the shared file system, in MB (10^6 bytes) per second.")
  var sharedBandwidth = 5_000
  @Option(help: "The random run to play.")
  var seed: UInt64?
  @Option(help: "Random runs to play.")
  var seeds: UInt64 = 1
  @Flag(help: "With --seed: print all that the manager hears and orders.")
  var trace = false
  @Option(help: ArgumentHelp("Independent tasks of one second, made up.", visibility: .hidden))
  var synthetic: Int?
  @Option(help: ArgumentHelp("Files that each made-up task reads.", visibility: .hidden))
  var syntheticFiles = 0
  @Flag(help: ArgumentHelp("All made-up tasks read the same files.", visibility: .hidden))
  var syntheticShared = false

  func validate() throws {
    let modes = (workflow == nil ? 0 : 1) + (seed == nil ? 0 : 1) + (synthetic == nil ? 0 : 1)
    guard modes == 1 else { throw ValidationError("give either a workflow or --seed") }
    guard nodes > 0, coresPerNode > 0, coresPerNode <= Limits.coresPerNodeMax else {
      throw ValidationError("a cluster has at least one node and one core per node")
    }
    guard nodeBandwidth > 0, sharedBandwidth > 0, latency >= 0, transferLatency >= 0 else {
      throw ValidationError("bandwidths are positive, and latencies not negative")
    }
    if let order, TaskOrder(rawValue: order) == nil {
      throw ValidationError("an order is one of fifo, file, heft, lpt, depth")
    }
  }

  func run() throws {
    if let seed {
      try playSeeds(from: seed)
    } else if let synthetic {
      let workflow = syntheticWorkflow(
        taskCount: synthetic, inputCount: syntheticFiles, sharesInputs: syntheticShared)
      reportMemory("workflow")
      play(workflow)
      reportMemory("run")
    } else if let workflow {
      play(try load(workflow))
    }
  }

  private func load(_ path: String) throws -> Workflow {
    var options = LoadOptions()
    options.mode = .simulate
    do {
      let loaded = try loadWorkflow(path: path, options: options)
      return loaded.recorded?.simulationWorkflow(ideal: ideal) ?? loaded.workflow
    } catch {
      let message = Array("\(error)\n".utf8)
      _ = write(STDERR_FILENO, message, message.count)
      throw ExitCode(2)
    }
  }

  private func playSeeds(from first: UInt64) throws {
    for seed in first..<first + max(seeds, 1) {
      nameOnTrap(seed: seed)
      let log: (@Sendable (String) -> Void)? = trace ? { @Sendable line in print(line) } : nil
      let run = simulateSeed(seed, log: log)
      if seeds == 1 || !run.isGood { print(run.summary) }
      if let violation = run.result.violation {
        print(violation)
        print("vine-mpi simulate --seed \(seed)")
        throw ExitCode(1)
      }
    }
    if seeds > 1 { print("\(seeds) seeds from \(first): no promise broken") }
  }

  private func play(_ workflow: Workflow) {
    var cluster = ClusterModel(nodeCount: nodes, coresPerNode: coresPerNode, memoryMB: memory)
    cluster.messageLatencyNanoseconds = Int64(latency) * 1_000
    cluster.transferLatencyNanoseconds = Int64(transferLatency) * 1_000
    cluster.nodeBandwidth = Int64(nodeBandwidth) * 1_000_000
    cluster.sharedBandwidth = Int64(sharedBandwidth) * 1_000_000
    var workflow = workflow
    if let order = order.flatMap(TaskOrder.init) { workflow.policy.order = order }
    var options = SimulationOptions()
    options.isIdeal = ideal
    let result = Simulation.run(workflow, on: cluster, options: options)
    if let violation = result.violation { print("warning: \(violation)") }
    print("makespan \(seconds(result.makespan))")
    let perMille = Int((result.coreUtilisation * 1000).rounded())
    print("utilisation \(perMille / 10).\(perMille % 10) %")
    print(
      "bytes shared->node \(result.bytes.sharedToNode) node->node \(result.bytes.nodeToNode)"
        + " node->shared \(result.bytes.nodeToShared) manager->node \(result.bytes.managerToNode)")
    if let outcome = result.outcome {
      print(
        "tasks done \(outcome.doneCount) failed \(outcome.failedCount)"
          + " cancelled \(outcome.cancelledCount)")
    }
    print(
      "attempts \(result.attemptCount) transfers \(result.transferCount)"
        + " messages \(result.messageCount)")
  }
}

/// Seconds with six decimals, without a detour through floating point.
private func seconds(_ instant: Instant) -> String {
  let microseconds = (instant.nanoseconds + 500) / 1_000
  let fraction = String(microseconds % 1_000_000)
  return "\(microseconds / 1_000_000)."
    + String(repeating: "0", count: 6 - fraction.count) + fraction
}

private func reportMemory(_ what: String) {
  var usage = rusage()
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  print("peak memory after \(what): \(usage.ru_maxrss / 1024) MB")
}

/// An invariant ends the process at once, so the seed to repeat it with is made ready beforehand.
/// Written before and read inside one thread's signal handler only.
nonisolated(unsafe) private var trapMessage: [UInt8] = []

private func nameOnTrap(seed: UInt64) {
  let isFirst = trapMessage.isEmpty
  trapMessage = Array("vine-mpi simulate --seed \(seed)\n".utf8)
  guard isFirst else { return }
  let handler: @convention(c) (Int32) -> Void = { _ in
    _ = trapMessage.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    _exit(1)
  }
  signal(SIGILL, handler)
  signal(SIGTRAP, handler)
}
