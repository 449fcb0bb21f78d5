// The directory that a run leaves behind: journal, output of tasks, summary, outcome.

internal import FoundationEssentials
internal import Glibc
internal import VineCore

/// How a run ended, in `RUN/outcome`. An absent file means that the session died.
struct OutcomeFile: Codable, Equatable {
  /// workflow.md's exit status.
  var status: Int32
  var epoch: Int
  /// What it means, for people.
  var text: String
}

/// The figures of a run, in `RUN/summary.json`.
struct SummaryFile: Codable, Equatable {
  struct Tasks: Codable, Equatable {
    var total = 0
    var done = 0
    var failed = 0
    /// Never ran, since something they need failed or the run was stopped.
    var cancelled = 0
    /// Left for the next session.
    var left = 0
    var triedAgain = 0
    /// Of those done, the ones that earlier sessions did.
    var reused = 0
  }
  /// Bytes moved, by route.
  struct Bytes: Codable, Equatable {
    var sharedFileSystemToNode: Int64 = 0
    var nodeToNode: Int64 = 0
    var nodeToSharedFileSystem: Int64 = 0
    /// Of all messages that the manager sent and received over MPI, whatever is in them.
    var throughManager: Int64 = 0
    /// Inline contents of the description, which the manager sends along.
    var inline: Int64 = 0
  }
  /// What moving one file took, whole or in parts.
  struct File: Codable, Equatable {
    var file: String
    var sharedFileSystemBytes: Int64 = 0
    var sharedFileSystemReads = 0
    var nodeToNodeBytes: Int64 = 0
    /// Those of them that came from a helper of a transfer, and not from its source.
    var helperBytes: Int64 = 0
    var transfers = 0
  }
  /// What lay in the cache of one node.
  struct Cache: Codable, Equatable {
    var node: String
    /// Nil: without a limit.
    var limitBytes: Int64?
    var peakBytes: Int64
  }
  /// What lay in the caches of dead sessions.
  struct Adopted: Codable, Equatable {
    /// That were as they had been, and what they amount to.
    var values: Int
    var bytes: Int64
    /// That were not used, by reason.
    var refused: [String: Int]
  }
  var name: String
  var status: Int32
  var version: String
  var mpi: String
  var nodes: Int
  var ranks: Int
  var cores: Int
  var tasks = Tasks()
  /// Seconds from the first start of a task to the last end.
  var makespanSeconds: Double
  /// Seconds from the start of the program to its end.
  var wallSeconds: Double
  /// Core seconds granted to running tasks, over cores times makespan.
  var coreUtilisation: Double
  /// User and system time of all tasks.
  var taskCPUSeconds: Double
  var bytes = Bytes()
  var sharedFileSystemReads: Int64 = 0
  /// The files that moved most bytes, most first; at most `filesMax`.
  var files: [File] = []
  static let filesMax = 100
  var caches: [Cache] = []
  /// Replicas that were given up for room, and their bytes.
  var evictions = 0
  var evictedBytes: Int64 = 0
  /// Copies made for `temp_replicas`.
  var spareCopies = 0
  /// Tasks that waited for a busy node that has their inputs, rather than have those moved.
  var tasksThatWaited = 0
  /// Absent where nothing was found.
  var adopted: Adopted?
  var unwrittenOutputs: [String] = []
  /// Outputs of done tasks that the next session will put at their paths.
  var hiddenOutputs = 0
  /// Ranks that died, fell silent or could not be reached.
  var lostRanks: [Int] = []
  /// By name; absent without libraries.
  var libraries: [String: LibrarySummary]?
}

struct RunDirectory {
  let path: String
  /// Names beside the outputs; of the session that has the run.
  var copyNames = CopyNames(run: RunIdentity(high: 0, low: 0), epoch: 0)

  init(path: String) { self.path = path }

  var outputPack: String { "\(path)/output.pack" }
  /// A person makes this file to stop the run.
  var stopFile: String { "\(path)/stop" }
  /// The last part of its path: names the run.
  var name: String { path.split(separator: "/").last.map(String.init) ?? "run" }

  /// What a run directory says of itself, in `RUN/run.json`.
  struct Identity: Codable {
    var workflow: String
    /// Seconds since 1970.
    var created: Int64
  }

  /// How the last session ended; nil when it has not, or did not in order.
  var outcome: OutcomeFile? {
    guard let bytes = try? readFile("\(path)/outcome") else { return nil }
    return try? JSONDecoder().decode(OutcomeFile.self, from: Data(bytes))
  }

  var hasJournal: Bool { access("\(path)/journal", F_OK) == 0 }

