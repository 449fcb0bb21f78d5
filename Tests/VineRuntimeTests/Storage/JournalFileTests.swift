// The journal's frames.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct JournalFileTests {
  private func journal(in directory: TemporaryDirectory) throws {
    let journal = try JournalFile(directory: directory.path, epoch: 1)
    for name in ["one", "two"] {
      journal.append(.done) { $0.put(bytes: Array(name.utf8)) }
    }
    try journal.flush()
  }

  @Test func tasksAreFoundByName() throws {
    let directory = try TemporaryDirectory()
    try journal(in: directory)
    #expect(journalNames(task: "two", in: directory.path) == true)
    #expect(journalNames(task: "three", in: directory.path) == false)
    #expect(journalNames(task: "two", in: "\(directory.path)/no") == nil)
  }

  @Test func aTornEndHidesNothingBeforeIt() throws {
    let directory = try TemporaryDirectory()
    try journal(in: directory)
    let whole = try readFile("\(directory.path)/1-0.vj")
    truncate("\(directory.path)/1-0.vj", off_t(whole.count - 1))
    #expect(journalNames(task: "one", in: directory.path) == true)
    #expect(journalNames(task: "two", in: directory.path) == false)
  }

  @Test func aSecondWriterOfAnEpochIsRefused() throws {
    let directory = try TemporaryDirectory()
    try journal(in: directory)
    #expect(throws: RuntimeError.self) {
      _ = try JournalFile(directory: directory.path, epoch: 1)
    }
  }
}
