// Sandboxes: what goes in, what comes out, and what a task cannot reach through them.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

private final class RoomStory {
  let directory: TemporaryDirectory
  let room: SandboxRoom

  init() throws {
    directory = try TemporaryDirectory()
    #expect(FileTree.makeDirectories("\(directory.path)/cache") == 0)
    #expect(FileTree.makeDirectories("\(directory.path)/victim") == 0)
    room = try SandboxRoom(
      path: "\(directory.path)/sandboxes", cachePath: "\(directory.path)/cache")
  }

  func order(inputs: [(Int, String)] = [], outputs: [(Int, String)] = []) -> AttemptOrder {
    func files(_ list: [(Int, String)]) -> [FileOrder] {
      list.map {
        FileOrder(
          value: FileValue(FileID(index: $0.0), attempt: 0), name: $0.1, isCopy: false,
          isDirectory: false)
      }
    }
    return AttemptOrder(
      attempt: AttemptID(TaskID(index: 0), 1), allocation: AllocationID(index: 0),
      timeoutMilliseconds: 0, hashesFirst: false, taskName: "t", commandKind: .argv, command: [],
      environment: [],
      usesSandbox: true, coreCount: 1, memoryMB: 0, processingUnits: [], inputs: files(inputs),
      outputs: files(outputs))
  }

  /// Writes a file below the fixture's directory and returns its path.
  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    try directory.write(text, to: name)
    return "\(directory.path)/\(name)"
  }
}

struct SandboxStoryTests {
  @Test func inputsGoInAndOutputsComeOut() throws {
    let fixture = try RoomStory()
    try fixture.write("in", to: "cache/f0")
    let order = fixture.order(inputs: [(0, "data/in.txt")], outputs: [(1, "deep/out.txt")])
    let sandbox = try fixture.room.make(for: order)
    #expect(try readFile("\(sandbox.path)/data/in.txt") == Array("in".utf8))
    #expect(rename("\(sandbox.path)/data", "\(sandbox.path)/moved") == 0)
    let file = try OwnedDescriptor.open("\(sandbox.path)/deep/out.txt", O_WRONLY | O_CREAT)
    _ = Array("result".utf8).withUnsafeBytes { writeAll($0, to: file.number) }
    #expect(fixture.room.changedInputs(in: sandbox, of: order).isEmpty)
    #expect(try fixture.room.collect(order, from: sandbox) == [6])
    fixture.room.recycle(sandbox, order)
    #expect(try fixture.directory.read("cache/f1") == "result")
    #expect(try fixture.directory.read("cache/f0") == "in")
  }

  @Test func aLinkInPlaceOfADirectoryLeadsNowhere() throws {
    let fixture = try RoomStory()
    try fixture.write("in", to: "cache/f0")
    try fixture.write("precious", to: "victim/in.txt")
    try fixture.write("precious too", to: "victim/out.txt")
    let order = fixture.order(inputs: [(0, "data/in.txt")], outputs: [(1, "data/out.txt")])
    let sandbox = try fixture.room.make(for: order)
    #expect(FileTree.remove("\(sandbox.path)/data") == 0)
    #expect(symlink("\(fixture.directory.path)/victim", "\(sandbox.path)/data") == 0)
    let problem = #expect(throws: SandboxProblem.self) {
      try fixture.room.collect(order, from: sandbox)
    }
    #expect(problem?.ending == .wrongOutputKind(0))
    fixture.room.recycle(sandbox, order)
    #expect(try fixture.directory.read("victim/in.txt") == "precious")
    #expect(try fixture.directory.read("victim/out.txt") == "precious too")
  }

  @Test func anOutputThatIsAnInputBecomesAFileOfItsOwn() throws {
    let fixture = try RoomStory()
    try fixture.write("good", to: "cache/f0")
    let order = fixture.order(inputs: [(0, "in")], outputs: [(1, "mid")])
    let sandbox = try fixture.room.make(for: order)
    #expect(link("\(sandbox.path)/in", "\(sandbox.path)/mid") == 0)
    #expect(try fixture.room.collect(order, from: sandbox) == [4])
    fixture.room.recycle(sandbox, order)
    try fixture.write("evil", to: "cache/f1")
    #expect(try fixture.directory.read("cache/f0") == "good")
  }

  @Test func everyChangedInputIsNamedAndDiscarded() throws {
    let fixture = try RoomStory()
    for index in 0..<3 { try fixture.write("old", to: "cache/f\(index)") }
    let order = fixture.order(inputs: [(0, "a"), (1, "b"), (2, "c")])
    let sandbox = try fixture.room.make(for: order)
    let file = try OwnedDescriptor.open("\(sandbox.path)/a", O_WRONLY | O_APPEND)
    _ = Array("more".utf8).withUnsafeBytes { writeAll($0, to: file.number) }
    chmod("\(sandbox.path)/c", 0)
    #expect(fixture.room.changedInputs(in: sandbox, of: order) == [0, 2])
    #expect(access("\(fixture.directory.path)/cache/f0", F_OK) != 0)
    #expect(access("\(fixture.directory.path)/cache/f1", F_OK) == 0)
    fixture.room.recycle(sandbox, order)
  }

  @Test func aSandboxThatWasMovedIsNotUsedAgain() throws {
    let fixture = try RoomStory()
    let order = fixture.order()
    let first = try fixture.room.make(for: order)
    fixture.room.recycle(first, order)
    let again = try fixture.room.make(for: order)
    #expect(again.path == first.path)
    #expect(rename(again.path, "\(fixture.directory.path)/elsewhere") == 0)
    fixture.room.recycle(again, order)
    #expect(try fixture.room.make(for: order).path != first.path)
  }

  @Test func aPipeIsNoInputAndNoTarget() throws {
    let directory = try TemporaryDirectory()
    let pipe = "\(directory.path)/pipe"
    mkfifo(pipe, 0o600)
    #expect(FileTree.copyFile(pipe, to: "\(directory.path)/x").error == ENOTSUP)
    try directory.write("new", to: "temporary")
    #expect(replaceFile(at: pipe, by: "\(directory.path)/temporary") == ENOTSUP)
  }

  @Test func aFileThatSaysItIsEmptyIsReadToItsEnd() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.copyFile("/proc/self/status", to: "\(directory.path)/x").error == 0)
    #expect(try directory.read("x").contains("Pid:"))
  }
}
