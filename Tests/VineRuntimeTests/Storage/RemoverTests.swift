// What is removed beside the loop.

import Glibc
import Testing

@testable import VineRuntime

struct RemoverTests {
  private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  @Test func whatIsRemovedHasNoNameAtOnceAndNoRoomLater() throws {
    let directory = try TemporaryDirectory()
    let remover = try Remover(prefix: "\(directory.path)/trash-")
    mkdir("\(directory.path)/tree", 0o700)
    try directory.write("deep", to: "tree/file")
    try directory.write("flat", to: "file")
    remover.remove("\(directory.path)/tree")
    #expect(!exists("\(directory.path)/tree"))
    // The name is free for the next.
    mkdir("\(directory.path)/tree", 0o700)
    remover.remove("\(directory.path)/file")
    remover.remove("\(directory.path)/nothing")
    remover.finish()
    #expect(remover.isIdle)
    #expect(FileTree.entries(of: directory.path).entries.map(\.name) == ["tree"])
  }

  @Test func whatCannotBeMovedAwayIsRemovedInItsPlace() throws {
    let directory = try TemporaryDirectory()
    let remover = try Remover(prefix: "\(directory.path)/absent/trash-")
    try directory.write("flat", to: "file")
    remover.remove("\(directory.path)/file")
    #expect(!exists("\(directory.path)/file"))
    #expect(remover.isIdle)
  }

  @Test func onlyTheLastNameOfALargeFileTakesLong() throws {
    let directory = try TemporaryDirectory()
    let path = "\(directory.path)/file"
    try directory.write("small", to: "file")
    var info = stat()
    #expect(lstat(path, &info) == 0 && !Remover.isLong(info))
    // A hole takes no room.
    truncate(path, off_t(Remover.directByteCountMax * 4))
    #expect(lstat(path, &info) == 0 && !Remover.isLong(info))
    let large = String(repeating: "x", count: Int(Remover.directByteCountMax) + 1)
    try directory.write(large, to: "file")
    #expect(lstat(path, &info) == 0 && Remover.isLong(info))
    link(path, "\(directory.path)/other")
    #expect(lstat(path, &info) == 0 && !Remover.isLong(info))
  }
}
