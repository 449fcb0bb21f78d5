import Testing
import VineSimulator

private let fixedRun =
  "seed 42 hash 608fb4ae49e47113 tasks 19 nodes 5"
  + " done 3 failed 2 cancelled 14 left 0 attempts 5 transfers 3"

@Suite struct SeededRunTests {
  @Test(arguments: 0..<8)
  func randomRunsKeepEveryPromise(part: UInt64) {
    for seed in part * 1_500..<(part + 1) * 1_500 {
      let run = simulateSeed(seed)
      #expect(run.isGood, "\(run.result.violation ?? ""); vine-mpi simulate --seed \(seed)")
    }
  }

  /// Fails at once when anything in the core depends on more than its inputs. A deliberate change
  /// of a decision changes the hash too: then the new value belongs here.
  @Test func aSeedIsTheSameRunInEveryProcess() {
    #expect(simulateSeed(42).summary == simulateSeed(42).summary)
    #expect(simulateSeed(42).summary == fixedRun)
  }
}
