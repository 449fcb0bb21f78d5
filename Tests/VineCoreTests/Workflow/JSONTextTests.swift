import Testing
import VineCore

@Suite struct JSONTextTests {
  private func found(_ pointer: String, in text: String) -> String? {
    let json = JSONText(Array(text.utf8))
    return json.whole.flatMap { json.find(pointer.utf8, in: $0) }
      .map { String(decoding: json.bytes[$0], as: UTF8.self) }
  }

  @Test func aPointerFindsAPartAsItIsWritten() {
    let text = #" { "a/b" : [ 1.50 , {"~": "x, ]\" y"} ] , "" : null, "k":{"k":[[]]} } "#
    #expect(found("/a~1b/0", in: text) == "1.50")
    #expect(found("/a~1b/1/~0", in: text) == #""x, ]\" y""#)
    #expect(found("/", in: text) == "null")
    #expect(found("/k/k/0", in: text) == "[]")
    #expect(found("", in: "[1]") == "[1]")
    #expect(found("/\u{e4}", in: #"{"\u00e4": 7}"#) == "7")
  }

  @Test func whatIsNotThereIsNotFound() {
    for pointer in ["/2", "/-", "/00", "/-1", "x", "/0/x", "/99999999999999999999"] {
      #expect(found(pointer, in: "[1, 2]") == nil)
    }
  }

  @Test func damagedTextEndsTheWalkAndNothingElse() {
    let text = #"{"a": [1, {"b": "c\u00e4\ud83d\ude00"}], "d": tru}"#
    for end in 0...text.utf8.count {
      let json = JSONText(Array(text.utf8.prefix(end)))
      guard let whole = json.whole else { continue }
      for member in json.members(of: whole) { _ = json.text(at: member.key) }
      _ = json.find("/a/1/b".utf8, in: whole)
      _ = json.listContent(of: whole)
    }
    #expect(JSONText(Array("".utf8)).whole == nil)
  }

  @Test func textsAreEscapedAndReadAgain() {
    var bytes: [UInt8] = []
    JSONText.appendText("a\"\\\n\u{0}ä".utf8, to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == #""a\"\\\u000a\u0000ä""#)
    let json = JSONText(bytes)
    #expect(json.text(at: 1..<bytes.count - 1) == Array("a\"\\\n\u{0}ä".utf8))
  }

  @Test func compactTextHasNoBlanksOutsideOfTexts() {
    let json = JSONText(Array(" [ 1 ,\n{ \"a b\" : \" \\\" \" } ] ".utf8))
    #expect(
      json.whole.map { String(decoding: json.compact($0), as: UTF8.self) }
        == #"[1,{"a b":" \" "}]"#)
  }
}
