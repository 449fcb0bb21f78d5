// Whether waiting for nodes that have the data saves bytes, and what it costs in time.

import Testing
import VineCore
import VineSimulator

@Suite struct PatienceRunTests {
  /// Chains, each with a large intermediate file that a long task and a short one read.
  private func chains(_ count: Int, seed: UInt64) throws -> Workflow {
    var random = PRNG(seed: seed)
    var workflow = Workflow()
    for index in 0..<count {
      let large = try workflow.appendFile(
        id: "large-\(index)", kind: .temp, byteCountHint: 1_000_000_000)
      var make = TaskDraft(id: "make-\(index)")
      make.category = "make"
      make.outputs = [BindingDraft(large)]
      make.estimateMicroseconds = Int64(random.within(1_000_000...8_000_000))
      try workflow.appendTask(make)
      for (kind, microseconds) in [("refine", random.within(100_000...900_000)), ("sum", 100_000)] {
        var draft = TaskDraft(id: "\(kind)-\(index)")
        draft.category = kind
        draft.inputs = [BindingDraft(large)]
        draft.outputs = [
          BindingDraft(
            try workflow.appendFile(id: "\(kind)-of-\(index)", kind: .temp, byteCountHint: 1_000))
        ]
        draft.estimateMicroseconds = Int64(microseconds)
        try workflow.appendTask(draft)
      }
    }
    return workflow
  }

  private func play(_ workflow: Workflow, nodeCount: Int, waits: Bool) -> SimulationResult {
    var options = SimulationOptions()
    options.waitsForInputs = waits
    options.checks = true
    options.checksEveryTurn = nodeCount <= 20
    var cluster = ClusterModel(nodeCount: nodeCount, coresPerNode: 1)
    cluster.nodeBandwidth = 125_000_000
    return Simulation.run(workflow, on: cluster, options: options)
  }

  /// A thousand nodes: less than a twentieth of the bytes move, and the run does not take longer than
  /// a twentieth more.
  @Test func waitingSavesNearlyAllBytesAtAThousandNodes() throws {
    let workflow = try chains(1_000, seed: 1)
    let hasty = play(workflow, nodeCount: 1_000, waits: false)
    let patient = play(workflow, nodeCount: 1_000, waits: true)
    #expect(hasty.violation == nil && patient.violation == nil)
    #expect(hasty.bytes.nodeToNode > 100_000_000_000)
    #expect(patient.bytes.nodeToNode * 20 < hasty.bytes.nodeToNode)
    #expect(patient.makespan.nanoseconds * 20 < hasty.makespan.nanoseconds * 21)
  }

  /// Whatever the numbers of nodes and chains are, no run becomes more than a quarter longer.
  @Test func waitingNeverCostsMuch() throws {
    for seed in UInt64(0)..<40 {
      var random = PRNG(seed: seed)
      let workflow = try chains(random.within(1...40), seed: seed)
      let nodeCount = random.within(2...20)
      let hasty = play(workflow, nodeCount: nodeCount, waits: false)
      let patient = play(workflow, nodeCount: nodeCount, waits: true)
      #expect(hasty.violation == nil && patient.violation == nil, "seed \(seed)")
      #expect(patient.bytes.nodeToNode <= hasty.bytes.nodeToNode, "seed \(seed)")
      #expect(
        patient.makespan.nanoseconds * 4 <= hasty.makespan.nanoseconds * 5, "seed \(seed)")
    }
  }

  @Test func randomRunsWait() {
    let runs = (0..<300).map { simulateSeed($0) }
    #expect(runs.contains { $0.result.patientCount > 1 })
  }
}
