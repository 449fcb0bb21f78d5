// Makespans without data and latency, against an independent list scheduling and against recorded
// instances whose makespans another program computed.

import FoundationEssentials
import Testing
import VineCore
import VineFormats
import VineSimulator

@Suite struct IdealScheduleTests {
  @Test(arguments: TaskOrder.allCases, [1, 3, 8])
  func randomGraphsTakeAsLongAsByThePlainRules(order: TaskOrder, nodeCount: Int) {
    var random = PRNG(seed: 4)
    for _ in 0..<20 {
      let graph = PlainGraph(random: &random)
      let cores = random.within(nodeCount...nodeCount * 4)
      let cluster = ClusterModel(nodeCount: nodeCount, totalCoreCount: cores)
      var options = SimulationOptions()
      options.isIdeal = true
      options.checks = true
      var workflow = graph.workflow()
      workflow.policy.order = order
      let result = Simulation.run(workflow, on: cluster, options: options)
      #expect(result.violation == nil)
      #expect(
        result.makespan.nanoseconds == graph.makespan(order, cluster.nodes.map(\.coreCount)) * 1_000
      )
    }
  }

  @Test(.enabled(if: sharedDirectory != nil, needsSharedDirectory))
  func recordedInstancesTakeAsLongAsTheOracleSays() throws {
    let directory = try #require(sharedDirectory) + "/workflows/dev/"
    let expected = try JSONDecoder().decode(
      [String: Expected].self, from: Data(contentsOf: URL(filePath: directory + "expected.json")))
    var count = 0
    for (name, instance) in expected.sorted(by: { $0.key < $1.key }) {
      var options = LoadOptions()
      options.mode = .simulate
      let loaded = try loadWorkflow(path: directory + name, options: options)
      var workflow = try #require(loaded.recorded).simulationWorkflow(ideal: true)
      for (shape, figures) in instance.on {
        let numbers = shape.split(separator: "/").compactMap { Int($0) }
        let cluster = ClusterModel(nodeCount: numbers[1], totalCoreCount: numbers[0])
        for (order, seconds) in figures.makespan_s {
          workflow.policy.order = try #require(TaskOrder(rawValue: order))
          var options = SimulationOptions()
          options.isIdeal = true
          let result = Simulation.run(workflow, on: cluster, options: options)
          let microseconds = Int64((seconds * 1_000_000).rounded())
          #expect(
            result.makespan.nanoseconds == microseconds * 1_000, "\(name) \(shape) \(order)")
          count += 1
        }
      }
    }
    #expect(count >= 64)
  }
}

private struct Expected: Decodable {
  struct Figures: Decodable { var makespan_s: [String: Double] }
  var on: [String: Figures]
}

private let needsSharedDirectory = Comment(
  rawValue: "needs the shared workflows (VINE_SHARED, or ../shared beside the repository)")

private let sharedDirectory: String? = {
  let root = "\(#filePath)".split(separator: "/").prefix { $0 != "Tests" }
  let beside = "/" + root.dropLast().joined(separator: "/") + "/shared"
  let named = ProcessInfo.processInfo.environment["VINE_SHARED"]
  return [named, beside].compactMap { $0 }.first {
    FileManager.default.fileExists(atPath: $0 + "/workflows/dev/expected.json")
  }
}()

/// A random graph and the plainest list scheduling of it: everything searched, nothing kept.
private struct PlainGraph {
  var durations: [Int64] = []
  var predecessors: [[Int]] = []

  init(random: inout PRNG) {
    for index in 0..<random.within(1...40) {
      durations.append(Int64(random.pick([0, 1, 5, 5, 100, random.below(1_000)])))
      var edges: [Int] = []
      for _ in 0..<random.below(4) where index > 0 { edges.append(random.below(index)) }
      predecessors.append(edges)
    }
  }

  func workflow() -> Workflow {
    var workflow = Workflow()
    for (index, duration) in durations.enumerated() {
      var draft = TaskDraft(id: "\(index)")
      draft.estimateMicroseconds = duration
      do {
        let task = try workflow.appendTask(draft)
        for predecessor in predecessors[index] {
          workflow.appendControlEdge(from: TaskID(index: predecessor), to: task)
        }
      } catch {
        Issue.record(error)
      }
    }
    return workflow
  }

  private func bottomLevel(_ task: Int) -> Int64 {
    let below = predecessors.indices.filter { predecessors[$0].contains(task) }
    return durations[task] + (below.map { bottomLevel($0) }.max() ?? 0)
  }

  private func depth(_ task: Int) -> Int64 {
    predecessors[task].map { depth($0) + 1 }.max() ?? 0
  }

  func makespan(_ order: TaskOrder, _ cores: [Int]) -> Int64 {
    var free = cores
    var now: Int64 = 0
    var readySince: [Int: Int64] = [:]
    var running: [(end: Int64, task: Int, node: Int)] = []
    var started: Set<Int> = []
    var ended: Set<Int> = []
    func rank(_ task: Int) -> (Int64, Int) {
      switch order {
      case .fifo: (readySince[task] ?? 0, task)
      case .file: (0, task)
      case .depth: (-depth(task), task)
      case .heft: (-bottomLevel(task), task)
      case .lpt: (-durations[task], task)
      }
    }
    while ended.count < durations.count {
      for task in durations.indices
      where readySince[task] == nil && predecessors[task].allSatisfy(ended.contains) {
        readySince[task] = now
      }
      let ready = readySince.keys.filter { !started.contains($0) }.sorted { rank($0) < rank($1) }
      for task in ready {
        let most = free.max() ?? 0
        guard most > 0, let node = free.firstIndex(of: most) else { break }
        free[node] -= 1
        started.insert(task)
        running.append((now + durations[task], task, node))
      }
      now = running.map(\.end).min() ?? now
      for done in running where done.end == now {
        ended.insert(done.task)
        free[done.node] += 1
      }
      running.removeAll { $0.end == now }
    }
    return now
  }
}
