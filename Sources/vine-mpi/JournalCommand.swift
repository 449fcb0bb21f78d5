// vine-mpi journal: what a run's journal holds, and whether it reads to its end.

import ArgumentParser
import Glibc
import VineCore
import VineRuntime

struct JournalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "journal", abstract: "Show or check the journal of a run.",
    subcommands: [Dump.self, Verify.self, Measure.self])

  struct Measure: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print how many small records a second become durable in an empty directory.",
      shouldDisplay: false)

    @Argument(help: "An empty directory.")
    var directory: String
    @Option(help: "Records to write.")
    var records: UInt32 = 2_000_000

    func run() throws {
      do throws(RuntimeError) {
        let seconds = try measureJournal(in: directory, count: records)
        tell("\(Int(Double(records) / seconds))")
      } catch {
        complain("vine-mpi: \(error)")
        throw ExitCode(1)
      }
    }
  }

  struct Dump: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the journal, one entry a line.")

    @Argument(help: "The run's directory.")
    var runDirectory: String
    @Flag(help: "One JSON object a line.")
    var json = false

    func run() throws {
      let journal = JournalDirectory("\(runDirectory)/journal")
      try ending { () throws(RuntimeError) in
        var out = LineBuffer()
        // All that can be read is shown, damage or not.
        let all = try journal.read(try journal.plan(), salvages: true) { entry, record, segment in
          let fields = entry.fields
          if json {
            let head: [(String, JournalField)] = [
              ("record", .number("\(record)")), ("segment", .text("\(segment)")),
              ("type", .text(entry.typeName)),
            ]
            out.add(jsonObject(head + fields))
          } else {
            let text = fields.map { "\($0.0)=\($0.1.plain)" }.joined(separator: " ")
            out.add("\(record) \(segment) \(entry.typeName) \(text)")
          }
        }
        out.flush()
        for damage in all.salvaged {
          complain("vine-mpi: \(damage.byteCount) bytes cannot be read at \(damage.text)")
        }
        // A snapshot may stand for what is damaged.
        return all.salvaged.isEmpty ? all : try journal.fold().reading
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read the journal as the next session would, and say how it ends.",
      discussion: """
        Exit status: 0 whole, or cut off where nothing was durable yet (which is said); 6 damaged; \
        9 of another run or another version of vine-mpi.
        """)

    @Argument(help: "The run's directory.")
    var runDirectory: String

    func run() throws {
      let journal = JournalDirectory("\(runDirectory)/journal")
      try ending { () throws(RuntimeError) in
        let (prior, reading, plan) = try journal.fold()
        if reading.verdict == .clean {
          tell(
            "\(reading.entryCount) entries, \(prior.sessionCount) sessions, "
              + "\(prior.doneCount) tasks done, \(prior.failedCount) failed")
        }
        if plan.starts.count > 1 && reading.verdict.exitStatus == 0 {
          let all = try journal.read(plan) { _, _, _ in }
          if case .corrupt = all.verdict {
            complain("vine-mpi: replaced by a snapshot since: \(all.verdict.text)")
          }
        }
        for violation in prior.violations { complain("vine-mpi: \(violation)") }
        return reading
      }
    }
  }
}

/// Runs `body`, says how the journal ends unless that is as it should be, and leaves accordingly.
private func ending(_ body: () throws(RuntimeError) -> JournalReading) throws {
  let reading: JournalReading
  do throws(RuntimeError) { reading = try body() } catch {
    complain("vine-mpi: \(error)")
    throw ExitCode(error.exitStatus ?? 2)
  }
  if reading.verdict != .clean { complain("vine-mpi: \(reading.verdict.text)") }
  if reading.verdict.exitStatus != 0 { throw ExitCode(reading.verdict.exitStatus) }
}

/// Lines for standard output, written many at a time.
private struct LineBuffer {
  private var bytes: [UInt8] = []

  mutating func add(_ line: String) {
    bytes.append(contentsOf: line.utf8)
    bytes.append(UInt8(ascii: "\n"))
    if bytes.count > 1 << 16 { flush() }
  }

  mutating func flush() {
    _ = bytes.withUnsafeBytes { writeAll($0, to: STDOUT_FILENO) }
    bytes.removeAll(keepingCapacity: true)
  }
}
