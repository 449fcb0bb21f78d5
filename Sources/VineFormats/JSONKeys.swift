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

typealias JSONObject = KeyedDecodingContainer<AnyKey>

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
  init(from decoder: any Decoder) throws { object = try decoder.container(keyedBy: AnyKey.self) }
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
  case "an array": return "a list"
  case "bool": return "true or false"
  case "null", "a null value": return "null"
  case "a dictionary": return "an object"
  case let other: return String(other)
  }
}
