// Rules of the tree that no compiler checks: who imports what, and which words are not used as
// names (docs/architecture.md).

import Testing

@testable import VineRuntime

struct TidyTests {
  private static let root: String = {
    // This file lies in ROOT/Tests/VineRuntimeTests.
    let parts = "\(#filePath)".split(separator: "/").dropLast(3)
    return "/" + parts.joined(separator: "/")
  }()

  private func sources(below path: String) -> [(path: String, text: String)] {
    var found: [(String, String)] = []
    for entry in FileTree.entries(of: path).entries {
      let inner = "\(path)/\(entry.name)"
      if entry.isDirectory {
        found += sources(below: inner)
      } else if entry.name.hasSuffix(".swift"), let bytes = try? readFile(inner) {
        found.append((inner, String(decoding: bytes, as: UTF8.self)))
      }
    }
    return found
  }

  private func lines(below folder: String) -> [(place: String, line: Substring)] {
    sources(below: "\(Self.root)/Sources/\(folder)").flatMap { file in
      file.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map {
        ("\(file.path):\($0.offset + 1)", $0.element)
      }
    }
  }

  @Test func theCoreImportsOnlyCollectionsAndChecksums() {
    let imports = lines(below: "VineCore").filter { $0.line.contains(#/^(\w+ )?import /#) }
    #expect(!imports.isEmpty)
    for (place, line) in imports {
      let modules = ["HeapModule", "DequeModule", "CChecksum"]
      #expect(modules.contains { line.hasSuffix(" \($0)") }, "\(place)")
    }
  }

  @Test func fullFoundationIsImportedNowhere() {
    let all = lines(below: "")
    #expect(all.count > 1000)
    for (place, line) in all {
      #expect(!line.hasSuffix("import Foundation"), "\(place)")
    }
  }

  @Test func noRankForks() {
    for (place, line) in lines(below: "VineRuntime") {
      #expect(!line.contains(" fork()"), "\(place)")
    }
  }

  @Test func namesAreTheOnesOfTheField() {
    let banned =
      #/\b(struct|class|enum|case|func|var|let|protocol|typealias) (master|slave|blob|workdir|pushFile|Util|Common|Base|Impl)\b/#
    let words = [
      "master", "slave", "blob", "workdir", "pushFile", "Util", "Common", "Base", "Impl",
    ]
    for (place, line) in lines(below: "") where words.contains(where: { line.contains($0) }) {
      #expect(!line.contains(banned), "\(place)")
    }
  }

  @Test func nothingIsLeftToDo() {
    let word = "TO" + "DO"
    let other = "FIX" + "ME"
    for (place, line) in lines(below: "") {
      #expect(!line.contains(word) && !line.contains(other), "\(place)")
    }
  }
}
