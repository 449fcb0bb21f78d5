import Testing
import VineCore

private let megabyte: Int64 = 1 << 20

@Suite struct DepthFirstTests {
  /// Chains of three tasks: the first two make a file of 10 MB each. Tasks and files of chain `i` are
  /// numbers 3i, 3i + 1, and 2i, 2i + 1.
  private func chains(
    _ count: Int, order: TaskOrder = .heft, size: Int64 = 10 * megabyte, diskMB: Int64,
    cores: Int = 1
  ) -> ManagerFixture {
    let run = ManagerFixture(nodes: []) {
      $0.workflow.policy.order = order
      for _ in 0..<count {
        let files = [$0.file(.temp, byteCount: size), $0.file(.temp, byteCount: size)]
        $0.task(writes: [files[0]]) { $0.category = "first" }
        $0.task(reads: [files[0]], writes: [files[1]]) { $0.category = "second" }
        $0.task(reads: [files[1]]) { $0.category = "third" }
      }
    }
    run.addNode(
      cores: cores,
      disk: diskMB < .max ? DiskCapacity(byteCountMax: diskMB * megabyte) : .unlimited)
    run.turn(.registrationClosed)
    return run
  }

  /// Lets the only task that runs end, and gives the one that follows.
  private func next(_ run: ManagerFixture, _ index: Int) -> [TaskID] {
    if index % 3 < 2 {
      run.turn(
        run.ready(file(index / 3 * 2 + index % 3), byteCount: 10 * megabyte),
        run.finished(task(index)), after: 1_000)
    } else {
      run.turn(run.finished(task(index)), after: 1_000)
    }
    return run.started.map(\.task)
  }

  @Test func inDepthOrderAChainIsEndedBeforeTheNextBegins() {
    let run = chains(3, order: .depth, diskMB: .max)
    for index in 0..<8 { #expect(next(run, index) == [task(index + 1)]) }
    #expect(next(run, 8).isEmpty)
    #expect(run.manager.peakCacheByteCount(of: NodeID(index: 0)) == 20 * megabyte)
  }

  @Test func byTheHeaviestChainAllBeginBeforeAnyEnds() {
    let run = chains(3, diskMB: .max)
    #expect(next(run, 0) == [task(3)])
    #expect(next(run, 3) == [task(6)])
  }

  @Test func aTightNodeEndsWhatWasBegun() {
    // Each that begins needs 10 MB. From 70 of 100 on, what is there is ended first.
    let run = chains(20, diskMB: 100)
    for index in 0..<5 { #expect(next(run, 3 * index) == [task(3 * index + 3)]) }
    #expect(next(run, 15) == [task(1)])
    #expect(next(run, 1) == [task(2)])
    #expect(next(run, 2) == [task(4)])
    var running = [task(4)]
    var count = 0
    while let one = running.first {
      running = next(run, one.index)
      count += 1
    }
    #expect(run.outcome?.doneCount == 60)
    #expect(run.manager.peakCacheByteCount(of: NodeID(index: 0)) <= 90 * megabyte)
  }

  @Test func aDiskThatBeginningsWouldFillIsNotFilled() {
    // Eight of them fill it, and then none has room to go on.
    let run = chains(20, diskMB: 80)
    var running = [task(0)]
    while let one = running.first { running = next(run, one.index) }
    #expect(run.outcome?.doneCount == 60)
  }

  @Test func whatOthersOfItsKindWroteIsExpected() {
    // Nobody said how large the files would be.
    let run = chains(20, size: -1, diskMB: 80)
    var running = [task(0)]
    while let one = running.first { running = next(run, one.index) }
    #expect(run.outcome?.doneCount == 60)
    #expect(run.manager.peakCacheByteCount(of: NodeID(index: 0)) <= 80 * megabyte)
  }

  @Test func whatOnlyAddsWaitsForWhatFrees() {
    let run = chains(20, diskMB: 100, cores: 2)
    var open = run.started.map(\.task)
    var most = 0
    while !open.isEmpty {
      let one = open.removeFirst()
      open += next(run, one.index)
      let beginnings = open.filter { $0.index % 3 == 0 }.count
      if run.manager.cacheByteCount >= 70 * megabyte { most = max(most, beginnings) }
    }
    #expect(run.outcome?.doneCount == 60)
    #expect(run.manager.peakCacheByteCount(of: NodeID(index: 0)) <= 100 * megabyte)
    #expect(most <= 1)
  }

  @Test func aFullCacheOfSourcesChangesNothing() {
    let run = ManagerFixture(nodes: []) {
      for _ in 0..<12 {
        let source = $0.file(byteCount: 10 * megabyte)
        let made = $0.file(.temp, byteCount: megabyte)
        $0.task(reads: [source], writes: [made])
        $0.task(reads: [made, source])
      }
    }
    run.addNode(cores: 1, disk: DiskCapacity(byteCountMax: 100 * megabyte))
    run.turn(.registrationClosed)
    for index in 0..<11 {
      run.turn(run.transferred(index, byteCount: 10 * megabyte))
      run.turn(
        run.ready(file(2 * index + 1), byteCount: megabyte), run.finished(task(2 * index)))
      #expect(run.fetched.map(\.file) == [file(2 * index + 2)])
    }
  }

  @Test func whoIsOnlyHeldBackDoesNotFailForThoseWithoutRoom() {
    // Six that free something have no room until five of them are gone. Three others have, and only
    // wait for those.
    let run = ManagerFixture(nodes: []) {
      for _ in 0..<6 {
        let made = $0.file(.temp, byteCount: 10 * megabyte)
        $0.task(writes: [made]) { $0.priority = 10 }
        $0.task(reads: [made], writes: [$0.file(.temp, byteCount: 75 * megabyte)])
      }
      for _ in 0..<3 {
        let made = $0.file(.temp, byteCount: 20 * megabyte)
        $0.task(writes: [made])
        $0.task(reads: [made], writes: [$0.file(.temp, byteCount: 60 * megabyte)])
      }
    }
    run.addNode(cores: 1, disk: DiskCapacity(byteCountMax: 100 * megabyte))
    run.turn(.registrationClosed)
    var next = run.started.first?.task
    var toSave: [FileValue] = []
    while run.outcome == nil {
      if let one = next {
        // Tasks and files are numbered alike.
        let size: Int64 = one.index < 12 ? 10 : one.index % 2 == 0 ? 20 : 60
        run.turn(
          run.ready(file(one.index), byteCount: size * megabyte), run.finished(one), after: 1_000)
      } else if let saved = toSave.popLast() {
        run.turn(run.committed(saved))
      } else {
        break
      }
      next = run.started.first?.task
      for case .send(.commit(let value), _) in run.effects { toSave.append(value) }
    }
    for index in 12..<18 { #expect(run.manager.state(of: task(index)) == .done) }
    #expect(run.outcome?.doneCount == 12)
    #expect(run.outcome?.failedCount == 6)
  }
}
