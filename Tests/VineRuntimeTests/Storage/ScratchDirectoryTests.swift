// A node's scratch directory, which ranks come to and leave at the same time.

import Glibc
import Synchronization
import Testing

@testable import VineRuntime

struct ScratchDirectoryTests {
  /// In a session that ends as soon as it began, some ranks leave while others only come.
  @Test func whoComesWhileOthersLeaveFindsACache() throws {
    let base = try TemporaryDirectory()
    let queue = try BlockingQueue<String>(threadCount: 6)
    for round in 0..<60 {
      for rank in 0..<6 {
        let path = base.path
        queue.submit {
          do throws(RuntimeError) {
            let scratch = try ScratchDirectory.open(path, token: "round\(round)")
            defer { scratch.leave(rank: rank, isAgent: rank == 0) }
            if rank % 2 == 0 { sched_yield() }
            let made = open("\(scratch.cache)/\(rank)", O_WRONLY | O_CREAT, 0o600)
            if made < 0 { return "no cache: \(errorText(errno))" }
            close(made)
            return access("\(scratch.cache)/\(rank)", F_OK) == 0 ? "" : "what was put there is gone"
          } catch { return "\(error)" }
        }
      }
      var results: [String] = []
      while results.count < 6 {
        var entry = pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)
        poll(&entry, 1, -1)
        results += queue.drain()
      }
      let problems = results.filter { $0 != "" }
      #expect(problems.isEmpty)
      #expect(access("\(base.path)/vine-mpi-\(getuid())/round\(round)", F_OK) != 0)
    }
  }
}
