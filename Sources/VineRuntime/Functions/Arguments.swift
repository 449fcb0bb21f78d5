// Arguments of a call as its function gets them: marks are replaced by what they stand for.

internal import VineCore

/// Why arguments could not be made.
struct ArgumentProblem: Error {
  let reason: String
}

/// Fills marks in. `value` gives the JSON text of the result at a place among the inputs, `path`
/// where the input at a place lies.
func fillArguments(
  _ compiled: [UInt8], value: (Int) throws(ArgumentProblem) -> [UInt8],
  path: (Int) throws(ArgumentProblem) -> String
) throws(ArgumentProblem) -> [UInt8] {
  var result: [UInt8] = []
  result.reserveCapacity(compiled.count)
  var index = 0
  while index < compiled.count {
    let byte = compiled[index]
    index += 1
    switch byte {
    case ArgumentMark.result:
      let place = number(compiled, &index)
      index += 1
      let start = index
      while index < compiled.count, compiled[index] != ArgumentMark.end { index += 1 }
      let pointer = compiled[start..<index]
      index += 1
      let text = JSONText(try value(place))
      guard let whole = text.whole, let part = text.find(pointer, in: whole) else {
        throw ArgumentProblem(
          reason: "the result that `$ref` names has no part "
            + String(decoding: pointer, as: UTF8.self))
      }
      result.append(contentsOf: text.bytes[part])
    case ArgumentMark.list:
      let first = number(compiled, &index)
      index += 1
      let count = number(compiled, &index)
      index += 1
      result.append(UInt8(ascii: "["))
      var isEmpty = true
      for place in first..<first + count {
        let text = JSONText(try value(place))
        guard let whole = text.whole, let content = text.listContent(of: whole) else {
          throw ArgumentProblem(reason: "part \(place - first) of the map is not a list")
        }
        if content.isEmpty { continue }
        if !isEmpty { result.append(UInt8(ascii: ",")) }
        isEmpty = false
        result.append(contentsOf: text.bytes[content])
      }
      result.append(UInt8(ascii: "]"))
    case ArgumentMark.path:
      let place = number(compiled, &index)
      index += 1
      JSONText.appendText(try path(place).utf8, to: &result)
    default: result.append(byte)
    }
  }
  return result
}

/// The number at `index`, which moves behind it.
private func number(_ bytes: [UInt8], _ index: inout Int) -> Int {
  var value = 0
  while index < bytes.count, UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[index] {
    value = (value &* 10 &+ Int(bytes[index] - UInt8(ascii: "0"))) & 0xFFFF_FFFF
    index += 1
  }
  return value
}
