// Helper threads.

import Glibc
import Synchronization
import Testing

@testable import VineRuntime

struct BlockingQueueTests {
  @Test func everyResultComesOnce() throws {
    let queue = try BlockingQueue<Int>(threadCount: 3)
    for number in 0..<200 { queue.submit { number } }
    var results: [Int] = []
    while queue.pendingCount > 0 {
      var entry = pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)
      poll(&entry, 1, -1)
      results += queue.drain()
    }
    #expect(results.sorted() == Array(0..<200))
    #expect(queue.drain().isEmpty)
  }

  @Test func theDescriptorIsQuietOnceAllWasDrained() throws {
    // A loop that waits for it would never sleep again.
    let queue = try BlockingQueue<Int>(threadCount: 1)
    for number in 0..<20_000 {
      queue.submit { number }
      // Looks at any moment, not only when it is told to.
      while queue.pendingCount > 0 { _ = queue.drain() }
      var entry = pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, 0) == 0 else {
        Issue.record("readable after drain \(number)")
        return
      }
    }
  }

  @Test func aLaneIsOneAfterTheOther() throws {
    let queue = try BlockingQueue<Int>(threadCount: 4)
    let busyCounts = Mutex([0, 0, 0])
    let overlapCount = Atomic(0)
    for number in 0..<600 {
      let lane = number % 3
      queue.submit(lane: lane) {
        let others = busyCounts.withLock { counts in
          counts[lane] += 1
          return counts[lane] - 1
        }
        if others > 0 { overlapCount.add(1, ordering: .relaxed) }
        sched_yield()
        busyCounts.withLock { $0[lane] -= 1 }
        return number
      }
    }
    var results: [Int] = []
    while results.count < 600 {
      var entry = pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)
      poll(&entry, 1, -1)
      results += queue.drain()
    }
    #expect(overlapCount.load(ordering: .relaxed) == 0)
    for lane in 0..<3 {
      #expect(results.filter { $0 % 3 == lane } == Array(stride(from: lane, to: 600, by: 3)))
    }
  }
}
