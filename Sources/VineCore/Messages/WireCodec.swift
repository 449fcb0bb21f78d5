// Bytes of messages and of the journal: little-endian integers and length-prefixed texts, read with
// bounds checked.

/// A frame that does not hold what it should: from a rank of another build, or damaged.
package struct WireError: Error, Equatable {
  @inlinable package init() {}
}

/// Appends values to bytes.
package struct WireWriter: Sendable {
  @usableFromInline var storage: [UInt8] = []

  package init() {}
  @inlinable package init(_ kind: UInt8) { storage.append(kind) }

  @inlinable package var bytes: [UInt8] { storage }
  @inlinable package var count: Int { storage.count }

  @inlinable package mutating func put<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { storage.append(contentsOf: $0) }
  }

  @inlinable package mutating func put(_ flag: Bool) { storage.append(flag ? 1 : 0) }

  @inlinable package mutating func put(bytes more: some Collection<UInt8>) {
    put(UInt32(more.count))
    storage.append(contentsOf: more)
  }

  @inlinable package mutating func put(_ text: String) {
    put(UInt32(text.utf8.count))
    storage.append(contentsOf: text.utf8)
  }

  @inlinable package mutating func put(_ texts: [String]) {
    put(UInt32(texts.count))
    for text in texts { put(text) }
  }

  /// Overwrites a value that was put at `position` when it was not known yet.
  @inlinable package mutating func replace<Value: FixedWidthInteger>(
    at position: Int, with value: Value
  ) {
    storage.withUnsafeMutableBytes {
      $0.storeBytes(of: value.littleEndian, toByteOffset: position, as: Value.self)
    }
  }

  /// The bytes so far, which the writer forgets.
  @inlinable package mutating func takeBytes() -> [UInt8] {
    let bytes = storage
    storage = []
    return bytes
  }
}

/// Takes values from bytes.
package struct WireReader {
  @usableFromInline let bytes: UnsafeRawBufferPointer
  @usableFromInline var position = 0

  /// Reads `bytes`, which must outlive the reader.
  @inlinable package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  @inlinable package var remainingByteCount: Int { bytes.count - position }

  @inlinable package mutating func take<Value: FixedWidthInteger>(
    _ type: Value.Type = Value.self
  ) throws(WireError) -> Value {
    let size = MemoryLayout<Value>.size
    guard bytes.count - position >= size else { throw WireError() }
    let value = bytes.loadUnaligned(fromByteOffset: position, as: Value.self)
    position += size
    return Value(littleEndian: value)
  }

  @inlinable package mutating func takeBool() throws(WireError) -> Bool {
    try take(UInt8.self) != 0
  }

  @inlinable package mutating func takeBytes() throws(WireError) -> UnsafeRawBufferPointer {
    let count = Int(try take(UInt32.self))
    guard bytes.count - position >= count else { throw WireError() }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  @inlinable package mutating func takeText() throws(WireError) -> String {
    String(decoding: try takeBytes(), as: UTF8.self)
  }

  @inlinable package mutating func takeTexts() throws(WireError) -> [String] {
    let count = Int(try take(UInt32.self))
    // Each text takes four bytes at least: a damaged count cannot ask for more memory than that.
    guard count <= (bytes.count - position) / 4 else { throw WireError() }
    var texts: [String] = []
    texts.reserveCapacity(count)
    for _ in 0..<count { texts.append(try takeText()) }
    return texts
  }
}
