import Testing
import VineCore
import VineSimulator

@Suite struct SimulationTests {
  /// A source that `count` tasks read on as many nodes, one core each.
  private func fan(_ count: Int, byteCount: Int64) throws -> Workflow {
    var workflow = Workflow()
    let source = try workflow.appendFile(id: "source", kind: .path, byteCountHint: byteCount)
    for index in 0..<count {
      var draft = TaskDraft(id: "task-\(index)")
      draft.inputs = [BindingDraft(source)]
      draft.estimateMicroseconds = 1_000_000
      try workflow.appendTask(draft)
    }
    return workflow
  }

  @Test func aTransferTakesItsLatencyAndItsBytesOverTheSlowestLink() throws {
    var cluster = ClusterModel(nodeCount: 1, coresPerNode: 1)
    cluster.messageLatencyNanoseconds = 0
    cluster.transferLatencyNanoseconds = 1_000
    cluster.nodeBandwidth = 1_000_000
    var options = SimulationOptions()
    options.checks = true
    let result = try Simulation.run(fan(1, byteCount: 2_000_000), on: cluster, options: options)
    #expect(result.violation == nil)
    #expect(result.makespan.nanoseconds == 3_000_001_000)
    #expect(result.bytes.sharedToNode == 2_000_000)
  }

  @Test func theSharedFileSystemIsReadOnceForManyNodes() throws {
    var options = SimulationOptions()
    options.checks = true
    options.checksEveryTurn = true
    let cluster = ClusterModel(nodeCount: 40, coresPerNode: 1)
    let result = try Simulation.run(fan(40, byteCount: 1_000), on: cluster, options: options)
    #expect(result.violation == nil)
    #expect(result.bytes.sharedToNode == 1_000)
    #expect(result.bytes.nodeToNode == 39_000)
  }

  /// 8 GiB take 6.9 s over one link, and a chunk 0.84 ms (and 0.02 to say so): passing on while it
  /// comes costs a thousand nodes two times that, where ten rounds of whole transfers cost 69 s.
  @Test func aThousandNodesGetALargeFileInLittleMoreThanOneTransfer() throws {
    var options = SimulationOptions()
    options.checks = true
    let cluster = ClusterModel(nodeCount: 1_000, coresPerNode: 1)
    let byteCount: Int64 = 8 << 30
    let result = try Simulation.run(fan(1_000, byteCount: byteCount), on: cluster, options: options)
    #expect(result.violation == nil)
    #expect(result.bytes.sharedToNode == byteCount)
    #expect(result.bytes.nodeToNode == 999 * byteCount)
    #expect(result.makespan.nanoseconds < 9_500_000_000)
  }

  @Test func coresThatAlwaysWorkAreFullyUtilised() {
    var options = SimulationOptions()
    options.isIdeal = true
    let result = Simulation.run(
      syntheticWorkflow(taskCount: 20, inputCount: 0),
      on: ClusterModel(nodeCount: 2, coresPerNode: 5), options: options)
    #expect(result.makespan.nanoseconds == 2_000_000_000)
    #expect(result.coreUtilisation == 1)
  }
}
