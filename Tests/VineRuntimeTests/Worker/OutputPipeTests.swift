// A pipe that one attempt after another writes into.

import Glibc
import Testing

@testable import VineRuntime

// Of fcntl(2) and open(2), behind _GNU_SOURCE.
private let setPipeSize: Int32 = 1031
#if arch(arm64)
  private let packets: Int32 = 0o200000
#else
  private let packets: Int32 = 0o40000
#endif

struct OutputPipeTests {
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

  private func drain(_ pipe: OutputPipe) -> String {
    let capture = OutputCapture(pipe, spillPath: "/none")
    #expect(capture.drain(with: buffer, isLast: true))
    return String(decoding: capture.contents(), as: UTF8.self)
  }

  @Test func itOutlivesItsCaptures() throws {
    let pipe = try OutputPipe()
    #expect(write(pipe.writeEnd, "one", 3) == 3)
    #expect(drain(pipe) == "one")
    #expect(drain(pipe) == "")
    #expect(write(pipe.writeEnd, "two", 3) == 3)
    #expect(drain(pipe) == "two")
  }

  @Test func aWriterThatDoesNotBlockLeavesOneThatDoes() throws {
    let pipe = try OutputPipe()
    #expect(fcntl(pipe.writeEnd, F_SETFL, O_WRONLY | O_NONBLOCK | O_ASYNC) == 0)
    #expect(pipe.renew())
    #expect(fcntl(pipe.writeEnd, F_GETFL) & (O_NONBLOCK | O_ASYNC) == 0)
    // The read end is ours and still does not wait.
    #expect(drain(pipe) == "")
  }

  @Test func whatIsLeftInAPipeGoesToNobodyElse() throws {
    let pipe = try OutputPipe()
    #expect(write(pipe.writeEnd, "one", 3) == 3)
    #expect(!pipe.renew())
    #expect(drain(pipe) == "one")
    #expect(pipe.renew())
  }

  @Test func aPipeOfAnotherSizeOrModeIsNotAsNew() throws {
    let pipe = try OutputPipe()
    #expect(fchmod(pipe.writeEnd, 0o444) == 0)
    #expect(!pipe.renew())
    #expect(fchmod(pipe.writeEnd, 0o600) == 0)
    #expect(pipe.renew())
    #expect(fcntl(pipe.writeEnd, setPipeSize, 4096) == 4096)
    #expect(!pipe.renew())
  }

  @Test func allPacketsAreTaken() throws {
    let pipe = try OutputPipe()
    #expect(fcntl(pipe.writeEnd, F_SETFL, O_WRONLY | packets) == 0)
    for _ in 0..<3 { #expect(write(pipe.writeEnd, "abc", 3) == 3) }
    #expect(drain(pipe) == "abcabcabc")
  }
}
