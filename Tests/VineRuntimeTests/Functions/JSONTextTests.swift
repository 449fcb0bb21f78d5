// The JSON texts that the native host cuts and joins: well-formed ones whole, all others refused.

import CVineHost
import Testing

@testable import VineRuntime

struct JSONTextTests {
  private func isValue(_ text: some Sequence<UInt8>) -> Bool {
    // On the heap and without a spare byte, so that a read past the end would be seen.
    let bytes = Array(text)
    let copy = UnsafeMutablePointer<CChar>.allocate(capacity: max(bytes.count, 1))
    defer { copy.deallocate() }
    for (index, byte) in bytes.enumerated() { copy[index] = CChar(bitPattern: byte) }
    return vine_json_is_value(copy, bytes.count) != 0
  }

  private func fill(_ template: String, _ item: String) -> String? {
    let bytes = template.utf8.map { CChar(bitPattern: $0) }
    var parsed = vine_template()
    guard vine_template_parse(&parsed, bytes, bytes.count) == 0 else { return nil }
    defer { vine_template_free(&parsed) }
    var result = vine_bytes()
    let itemBytes = item.utf8.map { CChar(bitPattern: $0) }
    // The text of the template is borrowed.
    return bytes.withUnsafeBufferPointer { text in
      parsed.text = text.baseAddress
      guard vine_template_fill(&parsed, itemBytes, itemBytes.count, &result) == 0 else {
        return nil
      }
      let filled = UnsafeRawBufferPointer(start: result.at, count: result.count)
      return String(decoding: filled, as: UTF8.self)
    }
  }

  @Test(arguments: [
    "null", " true ", "false", "0", "-0.5e+10", "1E9", "\"\"", "\"\\u00e4\\n\\\"ä€😀\"", "[]", "{}",
    "[ ]", "{ }", "[1,[2,{\"a\":[]}],\"]\"]", "{\"a\":{\"b\":null},\"c\":[{}]}\n",
  ])
  func valuesAreTaken(_ text: String) {
    #expect(isValue(text.utf8))
    // No value has a beginning that is one, numbers apart.
    if text.first == "[" || text.first == "{" || text.first == "\"" {
      let trimmed = Array(text.utf8).reversed().drop { $0 == 32 || $0 == 10 }.reversed()
      for count in 0..<trimmed.count {
        #expect(!isValue(trimmed.prefix(count)), "\(text) \(count)")
      }
    }
  }

