import Testing
import VineCore

private let gigabyte: Int64 = 1 << 30

@Suite struct PatienceTests {
  /// Two nodes of one core. A task makes a large file on node 0, where another one follows for which
  /// the links are of no use, and a third reads the file: at the assumed 125 MB/s, moving that takes
  /// 8.6 s.
  private func busyHolder(
    nodes: [(cores: Int, ranks: Int)] = [(1, 1), (1, 1)], estimate: Int64 = 1_000_000,
    byteCount: Int64 = gigabyte, readers: Int = 1, placement: NodeChoice = .files
  ) -> ManagerFixture {
    let run = ManagerFixture(nodes: nodes) {
      $0.workflow.policy.order = .file
      $0.workflow.policy.placement = placement
      let large = $0.file(.temp)
      let small = $0.file(.temp)
      $0.task(writes: [large, small])
      $0.task(reads: [small], after: [task(0)]) {
        $0.estimateMicroseconds = estimate
        $0.category = "filler"
        $0.priority = 1
      }
      for _ in 0..<readers { $0.task(reads: [large]) }
    }
    run.turn()
    run.turn(
      run.ready(file(0), byteCount: byteCount), run.ready(file(1)), run.finished(task(0)))
    return run
  }

  @Test func aTaskWaitsForTheNodeThatHasItsInput() {
    let run = busyHolder()
    #expect(run.started == [Started(task(1), on: 0)])
    #expect(run.fetched.isEmpty)
    run.turn(run.finished(task(1)), after: 1_000)
    #expect(run.started == [Started(task(2), on: 0)])
    #expect(run.manager.patientCount == 1)
    #expect(run.manager.nextDeadline == nil)
  }

