// Copies, links and removals.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct FileTreeTests {
  @Test func aCopyHasContentAndMode() throws {
    let directory = try TemporaryDirectory()
    try directory.write("abc", to: "a", mode: 0o754)
    let (count, error) = FileTree.copyFile(
      "\(directory.path)/a", to: "\(directory.path)/b", isSynced: true)
    #expect((count, error) == (3, 0))
    #expect(try directory.read("b") == "abc")
    var info = stat()
    stat("\(directory.path)/b", &info)
    #expect(info.st_mode & 0o777 == 0o754)
  }

  @Test func aDirectoryIsNoFileAndAMissingOneIsMissing() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.copyFile(directory.path, to: "\(directory.path)/x").error == EISDIR)
    #expect(
      FileTree.copyFile("\(directory.path)/no", to: "\(directory.path)/x").error == ENOENT)
    #expect(access("\(directory.path)/x", F_OK) != 0)
  }

  @Test func aPipeIsNotWaitedFor() throws {
    let directory = try TemporaryDirectory()
    mkfifo("\(directory.path)/pipe", 0o600)
    #expect(
      FileTree.copyFile("\(directory.path)/pipe", to: "\(directory.path)/x").error == ENOTSUP)
    #expect(FileTree.copyFile("/dev/null", to: "\(directory.path)/x").error == ENOTSUP)
    #expect(access("\(directory.path)/x", F_OK) != 0)
  }

  @Test func aFileWithoutASizeIsReadToItsEnd() throws {
    let directory = try TemporaryDirectory()
    let (count, error) = FileTree.copyFile("/proc/version", to: "\(directory.path)/x")
    #expect(error == 0 && count > 0)
    #expect(try directory.read("x").utf8.count == Int(count))
    try directory.write("", to: "empty")
    let result = FileTree.copyFile("\(directory.path)/empty", to: "\(directory.path)/y")
    #expect(result == (0, 0))
  }

  @Test func aPipeIsNoTargetOfAnOutput() throws {
    let directory = try TemporaryDirectory()
    mkfifo("\(directory.path)/pipe", 0o600)
    try directory.write("new", to: "part")
    let part = "\(directory.path)/part"
    #expect(replaceFile(at: "\(directory.path)/pipe", by: part) == ENOTSUP)
    #expect(replaceFile(at: directory.path, by: part) == EISDIR)
    symlink("/nowhere", "\(directory.path)/link")
    #expect(replaceFile(at: "\(directory.path)/link", by: part) == 0)
    #expect(try directory.read("link") == "new")
  }

  @Test func aTreeIsRemovedThoughItForbidsIt() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.makeDirectories("\(directory.path)/t/shut/in") == 0)
    try directory.write("x", to: "t/shut/f")
    chmod("\(directory.path)/t/shut", 0)
    #expect(FileTree.remove("\(directory.path)/t") == 0)
    #expect(access("\(directory.path)/t", F_OK) != 0)
  }

  @Test func aTreeIsRemovedWhateverItsNames() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.makeDirectories("\(directory.path)/t/a") == 0)
    for name: [CChar] in [[-1, 0], [65, -61, 0], [10, 0]] {
      let path = "\(directory.path)/t/".utf8CString.dropLast() + name
      #expect(path.withUnsafeBufferPointer { mkdir($0.baseAddress!, 0o700) } == 0)
      let inner = path.dropLast() + [47] + name
      #expect(inner.withUnsafeBufferPointer { symlink("/", $0.baseAddress!) } == 0)
    }
    #expect(FileTree.remove("\(directory.path)/t") == 0)
    #expect(access("\(directory.path)/t", F_OK) != 0)
  }

  private func openDirectory(_ name: String, in parent: Int32) -> Int32 {
    open("/proc/self/fd/\(parent)/\(name)", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  }

  @Test func aTreeIsRemovedHoweverDeep() throws {
    let directory = try TemporaryDirectory()
    mkdir("\(directory.path)/t", 0o700)
    var at = open("\(directory.path)/t", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    for _ in 0..<5000 {
      try #require(mkdirat(at, "inner", 0o700) == 0)
      _ = symlinkat("/", at, "link")
      let inner = openDirectory("inner", in: at)
      close(at)
      at = inner
    }
    close(at)
    #expect(FileTree.remove("\(directory.path)/t") == 0)
    #expect(access("\(directory.path)/t", F_OK) != 0)
  }

  @Test func aTreeWithManyEntriesIsRemoved() throws {
    let directory = try TemporaryDirectory()
    for number in 0..<2000 {
      #expect(FileTree.makeDirectories("\(directory.path)/t/d\(number)/in") == 0)
      mkfifo("\(directory.path)/t/pipe\(number)", 0o600)
    }
    #expect(FileTree.remove("\(directory.path)/t") == 0)
    #expect(FileTree.remove("\(directory.path)/t") == 0)
    #expect(access("\(directory.path)/t", F_OK) != 0)
  }

  @Test func removingALinkLeavesItsTarget() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.makeDirectories("\(directory.path)/t") == 0)
    try directory.write("keep", to: "kept")
    symlink("\(directory.path)", "\(directory.path)/t/up")
    #expect(FileTree.remove("\(directory.path)/t") == 0)
    #expect(try directory.read("kept") == "keep")
  }

  @Test func aSignatureSeesAChangeDeepInATree() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.makeDirectories("\(directory.path)/t/d") == 0)
    try directory.write("one", to: "t/d/f")
    let before = FileTree.signature(of: "\(directory.path)/t")
    #expect(before == FileTree.signature(of: "\(directory.path)/t"))
    try directory.write("three", to: "t/d/f")
    #expect(before != FileTree.signature(of: "\(directory.path)/t"))
  }

  @Test func whatCannotTakeItsPlaceLeavesNothingBeside() throws {
    let directory = try TemporaryDirectory()
    // A name that the temporary one gets past, and the last step does not.
    #expect(mkdir("\(directory.path)/taken", 0o700) == 0)
    #expect(throws: RuntimeError.self) {
      try replaceFile("\(directory.path)/taken", with: "text")
    }
    #expect(FileTree.entries(of: directory.path).entries.map(\.name) == ["taken"])
  }
}
