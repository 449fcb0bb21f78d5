// Directory trees on the wire.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct TreeArchiveTests {
  private func pack(_ tree: String, to file: String) throws {
    let to = try OwnedDescriptor.open(file, O_WRONLY | O_CREAT | O_TRUNC)
    #expect(TreeArchive.write(tree, to: to.number) == 0)
  }

  @Test func aTreeComesBackWithNamesModesAndLinks() throws {
    let directory = try TemporaryDirectory()
    let tree = "\(directory.path)/tree"
    #expect(FileTree.makeDirectories("\(tree)/deep/er") == 0)
    try directory.write("one", to: "tree/a file\nof two lines")
    try directory.write("#!/bin/sh\n", to: "tree/deep/run", mode: 0o755)
    try directory.write("", to: "tree/deep/er/empty")
    symlink("../a file\nof two lines", "\(tree)/deep/link")
    chmod("\(tree)/deep/er", 0o555)
    let file = "\(directory.path)/archive"
    try pack(tree, to: file)
    #expect(try readFile(file).count == Int(TreeArchive.byteCount(of: tree)))
    let from = try OwnedDescriptor.open(file, O_RDONLY)
    let copy = "\(directory.path)/copy"
    #expect(TreeArchive.read(from: from.number, to: copy) == 0)
    #expect(try directory.read("copy/a file\nof two lines") == "one")
    #expect(try directory.read("copy/deep/link") == "one")
    var info = stat()
    stat("\(copy)/deep/run", &info)
    #expect(info.st_mode & 0o777 == 0o755)
    stat("\(copy)/deep/er", &info)
    #expect(info.st_mode & 0o777 == 0o555)
    stat("\(copy)/deep/er/empty", &info)
    #expect(info.st_size == 0)
  }

  @Test func anArchiveThatEndsEarlyIsRefused() throws {
    let directory = try TemporaryDirectory()
    #expect(FileTree.makeDirectories("\(directory.path)/tree/d") == 0)
    try directory.write("content", to: "tree/d/f")
    try pack("\(directory.path)/tree", to: "\(directory.path)/archive")
    let whole = try readFile("\(directory.path)/archive")
    for count in 0..<whole.count {
      let cut = "\(directory.path)/cut"
      try directory.write("", to: "cut")
      let to = try OwnedDescriptor.open(cut, O_WRONLY | O_TRUNC)
      _ = whole.prefix(count).withUnsafeBytes { writeAll($0, to: to.number) }
      let from = try OwnedDescriptor.open(cut, O_RDONLY)
      let target = "\(directory.path)/target"
      #expect(TreeArchive.read(from: from.number, to: target) != 0)
      FileTree.remove(target)
    }
  }

  @Test(arguments: ["../x", "/etc/x", "a/../../x", "a//b", ".", "", "a/."])
  func aNameThatLeadsOutIsRefused(_ name: String) {
    #expect(!TreeArchive.isInside(name))
  }

  @Test func anEntryWrittenThroughALinkIsRefused() throws {
    let directory = try TemporaryDirectory()
    var archive: [UInt8] = []
    func add(_ kind: UInt8, _ name: String, _ content: String) {
      var entry = WireWriter(kind)
      entry.put(UInt32(0o644))
      entry.put(name)
      entry.put(UInt64(content.utf8.count))
      archive += entry.bytes + Array(content.utf8)
    }
    add(UInt8(ascii: "l"), "out", "\(directory.path)/victim")
    add(UInt8(ascii: "f"), "out", "evil")
    archive.append(UInt8(ascii: "e"))
    let file = "\(directory.path)/archive"
    do {
      let to = try OwnedDescriptor.open(file, O_WRONLY | O_CREAT)
      _ = archive.withUnsafeBytes { writeAll($0, to: to.number) }
    }
    let from = try OwnedDescriptor.open(file, O_RDONLY)
    #expect(TreeArchive.read(from: from.number, to: "\(directory.path)/t") == EEXIST)
    #expect(access("\(directory.path)/victim", F_OK) != 0)
  }
}
