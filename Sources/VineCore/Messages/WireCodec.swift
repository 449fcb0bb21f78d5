// Bytes of messages and of the journal: little-endian integers and length-prefixed texts, read with
// bounds checked.

/// A frame that does not hold what it should: from a rank of another build, or damaged.
package struct WireError: Error, Equatable {
  package init() {}
}

/// Appends values to bytes.
package struct WireWriter: Sendable {
  var storage: [UInt8] = []

  package init() {}
  package init(_ kind: UInt8) { storage.append(kind) }

  package var bytes: [UInt8] { storage }
  package var count: Int { storage.count }

  // One for each type that is sent: the compiler does not specialise a generic one for callers in
  // other modules of the package, and its metadata would be looked up with each number.
  package mutating func put(_ value: UInt8) { store(value) }
  package mutating func put(_ value: UInt16) { store(value) }
  package mutating func put(_ value: UInt32) { store(value) }
  package mutating func put(_ value: UInt64) { store(value) }
  package mutating func put(_ value: Int32) { store(value) }
  package mutating func put(_ value: Int64) { store(value) }

  @inline(__always) private mutating func store<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { storage.append(contentsOf: $0) }
  }

  package mutating func put(_ flag: Bool) { storage.append(flag ? 1 : 0) }

  package mutating func put(bytes more: [UInt8]) { add(more) }
  package mutating func put(bytes more: ArraySlice<UInt8>) { add(more) }
  package mutating func put(bytes more: UnsafeRawBufferPointer) { add(more) }

  @inline(__always) private mutating func add(_ more: some Collection<UInt8>) {
    put(UInt32(more.count))
    storage.append(contentsOf: more)
  }

  package mutating func put(_ text: String) {
    put(UInt32(text.utf8.count))
    storage.append(contentsOf: text.utf8)
  }

  package mutating func put(_ texts: [String]) {
    put(UInt32(texts.count))
    for text in texts { put(text) }
  }

  /// Overwrites a value that was put at `position` when it was not known yet.
  package mutating func replace<Value: FixedWidthInteger>(
    at position: Int, with value: Value
  ) {
    storage.withUnsafeMutableBytes {
      $0.storeBytes(of: value.littleEndian, toByteOffset: position, as: Value.self)
    }
  }

  /// The bytes so far, which the writer forgets.
  package mutating func takeBytes() -> [UInt8] {
    let bytes = storage
    storage = []
    return bytes
  }
}

/// Takes values from bytes.
package struct WireReader {
  let bytes: UnsafeRawBufferPointer
  var position = 0

  /// Reads `bytes`, which must outlive the reader.
  package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  package var remainingByteCount: Int { bytes.count - position }

  package mutating func take(_ type: UInt8.Type = UInt8.self) throws(WireError) -> UInt8 {
    try load()
  }
  package mutating func take(_ type: UInt16.Type = UInt16.self) throws(WireError) -> UInt16 {
    try load()
  }
  package mutating func take(_ type: UInt32.Type = UInt32.self) throws(WireError) -> UInt32 {
    try load()
  }
  package mutating func take(_ type: UInt64.Type = UInt64.self) throws(WireError) -> UInt64 {
    try load()
  }
  package mutating func take(_ type: Int32.Type = Int32.self) throws(WireError) -> Int32 {
    try load()
  }
  package mutating func take(_ type: Int64.Type = Int64.self) throws(WireError) -> Int64 {
    try load()
  }

  @inline(__always)
  private mutating func load<Value: FixedWidthInteger>() throws(WireError) -> Value {
    let size = MemoryLayout<Value>.size
    guard bytes.count - position >= size else { throw WireError() }
    let value = bytes.loadUnaligned(fromByteOffset: position, as: Value.self)
    position += size
    return Value(littleEndian: value)
  }

  package mutating func takeBool() throws(WireError) -> Bool {
    try take(UInt8.self) != 0
  }

  package mutating func takeBytes() throws(WireError) -> UnsafeRawBufferPointer {
    let count = Int(try take(UInt32.self))
    guard bytes.count - position >= count else { throw WireError() }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  package mutating func takeText() throws(WireError) -> String {
    String(decoding: try takeBytes(), as: UTF8.self)
  }

  package mutating func takeTexts() throws(WireError) -> [String] {
    let count = Int(try take(UInt32.self))
    // Each text takes four bytes at least: a damaged count cannot ask for more memory than that.
    guard count <= (bytes.count - position) / 4 else { throw WireError() }
    var texts: [String] = []
    texts.reserveCapacity(count)
    for _ in 0..<count { texts.append(try takeText()) }
    return texts
  }
}
