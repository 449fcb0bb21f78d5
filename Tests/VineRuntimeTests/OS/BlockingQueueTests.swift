// Helper threads.

import Glibc
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
}
