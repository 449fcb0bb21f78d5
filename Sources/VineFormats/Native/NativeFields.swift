// Values of native objects with their checks: texts, numbers, words, names.

import FoundationEssentials
import VineCore

extension NativeReader {
  /// The place of an object, and of one of its members.
  func at(_ object: JSONObject) -> String { linePrefix + place(of: object.codingPath) }
  func at(_ object: JSONObject, _ key: String) -> String {
    linePrefix + place(place(of: object.codingPath), key)
  }

  /// Every key must be known, or start with "x-".
  mutating func checkKeys(of object: JSONObject, known: [String], kind: String) {
    var unknown: [String] = []
    for key in object.allKeys where !known.contains(key.stringValue) {
      if !key.stringValue.hasPrefix("x-") { unknown.append(key.stringValue) }
    }
    for key in unknown.sorted() {
      problems.add(
        at(object, key), "\(kind) has no key \(quoted(key))",
        suggestion: nearestName(to: key, among: known))
    }
  }

  mutating func text(_ object: JSONObject, _ key: String) throws -> String? {
    guard object.contains(AnyKey(key)) else { return nil }
    let text = try object.decode(String.self, forKey: AnyKey(key))
    if isUsable(text) { return text }
    problems.add(at(object, key), problem(with: text))
    return ""
  }

  /// The same where an empty text is a problem too.
  mutating func nonEmptyText(_ object: JSONObject, _ key: String, _ what: String) throws -> String?
  {
    let count = problems.count
    let value = try text(object, key)
    if value == "" && problems.count == count { problems.add(at(object, key), "\(what) is empty") }
    return value
  }

  /// Whether a text can be kept: the tables end texts with NUL and bound their length.
  func isUsable(_ text: String) -> Bool {
    text.utf8.count < Limits.textByteCountMax && !text.utf8.contains(0)
  }

  func problem(with text: String) -> String {
    text.utf8.contains(0)
      ? "a NUL character cannot be in a text"
      : "the text has \(text.utf8.count) bytes; at most \(Limits.textByteCountMax - 1) are allowed"
  }

  mutating func flag(_ object: JSONObject, _ key: String) throws -> Bool? {
    guard object.contains(AnyKey(key)) else { return nil }
    return try object.decode(Bool.self, forKey: AnyKey(key))
  }

  /// A whole number in `range`; outside of it is a problem, and nil.
  mutating func integer(
    _ object: JSONObject, _ key: String, in range: ClosedRange<Int>
  ) throws -> Int? {
    guard object.contains(AnyKey(key)) else { return nil }
    let number = try object.decode(Double.self, forKey: AnyKey(key))
    if let value = Int(exactly: number), range.contains(value) { return value }
    problems.add(
      at(object, key),
      "\(shown(number)) is not a whole number from \(range.lowerBound) to \(range.upperBound)")
    return nil
  }

  /// One of a few words; another one is a problem, and nil.
  mutating func word(
    _ object: JSONObject, _ key: String, among words: [String]
  ) throws -> String? {
    guard let value = try text(object, key) else { return nil }
    if words.contains(value) { return value }
    problems.add(
      at(object, key), "\(quoted(value)) is none of \(words.joined(separator: ", "))",
      suggestion: nearestName(to: value, among: words))
    return nil
  }

  mutating func texts(_ object: JSONObject, _ key: String) throws -> [String]? {
    guard object.contains(AnyKey(key)) else { return nil }
    var list = try object.list(AnyKey(key))
    var values: [String] = []
    values.reserveCapacity(list.count ?? 0)
    while !list.isAtEnd {
      let value = try list.decode(String.self)
      if isUsable(value) {
        values.append(value)
      } else {
        problems.add("\(at(object, key))[\(values.count)]", problem(with: value))
        values.append("")
      }
    }
    return values
  }

  /// `KEY=VALUE` texts by key.
  mutating func environment(_ object: JSONObject, _ key: String) throws -> [String: String] {
    guard object.contains(AnyKey(key)) else { return [:] }
    let members = try object.object(AnyKey(key))
    var values: [String: String] = [:]
    for member in members.allKeys {
      let name = member.stringValue
      let value = try members.decode(String.self, forKey: member)
      if name.isEmpty || name.utf8.contains(UInt8(ascii: "=")) || !isUsable(name) {
        problems.add(
          at(members, name),
          "the name of an environment variable is not empty and has no \"=\" and no NUL")
      } else if !isUsable(value) || value.utf8.count >= Limits.argumentByteCountMax - 256 {
        problems.add(
          at(members, name),
          value.utf8.contains(0)
            ? problem(with: value)
            : "the value has \(value.utf8.count) bytes; Linux takes at most 128 KiB")
      } else {
        values[name] = value
      }
    }
    return values
  }

  mutating func notYet(_ place: String, _ what: String) {
    unsupported.add(place, "\(what) is correct, but this version does not run it yet")
  }

  func shown(_ number: Double) -> String {
    Int(exactly: number).map(String.init) ?? "\(number)"
  }

  /// The known name nearest to `name`, for the first few mistakes only.
  mutating func suggestion(for name: String, among names: some Sequence<String>) -> String? {
    suggestionCount += 1
    return suggestionCount > 20 ? nil : nearestName(to: name, among: names)
  }

  var taskNames: some Sequence<String> { workflow.tasks.ids.lazy.map { workflow.name(of: $0) } }
}

/// Why a name cannot be used in a sandbox; nil when it can.
func sandboxNameProblem(_ name: String) -> String? {
  if name.isEmpty { return "a sandbox name must not be empty" }
  if name.utf8.first == UInt8(ascii: "/") {
    return "the sandbox name \(quoted(name)) is absolute; give a relative one with `as`"
  }
  if name.utf8.count > 4000 { return "the sandbox name has more than 4,000 bytes" }
  for part in name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
    if part.isEmpty || part.elementsEqual(".".utf8) {
      return "the sandbox name \(quoted(name)) has an empty part or a \".\" in it"
    }
    if part.elementsEqual("..".utf8) {
      return "the sandbox name \(quoted(name)) leaves the sandbox (\"..\"); give another with `as`"
    }
    if part.count > 255 { return "a part of the sandbox name has more than 255 bytes" }
  }
  return nil
}

/// An absolute path without "." and empty parts; ".." stays, since a symbolic link may precede it.
func absolutePath(_ path: String, base: String) -> String {
  let isAbsolute = path.utf8.first == UInt8(ascii: "/")
  let isPlain = !path.utf8.contains(UInt8(ascii: "/")) && path != "."
  if isPlain { return base == "/" ? "/" + path : base + "/" + path }
  let parts = path.split(separator: "/").filter { $0 != "." }
  let root = isAbsolute || base == "/" ? "" : base
  return parts.isEmpty ? (root.isEmpty ? "/" : root) : root + "/" + parts.joined(separator: "/")
}
