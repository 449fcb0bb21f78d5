// The import statements of a Python module, found without Python.

/// One module that a text imports.
struct PythonImport: Equatable {
  /// Dotted; of a relative import what follows the dots.
  var name: String
  /// Names after `from NAME import`: each may be a module below it.
  var members: [String] = []
  /// Dots before the name.
  var level = 0
  /// 1 for the first.
  var line: Int
  /// Inside `try`: the text may do without it.
  var isTried = false
}

/// Reads a module's text as far as its import statements need it: strings, comments, brackets and
/// indentation. Imports in functions and under conditions count, but not those for type checkers
/// (`if TYPE_CHECKING:`), which never run.
struct PythonImportReader {
  private struct Statement {
    var words: [String] = []
    var indent = 0
    var line = 1
  }

  private let text: [UInt8]
  private var position = 0
  private var line = 1

  static func imports(in text: [UInt8]) -> [PythonImport] {
    var reader = PythonImportReader(text: text)
    return reader.read()
  }

  private init(text: [UInt8]) { self.text = text }

  private mutating func read() -> [PythonImport] {
    var found: [PythonImport] = []
    /// Blocks around the statement: their indentation, and whether they are tried or never run.
    var blocks: [(indent: Int, isTried: Bool, isSkipped: Bool)] = []
    while let statement = nextStatement() {
      while let block = blocks.last, statement.indent <= block.indent { blocks.removeLast() }
      var words = statement.words[...]
      var isTried = blocks.last?.isTried ?? false
      var isSkipped = blocks.last?.isSkipped ?? false
      if let colon = words.lastIndex(of: ":"), Self.opensBlock(words) {
        if words.first == "try" { isTried = true }
        let condition = words[..<colon]
        if condition.first == "if" && condition.last == "TYPE_CHECKING" { isSkipped = true }
        blocks.append((statement.indent, isTried, isSkipped))
        words = words[(colon + 1)...]
      }
      if !isSkipped {
        found += Self.imports(of: words, line: statement.line, isTried: isTried)
      }
    }
    return found
  }

  private static func opensBlock(_ words: ArraySlice<String>) -> Bool {
    guard let first = words.first else { return false }
    return [
      "if", "elif", "else", "try", "except", "finally", "for", "while", "with", "def", "class",
      "async", "match", "case",
    ].contains(first)
  }

  private static func imports(
    of words: ArraySlice<String>, line: Int, isTried: Bool
  ) -> [PythonImport] {
    if words.first == "import" {
      return words.dropFirst().split(separator: ",").compactMap { part in
        // NAME or NAME as OTHER.
        let name = part.prefix { $0 != "as" }.joined()
        return name.isEmpty ? nil : PythonImport(name: name, line: line, isTried: isTried)
      }
    }
    guard words.first == "from", let place = words.firstIndex(of: "import") else { return [] }
    let source = words[words.startIndex + 1..<place].joined()
    let level = source.prefix { $0 == "." }.count
    let members = words[(place + 1)...].filter { $0 != "(" && $0 != ")" }
      .split(separator: ",").compactMap { $0.first }.filter { $0 != "*" }
    let name = String(source.dropFirst(level))
    if name.isEmpty && level == 0 { return [] }
    return [
      PythonImport(
        name: name, members: members, level: level, line: line, isTried: isTried)
    ]
  }

  // MARK: Statements

  /// The next statement's words, each sign for itself; nil at the end.
  private mutating func nextStatement() -> Statement? {
    var statement = Statement()
    var depth = 0
    var isAtStart = true
    statement.indent = indent
    while position < text.count {
      let byte = text[position]
      if isAtStart && byte != 32 && byte != 9 && byte != 12 {
        isAtStart = false
        statement.line = line
      }
      switch byte {
      case 10:
        position += 1
        line += 1
        if depth > 0 { continue }
        indent = measureIndent()
        if !statement.words.isEmpty { return statement }
        statement.indent = indent
        isAtStart = true
      case UInt8(ascii: "#"):
        while position < text.count && text[position] != 10 { position += 1 }
      case UInt8(ascii: "\\"):
        position += 1
        if position < text.count && text[position] == 13 { position += 1 }
        if position < text.count && text[position] == 10 {
          position += 1
          line += 1
        }
      case UInt8(ascii: "\""), UInt8(ascii: "'"):
        skipString()
        statement.words.append("\"")
      case UInt8(ascii: ";") where depth == 0:
        position += 1
        if !statement.words.isEmpty { return statement }
      case 32, 9, 12, 13: position += 1
      default:
        if Self.isWordByte(byte) {
          statement.words.append(takeWord())
        } else {
          if byte == UInt8(ascii: "(") || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") {
            depth += 1
          } else if byte == UInt8(ascii: ")") || byte == UInt8(ascii: "]")
            || byte == UInt8(ascii: "}")
          {
            depth = max(depth - 1, 0)
          }
          position += 1
          // A colon in brackets, of a slice say, opens no block.
          if byte != UInt8(ascii: ":") || depth == 0 {
            statement.words.append(String(decoding: [byte], as: UTF8.self))
          }
        }
      }
    }
    return statement.words.isEmpty ? nil : statement
  }

  /// Of the line that `position` is in.
  private var indent = 0

  private func measureIndent() -> Int {
    var column = 0
    for byte in text[position...] {
      if byte == 32 {
        column += 1
      } else if byte == 9 {
        column = (column / 8 + 1) * 8
      } else {
        break
      }
    }
    return column
  }

  private static func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...0xFF:
      true
    default: false
    }
  }

  private mutating func takeWord() -> String {
    let start = position
    while position < text.count && Self.isWordByte(text[position]) { position += 1 }
    return String(decoding: text[start..<position], as: UTF8.self)
  }

  /// Passes over a string, of one line or of three quotation marks.
  private mutating func skipString() {
    let quote = text[position]
    let isLong = text[position...].prefix(3).elementsEqual([quote, quote, quote])
    position += isLong ? 3 : 1
    while position < text.count {
      let byte = text[position]
      if byte == UInt8(ascii: "\\") {
        position += 1
      } else if byte == quote
        && (!isLong || text[position...].prefix(3).elementsEqual([quote, quote, quote]))
      {
        position += isLong ? 3 : 1
        return
      } else if byte == 10 && !isLong {
        return
      }
      if position < text.count && text[position] == 10 { line += 1 }
      position += 1
    }
  }
}
