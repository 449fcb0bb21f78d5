// What the order of tasks does to disks, and what disks do to runs.

import Testing
import VineCore
import VineSimulator

@Suite struct DepthFirstRunTests {
  private let size: Int64 = 1_000_000_000

  /// Chains of three tasks with two intermediate files of 1 GB each.
  private func chains(
    _ count: Int, order: TaskOrder = .heft, seed: UInt64 = 1
  ) throws -> Workflow {
    var random = PRNG(seed: seed)
    var workflow = Workflow()
    workflow.policy.order = order
    for index in 0..<count {
      var last: FileID?
      for stage in 0..<3 {
        var draft = TaskDraft(id: "task-\(index)-\(stage)")
        draft.category = "stage-\(stage)"
        draft.estimateMicroseconds = Int64(random.within(1_000_000...3_000_000))
        if let last { draft.inputs = [BindingDraft(last)] }
        if stage < 2 {
          let file = try workflow.appendFile(
            id: "file-\(index)-\(stage)", kind: .temp, byteCountHint: size)
          draft.outputs = [BindingDraft(file)]
          last = file
        }
        try workflow.appendTask(draft)
      }
    }
    return workflow
  }

  private func cluster(
    nodeCount: Int, coresPerNode: Int, diskByteCount: Int64 = .max
  ) -> ClusterModel {
    var cluster = ClusterModel(nodeCount: nodeCount, coresPerNode: coresPerNode)
    if diskByteCount < .max {
      for node in cluster.nodes.indices {
        cluster.nodes[node].disk.byteCountMax = diskByteCount
        cluster.nodes[node].diskByteCount = diskByteCount
      }
    }
    return cluster
  }

  private func play(_ workflow: Workflow, _ cluster: ClusterModel) -> SimulationResult {
    var options = SimulationOptions()
    options.checks = true
    options.checksEveryTurn = cluster.nodes.count <= 2
    options.eventCountMax = 3_000_000
    return Simulation.run(workflow, on: cluster, options: options)
  }

  /// 800 chains on 20 cores: 800 GB lie in the caches at once by the heaviest chain, and two files
  /// for each core, 5 %, in order of depth; at the same makespan.
  @Test func thePeakFallsToASmallPart() throws {
    let wide = cluster(nodeCount: 5, coresPerNode: 4)
    let byChain = try play(chains(800), wide)
    let byDepth = try play(chains(800, order: .depth), wide)
    #expect(byChain.violation == nil && byDepth.violation == nil)
    #expect(byChain.peakCacheByteCount > 790 * size)
    #expect(byDepth.peakCacheByteCount <= 40 * size)
    #expect(byDepth.makespan.nanoseconds * 20 < byChain.makespan.nanoseconds * 21)
  }

  /// Caches with room for twelve files, of which four cores need eight when all are at a second stage.
  /// Nobody asks for an order: all end, and not much later than without a limit.
  @Test func tightDisksMakeItsOrderByThemselves() throws {
    let wide = try play(chains(400), cluster(nodeCount: 10, coresPerNode: 4))
    let tight = try play(
      chains(400), cluster(nodeCount: 10, coresPerNode: 4, diskByteCount: 12 * size + 100_000_000))
    #expect(wide.violation == nil && tight.violation == nil)
    #expect(tight.outcome?.doneCount == 1_200)
    #expect(tight.peakCacheByteCount <= 120 * size)
    #expect(tight.makespan.nanoseconds * 4 < wide.makespan.nanoseconds * 5)
  }

  /// Small disks, seeded: whatever number of files a disk has room for, all end.
  @Test func runsThatBeginningsWouldStallEnd() throws {
    for seed in UInt64(0)..<60 {
      var random = PRNG(seed: seed)
      let nodeCount = random.within(1...4)
      let room = Int64(random.within(3...20))
      let workflow = try chains(
        random.within(5...60), order: random.pick(TaskOrder.allCases), seed: seed)
      let small = cluster(
        nodeCount: nodeCount, coresPerNode: random.within(1...6),
        diskByteCount: room * size + 50_000_000)
      let result = play(workflow, small)
      #expect(result.violation == nil, "seed \(seed)")
      #expect(result.outcome?.doneCount == workflow.tasks.count, "seed \(seed), room \(room)")
    }
  }

  /// A thousand nodes with room for a few files each, some of which have less than they say.
  @Test(arguments: UInt64(0)..<3)
  func aThousandNodesWithSmallDisksEnd(seed: UInt64) throws {
    var random = PRNG(seed: seed)
    var small = cluster(
      nodeCount: 1_000, coresPerNode: 2, diskByteCount: 5 * size + 50_000_000)
    for node in small.nodes.indices where random.chance(perMille: 100) {
      small.nodes[node].diskByteCount = 4 * size
    }
    let result = try play(chains(3_000, seed: seed), small)
    #expect(result.violation == nil)
    #expect(result.outcome?.doneCount == 9_000)
    #expect(result.peakCacheByteCount <= 5_000 * size)
  }
}
