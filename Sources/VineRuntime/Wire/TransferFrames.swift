// What agents say to each other about files. The chunks themselves are no frames: `BulkTransfer`
// moves them.

internal import VineCore

/// What is known of a file's bytes before they come.
struct FileShape: Equatable, Sendable {
  var byteCount: Int64
  /// Permission bits.
  var mode: UInt32
  /// Tells one state of a file on the shared file system from another; 0 where the value's name
  /// says all. Bytes of two versions are never put together.
  var version: UInt64

  var chunkCount: Int {
    Int((byteCount + Limits.chunkByteCount - 1) / Limits.chunkByteCount)
  }

  func chunkSize(_ index: Int) -> Int {
    Int(min(Limits.chunkByteCount, byteCount - Int64(index) * Limits.chunkByteCount))
  }
}

/// A peer's wish to read a file of this node.
struct ReadRequest: Equatable, Sendable {
  var value: FileValue
  /// Of the stream that is to bring it.
  var tag: Int32
  /// What the peer has already: so many chunks of this version.
  var firstChunk: UInt32
  /// Only chunks before this one; `.max`: all that follow.
  var endChunk = UInt32.max
  /// What of them is not there is to be read from the shared file system, if that is the version.
  var isOriginal = false
  var version: UInt64
  var isDirectory: Bool
  /// Its name says which bytes it has.
  var isMade: Bool
  /// The transfer by which this node is getting the file itself, if it was not whole when the order
  /// was given.
  var behind: TransferID?
  /// The peer; not on the wire.
  var rank = 0

  var key: OutgoingKey { OutgoingKey(rank: rank, tag: tag) }
}

/// The answer: `chunkCount` chunks from `firstChunk` on follow in the stream.
struct ReadGrant: Equatable {
  var tag: Int32
  var shape: FileShape
  /// 0 when the peer has another version.
  var firstChunk: UInt32
  var chunkCount: UInt32
  /// The whole file is here and in order. Otherwise its end is not the last chunk, but a verdict.
  var isFinal: Bool
}

/// The whole of a small file, within the message.
struct ReadContent: Equatable {
  var tag: Int32
  var shape: FileShape
  var sum: UInt32
  var bytes: [UInt8]
}

/// No more comes in a stream than the chunks that were sent so far.
struct ReadRefusal: Equatable {
  var tag: Int32
  var error: Int32
  var sentCount: UInt32
  /// What was sent is not what the file is: it has to be thrown away.
  var isWrong: Bool
}

/// What a transfer moved, for the sums by file.
struct MovedBytes: Equatable {
  var transfer: TransferID
  var sharedByteCount: Int64 = 0
  var sharedReadCount: UInt32 = 0
  var nodeByteCount: Int64 = 0
  /// Of those, what came from helpers.
  var helperByteCount: Int64 = 0
}

extension WireWriter {
  fileprivate mutating func put(_ shape: FileShape) {
    put(shape.byteCount)
    put(shape.mode)
    put(shape.version)
  }

  init(_ request: ReadRequest) {
    self.init(.readRequest)
    put(request.value)
    put(request.tag)
    put(request.firstChunk)
    put(request.endChunk)
    put(request.isOriginal)
    put(request.version)
    put(request.isDirectory)
    put(request.isMade)
    put(request.behind?.rawValue ?? .max)
  }

  init(_ grant: ReadGrant) {
    self.init(.readGranted)
    put(grant.tag)
    put(grant.shape)
    put(grant.firstChunk)
    put(grant.chunkCount)
    put(grant.isFinal)
  }

  init(_ content: ReadContent) {
    self.init(.readContent)
    put(content.tag)
    put(content.shape)
    put(content.sum)
    put(bytes: content.bytes)
  }

  init(_ refusal: ReadRefusal) {
    self.init(.readRefused)
    put(refusal.tag)
    put(refusal.error)
    put(refusal.sentCount)
    put(refusal.isWrong)
  }

  init(_ moved: MovedBytes) {
    self.init(.moved)
    put(moved.transfer.rawValue)
    put(moved.sharedByteCount)
    put(moved.sharedReadCount)
    put(moved.nodeByteCount)
    put(moved.helperByteCount)
  }
}

extension WireReader {
  private mutating func takeShape() throws(WireError) -> FileShape {
    let shape = FileShape(byteCount: try take(), mode: try take(), version: try take())
    guard shape.byteCount >= 0 else { throw WireError() }
    return shape
  }

  mutating func takeReadRequest() throws(WireError) -> ReadRequest {
    var request = ReadRequest(
      value: try takeValue(), tag: try take(), firstChunk: try take(), endChunk: try take(),
      isOriginal: try takeBool(), version: try take(), isDirectory: try takeBool(),
      isMade: try takeBool())
    guard request.firstChunk <= request.endChunk else { throw WireError() }
    let behind = try take(UInt32.self)
    if behind != .max { request.behind = TransferID(rawValue: behind) }
    return request
  }

  mutating func takeReadGrant() throws(WireError) -> ReadGrant {
    ReadGrant(
      tag: try take(), shape: try takeShape(), firstChunk: try take(), chunkCount: try take(),
      isFinal: try takeBool())
  }

  mutating func takeReadContent() throws(WireError) -> ReadContent {
    ReadContent(
      tag: try take(), shape: try takeShape(), sum: try take(), bytes: Array(try takeBytes()))
  }

  mutating func takeReadRefusal() throws(WireError) -> ReadRefusal {
    ReadRefusal(
      tag: try take(), error: try take(), sentCount: try take(), isWrong: try takeBool())
  }

  mutating func takeMovedBytes() throws(WireError) -> MovedBytes {
    MovedBytes(
      transfer: TransferID(rawValue: try take()), sharedByteCount: try take(),
      sharedReadCount: try take(), nodeByteCount: try take(), helperByteCount: try take())
  }
}
