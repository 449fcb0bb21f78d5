// Archives that are read and unpacked.

import Glibc
import Testing

@testable import VineRuntime

struct UnpackingTests {
  private func member(
    _ name: String, _ text: String = "", kind: Character = "0", link: String = "",
    mode: UInt32 = 0o644
  ) -> [UInt8] {
    var header = TarHeader(name: Array(name.utf8))
    header.kind = kind.asciiValue ?? 0
    header.linkName = Array(link.utf8)
    header.mode = mode
    header.byteCount = Int64(text.utf8.count)
    return header.bytes + text.utf8
      + [UInt8](repeating: 0, count: TarHeader.padding(after: header.byteCount))
  }

  private func unpack(_ members: [UInt8]...) throws -> (TemporaryDirectory, problem: String) {
    let directory = try TemporaryDirectory()
    let file = try OwnedDescriptor.open("\(directory.path)/a.tar", O_WRONLY | O_CREAT)
    let bytes = members.flatMap { $0 } + [UInt8](repeating: 0, count: 1024)
    _ = bytes.withUnsafeBytes { writeAll($0, to: file.number) }
    do throws(RuntimeError) {
      try unpackArchive("\(directory.path)/a.tar", to: "\(directory.path)/tree")
      return (directory, "")
    } catch {
      return (directory, error.detail)
    }
  }

  @Test func membersBecomeFilesDirectoriesAndLinks() throws {
    let long = String(repeating: "long-name/", count: 20) + "leaf"
    let (directory, problem) = try unpack(
      member("./", kind: "5", mode: 0o755), member("sub/", kind: "5", mode: 0o555),
      member("sub/run", "#!", mode: 0o755), member(long, "deep"),
      member("link", kind: "2", link: "sub/run"), member("again", kind: "1", link: "sub/run"),
      member("twice", "first"), member("twice", "second"))
    #expect(problem == "")
    #expect(try directory.read("tree/link") == "#!")
    #expect(try directory.read("tree/again") == "#!")
    #expect(try directory.read("tree/\(long)") == "deep")
    #expect(try directory.read("tree/twice") == "second")
    var info = stat()
    stat("\(directory.path)/tree/sub", &info)
    #expect(info.st_mode & 0o777 == 0o555)
  }

  @Test func membersThatLeadOutAreRefusedByName() throws {
    let bad: [([UInt8], String)] = [
      (member("/abs", "x"), "/abs has a name that is absolute"),
      (member("a/../../up", "x"), "a/../../up has a name with \"..\" in it"),
      (member("dev", kind: "3"), "dev is a device"), (member("pipe", kind: "6"), "pipe is a pipe"),
      (member("out", kind: "2", link: "../x"), "out is a symbolic link that leads out"),
      (member("out", kind: "2", link: "/etc"), "out is a symbolic link that leads out"),
      (member("hard", kind: "1", link: "../x"), "hard is a link to a name with \"..\" in it"),
      (member("good/x", "x") + member("good/x/y", "y"), "good/x/y lies behind"),
      (member("s", kind: "2", link: ".") + member("s/y", "y"), "s/y lies behind a symbolic link"),
    ]
    for (bytes, text) in bad {
      let (_, problem) = try unpack(bytes)
      #expect(problem.contains("its member \(text)"))
    }
  }

  @Test func aCutOrDamagedArchiveIsAnError() throws {
    let directory = try TemporaryDirectory()
    var bytes = member("file", "content") + [UInt8](repeating: 0, count: 1024)
    for count in [1, 511, 513, 600] {
      let path = "\(directory.path)/cut-\(count)"
      let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT)
      _ = bytes[..<count].withUnsafeBytes { writeAll($0, to: file.number) }
      #expect(throws: RuntimeError.self) {
        try unpackArchive(path, to: "\(directory.path)/tree-\(count)")
      }
    }
    bytes[0] ^= 1
    let (_, problem) = try unpack(bytes)
    #expect(problem == "it is not a tar archive")
  }
}
