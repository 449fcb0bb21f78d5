// Frames between a rank and the hosts of its instances: four bytes that count what follows, one for
// the kind, then fixed fields and texts, little-endian. Many fit into one write. The other sides are
// python_host.py and CVineHost.

/// The kinds of frames.
enum HostFrame {
  /// Raised with every change of a frame.
  static let protocolVersion = 1
  /// Bytes of one frame at most.
  static let byteCountMax = (1 << 31) - 1

  // To a host.
  static let order: UInt8 = 1
  static let call: UInt8 = 2
  static let map: UInt8 = 3
  static let cancel: UInt8 = 4
  static let stop: UInt8 = 5
  static let gang: UInt8 = 6
  // From a host.
  static let hello: UInt8 = 65
  static let ready: UInt8 = 66
  static let setupFailed: UInt8 = 67
  static let finished: UInt8 = 68
  static let failed: UInt8 = 69
  static let returned: UInt8 = 70
}

/// Bytes that wait to be sent.
struct FrameBuffer {
  private(set) var bytes: [UInt8] = []
  /// Those that are sent already.
  private(set) var sentCount = 0

  var waitingCount: Int { bytes.count - sentCount }

  mutating func consume(_ count: Int) {
    sentCount += count
    if sentCount == bytes.count {
      // A huge argument must not keep its room for ever.
      bytes.removeAll(keepingCapacity: bytes.capacity <= 4 << 20)
      sentCount = 0
    }
  }

  private mutating func put<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func begin(_ kind: UInt8, bodyCount: Int) {
    put(UInt32(truncatingIfNeeded: 1 + bodyCount))
    bytes.append(kind)
  }

  /// A program text, counted but without a kind: the interpreter's first line reads it.
  mutating func putProgram(_ text: [UInt8]) {
    put(UInt32(truncatingIfNeeded: text.count))
    bytes.append(contentsOf: text)
  }

  mutating func putOrder(_ order: LibraryOrder) {
    var fields: [[UInt8]] = [
      Array(String(HostFrame.protocolVersion).utf8), Array(order.name.utf8),
      Array(order.source.utf8), Array(order.mode.rawValue.utf8), Array(String(order.slots).utf8),
      Array((order.environmentPath ?? "").utf8), Array((order.contextFunction ?? "").utf8),
      order.contextArguments,
    ]
    fields += order.functions.map { Array($0.utf8) }
    begin(HostFrame.order, bodyCount: fields.reduce(0) { $0 + 4 + $1.count })
    for field in fields {
      put(UInt32(truncatingIfNeeded: field.count))
      bytes.append(contentsOf: field)
    }
  }

  mutating func putCall(
    _ number: UInt64, function: Int, arguments: [UInt8], directory: String?
  ) {
    let path = directory?.utf8.count ?? 0
    begin(HostFrame.call, bodyCount: 14 + path + arguments.count)
    put(number)
    put(UInt32(truncatingIfNeeded: function))
    put(UInt16(truncatingIfNeeded: path))
    if let directory { bytes.append(contentsOf: directory.utf8) }
    bytes.append(contentsOf: arguments)
  }

  mutating func putMap(_ number: UInt64, function: Int, template: [UInt8], items: ItemRun) {
    var itemsByteCount = 24
    if case .list(let text) = items { itemsByteCount = text.count }
    begin(HostFrame.map, bodyCount: 17 + template.count + itemsByteCount)
    put(number)
    put(UInt32(truncatingIfNeeded: function))
    put(UInt32(truncatingIfNeeded: template.count))
    switch items {
    case .range(let first, let step, let count):
      bytes.append(0)
      bytes.append(contentsOf: template)
      put(first)
      put(step)
      put(UInt64(max(count, 0)))
    case .list(let text):
      bytes.append(1)
      bytes.append(contentsOf: template)
      bytes.append(contentsOf: text)
    }
  }

  mutating func putGang(
    _ number: UInt64, function: Int, arguments: [UInt8], ranks: [Int32], tag: Int32
  ) {
    begin(HostFrame.gang, bodyCount: 20 + 4 * ranks.count + arguments.count)
    put(number)
    put(UInt32(truncatingIfNeeded: function))
    put(tag)
    put(UInt32(truncatingIfNeeded: ranks.count))
    for rank in ranks { put(rank) }
    bytes.append(contentsOf: arguments)
  }

  mutating func putCancel(_ number: UInt64) {
    begin(HostFrame.cancel, bodyCount: 8)
    put(number)
  }

  mutating func putStop() { begin(HostFrame.stop, bodyCount: 0) }
}

/// What a host said that no host says.
struct HostFrameError: Error {}

/// Puts frames together from the pieces in which they come.
struct FrameAssembler {
  private var rest: [UInt8] = []
  /// Bytes of the frame that `rest` is the beginning of; 0 while that is not known.
  private var needed = 0

