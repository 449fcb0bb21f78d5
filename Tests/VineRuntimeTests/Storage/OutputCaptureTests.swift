// What is kept of a stream.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct OutputCaptureTests {
  /// Feeds `bytes` through a pipe.
  private func capture(_ bytes: [UInt8], in directory: TemporaryDirectory) -> OutputCapture {
    var ends: [Int32] = [0, 0]
    pipe(&ends)
    let capture = OutputCapture(descriptor: ends[0], spillPath: "\(directory.path)/spill")
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(60_000)
      _ = piece.withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) }
      _ = capture.drain(with: buffer, roundsMax: 1)
      rest = rest.dropFirst(piece.count)
    }
    close(ends[1])
    #expect(!capture.drain(with: buffer))
    return capture
  }

  private func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) }
  }

  @Test(arguments: [0, 1, 65_536, 65_537, 1 << 20])
  func outputBelowTheLimitIsKeptWhole(_ count: Int) throws {
    let directory = try TemporaryDirectory()
    let bytes = pattern(count)
    #expect(capture(bytes, in: directory).contents() == bytes)
  }

  @Test func headAndTailAreKeptAndTheGapIsNamed() throws {
    let directory = try TemporaryDirectory()
    let half = Limits.outputByteCountMax / 2
    let bytes = pattern(Limits.outputByteCountMax + half + 12345)
    let capture = capture(bytes, in: directory)
    #expect(capture.droppedByteCount == Int64(half + 12345))
    let contents = capture.contents()
    #expect(contents.prefix(half) == bytes.prefix(half))
    #expect(contents.suffix(half) == bytes.suffix(half))
    let gap = String(decoding: contents.dropFirst(half).dropLast(half), as: UTF8.self)
    #expect(gap.contains("\(half + 12345) bytes dropped"))
    #expect(capture.tail(10) == Array(bytes.suffix(10)))
  }
}
