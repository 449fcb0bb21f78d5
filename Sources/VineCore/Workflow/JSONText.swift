// JSON as bytes: finds values inside values without decoding them, so that numbers and texts go from
// a result into an argument exactly as they were written.

/// Looks into one JSON text. Damaged text is walked as far as it goes; nothing traps.
package struct JSONText {
  package let bytes: ArraySlice<UInt8>

  package init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }
  package init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

  package struct Member {
    /// Between the quotes, escapes as they are.
    package let key: Range<Int>
    package let value: Range<Int>
  }

  /// The value that starts at or behind `index`, without the blanks around it; nil when there is none.
  package func value(from index: Int) -> Range<Int>? {
    let start = skipBlanks(index)
    guard start < bytes.endIndex else { return nil }
    switch bytes[start] {
    case UInt8(ascii: "\""): return endOfText(start).map { start..<$0 }
    case UInt8(ascii: "{"), UInt8(ascii: "["): return endOfContainer(start).map { start..<$0 }
    default:
      var end = start
      while end < bytes.endIndex, !isEnd(bytes[end]) { end += 1 }
      return end == start ? nil : start..<end
    }
  }

  /// The whole value.
  package var whole: Range<Int>? { value(from: bytes.startIndex) }

  package func isObject(_ range: Range<Int>) -> Bool { bytes[range].first == UInt8(ascii: "{") }
  package func isList(_ range: Range<Int>) -> Bool { bytes[range].first == UInt8(ascii: "[") }
  package func isText(_ range: Range<Int>) -> Bool { bytes[range].first == UInt8(ascii: "\"") }

  /// The members of the object at `range`, in their order.
  package func members(of range: Range<Int>) -> [Member] {
    var found: [Member] = []
    guard isObject(range) else { return found }
    var index = skipBlanks(range.lowerBound + 1)
    while index < range.upperBound, bytes[index] == UInt8(ascii: "\""),
      let keyEnd = endOfText(index)
    {
      let colon = skipBlanks(keyEnd)
      guard colon < range.upperBound, bytes[colon] == UInt8(ascii: ":"),
        let value = value(from: colon + 1)
      else { break }
      found.append(Member(key: index + 1..<keyEnd - 1, value: value))
      index = afterComma(value.upperBound)
    }
    return found
  }

  /// The elements of the list at `range`.
  package func elements(of range: Range<Int>) -> [Range<Int>] {
    var found: [Range<Int>] = []
    guard isList(range) else { return found }
    var index = skipBlanks(range.lowerBound + 1)
    while index < range.upperBound - 1, let value = value(from: index) {
      found.append(value)
      index = afterComma(value.upperBound)
    }
    return found
  }

  /// What stands between the brackets of the list at `range`, without blanks at its ends.
  package func listContent(of range: Range<Int>) -> Range<Int>? {
    guard isList(range), range.count >= 2 else { return nil }
    var end = range.upperBound - 1
    let start = min(skipBlanks(range.lowerBound + 1), end)
    while end > start, isBlank(bytes[end - 1]) { end -= 1 }
    return start..<end
  }

  /// The value that a JSON pointer (RFC 6901) names in the value at `range`; nil when there is none.
  package func find(_ pointer: some Collection<UInt8>, in range: Range<Int>) -> Range<Int>? {
    var place = range
    if pointer.isEmpty { return place }
    guard pointer.first == UInt8(ascii: "/") else { return nil }
    for part in pointer.dropFirst().split(
      separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    {
      let name = unescapedPointer(Array(part))
      if isObject(place) {
        // Of a key that stands twice the last counts, as in most readers.
        guard let member = members(of: place).last(where: { text(at: $0.key) == name }) else {
          return nil
        }
        place = member.value
      } else if isList(place) {
        guard let digits = String(validating: name, as: UTF8.self), let index = Int(digits),
          index >= 0, digits == "\(index)"
        else { return nil }
        let all = elements(of: place)
        guard index < all.count else { return nil }
        place = all[index]
      } else {
        return nil
      }
    }
    return place
  }

  /// The UTF-8 that stands for a text, given without its quotes.
  package func text(at range: Range<Int>) -> [UInt8] {
    let raw = bytes[range]
    guard raw.contains(UInt8(ascii: "\\")) else { return Array(raw) }
    var result: [UInt8] = []
    var index = range.lowerBound
    while index < range.upperBound {
      let byte = bytes[index]
      index += 1
      guard byte == UInt8(ascii: "\\"), index < range.upperBound else {
        result.append(byte)
        continue
      }
      let letter = bytes[index]
      index += 1
      switch letter {
      case UInt8(ascii: "b"): result.append(8)
      case UInt8(ascii: "f"): result.append(12)
      case UInt8(ascii: "n"): result.append(10)
      case UInt8(ascii: "r"): result.append(13)
      case UInt8(ascii: "t"): result.append(9)
      case UInt8(ascii: "u"): index = appendUnit(at: index, before: range.upperBound, to: &result)
      default: result.append(letter)
      }
    }
    return result
  }

  /// Appends the value at `range` without blanks between its parts.
  package func appendCompact(_ range: Range<Int>, to result: inout [UInt8]) {
    var index = range.lowerBound
    while index < range.upperBound {
      let byte = bytes[index]
      if byte == UInt8(ascii: "\"") {
        let end = min(endOfText(index) ?? range.upperBound, range.upperBound)
        result.append(contentsOf: bytes[index..<end])
        index = end
      } else {
        if !isBlank(byte) { result.append(byte) }
        index += 1
      }
    }
  }

  /// The value of a member of this object.
  package func member(_ key: String) -> Range<Int>? {
    guard let whole else { return nil }
    return members(of: whole).last { text(at: $0.key).elementsEqual(key.utf8) }?.value
  }

  /// A value without the blanks in it.
  package func compact(_ range: Range<Int>) -> [UInt8] {
    var result: [UInt8] = []
    appendCompact(range, to: &result)
    return result
  }

  // MARK: Steps

  private func isBlank(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }

  private func isEnd(_ byte: UInt8) -> Bool {
    isBlank(byte) || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]")
      || byte == UInt8(ascii: "}") || byte == UInt8(ascii: ":")
  }

  private func skipBlanks(_ index: Int) -> Int {
    var index = index
    while index < bytes.endIndex, isBlank(bytes[index]) { index += 1 }
    return index
  }

  private func afterComma(_ index: Int) -> Int {
    let next = skipBlanks(index)
    guard next < bytes.endIndex, bytes[next] == UInt8(ascii: ",") else { return next }
    return skipBlanks(next + 1)
  }

  /// Behind the closing quote of the text that opens at `start`.
  private func endOfText(_ start: Int) -> Int? {
    var index = start + 1
    while index < bytes.endIndex {
      if bytes[index] == UInt8(ascii: "\"") { return index + 1 }
      index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
    }
    return nil
  }

  private func endOfContainer(_ start: Int) -> Int? {
    var depth = 0
    var index = start
    while index < bytes.endIndex {
      switch bytes[index] {
      case UInt8(ascii: "\""):
        guard let end = endOfText(index) else { return nil }
        index = end
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth == 0 { return index + 1 }
      default: break
      }
      index += 1
    }
    return nil
  }

  private func unit(at index: Int, before end: Int) -> UInt32? {
    guard index + 4 <= end else { return nil }
    return UInt32(String(decoding: bytes[index..<index + 4], as: UTF8.self), radix: 16)
  }

  /// Appends what `\uXXXX`, with its other half if it has one, stands for; returns where it ends.
  private func appendUnit(at index: Int, before end: Int, to result: inout [UInt8]) -> Int {
    guard var code = unit(at: index, before: end) else { return index }
    var next = index + 4
    if 0xD800..<0xDC00 ~= code, next + 6 <= end, bytes[next] == UInt8(ascii: "\\"),
      bytes[next + 1] == UInt8(ascii: "u"), let low = unit(at: next + 2, before: end),
      0xDC00..<0xE000 ~= low
    {
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
      next += 6
    }
    result.append(contentsOf: String(UnicodeScalar(code) ?? "\u{FFFD}").utf8)
    return next
  }

  private func unescapedPointer(_ part: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < part.count {
      if part[index] == UInt8(ascii: "~"), index + 1 < part.count {
        result.append(part[index + 1] == UInt8(ascii: "1") ? UInt8(ascii: "/") : UInt8(ascii: "~"))
        index += 2
      } else {
        result.append(part[index])
        index += 1
      }
    }
    return result
  }

  /// Appends `text`, which is UTF-8, as a JSON text.
  package static func appendText(_ text: some Sequence<UInt8>, to result: inout [UInt8]) {
    result.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        result.append(UInt8(ascii: "\\"))
        result.append(byte)
      case 0..<0x20:
        let digits = Array("0123456789abcdef".utf8)
        result.append(contentsOf: "\\u00".utf8)
        result.append(digits[Int(byte >> 4)])
        result.append(digits[Int(byte & 15)])
      default: result.append(byte)
      }
    }
    result.append(UInt8(ascii: "\""))
  }
}
