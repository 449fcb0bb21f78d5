// A pipe that one attempt after another writes into.

import Glibc
import Testing

@testable import VineRuntime

struct OutputPipeTests {
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

  private func drain(_ pipe: OutputPipe) -> String {
    let capture = OutputCapture(pipe, spillPath: "/none")
    #expect(capture.drain(with: buffer, roundsMax: .max))
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
}
