// What entries add up to.

import Testing

@testable import VineCore

struct PriorRunTests {
  private func fold(_ entries: [JournalEntry]) -> PriorRun {
    var prior = PriorRun()
    for entry in entries { prior.apply(entry) }
    return prior
  }

  private func snapshot(of prior: PriorRun) -> [JournalEntry] {
    var entries: [JournalEntry] = []
    prior.snapshotEntries { entries.append($0) }
    return entries
  }

  @Test func aTaskIsDoneOnce() {
    let prior = fold([definition(0), done(0), done(0), done(0, attempt: 2)])
    #expect(prior.task(TaskNumber(0))?.attempt == 1)
    #expect(prior.doneCount == 1)
    #expect(prior.duplicateCount == 1)
    #expect(prior.violationCount == 1)
    #expect(prior.violations[0].contains("task-0"))
  }

  @Test func anInvalidatedValueIsReplacedAndDoesNotComeBack() {
    var prior = fold([
      definition(0), done(0), .hashed(place(0), byteCount: 10, hash: hash(1)),
      .publishIntent(place(0), hash: hash(1), path: "out"),
      .invalidate(TaskNumber(0), attempt: 1, cause: .none),
    ])
    #expect(prior.doneCount == 0)
    #expect(prior.openIntents.isEmpty)
    prior.apply(done(0))
    #expect(prior.violationCount == 1)
    prior.apply(done(0, attempt: 2))
    #expect(prior.task(TaskNumber(0))?.attempt == 2)
    #expect(prior.output(place(0, attempt: 2))?.hash == .unknown)
    prior.apply(.hashed(place(0), byteCount: 1, hash: hash(1)))
    #expect(prior.malformedCount == 1)
  }

  @Test func failuresAreClearedByDoneAndRefusedAfterIt() {
    let failed = JournalEntry.failed(
      FailedEntry(task: TaskNumber(0), attempt: 1, ending: .exited(3), failureCount: 1))
    var prior = fold([definition(0), failed])
    #expect(prior.failedCount == 1)
    #expect(prior.task(TaskNumber(0))?.ending == .exited(3))
    prior.apply(done(0, attempt: 2))
    #expect(prior.failedCount == 0)
    prior.apply(failed)
    #expect(prior.violationCount == 1)
    #expect(prior.task(TaskNumber(0))?.isFailed == false)
  }

  @Test func anOutputGoesFromCommittedToPublished() throws {
    var prior = fold([
      definition(0), done(0),
      .commit(place(0), byteCount: 12, mode: 0o755, hash: hash(1), at: .temporary(".o.vine")),
      .publishIntent(place(0), hash: hash(1), path: "out"),
    ])
    let output = try #require(prior.output(place(0)))
    #expect(output.place == .temporary)
    #expect(prior.text.string(output.path) == ".o.vine")
    #expect(prior.openIntents.count == 1)
    prior.apply(.published(place(0)))
    let published = try #require(prior.output(place(0)))
    #expect(published.place == .published)
    #expect(prior.text.string(published.path) == "out")
    #expect(published.mode == 0o755)
    #expect(prior.openIntents.isEmpty)
    prior.apply(.hashed(place(0), byteCount: 12, hash: hash(2)))
    #expect(prior.violationCount == 1)
  }

  @Test func tasksAreFoundByKeyAndByDefinition() {
    var prior = fold((0..<100).map { definition($0) })
    #expect(prior.number(ofKey: hash(42)) == TaskNumber(41))
    #expect(prior.number(ofKey: hash(4200)) == nil)
    #expect(prior.numbers(ofDefinition: hash(1010)) == [TaskNumber(20), TaskNumber(21)])
    prior.apply(definition(100))
    #expect(prior.number(ofKey: hash(101)) == TaskNumber(100))
  }

  private func randomEntries(_ random: inout Seeded, count: Int) -> [JournalEntry] {
    func number(_ random: inout Seeded) -> UInt32 {
      UInt32.random(in: 0..<50, using: &random) == 0
        ? .random(in: (.max - 3)...(.max), using: &random) : .random(in: 0..<12, using: &random)
    }
    return (0..<count).map { _ in
      let task = number(&random)
      let attempt = UInt32.random(in: 0..<4, using: &random)
      let at = place(task, attempt: attempt, output: .random(in: 0..<3, using: &random))
      switch Int.random(in: 0..<16, using: &random) {
      case 0..<3: return definition(task)
      case 3..<7:
        return done(
          task, attempt: attempt,
          inputs: (0..<Int.random(in: 0..<3, using: &random)).map { _ in .output(at) },
          outputs: (0..<Int64.random(in: 0..<4, using: &random)).map { $0 })
      case 7: return .hashed(at, byteCount: -1, hash: hash(.random(in: 1..<3, using: &random)))
      case 8: return .commit(at, byteCount: 1, mode: 0, hash: hash(1), at: .objects)
      case 9: return .commit(at, byteCount: 1, mode: 0, hash: .unknown, at: .temporary("t"))
      case 10: return .invalidate(TaskNumber(task), attempt: attempt, cause: .none)
      case 11: return .publishIntent(at, hash: hash(1), path: "p\(task)")
      case 12: return .published(at)
      case 13:
        return .sourceDefinition(
          SourceDefinition(
            source: SourceNumber(task), path: "s\(task)", byteCount: 1, modificationTime: 2))
      case 14:
        return .failed(
          FailedEntry(
            task: TaskNumber(task), attempt: attempt, ending: .lost, failureCount: 1))
      default:
        return oneOfEach.filter { $0 != .snapshot(sessionCount: 3) }.randomElement(using: &random)!
      }
    }
  }

  @Test func anySequenceOfEntriesIsTakenAndEqualsItsSnapshot() {
    for seed in 0..<300 as Range<UInt64> {
      var random = Seeded(state: seed)
      let prior = fold(randomEntries(&random, count: 200))
      let entries = snapshot(of: prior)
      let again = fold(entries)
      #expect(snapshot(of: again) == entries, "seed \(seed)")
      #expect(again.doneCount == prior.doneCount, "seed \(seed)")
      #expect(again.failedCount == prior.failedCount, "seed \(seed)")
      #expect(again.sessionCount == prior.sessionCount, "seed \(seed)")
      #expect(again.openIntents.count == prior.openIntents.count, "seed \(seed)")
      #expect(again.malformedCount + again.violationCount == 0, "seed \(seed)")
      #expect(prior.doneCount == prior.tasks.filter(\.isDone).count)
      #expect(prior.failedCount == prior.tasks.filter(\.isFailed).count)
    }
  }
}
