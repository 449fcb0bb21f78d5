// What lies in the cache of a dead session, and what of it is believed.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct DeadCacheTests {
  /// A scratch directory with the living session's `new` and a dead one's `old` in it.
  private func scratch(
    _ record: CacheRecord? = CacheRecord(run: "1", name: "run", epoch: 1, files: "f", isKept: true)
  ) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    for name in ["new", "old", "old/cache", "old/sandboxes-0"] {
      #expect(mkdir("\(directory.path)/\(name)", 0o700) == 0)
    }
    try directory.write("", to: "old/lock")
    try directory.write("right", to: "old/cache/f3-1")
    try record?.write(in: "\(directory.path)/old")
    return directory
  }

  private func find(_ directory: TemporaryDirectory, of run: String = "1") -> [DeadCache] {
    DeadCache.find(beside: "\(directory.path)/new", of: run)
  }

  private func hash(_ text: String) throws -> ContentHash {
    let directory = try TemporaryDirectory()
    try directory.write(text, to: "text")
    let descriptor = open("\(directory.path)/text", O_RDONLY)
    defer { close(descriptor) }
    return contentHash(of: descriptor).1
  }

  private func offer(_ directory: TemporaryDirectory) -> CacheOffer {
    CacheOffer(
      value: FileValue(FileID(index: 3), attempt: 1), byteCount: 5,
      path: "\(directory.path)/old/cache/f3-1")
  }

  @Test func aCacheOfTheSameRunIsFoundAndNoOther() throws {
    let directory = try scratch()
    #expect(find(directory, of: "2").isEmpty)
    let found = find(directory)
    #expect(found.map(\.path) == ["\(directory.path)/old"])
    let (offers, foreignCount) = found[0].offers("f")
    #expect(offers == [offer(directory)])
    #expect(foreignCount == 0)
    // Sandboxes hold further names of what lies in the cache.
    #expect(access("\(directory.path)/old/sandboxes-0", F_OK) != 0)
    found[0].remove()
    #expect(access("\(directory.path)/old", F_OK) != 0)
    #expect(access("\(directory.path)/new", F_OK) == 0)
  }

  @Test func aDirectoryWithoutARecordIsLeftAlone() throws {
    #expect(find(try scratch(nil)).isEmpty)
  }

  @Test func aDirectoryThatOthersMayEnterIsLeftAlone() throws {
    let directory = try scratch()
    chmod("\(directory.path)/old", 0o755)
    #expect(find(directory).isEmpty)
  }

  @Test func aLinkToADirectoryIsNotFollowed() throws {
    let directory = try scratch()
    #expect(rename("\(directory.path)/old", "\(directory.path)-elsewhere") == 0)
    defer { FileTree.remove("\(directory.path)-elsewhere") }
    symlink("\(directory.path)-elsewhere", "\(directory.path)/old")
    #expect(find(directory).isEmpty)
  }

  @Test func anotherDescriptionHasOtherNumbers() throws {
    let directory = try scratch()
    let (offers, foreignCount) = find(directory)[0].offers("g")
    #expect(offers.isEmpty)
    #expect(foreignCount == 1)
  }

  @Test func whatHasNoNameOfAnOutputIsForeign() throws {
    let directory = try scratch()
    for name in ["f", "f3-", "f03-1", "f3-1-1", "f3-1.part", "g3-1", "f-3-1", "f99999999999-1"] {
      try directory.write("x", to: "old/cache/\(name)")
    }
    let (offers, foreignCount) = find(directory)[0].offers("f")
    #expect(offers == [offer(directory)])
    #expect(foreignCount == 8)
  }

  @Test func namesAreReadAsTheyAreWritten() {
    for value in [
      FileValue(FileID(index: 0), attempt: 0), FileValue(FileID(index: 7), attempt: 12),
      FileValue(FileID(rawValue: .max), attempt: .max),
    ] {
      #expect(cachedValue(named: cacheName(value)) == value)
    }
  }

  @Test func onlyWhatIsAsItWasIsAdopted() throws {
    let right = try hash("right")
    for (change, refusal) in [
      ("none", nil), ("content", AdoptionRefusal.damaged), ("size", .otherSize),
      ("gone", .unreadable), ("link", .unreadable), ("name", .unreadable),
      ("directory", .unreadable), ("pipe", .unreadable), ("there", .unneeded),
    ] {
      let directory = try scratch()
      let path = "\(directory.path)/old/cache/f3-1"
      let target = "\(directory.path)/new/f3-1"
      switch change {
      case "content": try directory.write("wrong", to: "old/cache/f3-1")
      case "size": try directory.write("rights", to: "old/cache/f3-1")
      case "gone": unlink(path)
      case "link":
        rename(path, "\(path)-else")
        symlink("f3-1-else", path)
      case "name": link(path, "\(path)-too")
      case "directory":
        unlink(path)
        mkdir(path, 0o700)
      case "pipe":
        unlink(path)
        mkfifo(path, 0o600)
      case "there": try directory.write("there", to: "new/f3-1")
      default: break
      }
      #expect(offer(directory).adopt(right, to: target) == refusal, "\(change)")
      let isThere = access(target, F_OK) == 0
      #expect(isThere == (refusal == nil || change == "there"), "\(change)")
      if refusal == nil { #expect(try directory.read("new/f3-1") == "right") }
      if change == "there" { #expect(try directory.read("new/f3-1") == "there") }
    }
  }

  @Test func aKeptDirectoryIsSparedForADay() throws {
    let directory = try scratch()
    let old = "\(directory.path)/old"
    let now = time(nil)
    #expect(CacheRecord.isWaiting(old, at: now))
    #expect(!CacheRecord.isWaiting(old, at: now + CacheRecord.keptSeconds + 1))
    try CacheRecord(run: "1", name: "run", epoch: 1, files: "f", isKept: false).write(in: old)
    #expect(!CacheRecord.isWaiting(old, at: now))
    try directory.write("{", to: "old/record")
    #expect(!CacheRecord.isWaiting(old, at: now))
  }
}
