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
    feed(bytes, to: capture, through: ends[1])
    return capture
  }

  private func feed(_ bytes: [UInt8], to capture: OutputCapture, through end: Int32) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(60_000)
      _ = piece.withUnsafeBytes { write(end, $0.baseAddress, $0.count) }
      _ = capture.drain(with: buffer, roundsMax: 1)
      rest = rest.dropFirst(piece.count)
    }
    close(end)
    #expect(!capture.drain(with: buffer))
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

  @Test(arguments: [false, true])
  func aDiskWithoutRoomLeavesHeadAndTail(_ isMade: Bool) {
    var ends: [Int32] = [0, 0]
    pipe(&ends)
    let capture = OutputCapture(descriptor: ends[0], spillPath: "") { _ in
      isMade ? open("/dev/full", O_RDWR) : -ENOSPC
    }
    let bytes = pattern(300_000)
    feed(bytes, to: capture, through: ends[1])
    let contents = capture.contents()
    #expect(contents.prefix(60_000) == bytes.prefix(60_000))
    #expect(contents.suffix(4096) == bytes.suffix(4096))
    #expect(capture.tail(4096) == bytes.suffix(4096))
    let line = String(decoding: contents.dropFirst(60_000).dropLast(4096), as: UTF8.self)
    #expect(line.contains("\(300_000 - 60_000 - 4096) bytes of output lost here: No space left"))
  }

  @Test func aDiskThatFillsUpKeepsWhatItHas() throws {
    let directory = try TemporaryDirectory()
    var ends: [Int32] = [0, 0]
    pipe(&ends)
    var spill: Int32 = -1
    let path = "\(directory.path)/spill"
    let capture = OutputCapture(descriptor: ends[0], spillPath: path) {
      spill = open($0, O_RDWR | O_CREAT, 0o600)
      return spill
    }
    let bytes = pattern(300_000)
    let second = dup(ends[1])
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    for piece in [bytes[..<60_000], bytes[60_000..<120_000]] {
      _ = piece.withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) }
      _ = capture.drain(with: buffer, roundsMax: 1)
    }
    // From here on the file can be read, but not written.
    let readOnly = open(path, O_RDONLY)
    dup2(readOnly, spill)
    close(readOnly)
    close(ends[1])
    feed(Array(bytes[120_000...]), to: capture, through: second)
    let contents = capture.contents()
    #expect(contents.prefix(120_000) == bytes.prefix(120_000))
    #expect(contents.suffix(4096) == bytes.suffix(4096))
    #expect(contents.count < 130_000)
  }
}
