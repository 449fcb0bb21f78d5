// Ranks, nodes and clocks.

import Testing
import VineCore

@testable import VineRuntime

struct WorkerDirectoryTests {
  private func registration(key: UInt32, cores: Int?) -> Registration {
    Registration(
      build: "1", hostName: "n\(key)", nodeKey: key,
      topology: cores.map { Topology(coreCount: $0, memoryMB: 1) }, processID: 1, bootID: "",
      processNamespace: 0)
  }

  @Test func executorsWaitForTheirAgent() {
    var directory = WorkerDirectory()
    var log: [String] = []
    var nodes = 0
    func add(_ rank: Int, key: UInt32, cores: Int?) {
      directory.add(
        WorkerID(index: rank), registration(key: key, cores: cores),
        addNode: { _ in
          log.append("node of \(rank)")
          nodes += 1
          return NodeID(index: nodes - 1)
        },
        addExecutor: { worker, node in log.append("\(worker.index) on \(node.index)") })
    }
    add(3, key: 2, cores: nil)
    add(5, key: 4, cores: 8)
    #expect(log == ["node of 5"])
    add(2, key: 2, cores: 16)
    add(6, key: 4, cores: nil)
    #expect(log == ["node of 5", "node of 2", "3 on 1", "6 on 0"])
    #expect(directory.firstCores == [0, 8])
    #expect(directory[WorkerID(index: 3)]?.node == NodeID(index: 1))
  }

  @Test func theShortestRoundTripSetsTheClock() {
    var directory = WorkerDirectory()
    let worker = WorkerID(index: 1)
    directory.add(
      worker, registration(key: 1, cores: 1), addNode: { _ in NodeID(index: 0) },
      addExecutor: { _, _ in })
    #expect(directory.measure(worker, sent: 100, there: 5000, received: 300) == 1)
    #expect(directory[worker]?.clockOffset == -4800)
    _ = directory.measure(worker, sent: 1000, there: 5900, received: 1010)
    #expect(directory[worker]?.clockOffset == -4895)
    _ = directory.measure(worker, sent: 2000, there: 9000, received: 4000)
    #expect(directory[worker]?.clockOffset == -4895)
  }

  @Test func theEndWaitsForTheLivingOnly() {
    var directory = WorkerDirectory()
    let workers = (1...3).map { WorkerID(index: $0) }
    for worker in workers.dropLast() {
      directory.add(
        worker, registration(key: UInt32(worker.index), cores: 1),
        addNode: { _ in NodeID(index: worker.index) }, addExecutor: { _, _ in })
    }
    #expect(!directory.isComplete(3))
    // One that is lost before it registered does not come any more.
    directory.markLost(workers[2])
    #expect(directory.isComplete(3))
    #expect(directory.live == [workers[0], workers[1]])
    directory.markDeparted(workers[0])
    #expect(!directory.isEmpty(3))
    directory.markLost(workers[1])
    #expect(directory.isEmpty(3))
    #expect(directory.lostRanks == [2, 3])
    #expect(directory.live.isEmpty)
  }

  @Test func theLostAreAnsweredTwice() {
    var directory = WorkerDirectory()
    let worker = WorkerID(index: 1)
    #expect(directory.isAnswerDue(to: worker) == false)
    directory.markLost(worker)
    let answers = (1...3).map { _ in directory.isAnswerDue(to: worker) }
    #expect(answers == [true, true, false])
  }
}