  @Test(arguments: [
    "", " ", "nul", "nulll", "True", "01", "1.", ".5", "-", "+1", "1e", "0x1", "NaN", "Infinity",
    "'a'",
    "\"a", "\"\\x\"", "\"\\u12g4\"", "\"a\nb\"", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}",
    "{a:1}",
    "{\"a\":1,}", "[}", "{]", "[[]", "]", "1 2", "{\"a\":1}}",
  ])
  func othersAreRefused(_ text: String) { #expect(!isValue(text.utf8)) }

  @Test func bytesThatAreNoUTF8AreRefused() {
    for bytes: [UInt8] in [
      [0x80], [0xC0, 0x80], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80],
      [0xF0, 0x80, 0x80, 0x80], [0xE0, 0x80, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF],
    ] { #expect(!isValue([34] + bytes + [34]), "\(bytes)") }
  }

  @Test func depthHasALimit() {
    func nested(_ depth: Int) -> [UInt8] {
      [UInt8](repeating: 91, count: depth) + [UInt8](repeating: 93, count: depth)
    }
    #expect(isValue(nested(Int(VINE_JSON_DEPTH_MAX))))
    #expect(!isValue(nested(Int(VINE_JSON_DEPTH_MAX) + 2)))
    #expect(!isValue(nested(1_000_000)))
  }

  @Test func itemsGoIntoTheirHolesOnly() {
    #expect(fill("[{\"$item\":true}]", "{\"a\":1}") == "[{\"a\":1}]")
    #expect(
      fill("[1,{\"k\":{ \"$item\" : true }}, {\"$item\":true}]", "\"x\"")
        == "[1,{\"k\":\"x\"}, \"x\"]")
    for text in [
      "[\"{\\\"$item\\\":true}\"]", "[{\"$item\":false}]", "[{\"$item\":true,\"b\":1}]",
      "[{\"b\":1,\"$item\":true}]", "[{\"$items\":true}]",
      "[{\"$item\":trueish}]".replacing("ish", with: ""),
    ] where text != "[{\"$item\":true}]" { #expect(fill(text, "7") == text) }
    #expect(fill("[{\"$item\":true]", "7") == nil)
  }

  @Test func elementsAreFoundOneByOne() {
    func elements(_ text: String) -> [String]? {
      let bytes = text.utf8.map { CChar(bitPattern: $0) }
      var found: [String] = []
      var at = 0
      var start = 0
      var end = 0
      while true {
        let result = vine_json_next_element(bytes, bytes.count, &at, &start, &end)
        if result == 0 { return found }
        if result < 0 { return nil }
        found.append(
          String(decoding: text.utf8.dropFirst(start).prefix(end - start), as: UTF8.self))
      }
    }
    #expect(elements("[]") == [])
    #expect(elements(" [ 1 , [2,3] ,\"a,b\" ] ") == ["1", "[2,3]", "\"a,b\""])
    for text in ["", "[", "[1", "[1,", "[1,]", "[1 2]", "[1]x", "{}", "1", "[,]"] {
      #expect(elements(text) == nil, "\(text)")
    }
  }

  @Test func changedTextsAreNeverReadPastTheirEnd() {
    // Texts in which one byte was changed, left out or doubled: whatever is said of them, the parts
    // that are found lie within them, and what is called a value still is one in an array.
    let text = Array(
      "{\"args\":[1,-2.5e3,\"a\\u00e4\\\"b\",{\"$item\":true},[[],{}]],\"kwargs\":{\"k\":null}}"
        .utf8)
    var random = SystemRandomNumberGenerator()
    var valueCount = 0
    for _ in 0..<20_000 {
      var bytes = text
      for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        default: bytes.insert(text.randomElement(using: &random) ?? 0, at: place)
        }
      }
      if isValue(bytes) {
        valueCount += 1
        #expect(isValue([91] + bytes + [44] + bytes + [93]))
      }
      let characters = bytes.map { CChar(bitPattern: $0) }
      var places = (0, 0, 0, 0)
      let found = vine_json_find_arguments(
        characters, characters.count, &places.0, &places.1, &places.2, &places.3)
      if found == 0 {
        #expect(places.0 < places.1 && places.1 < bytes.count && places.3 < bytes.count)
        #expect(isValue(bytes[places.0..<places.1]))
      }
      var template = vine_template()
      if vine_template_parse(&template, characters, characters.count) == 0 {
        #expect(isValue(bytes))
        vine_template_free(&template)
      }
    }
    #expect(valueCount > 0)
  }

  @Test func framesComeInPiecesOfAnySize() throws {
    var buffer = FrameBuffer()
    buffer.putCall(1, function: 2, arguments: Array("{\"args\":[]}".utf8), directory: "/d")
    buffer.putMap(3, function: 0, template: [1, 2, 3], items: .range(first: -1, step: 2, count: 5))
    buffer.putCancel(7)
    buffer.putCall(
      8, function: 0, arguments: [UInt8](repeating: 120, count: 3000), directory: nil)
    buffer.putStop()
    func assemble(_ size: Int) throws -> [[UInt8]] {
      var assembler = FrameAssembler()
      var frames: [[UInt8]] = []
      for start in stride(from: 0, to: buffer.bytes.count, by: size) {
        let piece = Array(buffer.bytes[start..<min(start + size, buffer.bytes.count)])
        try piece.withUnsafeBytes { bytes in
          try assembler.add(bytes) { frame throws(HostFrameError) in frames.append(Array(frame)) }
        }
      }
      #expect(assembler.isEmpty)
      return frames
    }
    let whole = try assemble(1 << 20)
    #expect(whole.map { $0[0] } == [2, 3, 4, 2, 5])
    for size in 1..<64 { #expect(try assemble(size) == whole) }
  }

  @Test func framesThatAreNoneAreErrors() {
    for bytes: [UInt8] in [[0, 0, 0, 0], [0, 0, 0, 0xFF, 1]] {
      var assembler = FrameAssembler()
      #expect(throws: HostFrameError.self) {
        try bytes.withUnsafeBytes { bytes in
          try assembler.add(bytes) { _ throws(HostFrameError) in }
        }
      }
    }
    for bytes: [UInt8] in [
      [], [68, 1, 2], [99], [65, 9, 0, 0, 0], [69] + [UInt8](repeating: 0xFF, count: 20),
    ] {
      #expect(throws: HostFrameError.self) {
        try bytes.withUnsafeBytes { _ = try HostReport($0) }
      }
    }
  }
}
