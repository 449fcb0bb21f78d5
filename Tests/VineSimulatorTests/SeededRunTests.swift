import Testing
import VineSimulator

private let fixedRun =
  "seed 42 hash 398b2f993766a42b tasks 51 nodes 5 done 2 failed 0 cancelled 0 left 49"
  + " attempts 2 transfers 1"

@Suite struct SeededRunTests {
  @Test(arguments: 0..<8)
  func randomRunsKeepEveryPromise(part: UInt64) {
    for seed in part * 1_500..<(part + 1) * 1_500 {
      let run = simulateSeed(seed)
      #expect(run.isGood, "\(run.result.violation ?? ""); vine-mpi simulate --seed \(seed)")
    }
  }

  /// One run after the other that dies one event later, until it ends before it dies.
  @Test(arguments: UInt64(0)..<8)
  func aCrashAfterAnyEventKeepsEveryPromise(part: UInt64) {
    var crashCount = 0
    for seed in part * 12..<(part + 1) * 12 {
      let whole = simulateSeed(seed, crashAfter: .max / 2)
      if whole.taskCount > 20 || whole.result.eventCount > 600 { continue }
      for events in 0..<whole.result.eventCount {
        let run = simulateSeed(seed, crashAfter: events)
        #expect(run.isGood, "\(run.result.violation ?? ""); seed \(seed), \(events) events")
        crashCount += 1
      }
    }
    #expect(crashCount > 300)
  }

  /// Fails at once when anything in the core depends on more than its inputs. A deliberate change
  /// of a decision changes the hash too: then the new value belongs here.
  @Test func aSeedIsTheSameRunInEveryProcess() {
    #expect(simulateSeed(42).summary == simulateSeed(42).summary)
    #expect(simulateSeed(42).summary == fixedRun)
  }

  @Test func randomRunsMakeSpareCopies() {
    let runs = (0..<300).map { simulateSeed($0) }
    #expect(runs.contains { $0.result.spareCount > 3 })
  }

  /// The file that a gang's call reads goes when one of its ranks is lost, before another has begun.
  @Test func aRankOfAGangMayBeginTooLate() {
    #expect(simulateSeed(318_989).result.violation == nil)
  }
}
