// Walks a tar archive, whether it is a file or what a decompressor writes into a pipe: member by
// member, with pax and GNU extensions resolved.

internal import Glibc

/// Reads the archive behind a descriptor, which stays the caller's.
struct TarReader {
  /// Bytes of a name or of a pax header at most.
  private static let extensionByteCountMax: Int64 = 1 << 20

  private let descriptor: Int32
  private let path: String
  private var buffer = [UInt8](repeating: 0, count: 1 << 18)
  private var bufferStart = 0
  private var bufferEnd = 0
  /// Bytes of the current member's content, and of what fills its last block, that were not read.
  private var contentLeft: Int64 = 0
  private var paddingLeft = 0
  /// The name of the last member, for messages.
  private var lastName = ""
  /// Where the next byte to be read lies, from where the reader began.
  private(set) var offset: Int64 = 0

  /// `path` is for messages.
  init(descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  /// The next member; nil at the end. What was not read of the content of the last is skipped.
  mutating func next() throws(RuntimeError) -> TarHeader? {
    var longName: [UInt8]?
    var longLink: [UInt8]?
    var pax: [String: [UInt8]] = [:]
    var isFirst = true
    while true {
      try skipContent()
      guard let block = try readBlock(mayEnd: isFirst && longName == nil) else { return nil }
      var header: TarHeader
      do {
        guard let parsed = try TarHeader.parse(block) else { return nil }
        header = parsed
      } catch {
        throw problem(
          offset == 512
            ? "it is not a tar archive" : "damaged \(offset - 512) bytes from its beginning")
      }
      isFirst = false
      contentLeft = header.hasContent ? header.byteCount : 0
      paddingLeft = TarHeader.padding(after: contentLeft)
      switch header.kind {
      case UInt8(ascii: "L"): longName = Array(try readExtension().prefix { $0 != 0 })
      case UInt8(ascii: "K"): longLink = Array(try readExtension().prefix { $0 != 0 })
      case UInt8(ascii: "x"): pax.merge(Self.records(try readExtension())) { $1 }
      case UInt8(ascii: "g"), UInt8(ascii: "V"): break
      default:
        if let longName { header.name = longName }
        if let longLink { header.linkName = longLink }
        if let name = pax["path"] { header.name = name }
        if let name = pax["linkpath"] { header.linkName = name }
        if let size = pax["size"].flatMap({ Int64(String(decoding: $0, as: UTF8.self)) }),
          size >= 0, header.hasContent
        {
          header.byteCount = size
          contentLeft = size
          paddingLeft = TarHeader.padding(after: size)
        }
        // Old archives mark a directory by its name.
        if header.kind == UInt8(ascii: "0"), header.name.last == UInt8(ascii: "/") {
          header.kind = UInt8(ascii: "5")
        }
        lastName = String(decoding: header.name, as: UTF8.self)
        if pax.keys.contains(where: { $0.hasPrefix("GNU.sparse") }) {
          header.kind = UInt8(ascii: "S")
        }
        return header
      }
    }
  }

  /// Calls `body` with the content of the current member, piece by piece.
  mutating func readContent(
    _ body: (UnsafeRawBufferPointer) throws(RuntimeError) -> Void
  ) throws(RuntimeError) {
    while contentLeft > 0 {
      if bufferStart == bufferEnd { try fill() }
      let count = Int(min(contentLeft, Int64(bufferEnd - bufferStart)))
      var failure: RuntimeError?
      buffer.withUnsafeBytes { bytes in
        do throws(RuntimeError) {
          try body(UnsafeRawBufferPointer(rebasing: bytes[bufferStart..<bufferStart + count]))
        } catch { failure = error }
      }
      if let failure { throw failure }
      advance(count)
      contentLeft -= Int64(count)
    }
  }

  /// Reads to the end of everything, so that who writes into a pipe does not fail.
  mutating func drain() throws(RuntimeError) {
    bufferStart = 0
    bufferEnd = 0
    while try readMore() > 0 { bufferEnd = 0 }
  }

  private mutating func skipContent() throws(RuntimeError) {
    try readContent { _ in }
    while paddingLeft > 0 {
      if bufferStart == bufferEnd { try fill() }
      let count = min(paddingLeft, bufferEnd - bufferStart)
      advance(count)
      paddingLeft -= count
    }
  }

  private mutating func advance(_ count: Int) {
    bufferStart += count
    offset += Int64(count)
  }

  private mutating func readExtension() throws(RuntimeError) -> [UInt8] {
    guard contentLeft <= Self.extensionByteCountMax else {
      throw problem("a name in it has \(contentLeft) bytes")
    }
    var bytes: [UInt8] = []
    try readContent { piece in bytes.append(contentsOf: piece) }
    return bytes
  }

  /// `LENGTH KEY=VALUE\n`, again and again.
  private static func records(_ bytes: [UInt8]) -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    var rest = bytes[...]
    while let space = rest.firstIndex(of: 32),
      let count = Int(String(decoding: rest[rest.startIndex..<space], as: UTF8.self)),
      count > space - rest.startIndex + 1, count <= rest.count
    {
      let record = rest[(space + 1)..<(rest.startIndex + count - 1)]
      if let equals = record.firstIndex(of: UInt8(ascii: "=")) {
        let key = String(decoding: record[record.startIndex..<equals], as: UTF8.self)
        found[key] = Array(record[(equals + 1)...])
      }
      rest = rest.dropFirst(count)
    }
    return found
  }

  // MARK: Bytes

  private mutating func readBlock(mayEnd: Bool) throws(RuntimeError) -> ArraySlice<UInt8>? {
    if bufferEnd - bufferStart < 512 {
      // The rest of a block moves to the front.
      buffer.replaceSubrange(0..<bufferEnd - bufferStart, with: buffer[bufferStart..<bufferEnd])
      bufferEnd -= bufferStart
      bufferStart = 0
      while bufferEnd < 512 {
        if try readMore() > 0 { continue }
        if bufferEnd == 0 && mayEnd { return nil }
        throw problem("it ends within a header\(after)")
      }
    }
    let block = buffer[bufferStart..<bufferStart + 512]
    advance(512)
    return block
  }

  private mutating func fill() throws(RuntimeError) {
    bufferStart = 0
    bufferEnd = 0
    if try readMore() == 0 { throw problem("it ends within the member \(lastName)") }
  }

  private mutating func readMore() throws(RuntimeError) -> Int {
    while true {
      let end = bufferEnd
      let count = buffer.withUnsafeMutableBytes {
        read(descriptor, $0.baseAddress! + end, $0.count - end)
      }
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw RuntimeError("read", path, errno: errno) }
      bufferEnd += count
      return count
    }
  }

  private var after: String { lastName.isEmpty ? "" : ", after the member \(lastName)" }

  private func problem(_ detail: String) -> RuntimeError {
    RuntimeError("read", path, detail: detail)
  }
}

extension TarHeader {
  /// Whether blocks of content follow: links and directories have a size at most for show.
  var hasContent: Bool {
    switch kind {
    case UInt8(ascii: "1"), UInt8(ascii: "2"), UInt8(ascii: "3"), UInt8(ascii: "4"),
      UInt8(ascii: "5"), UInt8(ascii: "6"):
      false
    default: true
    }
  }
}
