// Bytes of messages: little-endian integers and length-prefixed texts, read with bounds checked.

internal import Glibc

/// A frame that does not hold what it should: from a rank of another build, or damaged.
package struct WireError: Error, Equatable {}

package struct WireWriter {
  package private(set) var bytes: [UInt8] = []

  package init(_ kind: UInt8) { bytes.append(kind) }

  package mutating func put<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  package mutating func put(_ flag: Bool) { bytes.append(flag ? 1 : 0) }

  package mutating func put(bytes more: some Collection<UInt8>) {
    put(UInt32(more.count))
    bytes.append(contentsOf: more)
  }

  package mutating func put(_ text: String) {
    put(UInt32(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  package mutating func put(_ texts: [String]) {
    put(UInt32(texts.count))
    for text in texts { put(text) }
  }
}

package struct WireReader {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  /// Reads `bytes`, which must outlive the reader.
  package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  package mutating func take<Value: FixedWidthInteger>(
    _ type: Value.Type = Value.self
  ) throws(WireError) -> Value {
    let size = MemoryLayout<Value>.size
    guard bytes.count - position >= size else { throw WireError() }
    let value = bytes.loadUnaligned(fromByteOffset: position, as: Value.self)
    position += size
    return Value(littleEndian: value)
  }

  package mutating func takeBool() throws(WireError) -> Bool { try take(UInt8.self) != 0 }

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
