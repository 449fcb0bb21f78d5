// The end of a watched process is seen, and nobody else is killed in its place.

import CLinux
import Glibc
import Testing

@testable import VineRuntime

struct ProcessWatchTests {
  /// A process that sleeps; to be reaped by the caller.
  private func sleeper() throws -> Int32 {
    let words: [String] = ["sleep", "60"]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var process: pid_t = 0
    try #require(posix_spawnp(&process, "sleep", nil, nil, &arguments, environ) == 0)
    return process
  }

  private func tokens(of poll: EventPoll, _ watch: ProcessWatch) {
    for _ in 0..<200 {
      if poll.forEachReady({ watch.onReady($0) }) > 0 { return }
      usleep(10_000)
    }
  }

  @Test func theEndOfAProcessIsSeen() throws {
    let poll = try EventPoll()
    let watch = ProcessWatch(poll: poll)
    let process = try sleeper()
    watch.watch(3, processID: process)
    #expect(watch.takeEnded(at: 0).isEmpty)
    #expect(!watch.fence(3, processID: process + 1))
    #expect(!watch.fence(4, processID: process))
    #expect(watch.fence(3, processID: process))
    tokens(of: poll, watch)
    #expect(watch.takeEnded(at: 0) == [3])
    #expect(watch.takeEnded(at: 0).isEmpty)
    #expect(waitpid(process, nil, 0) == process)
    // It is not there any more when somebody wants to watch it.
    watch.watch(5, processID: process)
    #expect(watch.takeEnded(at: 0) == [5])
    #expect(!watch.fence(5, processID: process))
  }

  @Test func aForgottenProcessIsNotReported() throws {
    let poll = try EventPoll()
    let watch = ProcessWatch(poll: poll)
    let process = try sleeper()
    watch.watch(1, processID: process)
    watch.forget(1)
    kill(process, SIGKILL)
    #expect(waitpid(process, nil, 0) == process)
    #expect(poll.forEachReady { watch.onReady($0) } == 0)
    #expect(watch.takeEnded(at: 2_000_000_000).isEmpty)
  }
}
