// Sandboxes that tasks have treated badly.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

/// A cache and a room of sandboxes in a directory of their own.
private struct Fixture {
  let directory: TemporaryDirectory
  let room: SandboxRoom

  init() throws {
    directory = try TemporaryDirectory()
    mkdir("\(directory.path)/cache", 0o700)
    mkdir("\(directory.path)/victim", 0o700)
    room = try SandboxRoom(
      path: "\(directory.path)/room", cachePath: "\(directory.path)/cache")
  }

  /// An order with inputs f0, f1, ... and outputs f10, f11, ...
  func order(
    _ inputs: [String] = [], outputs: [String] = [], isDirectory: Bool = false
  ) -> AttemptOrder {
    func files(_ names: [String], from start: UInt32) -> [FileOrder] {
      names.enumerated().map {
        FileOrder(
          value: FileValue(FileID(rawValue: start + UInt32($0.offset)), attempt: 0),
          name: $0.element, isCopy: false,
          isDirectory: isDirectory)
      }
    }
    return AttemptOrder(
      attempt: AttemptID(TaskID(rawValue: 0), 1), allocation: AllocationID(rawValue: 0),
      timeoutMilliseconds: 0, hashesFirst: false, taskName: "t", commandKind: .shell, command: [],
      environment: [],
      usesSandbox: true, coreCount: 1, memoryMB: 0, processingUnits: [],
      inputs: files(inputs, from: 0), outputs: files(outputs, from: 10))
  }

  func exists(_ name: String) -> Bool { access("\(directory.path)/\(name)", F_OK) == 0 }

  func inode(_ path: String) -> UInt {
    var info = stat()
    return lstat(path, &info) == 0 ? UInt(info.st_ino) : 0
  }
}

struct SandboxTests {
  @Test func aLinkInAnInputsWayLeadsNoRemovalOutside() throws {
    let fixture = try Fixture()
    try fixture.directory.write("input", to: "cache/f0")
    try fixture.directory.write("keep", to: "victim/in.txt")
    let order = fixture.order(["data/in.txt"])
    let sandbox = try fixture.room.make(for: order)
    #expect(FileTree.remove("\(sandbox.path)/data") == 0)
    symlink("\(fixture.directory.path)/victim", "\(sandbox.path)/data")
    fixture.room.recycle(sandbox, order)
    #expect(try fixture.directory.read("victim/in.txt") == "keep")
    #expect(try fixture.directory.read("cache/f0") == "input")
  }

