// Looks at a JSON text before it is decoded: says where it stops being JSON, which the decoder
// does not, and finds keys that an object has twice. Decodes nothing and never recurses.

import FoundationEssentials

/// A key that an object holds more than once.
struct RepeatedKey {
  var place: String
  /// The bytes of the earlier member, with the comma and the blanks after it.
  var member: Range<Int>
}

/// What a look at the text tells.
struct SyntaxReport {
  var repeatedKeys: [RepeatedKey]
  var calls: CallPlaces
}

/// Where the texts begin whose values are kept as they are written: those of calls.
struct CallPlaces {
  /// The values of `call` and `map` in tasks, in the order of the text.
  var tasks: [Int] = []
  /// The values of `context` in libraries, by the library's key.
  var contexts: [String: Int] = [:]
  var isEmpty: Bool { tasks.isEmpty && contexts.isEmpty }
}

/// Checks that `bytes` are one JSON value in UTF-8. NaN, Infinity and numbers that do not fit a
/// double are refused; anything else that is wrong is unreadable.
func checkSyntax(of bytes: Data) throws(ReadFailure) -> [RepeatedKey] {
  try readSyntax(of: bytes).repeatedKeys
}

/// The same, with the places of calls.
func readSyntax(of bytes: Data) throws(ReadFailure) -> SyntaxReport {
  let result = bytes.withUnsafeBytes { bytes in
    bytes.withMemoryRebound(to: UInt8.self) { bytes in
      Result<SyntaxReport, ReadFailure> { () throws(ReadFailure) in
        if bytes.allSatisfy({ isBlank($0) }) {
          throw ReadFailure("", "the file is empty", isUnreadable: true)
        }
        guard isUTF8(bytes) else {
          throw ReadFailure("", "the file is not UTF-8 text", isUnreadable: true)
        }
        var scanner = JSONScanner(bytes: bytes)
        do throws(JSONScanner.Stop) {
          try scanner.scan()
          return SyntaxReport(repeatedKeys: scanner.repeatedKeys, calls: scanner.calls)
        } catch {
          throw ReadFailure(
            scanner.place, "\(error.message) (\(scanner.lineAndColumn))",
            isUnreadable: !error.isNumber)
        }
      }
    }
  }
  return try result.get()
}

func isBlank(_ byte: UInt8) -> Bool {
  byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
}

/// Whether bytes are UTF-8, found without a copy of them.
func isUTF8(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
  (try? UTF8Span(validating: Span(_unsafeElements: bytes))) != nil
}

/// Walks over one JSON value with an explicit stack.
private struct JSONScanner {
  struct Stop: Error {
    var message: String
    /// The text is JSON but for a number.
    var isNumber = false
  }

  /// An object or list that is open.
  private struct Frame {
    var isObject: Bool
    /// The key being read, without its quotes; or the element.
    var key: Range<Int> = 0..<0
    var index = 0
    /// Where the object's keys begin in `keys`.
    var firstKey: Int
    /// Keys by their hash, in objects that have too many for a look at each.
    var indexOfHash: [UInt64: Int] = [:]
  }

  private struct Key {
    var hash: UInt64
    var text: Range<Int>
  }

  /// The decoder's own limit.
  static let depthMax = 512
  private static let keysPerScanMax = 16

  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0
  private var stack: [Frame] = []
  /// The keys of all open objects.
  private var keys: [Key] = []
  private(set) var repeatedKeys: [RepeatedKey] = []
  private(set) var calls = CallPlaces()

