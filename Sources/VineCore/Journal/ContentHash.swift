// SHA-256 digests as values: keys of tasks and hashes of contents.

/// 32 bytes, held inline so that a table of a million costs no allocation each.
package struct ContentHash: Hashable, Sendable {
  package var words: (UInt64, UInt64, UInt64, UInt64)

  /// Stands for "not known".
  package static let unknown = ContentHash(words: (0, 0, 0, 0))

  package init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// From the 32 bytes of a digest; nil when there are not 32.
  package init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 32 else { return nil }
    func word(_ place: Int) -> UInt64 {
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * place, as: UInt64.self))
    }
    words = (word(0), word(1), word(2), word(3))
  }

  package init?(_ bytes: [UInt8]) {
    guard let hash = bytes.withUnsafeBytes({ ContentHash($0) }) else { return nil }
    self = hash
  }

  package var isKnown: Bool { self != .unknown }

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(32)
    for word in [words.0, words.1, words.2, words.3] {
      for place in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * place))) }
    }
    return bytes
  }

  /// 64 hexadecimal digits.
  package var text: String {
    bytes.map { byte in
      let digits = String(byte, radix: 16)
      return byte < 16 ? "0\(digits)" : digits
    }.joined()
  }

  package static func == (left: ContentHash, right: ContentHash) -> Bool {
    left.words == right.words
  }

  package func hash(into hasher: inout Hasher) {
    // A digest is as good as random: its first word tells enough.
    hasher.combine(words.0)
  }
}
