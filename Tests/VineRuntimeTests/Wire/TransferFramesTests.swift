import Testing
import VineCore

@testable import VineRuntime

@Suite struct TransferFramesTests {
  private let shape = FileShape(byteCount: Limits.chunkByteCount + 1, mode: 0o640, version: 7)

  /// What `read` makes of a frame behind its kind.
  private func read<Value>(
    _ writer: WireWriter, _ read: (inout WireReader) throws -> Value
  ) throws -> Value {
    try writer.bytes.withUnsafeBytes { buffer in
      var reader = WireReader(buffer)
      _ = try reader.take(UInt8.self)
      let value = try read(&reader)
      #expect(reader.remainingByteCount == 0)
      return value
    }
  }

  @Test func framesComeBackAsTheyWere() throws {
    let request = ReadRequest(
      value: FileValue(FileID(index: 3), attempt: 2), tag: 9, firstChunk: 4, endChunk: 6,
      isOriginal: true, version: 7,
      isDirectory: true, isMade: false, behind: TransferID(index: 8))
    #expect(try read(WireWriter(request)) { try $0.takeReadRequest() } == request)
    let grant = ReadGrant(tag: 9, shape: shape, firstChunk: 1, chunkCount: 1, isFinal: false)
    #expect(try read(WireWriter(grant)) { try $0.takeReadGrant() } == grant)
    let content = ReadContent(tag: 9, shape: shape, sum: 5, bytes: [1, 2, 3])
    #expect(try read(WireWriter(content)) { try $0.takeReadContent() } == content)
    let refusal = ReadRefusal(tag: 9, error: 104, sentCount: 2, isWrong: true)
    #expect(try read(WireWriter(refusal)) { try $0.takeReadRefusal() } == refusal)
    let moved = MovedBytes(
      transfer: TransferID(index: 1), sharedByteCount: 2, sharedReadCount: 3, nodeByteCount: 4,
      helperByteCount: 5)
    #expect(try read(WireWriter(moved)) { try $0.takeMovedBytes() } == moved)
  }

  @Test func theLastChunkHasWhatIsLeft() {
    #expect(shape.chunkCount == 2)
    #expect(shape.chunkSize(0) == Int(Limits.chunkByteCount))
    #expect(shape.chunkSize(1) == 1)
    #expect(FileShape(byteCount: 0, mode: 0, version: 0).chunkCount == 0)
  }
}
