import Testing
import VineCore

@testable import VineRuntime

@Suite struct CopyNamesTests {
  private func names(epoch: UInt32, run: UInt64 = 0x1234_5678_9ABC_DEF0) -> CopyNames {
    CopyNames(run: RunIdentity(high: run, low: 1), epoch: epoch)
  }

  private let value = FileValue(FileID(index: 3), attempt: 7)

  @Test func aNameStandsBesideItsTarget() {
    let names = names(epoch: 2)
    #expect(names.temporary(of: value, beside: "/a/b/out") == "/a/b/.out.vine-12345678-2-7")
    #expect(names.temporary(of: value, beside: "out") == ".out.vine-12345678-2-7")
    #expect(CopyNames.attempt(of: "/a/b/.out.vine-12345678-2-7") == 7)
    #expect(CopyNames.attempt(of: "/a/b/out-7") == nil)
  }

  @Test func noTwoSessionsWriteUnderOneName() {
    #expect(
      names(epoch: 1).temporary(of: value, beside: "out")
        != names(epoch: 2).temporary(of: value, beside: "out"))
  }

  @Test func anEarlierSessionsCopyKeepsItsName() {
    var names = names(epoch: 3)
    names.earlier[value] = "/a/.out.vine-12345678-1-7"
    #expect(names.temporary(of: value, beside: "/a/out") == "/a/.out.vine-12345678-1-7")
  }

  @Test func aLongNameIsCut() {
    let target = "/a/" + String(repeating: "ä", count: 127)
    let name = names(epoch: .max).temporary(of: value, beside: target).dropFirst(3)
    #expect(name.utf8.count <= 255)
  }

  @Test func straysOfThisRunAreRemovedAndNothingElse() throws {
    let directory = try TemporaryDirectory()
    let gone = [".out.vine-12345678-1-1", ".out.vine-12345678-2-1-old", ".x.vine-12345678-2-3"]
    let left = [
      "out", ".out", ".out.vine-12345678-2-7", "out.vine-12345678-1-1", ".out.vine-12345678-3-1",
      ".out.vine-ffffffff-1-1", ".out.vine-12345678-x",
    ]
    for name in gone + left { try directory.write("x", to: name) }
    let names = names(epoch: 2)
    let kept = names.temporary(of: value, beside: "\(directory.path)/out")
    names.removeStrays(
      beside: ["\(directory.path)/out", "\(directory.path)/none/y"], except: [kept])
    #expect(FileTree.entries(of: directory.path).entries.map(\.name).sorted() == left.sorted())
  }
}
