// A directory of its own for a test that needs the file system.

import Glibc

@testable import VineRuntime

/// Removed with everything in it when it goes out of scope.
final class TemporaryDirectory {
  let path: String

  init(below parent: String = "/tmp") throws {
    var template = Array("\(parent)/vine-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw RuntimeError("make a test directory", errno: errno)
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { FileTree.remove(path) }

  func write(_ text: String, to name: String, mode: UInt32 = 0o644) throws {
    let file = try OwnedDescriptor.open(
      "\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
    _ = Array(text.utf8).withUnsafeBytes { writeAll($0, to: file.number) }
  }

  func read(_ name: String) throws -> String {
    String(decoding: try readFile("\(path)/\(name)"), as: UTF8.self)
  }
}
