// Shared ground of the JSON readers: keys, places, and decoding with a place in every error.

import FoundationEssentials

/// Any key of any object: readers look at all of them, so that an unknown one is an error.
struct AnyKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }
  init(_ text: String) { stringValue = text }
  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

/// An object of the text being decoded. It knows its keys: most of those that a task may have are
/// absent, and asking the decoder for each would be most of the time of a large load.
struct JSONObject {
  private let container: KeyedDecodingContainer<AnyKey>
  let allKeys: [AnyKey]
  /// Above this the decoder's own table is faster than a look at every key.
  private static let keysPerScanMax = 24

  init(_ container: KeyedDecodingContainer<AnyKey>) {
    self.container = container
    allKeys = container.allKeys
  }

  var codingPath: [any CodingKey] { container.codingPath }

  func contains(_ key: AnyKey) -> Bool {
    if allKeys.count > Self.keysPerScanMax { return container.contains(key) }
    return allKeys.contains { $0.stringValue == key.stringValue }
  }

  func decode<Value: Decodable>(_ type: Value.Type, forKey key: AnyKey) throws -> Value {
    try container.decode(type, forKey: key)
  }

  func isNull(_ key: AnyKey) throws -> Bool { try container.decodeNil(forKey: key) }

  func object(_ key: AnyKey) throws -> JSONObject {
    JSONObject(try container.nestedContainer(keyedBy: AnyKey.self, forKey: key))
  }

  func list(_ key: AnyKey) throws -> any UnkeyedDecodingContainer {
    try container.nestedUnkeyedContainer(forKey: key)
  }
}

extension UnkeyedDecodingContainer {
  /// The next element, which must be an object.
  mutating func object() throws -> JSONObject {
    JSONObject(try nestedContainer(keyedBy: AnyKey.self))
  }
}

extension Decoder {
  func object() throws -> JSONObject { JSONObject(try container(keyedBy: AnyKey.self)) }
}

extension AnyKey: ExpressibleByStringLiteral {
  init(stringLiteral: String) { stringValue = stringLiteral }
}

/// `tasks[17].inputs[2]`, `files["part.0"].size`.
func place(of path: [any CodingKey]) -> String {
  var text = ""
  for key in path {
    if let index = key.intValue {
      text += "[\(index)]"
    } else {
      text = place(text, key.stringValue)
    }
  }
  return text
}

/// The place of member `key` of the object at `parent`.
func place(_ parent: String, _ key: String) -> String {
  let isPlain =
    !key.isEmpty
    && key.utf8.allSatisfy { byte in
      UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
        || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || byte == UInt8(ascii: "_")
        || byte == UInt8(ascii: "-")
    }
  if !isPlain { return "\(parent)[\(quoted(key))]" }
  return parent.isEmpty ? key : "\(parent).\(key)"
}

/// Keeps the container of a small document for use after decoding.
struct CapturedObject: Decodable {
  let object: JSONObject
  init(from decoder: any Decoder) throws { object = try decoder.object() }
}

/// A type error of the decoder as a failure with its place. Syntax was checked before.
func failure(from error: any Error) -> ReadFailure {
  switch error {
  case let error as ReadFailure:
    return error
  case DecodingError.typeMismatch(let type, let context):
    return ReadFailure(
      place(of: context.codingPath), "expected \(name(of: type)), found \(found(context))",
      isUnreadable: context.codingPath.isEmpty)
  case DecodingError.valueNotFound(let type, let context):
    return ReadFailure(
      place(of: context.codingPath), "expected \(name(of: type)), found null")
  case DecodingError.keyNotFound(let key, let context):
    return ReadFailure(
      place(of: context.codingPath), "the key \(quoted(key.stringValue)) is missing")
  default:
    return ReadFailure("", "this is not valid JSON", isUnreadable: true)
  }
}

private func name(of type: any Any.Type) -> String {
  if type == String.self { return "a text" }
  if type == Double.self || type == Int.self || type == Int64.self { return "a number" }
  if type == Bool.self { return "true or false" }
  let text = "\(type)"
  if text.hasPrefix("Dictionary") { return "an object" }
  if text.hasPrefix("Array") { return "a list" }
  return "something else"
}

/// What the decoder says it found: its description ends with "but found a string instead.".
private func found(_ context: DecodingError.Context) -> String {
  let text = context.debugDescription
  guard let start = text.firstRange(of: "found "), let end = text.firstRange(of: " instead") else {
    return "something else"
  }
  guard start.upperBound < end.lowerBound else { return "something else" }
  switch text[start.upperBound..<end.lowerBound] {
  case "a string": return "a text"
  case "number": return "a number"
  case "an array": return "a list"
  case "bool": return "true or false"
  case "null", "a null value": return "null"
  case "a dictionary": return "an object"
  case let other: return String(other)
  }
}
