// Packed output of tasks.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct OutputPackTests {
  @Test func entriesOfTwoWorkersAreFoundByTask() throws {
    let directory = try TemporaryDirectory()
    let pack = "\(directory.path)/pack"
    var offset: Int64 = 0
    for worker in 0..<2 {
      let spool = OutputSpool(path: "\(directory.path)/spool-\(worker)")
      let attempt = AttemptID(TaskID(index: worker), 1)
      spool.append(Array("out \(worker)".utf8), attempt: attempt, taskName: "t\(worker)", stream: 1)
      spool.append(Array("err \(worker)".utf8), attempt: attempt, taskName: "t\(worker)", stream: 2)
      #expect(spool.bringHome(to: pack, at: offset) == 0)
      offset += spool.byteCount
    }
    var seen: [String] = []
    try forEachPackedOutput(at: pack, of: "t1") { entry in
      seen.append(
        "\(entry.attempt) \(entry.stream) \(String(decoding: entry.bytes, as: UTF8.self))")
    }
    #expect(seen == ["1 1 out 1", "1 2 err 1"])
  }

  @Test func aDamagedPackIsNamedNotTrusted() throws {
    let directory = try TemporaryDirectory()
    try directory.write("this is no pack, but it is long enough to be one", to: "pack")
    #expect(throws: RuntimeError.self) {
      try forEachPackedOutput(at: "\(directory.path)/pack", of: "t") { _ in }
    }
  }
}
