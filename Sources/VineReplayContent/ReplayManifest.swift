// What one replayed task is to do, as text that vine-mpi writes and vine-replay reads.
//
//   vine-replay 1
//   task 5:split
//   microseconds 1250
//   wait sleep
//   input 12 4:in/a 2:f0
//   output 7 3:out 2:f1
//
// A name is its number of bytes, a colon, and the bytes, so any name can stand there. The first
// name of a file is its id, the second its name in the sandbox.

/// The orders of one vine-replay process.
package struct ReplayManifest: Equatable, Sendable {
  package struct File: Equatable, Sendable {
    package var id: String
    package var sandboxName: String
    package var byteCount: Int
    package init(id: String, sandboxName: String, byteCount: Int) {
      self.id = id
      self.sandboxName = sandboxName
      self.byteCount = byteCount
    }
  }

  package var taskID: String
  package var microseconds: Int64
  /// Burn the processor instead of sleeping.
  package var spins: Bool
  package var inputs: [File] = []
  package var outputs: [File] = []

  package init(taskID: String, microseconds: Int64, spins: Bool) {
    self.taskID = taskID
    self.microseconds = microseconds
    self.spins = spins
  }
}

// MARK: - Text

extension ReplayManifest {
  private static let firstLine = "vine-replay 1\n"

  package func encoded() -> [UInt8] {
    func counted(_ name: String) -> String { "\(name.utf8.count):\(name)" }
    var text = Self.firstLine
    text += "task \(counted(taskID))\nmicroseconds \(microseconds)\n"
    text += "wait \(spins ? "spin" : "sleep")\n"
    for (word, files) in [("input", inputs), ("output", outputs)] {
      for file in files {
        text += "\(word) \(file.byteCount) \(counted(file.id)) \(counted(file.sandboxName))\n"
      }
    }
    return Array(text.utf8)
  }

  /// Nil when `bytes` are not a manifest.
  package init?(decoding bytes: [UInt8]) {
    var reader = ManifestReader(rest: bytes[...])
    guard reader.skip(Self.firstLine), reader.skip("task "), let task = reader.name(),
      reader.skip("\nmicroseconds "), let duration = reader.number(), reader.skip("\nwait ")
    else { return nil }
    let spins = reader.skip("spin\n")
    guard spins || reader.skip("sleep\n") else { return nil }
    self.init(taskID: task, microseconds: Int64(duration), spins: spins)
    while !reader.rest.isEmpty {
      let isInput = reader.skip("input ")
      guard isInput || reader.skip("output "), let size = reader.number(), reader.skip(" "),
        let id = reader.name(), reader.skip(" "), let name = reader.name(), reader.skip("\n")
      else { return nil }
      let file = File(id: id, sandboxName: name, byteCount: size)
      if isInput { inputs.append(file) } else { outputs.append(file) }
    }
  }
}

private struct ManifestReader {
  var rest: ArraySlice<UInt8>

  mutating func skip(_ text: String) -> Bool {
    guard rest.starts(with: text.utf8) else { return false }
    rest = rest.dropFirst(text.utf8.count)
    return true
  }

  mutating func number() -> Int? {
    let digits = rest.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
    guard let value = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
    rest = rest.dropFirst(digits.count)
    return value
  }

  mutating func name() -> String? {
    guard let count = number(), skip(":"), count <= rest.count else { return nil }
    let text = String(validating: rest.prefix(count), as: UTF8.self)
    rest = rest.dropFirst(count)
    return text
  }
}
