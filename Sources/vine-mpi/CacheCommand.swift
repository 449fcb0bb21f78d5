// `vine-mpi cache`: what runs have left on this node.

import ArgumentParser
import Glibc
import VineRuntime

struct CacheCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cache",
    abstract: "List, check and remove what runs have left on this node.",
    discussion: """
      Files with "cache": "forever" outlive their run in SCRATCH/vine-mpi-UID on each node. These \
      commands look at the node where they run; `mpirun -N 1 vine-mpi cache ls` does so on each.
      """,
    subcommands: [CacheList.self, CacheVerify.self, CacheCollect.self],
    defaultSubcommand: CacheList.self)
}

struct CacheOptions: ParsableArguments {
  @Option(help: "The node-local directory, chosen as in a run.")
  var scratch: String?

  /// Nil, after a word, when there is nothing.
  func find() throws -> NodeCache? {
    do throws(RuntimeError) {
      if let cache = try NodeCache.find(scratch.map(absolutePath) ?? "") { return cache }
    } catch {
      complain("vine-mpi: \(error)")
      throw ExitCode(2)
    }
    tell("nothing is kept on this node")
    return nil
  }
}

/// A moment as `2026-01-31 12:00`.
private func timeText(_ seconds: Int) -> String {
  var time = time_t(seconds)
  var parts = tm()
  localtime_r(&time, &parts)
  func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
  return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
    + "\(two(parts.tm_hour)):\(two(parts.tm_min))"
}

private func line(_ file: KeptFile) -> String {
  let entry = file.entry
  return [
    String(file.key.prefix(12)), entry.kind, "\(entry.byteCount)", timeText(file.lastUse),
    entry.run, entry.name,
  ].joined(separator: "\t")
}

struct CacheList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "Key, kind, bytes, last use, run and name of each file, the last used first.")

  @OptionGroup var options: CacheOptions

  func run() throws {
    guard let cache = try options.find() else { return }
    let files = cache.files()
    for file in files { tell(line(file)) }
    for run in cache.remains() {
      tell(
        "\(run.isAlive ? "in use" : run.isWaiting ? "kept" : "left over")\trun\t\(run.byteCount)\t"
          + "\(timeText(run.lastChange))\t\t\(run.path)")
    }
    let sum = files.reduce(Int64(0)) { $0 + $1.entry.byteCount }
    tell("\(files.count) files, \(sum) bytes in \(cache.path)")
  }
}

struct CacheVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compare each file with its digest; exit status 1 when one is damaged.")

  @OptionGroup var options: CacheOptions
  @Flag(help: "Remove what is damaged.")
  var remove = false

  func run() throws {
    guard let cache = try options.find() else { return }
    let count = cache.files().count
    let damaged = cache.verify(removes: remove)
    for file in damaged { tell("damaged\(remove ? ", removed" : ""): \(line(file))") }
    tell("\(count - damaged.count) of \(count) files are as they were")
    if !damaged.isEmpty { throw ExitCode(1) }
  }
}

struct CacheCollect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc",
    abstract: "Remove what dead runs have left, and files by age and size.",
    discussion: """
      Without options only what dead runs have left is removed, unless it was kept for their next \
      session (run --keep-caches) less than a day ago. Runs that are alive keep what they use.
      """)

  @OptionGroup var options: CacheOptions
  @Option(help: "Remove files that were not used for so many hours.")
  var olderThan: Double?
  @Option(
    help: "Remove what dead sessions of the run in this directory have left, and nothing else.")
  var runDir: String?
  @Option(help: "Remove the longest unused files until at most so many MB are kept.")
  var maxSize: Int64?

  func validate() throws {
    guard runDir == nil || (olderThan == nil && maxSize == nil) else {
      throw ValidationError("--run-dir goes with neither --older-than nor --max-size")
    }
    guard olderThan ?? 0 >= 0, olderThan ?? 0 < 1e7 else {
      throw ValidationError("--older-than is a number of hours, not negative")
    }
    guard maxSize ?? 0 >= 0, maxSize ?? 0 < 1 << 40 else {
      throw ValidationError("--max-size is a number of MB, not negative")
    }
  }

  private func collect(_ cache: NodeCache) throws -> NodeCache.Removed {
    guard let runDir else {
      return cache.collect(
        olderThan: olderThan.map { Int($0 * 3600) }, byteCountMax: maxSize.map { $0 << 20 })
    }
    do throws(RuntimeError) { return try cache.removeRun(in: absolutePath(runDir)) } catch {
      complain("vine-mpi: \(error)")
      throw ExitCode(2)
    }
  }

  func run() throws {
    guard let cache = try options.find() else { return }
    let removed = try collect(cache)
    for file in removed.files { tell("removed: \(line(file))") }
    for run in removed.runs { tell("removed what a dead run had left: \(run)") }
    tell("\(removed.byteCount) bytes freed, \(cache.files().count) files kept in \(cache.path)")
  }
}
