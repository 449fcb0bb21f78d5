// Says where a text stops being JSON. The decoder only says that it does, so this runs after it
// failed; it decodes nothing and never recurses.

import FoundationEssentials

/// The first place at which `bytes` are not JSON, or hold a number no program could read; nil when
/// there is none. NaN, Infinity and numbers out of range are refused, anything else is unreadable.
func findSyntaxError(in bytes: Data) -> ReadFailure? {
  if bytes.allSatisfy({ isBlank($0) }) {
    return ReadFailure("", "the file is empty", isUnreadable: true)
  }
  guard String(validating: bytes, as: UTF8.self) != nil else {
    return ReadFailure("", "the file is not UTF-8 text", isUnreadable: true)
  }
  var scanner = JSONScanner(bytes: Array(bytes))
  do throws(JSONScanner.Stop) {
    try scanner.scan()
    return nil
  } catch {
    return ReadFailure(
      scanner.place, "\(error.message) (\(scanner.lineAndColumn))",
      isUnreadable: !error.isNumber)
  }
}

func isBlank(_ byte: UInt8) -> Bool {
  byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
}

/// Walks over one JSON value with an explicit stack.
private struct JSONScanner {
  struct Stop: Error {
    var message: String
    /// The text is JSON but for a number.
    var isNumber = false
  }

  private enum Frame {
    case object(key: String)
    case array(index: Int)
  }

  /// The decoder's own limit.
  static let depthMax = 512

  private let bytes: [UInt8]
  private var position = 0
  private var stack: [Frame] = []

  init(bytes: [UInt8]) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// The member or element being read, as far as the first few levels tell.
  var place: String {
    var text = ""
    for frame in stack.prefix(12) {
      switch frame {
      case .object(let key): if !key.isEmpty { text = VineFormats.place(text, key) }
      case .array(let index): text += "[\(index)]"
      }
    }
    return text
  }

  var lineAndColumn: String {
    let before = bytes[..<min(position, bytes.count)]
    let lineStart = (before.lastIndex(of: 0x0A) ?? -1) + 1
    let line = before.count { $0 == 0x0A } + 1
    let column = String(decoding: before[lineStart...], as: UTF8.self).unicodeScalars.count + 1
    return "line \(line), column \(column)"
  }

  mutating func scan() throws(Stop) {
    repeat { try value() } while try nextElement()
    skipBlanks()
    if position < bytes.count {
      throw Stop(message: "there is more after the end of the JSON value")
    }
  }

  /// Reads a scalar, an empty container, or the opening of a container and its first key.
  private mutating func value() throws(Stop) {
    while true {
      skipBlanks()
      switch current {
      case UInt8(ascii: "{"):
        try push(.object(key: ""))
        skipBlanks()
        if current == UInt8(ascii: "}") { return }
        try key()
      case UInt8(ascii: "["):
        try push(.array(index: 0))
        skipBlanks()
        if current == UInt8(ascii: "]") { return }
      case UInt8(ascii: "\""):
        _ = try string()
        return
      case nil: throw Stop(message: "the file ends in the middle of the JSON text")
      default: return try scalar()
      }
    }
  }

  /// After a value: steps to the next one, closing containers on the way; false at the very end.
  private mutating func nextElement() throws(Stop) -> Bool {
    while let frame = stack.last {
      skipBlanks()
      guard let byte = current else {
        throw Stop(message: "the file ends in the middle of the JSON text")
      }
      switch (frame, byte) {
      case (.object, UInt8(ascii: "}")), (.array, UInt8(ascii: "]")):
        position += 1
        stack.removeLast()
      case (.object, UInt8(ascii: ",")):
        position += 1
        skipBlanks()
        // The decoder allows a comma before the closing bracket; so does this.
        if current == UInt8(ascii: "}") { continue }
        try key()
        return true
      case (.array(let index), UInt8(ascii: ",")):
        position += 1
        skipBlanks()
        if current == UInt8(ascii: "]") { continue }
        stack[stack.count - 1] = .array(index: index + 1)
        return true
      default:
        throw Stop(message: "expected a comma or the closing bracket, found \(shown(byte))")
      }
    }
    return false
  }

  private mutating func key() throws(Stop) {
    guard current == UInt8(ascii: "\"") else {
      throw Stop(message: "expected a key in double quotes, found \(shown(current))")
    }
    let text = try string()
    skipBlanks()
    guard current == UInt8(ascii: ":") else {
      throw Stop(message: "expected a colon after the key \(quoted(text)), found \(shown(current))")
    }
    position += 1
    stack[stack.count - 1] = .object(key: text)
  }

