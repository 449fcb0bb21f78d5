// CRC-32C, against its definition.

import Testing

@testable import VineCore

struct ChecksumTests {
  /// One bit after the other, as RFC 3720, appendix B.4 defines it.
  private static func byDefinition(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var state: UInt32 = .max
    for byte in bytes {
      state ^= UInt32(byte)
      for _ in 0..<8 { state = state & 1 == 0 ? state >> 1 : state >> 1 ^ 0x82F6_3B78 }
    }
    return ~state
  }

  private static func sum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.withUnsafeBytes { crc32c($0) }
  }

  @Test func theExamplesOfTheStandard() {
    #expect(Self.sum([UInt8](repeating: 0, count: 32)[...]) == 0x8A91_36AA)
    #expect(Self.sum([UInt8](repeating: 255, count: 32)[...]) == 0x62A8_AB43)
    #expect(Self.sum(Array("123456789".utf8)[...]) == 0xE306_9283)
  }

  /// Long ones are summed up in blocks of 3 KiB; what is left over, and where they lie, differs.
  @Test func everyLengthAndPlace() {
    var state: UInt64 = 42
    let bytes = (0..<12_000).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 33)
    }
    for count in [0, 1, 7, 8, 9, 3071, 3072, 3073, 3080, 6143, 6144, 6151, 9216, 11_983] {
      for place in 0..<9 {
        let part = bytes[place..<place + count]
        #expect(Self.sum(part) == Self.byDefinition(part), "\(count) bytes at \(place)")
      }
    }
  }
}