  var isEmpty: Bool { rest.isEmpty }

  /// Calls `body` with each frame that is whole now, its kind first.
  mutating func add(
    _ piece: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws(HostFrameError) -> Void
  ) throws(HostFrameError) {
    if rest.isEmpty {
      let used = try Self.split(piece, body)
      if used < piece.count { keep(UnsafeRawBufferPointer(rebasing: piece[used...])) }
      return
    }
    // Only what completes the frame is copied.
    var start = 0
    while !rest.isEmpty && start < piece.count {
      let wanted = needed == 0 ? 4 - rest.count : needed - rest.count
      let count = min(wanted, piece.count - start)
      rest.append(contentsOf: piece[start..<start + count])
      start += count
      if needed == 0 && rest.count == 4 { try learnSize() }
      if needed > 0 && rest.count == needed {
        let whole = rest
        rest = []
        needed = 0
        _ = try Self.split(whole, body)
      }
    }
    if start < piece.count { try add(UnsafeRawBufferPointer(rebasing: piece[start...]), body) }
  }

  private mutating func keep(_ piece: UnsafeRawBufferPointer) {
    rest = Array(piece)
    needed = 0
    if rest.count >= 4 {
      needed = 4 + Int(Self.size(of: piece))
      rest.reserveCapacity(min(needed, 64 << 20))
    }
  }

  private mutating func learnSize() throws(HostFrameError) {
    let size = rest.withUnsafeBytes { Self.size(of: $0) }
    if size == 0 || Int(size) > HostFrame.byteCountMax { throw HostFrameError() }
    needed = 4 + Int(size)
    rest.reserveCapacity(min(needed, 64 << 20))
  }

  private static func size(of bytes: UnsafeRawBufferPointer) -> UInt32 {
    UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
  }

  private static func split(
    _ whole: [UInt8], _ body: (UnsafeRawBufferPointer) throws(HostFrameError) -> Void
  ) throws(HostFrameError) -> Int {
    var failure: HostFrameError?
    let used = whole.withUnsafeBytes { bytes -> Int in
      do throws(HostFrameError) { return try split(bytes, body) } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw failure }
    return used
  }

  private static func split(
    _ bytes: UnsafeRawBufferPointer,
    _ body: (UnsafeRawBufferPointer) throws(HostFrameError) -> Void
  ) throws(HostFrameError) -> Int {
    var start = 0
    while bytes.count - start >= 4 {
      let size = Int(size(of: UnsafeRawBufferPointer(rebasing: bytes[start...])))
      if size == 0 || size > HostFrame.byteCountMax { throw HostFrameError() }
      if bytes.count - start - 4 < size { break }
      try body(UnsafeRawBufferPointer(rebasing: bytes[start + 4..<start + 4 + size]))
      start += 4 + size
    }
    return start
  }
}

extension HostReport {
  /// Reads a frame; nil for a hello of the right version.
  init?(_ frame: UnsafeRawBufferPointer) throws(HostFrameError) {
    guard let kind = frame.first else { throw HostFrameError() }
    let body = UnsafeRawBufferPointer(rebasing: frame.dropFirst())
    func number(at offset: Int) throws(HostFrameError) -> UInt64 {
      if body.count < offset + 8 { throw HostFrameError() }
      return UInt64(littleEndian: body.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    func error(at offset: Int) throws(HostFrameError) -> CallError {
      if body.count < offset + 4 { throw HostFrameError() }
      let count = Int(
        UInt32(littleEndian: body.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      let texts = body.dropFirst(offset + 4)
      if count > texts.count { throw HostFrameError() }
      return CallError(
        String(decoding: texts.prefix(count), as: UTF8.self),
        traceback: String(decoding: texts.dropFirst(count), as: UTF8.self))
    }
    func nanoseconds(at offset: Int) throws(HostFrameError) -> Int64 {
      Int64(clamping: try number(at: offset))
    }
    switch kind {
    case HostFrame.hello:
      guard body.count >= 4,
        UInt32(littleEndian: body.loadUnaligned(as: UInt32.self)) == HostFrame.protocolVersion
      else { throw HostFrameError() }
      return nil
    case HostFrame.ready: self = .ready(setupNanoseconds: try nanoseconds(at: 0))
    case HostFrame.setupFailed: self = .setupFailed(try error(at: 0))
    case HostFrame.finished:
      self = .finished(
        try number(at: 0), result: Array(body.dropFirst(16)),
        runNanoseconds: try nanoseconds(at: 8))
    case HostFrame.failed:
      self = .failed(
        try number(at: 0), try error(at: 16), runNanoseconds: try nanoseconds(at: 8))
    case HostFrame.returned: self = .returned(try number(at: 0))
    default: throw HostFrameError()
    }
  }
}