  @Test func aLinkInAnOutputsWayLeadsNoOutputIn() throws {
    let fixture = try Fixture()
    try fixture.directory.write("keep", to: "victim/out.txt")
    let order = fixture.order(outputs: ["data/out.txt"])
    let sandbox = try fixture.room.make(for: order)
    #expect(FileTree.remove("\(sandbox.path)/data") == 0)
    symlink("\(fixture.directory.path)/victim", "\(sandbox.path)/data")
    let problem = #expect(throws: SandboxProblem.self) {
      try fixture.room.collect(order, from: sandbox)
    }
    #expect(problem?.ending == .wrongOutputKind(0))
    #expect(try fixture.directory.read("victim/out.txt") == "keep")
    #expect(!fixture.exists("cache/f10"))
  }

  @Test func anOutputWhoseDirectoryIsGoneIsMissing() throws {
    let fixture = try Fixture()
    let order = fixture.order(outputs: ["data/out.txt"])
    let sandbox = try fixture.room.make(for: order)
    #expect(FileTree.remove("\(sandbox.path)/data") == 0)
    let problem = #expect(throws: SandboxProblem.self) {
      try fixture.room.collect(order, from: sandbox)
    }
    #expect(problem?.ending == .missingOutput(0))
  }

  @Test func outputsInDirectoriesAreMovedIntoTheCache() throws {
    let fixture = try Fixture()
    let order = fixture.order(outputs: ["a/b/out", "top"])
    let sandbox = try fixture.room.make(for: order)
    try fixture.directory.write("deep", to: "room/1/a/b/out")
    try fixture.directory.write("flat!", to: "room/1/top")
    #expect(try fixture.room.collect(order, from: sandbox) == [4, 5])
    #expect(try fixture.directory.read("cache/f10") == "deep")
    #expect(try fixture.directory.read("cache/f11") == "flat!")
  }

  @Test func anOutputThatIsItsInputBecomesAFileOfItsOwn() throws {
    let fixture = try Fixture()
    try fixture.directory.write("input", to: "cache/f0")
    let order = fixture.order(["in"], outputs: ["moved"])
    let sandbox = try fixture.room.make(for: order)
    rename("\(sandbox.path)/in", "\(sandbox.path)/moved")
    #expect(try fixture.room.collect(order, from: sandbox) == [5])
    let cache = "\(fixture.directory.path)/cache"
    #expect(try fixture.directory.read("cache/f10") == "input")
    #expect(fixture.inode("\(cache)/f0") != fixture.inode("\(cache)/f10"))
  }

  @Test func outputsThatAreOneFileBecomeTwo() throws {
    let fixture = try Fixture()
    let order = fixture.order(outputs: ["one", "two"])
    let sandbox = try fixture.room.make(for: order)
    try fixture.directory.write("same", to: "room/1/one")
    link("\(sandbox.path)/one", "\(sandbox.path)/two")
    #expect(try fixture.room.collect(order, from: sandbox) == [4, 4])
    let cache = "\(fixture.directory.path)/cache"
    #expect(try fixture.directory.read("cache/f11") == "same")
    #expect(fixture.inode("\(cache)/f10") != fixture.inode("\(cache)/f11"))
  }

  @Test func aTreeWithFilesOfItsInputIsCopied() throws {
    let fixture = try Fixture()
    #expect(FileTree.makeDirectories("\(fixture.directory.path)/cache/f0/d") == 0)
    try fixture.directory.write("input", to: "cache/f0/d/x")
    let order = fixture.order(["in"], outputs: ["out"], isDirectory: true)
    let sandbox = try fixture.room.make(for: order)
    rename("\(sandbox.path)/in", "\(sandbox.path)/out")
    _ = try fixture.room.collect(order, from: sandbox)
    let cache = "\(fixture.directory.path)/cache"
    #expect(try fixture.directory.read("cache/f10/d/x") == "input")
    #expect(fixture.inode("\(cache)/f0/d/x") != fixture.inode("\(cache)/f10/d/x"))
  }

  @Test func takingPermissionsFromAnInputChangesIt() throws {
    let fixture = try Fixture()
    for name in ["f0", "f1", "f2"] { try fixture.directory.write("input", to: "cache/\(name)") }
    let order = fixture.order(["a", "b", "c"])
    let sandbox = try fixture.room.make(for: order)
    #expect(fixture.room.changedInputs(in: sandbox, of: order) == [])
    chmod("\(sandbox.path)/b", 0)
    chmod("\(sandbox.path)/c", 0o755)
    #expect(fixture.room.changedInputs(in: sandbox, of: order) == [1, 2])
    #expect(fixture.exists("cache/f0"))
    #expect(!fixture.exists("cache/f1") && !fixture.exists("cache/f2"))
  }

  @Test func aSandboxUsedAgainIsOpenToItsOwner() throws {
    let fixture = try Fixture()
    let order = fixture.order()
    let sandbox = try fixture.room.make(for: order)
    chmod(sandbox.path, 0o500)
    fixture.room.recycle(sandbox, order)
    let next = try fixture.room.make(for: order)
    #expect(next.path == sandbox.path)
    var info = stat()
    #expect(lstat(next.path, &info) == 0 && info.st_mode & 0o777 == 0o700)
  }

  @Test func aSandboxThatWasMovedIsNotUsedAgain() throws {
    let fixture = try Fixture()
    let order = fixture.order()
    let sandbox = try fixture.room.make(for: order)
    rename(sandbox.path, "\(fixture.directory.path)/elsewhere")
    symlink("\(fixture.directory.path)/victim", sandbox.path)
    fixture.room.recycle(sandbox, order)
    #expect(try fixture.room.make(for: order).path != sandbox.path)
    #expect(fixture.exists("victim"))
  }

  @Test func aSandboxThatCannotBeFilledIsDropped() throws {
    let fixture = try Fixture()
    try fixture.directory.write("input", to: "cache/f0")
    let order = fixture.order(["here", "absent"])
    #expect(throws: SandboxProblem.self) { try fixture.room.make(for: order) }
    #expect(!fixture.exists("room/1"))
    #expect(try fixture.room.make(for: fixture.order()).path.hasSuffix("/2"))
  }

  @Test(arguments: [
    ("x", true), ("../top", true), ("./d/../../top", true), ("absent", true),
    ("/etc/passwd", false), ("../..", false), ("../../top", false), ("up/../../..", false),
    ("up/up/up/../..", false),
  ])
  func linksOfATreeStayInside(_ text: String, _ isInside: Bool) throws {
    let fixture = try Fixture()
    let order = fixture.order(outputs: ["t"], isDirectory: true)
    let sandbox = try fixture.room.make(for: order)
    #expect(FileTree.makeDirectories("\(sandbox.path)/t/d/d") == 0)
    try fixture.directory.write("x", to: "room/1/t/top")
    symlink(".", "\(sandbox.path)/t/d/up")
    symlink(text, "\(sandbox.path)/t/d/link")
    if isInside {
      _ = try fixture.room.collect(order, from: sandbox)
      #expect(fixture.exists("cache/f10/top"))
      return
    }
    let problem = #expect(throws: SandboxProblem.self) {
      try fixture.room.collect(order, from: sandbox)
    }
    #expect(problem?.ending == .wrongOutputKind(0))
    #expect(problem?.reason == "output t holds a symbolic link d/link that leads out of it")
  }

  /// A directory that was seen empty long ago is not read again, but what is in it is seen.
  @Test func whatAnAttemptLeavesIsNeverTheNextOnes() throws {
    let fixture = try Fixture()
    let order = fixture.order()
    for turn in 0..<4 {
      let sandbox = try fixture.room.make(for: order)
      #expect(FileTree.entries(of: sandbox.path).entries.isEmpty, "turn \(turn)")
      // The second time, it is as it was for longer than a tick of any clock.
      if turn == 1 { usleep(120_000) }
      let next = try fixture.room.make(for: order)
      #expect(FileTree.entries(of: next.path).entries.isEmpty, "turn \(turn)")
      if turn > 0 { symlink("nowhere", "\(next.path)/.left") }
      fixture.room.recycle(next, order)
      fixture.room.recycle(sandbox, order)
    }
  }

  @Test func anEmptyDirectoryCountsAsSuchOnlyWhileItIsUnchanged() throws {
    let directory = try TemporaryDirectory()
    var info = stat()
    #expect(lstat(directory.path, &info) == 0)
    var emptiness = Emptiness()
    #expect(!emptiness.stillHolds(info, from: 1_000_000_000))
    emptiness.note(info, at: 1_000_000_000)
    // A change in the tick of the one before would have left the same time.
    #expect(!emptiness.stillHolds(info, from: 1_000_000_000))
    #expect(!emptiness.stillHolds(info, from: 1_050_000_000))
    #expect(emptiness.stillHolds(info, from: 1_200_000_000))
    // To be seen empty again does not make it younger.
    emptiness.note(info, at: 1_190_000_000)
    #expect(emptiness.stillHolds(info, from: 1_200_000_000))
    var coarse = info
    coarse.st_ctim.tv_nsec = 0
    var ofSeconds = Emptiness()
    ofSeconds.note(coarse, at: 0)
    #expect(!ofSeconds.stillHolds(coarse, from: 5_000_000_000))
    usleep(20_000)
    try directory.write("", to: "file")
    unlink("\(directory.path)/file")
    var later = stat()
    #expect(lstat(directory.path, &later) == 0)
    #expect(!emptiness.stillHolds(later, from: 2_000_000_000))
    // No process can give a directory the time back that it had.
    var times = [info.st_atim, info.st_mtim]
    #expect(utimensat(AT_FDCWD, directory.path, &times, 0) == 0)
    #expect(lstat(directory.path, &later) == 0)
    #expect(!emptiness.stillHolds(later, from: 2_000_000_000))
  }

  @Test func whatAnAttemptLeavesIsRemovedBesideTheLoop() throws {
    let fixture = try Fixture()
    let remover = try Remover(prefix: "\(fixture.directory.path)/trash-")
    fixture.room.remover = remover
    let order = fixture.order()
    let sandbox = try fixture.room.make(for: order)
    try fixture.directory.write("left", to: "room/1/file")
    fixture.room.recycle(sandbox, order)
    #expect(!fixture.exists("room/1"))
    #expect(!remover.isIdle || !fixture.exists("trash-1"))
    remover.finish()
    #expect(!fixture.exists("trash-1"))
    // Where the manager counts the disk that a task may fill, it is free when the task has ended.
    var counted = order
    counted.diskMB = 1
    let second = try fixture.room.make(for: counted)
    try fixture.directory.write("left", to: "room/2/file")
    fixture.room.recycle(second, counted)
    #expect(remover.isIdle && !fixture.exists("room/2"))
    let third = try fixture.room.make(for: order)
    try fixture.directory.write("left", to: "room/3/file")
    fixture.room.recycle(third, order, hasFailed: true)
    #expect(remover.isIdle && !fixture.exists("room/3"))
  }
}
