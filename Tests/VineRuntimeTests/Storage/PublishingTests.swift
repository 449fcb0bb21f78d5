import Glibc
import Testing

@testable import VineRuntime

struct PublishingTests {
  private var longAgo: FileTime {
    var info = stat()
    info.st_mtim = timespec(tv_sec: 1, tv_nsec: 0)
    return FileTime.write(info)
  }

  @Test func filesAreComparedByTheirBytes() throws {
    let directory = try TemporaryDirectory()
    let long = String(repeating: "0123456789abcdef", count: 200_000)
    try directory.write(long, to: "a")
    try directory.write(long, to: "b")
    try directory.write(long.dropLast() + "g", to: "c")
    try directory.write(String(long.dropLast()), to: "d")
    func compare(_ other: String) -> Bool {
      haveSameBytes("\(directory.path)/a", "\(directory.path)/\(other)")
    }
    #expect(compare("b"))
    #expect(!compare("c"))
    #expect(!compare("d"))
    #expect(!compare("none"))
    #expect(!compare("."))
  }

  @Test func whatSomebodyElseChangedStaysUnlessItIsTheSame() throws {
    let directory = try TemporaryDirectory()
    let target = "\(directory.path)/out"
    try directory.write("theirs", to: "out")
    try directory.write("ours", to: "temporary")
    func publishOurs() -> Int32 {
      publish(
        "\(directory.path)/temporary", at: target, isDirectory: false,
        unlessChangedSince: longAgo)
    }
    #expect(publishOurs() == changedByOthers)
    #expect(try readFile(target) == Array("theirs".utf8))
    try directory.write("ours", to: "out")
    #expect(publishOurs() == 0)
    #expect(access("\(directory.path)/temporary", F_OK) != 0)
  }
}
