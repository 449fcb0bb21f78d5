// Silences are counted fairly, and siblings watch each other.

import Glibc
import Testing

@testable import VineRuntime

private let second: Int64 = 1_000_000_000

struct LivenessTests {
  private let times = HeartbeatTimes(nodeTimeout: 10 * second)

  private func run(_ liveness: inout Liveness, from start: Int64, seconds: Int64) -> Int64 {
    for step in 1...(seconds * 4) { liveness.advance(to: start + step * second / 4) }
    return start + seconds * second
  }

  @Test func aSilentRankIsLostAfterTheTimeAndNotBefore() {
    var liveness = Liveness(times, at: 0)
    liveness.add(1)
    liveness.add(2)
    var now = run(&liveness, from: 0, seconds: 9)
    #expect(liveness.silent().isEmpty)
    liveness.heard(2)
    now = run(&liveness, from: now, seconds: 2)
    #expect(liveness.silent() == [1])
    #expect(liveness.silent(grace: 2 * second).isEmpty)
    liveness.remove(1)
    _ = run(&liveness, from: now, seconds: 9)
    #expect(liveness.silent() == [2])
  }

  @Test func aRankIsNearlySilentTwoHeartbeatsBeforeItsTimeIsOver() {
    var liveness = Liveness(times, at: 0)
    liveness.add(1)
    liveness.add(2)
    let now = run(&liveness, from: 0, seconds: 7)
    liveness.heard(2)
    _ = run(&liveness, from: now, seconds: 2)
    #expect(liveness.silent().isEmpty)
    #expect(liveness.isNearlySilent(1))
    #expect(!liveness.isNearlySilent(2))
    #expect(!liveness.isNearlySilent(3))
  }

  @Test func aRankThatSpeaksIsNeverLost() {
    var liveness = Liveness(times, at: 0)
    liveness.add(3)
    var now: Int64 = 0
    for _ in 0..<100 {
      now = run(&liveness, from: now, seconds: 9)
      liveness.heard(3)
      #expect(liveness.silent().isEmpty)
    }
  }

  @Test func timeInWhichTheObserverWasStoppedDoesNotCount() {
    var liveness = Liveness(times, at: 0)
    liveness.add(1)
    // Stopped for an hour, nine times: each counts as one second at most.
    for hour in 1...9 { liveness.advance(to: Int64(hour) * 3600 * second) }
    #expect(liveness.silent().isEmpty)
    // A clock that is set back counts as nothing.
    liveness.advance(to: 0)
    #expect(liveness.silent().isEmpty)
    _ = run(&liveness, from: 0, seconds: 2)
    #expect(liveness.silent() == [1])
  }

  @Test func aDoubtShortensTheTime() {
    var liveness = Liveness(times, at: 0)
    liveness.add(1)
    liveness.suspect(1)
    let now = run(&liveness, from: 0, seconds: 2)
    #expect(liveness.silent().isEmpty)
    liveness.heard(1)
    let later = run(&liveness, from: now, seconds: 4)
    #expect(liveness.silent().isEmpty)
    liveness.suspect(1)
    _ = run(&liveness, from: later, seconds: 4)
    #expect(liveness.silent() == [1])
    // Nobody listens for a rank that was never added.
    liveness.suspect(7)
    liveness.heard(7)
    #expect(liveness.silent() == [1])
  }

  @Test func aRankThatIsBusyMayBeSilentForLonger() {
    var liveness = Liveness(times, at: 0)
    liveness.add(1)
    liveness.allow(1, silence: 100 * second)
    liveness.heard(1)
    let now = run(&liveness, from: 0, seconds: 99)
    #expect(liveness.silent().isEmpty)
    _ = run(&liveness, from: now, seconds: 2)
    #expect(liveness.silent() == [1])
  }

  @Test func aWorkerLeavesBeforeItsTasksAreGivenToOthers() {
    for seconds in [2, 3, 30, 86_400] as [Int64] {
      let times = HeartbeatTimes(nodeTimeout: seconds * second)
      #expect(times.managerSilence < times.nodeTimeout)
      #expect(times.interval * 5 <= times.managerSilence)
    }
  }
}

struct SiblingGroupsTests {
  private let here = SiblingGroups.Key(bootID: "a", processNamespace: 1)
  private let there = SiblingGroups.Key(bootID: "b", processNamespace: 1)

  @Test func theTwoLowestWatchAllOthers() {
    var groups = SiblingGroups(manager: here)
    #expect(groups.add(4, processID: 40, key: there) == [])
    #expect(
      groups.add(5, processID: 50, key: there) == [
        .init(watcher: 4, rank: 5, processID: 50), .init(watcher: 5, rank: 4, processID: 40),
      ])
    #expect(
      groups.add(6, processID: 60, key: there) == [
        .init(watcher: 4, rank: 6, processID: 60), .init(watcher: 5, rank: 6, processID: 60),
      ])
    #expect(groups.fence(for: 4) == .init(watcher: 5, rank: 4, processID: 40))
    #expect(groups.areSiblings(4, 6))
    // The next one takes the place of a watcher that is lost.
    #expect(groups.remove(4) == [.init(watcher: 6, rank: 5, processID: 50)])
    #expect(groups.remove(5) == [])
    #expect(groups.fence(for: 6) == nil)
    #expect(!groups.areSiblings(4, 6))
  }

  @Test func rankZeroWatchesItsOwnNodeAlone() {
    var groups = SiblingGroups(manager: here)
    #expect(groups.add(1, processID: 10, key: here) == [.init(watcher: 0, rank: 1, processID: 10)])
    #expect(groups.add(2, processID: 20, key: here) == [.init(watcher: 0, rank: 2, processID: 20)])
    #expect(groups.fence(for: 2) == .init(watcher: 0, rank: 2, processID: 20))
    #expect(groups.remove(1) == [])
    #expect(!groups.areSiblings(2, 9))
    // Another process namespace of the same kernel is another group.
    let inside = SiblingGroups.Key(bootID: "a", processNamespace: 2)
    #expect(groups.add(3, processID: 1, key: inside) == [])
    #expect(!groups.areSiblings(2, 3))
  }
}

struct LauncherTests {
  @Test func daemonsAndShellsAreNoLaunchers() {
    for name in ["mpirun", "mpiexec", "prterun", "mpiexec.hydra"] {
      #expect(Launcher.isLauncher(name))
    }
    for name in ["orted", "prted", "hydra_pmi_proxy", "slurmstepd", "bash", ""] {
      #expect(!Launcher.isLauncher(name))
    }
  }

  @Test func thisProcessHasAStartTime() throws {
    let first = try #require(processStartTime(getpid()))
    #expect(first > 0)
    #expect(processStartTime(getpid()) == first)
    #expect(processStartTime(-1) == nil)
  }
}
