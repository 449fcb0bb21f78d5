// SHA-256 digests as values: keys of tasks and hashes of contents.

/// 32 bytes, held inline so that a table of a million costs no allocation each.
package struct ContentHash: Hashable, Sendable {
  package var words: (UInt64, UInt64, UInt64, UInt64)

  /// Stands for "not known".
  package static let unknown = ContentHash(words: (0, 0, 0, 0))

  package init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// From the 32 bytes of a digest; nil when there are not 32.
  package init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 32 else { return nil }
    var parts: [UInt64] = []
    parts.reserveCapacity(4)
    var part: UInt64 = 0
    for (place, byte) in bytes.enumerated() {
      part |= UInt64(byte) << UInt64(8 * (place & 7))
      if place & 7 == 7 {
        parts.append(part)
        part = 0
      }
    }
    words = (parts[0], parts[1], parts[2], parts[3])
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