  private mutating func push(_ frame: Frame) throws(Stop) {
    guard stack.count < Self.depthMax else {
      throw Stop(message: "nested more than \(Self.depthMax) levels deep")
    }
    stack.append(frame)
    position += 1
  }

  private mutating func string() throws(Stop) -> String {
    let start = position + 1
    var end = start
    while end < bytes.count, bytes[end] != UInt8(ascii: "\"") {
      if bytes[end] < 0x20 {
        position = end
        throw Stop(message: "a text holds a raw control character; write it as an escape")
      }
      end += bytes[end] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard end < bytes.count else {
      throw Stop(message: "the text that starts here has no closing quote")
    }
    if let escape = badEscape(in: bytes[start..<end]) {
      position = escape
      throw Stop(message: "a text holds an escape that JSON does not know")
    }
    position = end + 1
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }

  /// The index of a backslash that no known escape follows; halves of surrogate pairs count.
  private func badEscape(in text: ArraySlice<UInt8>) -> Int? {
    var index = text.startIndex
    while let escape = text[index...].firstIndex(of: UInt8(ascii: "\\")) {
      let letter = text[(escape + 1)...].first ?? 0
      if letter == UInt8(ascii: "u") {
        guard let unit = hexUnit(text, at: escape + 2) else { return escape }
        index = escape + 6
        if 0xD800..<0xDC00 ~= unit {
          guard text[index...].starts(with: "\\u".utf8), let low = hexUnit(text, at: index + 2),
            0xDC00..<0xE000 ~= low
          else { return escape }
          index += 6
        } else if 0xDC00..<0xE000 ~= unit {
          return escape
        }
      } else {
        guard "\"\\/bfnrt".utf8.contains(letter) else { return escape }
        index = escape + 2
      }
    }
    return nil
  }

  private func hexUnit(_ text: ArraySlice<UInt8>, at index: Int) -> UInt16? {
    guard index + 4 <= text.endIndex else { return nil }
    let digits = text[index..<index + 4]
    guard !digits.contains(UInt8(ascii: "+")), !digits.contains(UInt8(ascii: "-")) else {
      return nil
    }
    return UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
  }

  /// true, false, null or a number.
  private mutating func scalar() throws(Stop) {
    var end = position
    while end < bytes.count, !isBlank(bytes[end]), !",:]}[{\"".utf8.contains(bytes[end]) {
      end += 1
    }
    let text = String(decoding: bytes[position..<end], as: UTF8.self)
    switch text {
    case "true", "false", "null": break
    case "NaN", "Infinity", "-Infinity":
      throw Stop(message: "\(text) is not a number in JSON", isNumber: true)
    default:
      guard isNumber(bytes[position..<end]) else {
        throw Stop(message: "expected a JSON value, found \(quoted(text))")
      }
      guard let number = Double(text), number.isFinite else {
        throw Stop(message: "the number \(text.prefix(40)) is out of range", isNumber: true)
      }
    }
    position = end
  }

  private func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
    var rest = text
    if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
    let whole = rest.prefix { isDigit($0) }
    if whole.isEmpty || (whole.count > 1 && whole.first == UInt8(ascii: "0")) { return false }
    rest = rest.dropFirst(whole.count)
    if rest.first == UInt8(ascii: ".") {
      let fraction = rest.dropFirst().prefix { isDigit($0) }
      if fraction.isEmpty { return false }
      rest = rest.dropFirst(1 + fraction.count)
    }
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
      rest.removeFirst()
      if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
      let exponent = rest.prefix { isDigit($0) }
      if exponent.isEmpty { return false }
      rest = rest.dropFirst(exponent.count)
    }
    return rest.isEmpty
  }

  private func isDigit(_ byte: UInt8) -> Bool {
    UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
  }

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipBlanks() {
    while position < bytes.count, isBlank(bytes[position]) { position += 1 }
  }

  private func shown(_ byte: UInt8?) -> String {
    guard let byte else { return "the end of the file" }
    return byte < 0x80 ? quoted(String(UnicodeScalar(byte))) : "another character"
  }
}

/// Whether the object that starts `bytes` has `key` among its first-level keys. Walks over the
/// text without decoding it; broken text is walked as far as it goes.
func hasTopLevelKey(_ key: String, in bytes: Data) -> Bool {
  let wanted = Array(key.utf8)
  return bytes.withContiguousStorageIfAvailable { bytes in
    var depth = 0
    var index = 0
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "\""):
        let start = index + 1
        index = start
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
          index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        if depth == 1, index < bytes.count, bytes[start..<index].elementsEqual(wanted) {
          let next = bytes[(index + 1)...].first { !isBlank($0) }
          if next == UInt8(ascii: ":") { return true }
        }
      default: break
      }
      index += 1
    }
    return false
  } ?? false
}
