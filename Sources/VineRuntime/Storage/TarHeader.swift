// One header block of a tar archive (POSIX.1-2024, pax: "ustar Interchange Format"; GNU tar, "Basic Tar
// Format"), from and to its 512 bytes.

/// What a member is, and what follows its header.
struct TarHeader: Equatable {
  static let blockByteCount = 512

  /// As it stands in the archive: bytes in whatever encoding.
  var name: [UInt8]
  /// Of a hard or symbolic link.
  var linkName: [UInt8] = []
  var mode: UInt32 = 0o644
  var byteCount: Int64 = 0
  /// Seconds since 1970.
  var modificationTime: Int64 = 0
  var kind = UInt8(ascii: "0")

  /// Why a block is no header.
  enum Fault: Error, Equatable { case checksum, number }

  // MARK: Reading

  /// Reads a block; nil for one of zeros, which ends an archive.
  static func parse(_ block: ArraySlice<UInt8>) throws(Fault) -> TarHeader? {
    let block = Array(block)
    if block.allSatisfy({ $0 == 0 }) { return nil }
    guard let sum = number(block[148..<156]), sum == checksum(of: block) else { throw .checksum }
    guard let mode = number(block[100..<108]), let byteCount = number(block[124..<136]),
      byteCount >= 0, let time = number(block[136..<148])
    else { throw .number }
    var header = TarHeader(name: text(block[0..<100]))
    let isPosix = block[257..<263].elementsEqual("ustar\0".utf8)
    let prefix = isPosix ? text(block[345..<500]) : []
    if !prefix.isEmpty { header.name = prefix + [UInt8(ascii: "/")] + header.name }
    header.linkName = text(block[157..<257])
    header.mode = UInt32(truncatingIfNeeded: mode) & 0o7777
    header.byteCount = byteCount
    header.modificationTime = time
    header.kind = block[156] == 0 ? UInt8(ascii: "0") : block[156]
    return header
  }

  /// Sum of all bytes, those of the sum itself taken for spaces.
  private static func checksum(of block: [UInt8]) -> Int64 {
    var sum: Int64 = 8 * 32
    for (index, byte) in block.enumerated() where !(148..<156).contains(index) {
      sum += Int64(byte)
    }
    return sum
  }

  private static func text(_ field: ArraySlice<UInt8>) -> [UInt8] {
    Array(field.prefix { $0 != 0 })
  }

  /// Octal digits, or GNU's base 256, marked by the first bit; nil for anything else.
  private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
    guard let first = field.first else { return nil }
    if first & 0x80 != 0 {
      var value = Int64(first & 0x7F)
      for byte in field.dropFirst() {
        guard value < 1 << 54 else { return nil }
        value = value << 8 | Int64(byte)
      }
      return value
    }
    var value: Int64 = 0
    let digits = field.drop { $0 == 32 }.prefix { $0 != 0 && $0 != 32 }
    for digit in digits {
      guard (48...55).contains(digit), value < 1 << 59 else { return nil }
      value = value << 3 | Int64(digit - 48)
    }
    return value
  }

  // MARK: Writing

  /// The blocks of the header, with a GNU long name before it where the name needs that.
  var bytes: [UInt8] {
    if name.count <= 100 { return block }
    var long = TarHeader(name: Array("././@LongLink".utf8))
    long.kind = UInt8(ascii: "L")
    long.byteCount = Int64(name.count + 1)
    let padding = Self.padding(after: long.byteCount)
    return long.block + name + [UInt8](repeating: 0, count: 1 + padding) + block
  }

  /// Bytes of zeros behind a content, up to the next block.
  static func padding(after byteCount: Int64) -> Int {
    Int((Int64(blockByteCount) - byteCount % Int64(blockByteCount)) % Int64(blockByteCount))
  }

  private var block: [UInt8] {
    var block = [UInt8](repeating: 0, count: Self.blockByteCount)
    func put(_ bytes: some Collection<UInt8>, at offset: Int) {
      block.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
    put(name.prefix(100), at: 0)
    put(Self.octal(Int64(mode), digits: 7), at: 100)
    put(Self.octal(0, digits: 7), at: 108)
    put(Self.octal(0, digits: 7), at: 116)
    put(Self.octal(byteCount, digits: 11), at: 124)
    put(Self.octal(modificationTime, digits: 11), at: 136)
    block[156] = kind
    put(linkName.prefix(100), at: 157)
    put(Array("ustar  ".utf8), at: 257)
    put(Self.octal(Self.checksum(of: block), digits: 6), at: 148)
    block[155] = 32
    return block
  }

  /// Digits and a NUL; members are far below the 8 GiB that eleven digits can say.
  private static func octal(_ value: Int64, digits: Int) -> [UInt8] {
    let text = String(max(value, 0), radix: 8).utf8.suffix(digits)
    return [UInt8](repeating: 48, count: digits - text.count) + text + [0]
  }
}