  @Test func whatIsMovedSoonerThanTheNodeHasRoomIsMoved() {
    let run = busyHolder(estimate: 9_000_000)
    #expect(
      run.fetched == [Fetched(file(0), transfer: 0, from: .node(agent: WorkerID(index: 0)), to: 1)])
  }

  @Test func aSmallInputIsNotWorthWaitingFor() {
    let run = busyHolder(byteCount: 2_000_000)
    #expect(run.fetched.map(\.worker) == [1])
  }

  @Test func otherPlacementsDoNotWait() {
    for placement in [NodeChoice.worst, .random] {
      let run = busyHolder(placement: placement)
      #expect(run.manager.patientCount == 0)
    }
  }

  @Test func aTaskWaitsNoLongerThanMovingTakes() throws {
    // Nobody knows how long the filler takes.
    let run = busyHolder(estimate: -1)
    #expect(run.fetched.isEmpty)
    let limit = run.manager.nextDeadline
    let deadline = try #require(limit)
    #expect(deadline.nanoseconds == Int64(Double(gigabyte) / 125_000_000 * 1e9))
    run.turn(after: deadline.nanoseconds / 1_000_000)
    #expect(run.fetched.isEmpty)
    run.turn(after: 1)
    #expect(run.fetched.map(\.worker) == [1])
    #expect(run.manager.nextDeadline == nil)
  }

  @Test func whatNobodyCanEstimateIsExpectedToLastAsLongAgain() {
    let run = ManagerFixture(nodes: [(2, 1), (1, 1)]) {
      $0.workflow.policy.order = .file
      let large = $0.file(.temp)
      $0.task(writes: [large]) { $0.category = "maker" }
      $0.task {
        $0.request.cores = 1; $0.category = "long"
      }
      $0.task {
        $0.request.cores = 1; $0.category = "long"
      }
      $0.task(reads: [large]) { $0.request.cores = 2 }
      $0.task(reads: [large])
    }
    run.turn()
    // The long ones have run for 5 s by now: another 5 s are less than 8.6.
    run.turn(
      run.ready(file(0), byteCount: gigabyte), run.finished(task(0), milliseconds: 5_000),
      after: 5_000)
    #expect(run.started == [Started(task(4), on: 0)])
  }

  @Test func aTaskThatWaitsIsPassed() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      $0.workflow.policy.order = .file
      let large = $0.file(.temp)
      let small = $0.file(.temp)
      $0.task(writes: [large, small])
      $0.task(reads: [small], after: [task(0)]) {
        $0.estimateMicroseconds = 1_000_000; $0.category = "filler"; $0.priority = 1
      }
      $0.task(reads: [large])
      $0.task(after: [task(0)])
    }
    run.turn()
    run.turn(run.ready(file(0), byteCount: gigabyte), run.ready(file(1)), run.finished(task(0)))
    #expect(run.started == [Started(task(1), on: 0), Started(task(3), on: 1)])
  }

  @Test func theLossOfTheNodeEndsTheWait() {
    let run = busyHolder()
    run.turn(.workerLost(WorkerID(index: 0)))
    // The file is made again, and then what reads it has its node.
    #expect(run.started == [Started(task(0), 2, on: 1)])
    #expect(run.manager.state(of: task(2)) == .waiting)
    #expect(run.manager.nextDeadline == nil)
  }

  @Test func theLossOfTheInputEndsTheWait() {
    let run = busyHolder()
    run.turn(.received(.replicaDamaged(value(0)), from: WorkerID(index: 0)))
    #expect(run.manager.nextDeadline == nil)
  }

  @Test func anotherReplicaEndsTheWait() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      $0.workflow.policy.order = .file
      let large = $0.file(lifetime: .forever, byteCount: gigabyte)
      let small = $0.file(.temp)
      $0.task(reads: [large], writes: [small])
      $0.task(reads: [small]) {
        $0.estimateMicroseconds = 1_000_000
        $0.category = "filler"
        $0.priority = 1
      }
      $0.task(reads: [large], after: [task(0)])
    }
    run.turn()
    run.turn(run.transferred(0, byteCount: gigabyte))
    run.turn(run.ready(file(1)), run.finished(task(0)))
    #expect(run.started == [Started(task(1), on: 0)])
    run.addNode(cores: 1)
    run.turn()
    #expect(run.fetched.isEmpty)
    #expect(run.manager.patientCount == 1)
    // As when a node that registers late has the file from an earlier run.
    run.turn(
      .received(.replicaFound(value(0, 0), byteCount: gigabyte), from: WorkerID(index: 2)))
    #expect(run.started == [Started(task(2), on: 2)])
  }

  @Test func moreTasksThanTheNodeWouldGetThroughAreSpread() {
    let run = ManagerFixture(nodes: [(1, 1), (1, 1)]) {
      $0.workflow.policy.order = .file
      let large = [$0.file(.temp), $0.file(.temp), $0.file(.temp)]
      let small = $0.file(.temp)
      $0.task(writes: large + [small])
      $0.task(reads: [small]) {
        $0.estimateMicroseconds = 1_000_000
        $0.category = "filler"
        $0.priority = 1
      }
      for file in large {
        $0.task(reads: [file]) {
          $0.estimateMicroseconds = 4_000_000
          $0.category = "reader"
        }
      }
    }
    run.turn()
    run.turn(
      run.ready(file(0), byteCount: gigabyte), run.ready(file(1), byteCount: gigabyte),
      run.ready(file(2), byteCount: gigabyte), run.ready(file(3)), run.finished(task(0)))
    // Moving takes 8.6 s. The first would wait 1 s, the second 5 s, and the third 9.
    #expect(run.started == [Started(task(1), on: 0)])
    #expect(run.manager.patientCount == 2)
    #expect(run.fetched.map(\.file) == [file(2)])
  }

  @Test func whatManyReadIsMovedAtOnce() {
    // Node 0 has one core, and forty tasks read the file: moving it saves each of them little.
    let run = busyHolder(readers: 40)
    #expect(run.fetched.map(\.worker) == [1])
  }

  @Test func aDrainedRunWaitsForNothing() {
    let run = busyHolder()
    #expect(run.manager.nextDeadline != nil)
    run.turn(.drainRequested)
    run.turn(run.committed(value(0)), run.committed(value(1)), run.finished(task(1)))
    #expect(run.manager.nextDeadline == nil)
    #expect(run.outcome?.leftCount == 1)
  }

  @Test func lanesOfANodeThatIsWaitedForEnd() {
    // Short tasks that need nearly all memory follow each other on node 1. The reader would find room
    // on node 0, beside the long one.
    let run = ManagerFixture(nodes: [(2, 1), (1, 1)]) {
      $0.workflow.policy.order = .file
      let large = $0.file(.temp)
      $0.task {
        $0.request.memoryMB = 900; $0.category = "long"
      }
      $0.task(writes: [large]) { $0.request.memoryMB = 900 }
      for _ in 0..<40 { $0.task { $0.request.memoryMB = 900 } }
      $0.task(reads: [large], after: [task(2)]) {
        $0.request.memoryMB = 10; $0.priority = 1
      }
    }
    run.turn()
    #expect(run.started == [Started(task(0), on: 0), Started(task(1), on: 1)])
    run.turn(
      run.ready(file(0), byteCount: gigabyte, by: 1),
      run.finished(task(1), milliseconds: 1, by: 1))
    let ahead = run.started.map(\.task)
    #expect(ahead.count == 5)
    run.turn(run.finished(task(2), milliseconds: 1, by: 1))
    #expect(run.manager.patientCount == 1)
    for done in ahead.dropFirst() {
      #expect(run.started.isEmpty)
      run.turn(run.finished(done, milliseconds: 1, by: 1))
    }
    #expect(run.started.first == Started(task(42), on: 1))
  }
}