  /// The latest run of the workflow file at `workflowPath` in `vine-runs`, if that is not all done.
  package static func unfinished(of workflowPath: String) -> RunDirectory? {
    let parent = absolutePath("vine-runs")
    var latest: (created: Int64, run: RunDirectory)?
    for entry in FileTree.entries(of: parent).entries where entry.isDirectory {
      let run = RunDirectory(path: "\(parent)/\(entry.name)")
      guard let bytes = try? readFile("\(run.path)/run.json"),
        let identity = try? JSONDecoder().decode(Identity.self, from: Data(bytes)),
        identity.workflow == workflowPath, run.hasJournal
      else { continue }
      // Names end in the time, so they order runs of one second.
      if latest.map({ ($0.created, $0.run.path) < (identity.created, run.path) }) ?? true {
        latest = (identity.created, run)
      }
    }
    guard let latest, latest.run.outcome?.status != 0 else { return nil }
    return latest.run
  }

  /// The run to go on with, else a new one.
  static func open(
    chosen: String?, workflowPath: String, workflowName: String, isFresh: Bool
  ) throws(RuntimeError) -> RunDirectory {
    if let chosen {
      let run = RunDirectory(path: absolutePath(chosen))
      if run.hasJournal {
        if isFresh {
          throw RuntimeError(
            "begin a new run in", run.path,
            detail: "it holds an earlier run; choose another directory, or leave out --fresh to go "
              + "on with it")
        }
        return run
      }
    } else if !isFresh, let run = unfinished(of: workflowPath) {
      return run
    }
    let run = try make(chosen: chosen, workflowName: workflowName)
    try run.write(
      Identity(workflow: workflowPath, created: Int64(time(nil))), to: "\(run.path)/run.json")
    return run
  }

  /// A session opens: until it ends there is no outcome.
  func removeOutcome() { unlink("\(path)/outcome") }

  /// Makes a new run directory: `chosen`, or `vine-runs/NAME-TIME` in the working directory with
  /// `vine-runs/latest` pointing to it.
  static func make(chosen: String?, workflowName: String) throws(RuntimeError) -> RunDirectory {
    let path: String
    if let chosen {
      path = absolutePath(chosen)
      let isNew = access(path, F_OK) != 0
      let error = FileTree.makeDirectories(path)
      // A directory that was there keeps its mode: it may be anybody's.
      if isNew { chmod(path, 0o700) }
      if error != 0 { throw RuntimeError("make run directory", path, errno: error) }
    } else {
      path = try makeNumbered(in: absolutePath("vine-runs"), workflowName: workflowName)
    }
    return RunDirectory(path: path)
  }

  private static func makeNumbered(
    in parent: String, workflowName: String
  ) throws(RuntimeError) -> String {
    let error = FileTree.makeDirectories(parent)
    if error != 0 { throw RuntimeError("make", parent, errno: error) }
    let safe = String(
      workflowName.unicodeScalars.prefix(80).map { scalar in
        scalar == "/" || scalar.value < 33 || scalar.value == 127 ? "_" : Character(scalar)
      })
    let base = "\(safe.isEmpty || safe.hasPrefix(".") ? "run" : safe)-\(timestamp())"
    for number in 1...1000 {
      let name = number == 1 ? base : "\(base)-\(number)"
      if mkdir("\(parent)/\(name)", 0o700) == 0 {
        let link = "\(parent)/latest"
        let temporary = "\(link)-\(getpid())"
        if symlink(name, temporary) == 0 && rename(temporary, link) != 0 { unlink(temporary) }
        return "\(parent)/\(name)"
      }
      if errno != EEXIST { throw RuntimeError("make", "\(parent)/\(name)", errno: errno) }
    }
    throw RuntimeError("make a run directory in", parent, detail: "too many runs in one second")
  }

  func write(_ outcome: OutcomeFile) throws(RuntimeError) {
    try write(outcome, to: "\(path)/outcome")
  }

  func write(_ summary: SummaryFile) throws(RuntimeError) {
    try write(summary, to: "\(path)/summary.json")
  }

  private func write(_ value: some Encodable, to path: String) throws(RuntimeError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else {
      throw RuntimeError("write", path, detail: "a figure is not finite")
    }
    try replaceFile(path, with: String(decoding: data, as: UTF8.self) + "\n")
  }
}

/// `path` seen from the root, without links resolved.
package func absolutePath(_ path: String) -> String {
  if path.hasPrefix("/") { return path }
  var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
  guard getcwd(&buffer, Int(PATH_MAX)) != nil else { return path }
  let here = String(
    decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  if path == "." { return here }
  return here == "/" ? "/\(path)" : "\(here)/\(path)"
}