  init(bytes: UnsafeBufferPointer<UInt8>) {
    self.bytes = bytes
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// The member or element being read, as far as the first few levels tell.
  var place: String {
    var text = ""
    for frame in stack.prefix(12) {
      if !frame.isObject {
        text += "[\(frame.index)]"
      } else if !frame.key.isEmpty {
        text = VineFormats.place(text, self.text(frame.key))
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
      if stack.count == 2 || stack.count == 3 { noteCall() }
      switch current {
      case UInt8(ascii: "{"):
        try push(isObject: true)
        skipBlanks()
        if current == UInt8(ascii: "}") { return }
        try key()
      case UInt8(ascii: "["):
        try push(isObject: false)
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
      switch current {
      case nil: throw Stop(message: "the file ends in the middle of the JSON text")
      case UInt8(ascii: "}") where frame.isObject, UInt8(ascii: "]") where !frame.isObject:
        position += 1
        keys.removeLast(keys.count - frame.firstKey)
        stack.removeLast()
      case UInt8(ascii: ","):
        position += 1
        skipBlanks()
        if frame.isObject { try key() } else { stack[stack.count - 1].index += 1 }
        return true
      case let byte:
        throw Stop(message: "expected a comma or the closing bracket, found \(shown(byte))")
      }
    }
    return false
  }

  private mutating func key() throws(Stop) {
    guard current == UInt8(ascii: "\"") else {
      throw Stop(message: "expected a key in double quotes, found \(shown(current))")
    }
    let key = try string()
    skipBlanks()
    guard current == UInt8(ascii: ":") else {
      throw Stop(
        message: "expected a colon after the key \(quoted(text(key))), found \(shown(current))")
    }
    position += 1
    stack[stack.count - 1].key = key
    note(key)
  }

  /// Enters a key of the open object, or reports that it is there already.
  private mutating func note(_ text: Range<Int>) {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for index in text { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
    let frame = stack.count - 1
    let first = stack[frame].firstKey
    var known: Int?
    if keys.count - first <= Self.keysPerScanMax {
      known = keys[first...].lastIndex { $0.hash == hash }
    } else {
      if stack[frame].indexOfHash.isEmpty {
        for index in keys[first...].indices { stack[frame].indexOfHash[keys[index].hash] = index }
      }
      known = stack[frame].indexOfHash[hash]
    }
    if let known, bytes[keys[known].text].elementsEqual(bytes[text]) {
      // From this key's first mention up to the key after it.
      let next = known + 1 < keys.count ? keys[known + 1].text : text
      repeatedKeys.append(
        RepeatedKey(place: place, member: keys[known].text.lowerBound - 1..<next.lowerBound - 1))
    }
    keys.append(Key(hash: hash, text: text))
    if !stack[frame].indexOfHash.isEmpty { stack[frame].indexOfHash[hash] = keys.count - 1 }
  }

  /// Keeps the place of the value of a `call`, `map` or `context` that is about to be read.
  private mutating func noteCall() {
    guard let frame = stack.last, frame.isObject else { return }
    let key = bytes[frame.key]
    if key.elementsEqual("context".utf8) {
      guard stack.count == 3, stack[1].isObject, text(stack[0].key) == "libraries" else { return }
      calls.contexts[text(stack[1].key)] = position
    } else if key.elementsEqual("call".utf8) || key.elementsEqual("map".utf8) {
      let isTask =
        stack.count == 3
        ? !stack[1].isObject && stack[0].isObject && text(stack[0].key) == "tasks"
        : stack[0].isObject && text(stack[0].key) == "task"
      if isTask { calls.tasks.append(position) }
    }
  }

  private mutating func push(isObject: Bool) throws(Stop) {
    guard stack.count < Self.depthMax else {
      throw Stop(message: "nested more than \(Self.depthMax) levels deep")
    }
    stack.append(Frame(isObject: isObject, firstKey: keys.count))
    position += 1
  }

  /// Reads a text; returns where it is between its quotes.
  private mutating func string() throws(Stop) -> Range<Int> {
    let start = position + 1
    var end = start
    var hasEscape = false
    while end < bytes.count, bytes[end] != UInt8(ascii: "\"") {
      if bytes[end] < 0x20 {
        position = end
        throw Stop(message: "a text holds a raw control character; write it as an escape")
      }
      let isEscape = bytes[end] == UInt8(ascii: "\\")
      hasEscape = hasEscape || isEscape
      end += isEscape ? 2 : 1
    }
    guard end < bytes.count else {
      throw Stop(message: "the text that starts here has no closing quote")
    }
    if hasEscape, let escape = badEscape(in: bytes[start..<end]) {
      position = escape
      throw Stop(message: "a text holds an escape that JSON does not know")
    }
    position = end + 1
    return start..<end
  }

  /// The index of a backslash that no known escape follows; halves of surrogate pairs count.
  private func badEscape(in text: Slice<UnsafeBufferPointer<UInt8>>) -> Int? {
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

  private func hexUnit(_ text: Slice<UnsafeBufferPointer<UInt8>>, at index: Int) -> UInt16? {
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
    let word = bytes[position..<end]
    if word.elementsEqual("true".utf8) || word.elementsEqual("false".utf8)
      || word.elementsEqual("null".utf8)
    {
      position = end
      return
    }
    let text = String(decoding: word, as: UTF8.self)
    if ["NaN", "Infinity", "-Infinity"].contains(text) {
      throw Stop(message: "\(text) is not a number in JSON", isNumber: true)
    }
    guard isNumber(word) else {
      throw Stop(message: "expected a JSON value, found \(quoted(text))")
    }
    // Only a long number or one with an exponent can be out of range.
    if word.count > 18 || word.contains(where: { $0 | 0x20 == UInt8(ascii: "e") }) {
      guard let number = Double(text), number.isFinite else {
        throw Stop(message: "the number \(text.prefix(40)) is out of range", isNumber: true)
      }
    }
    position = end
  }

  private func isNumber(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
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

  private func text(_ range: Range<Int>) -> String {
    String(decoding: bytes[range], as: UTF8.self)
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
