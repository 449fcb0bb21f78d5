// `vine-mpi run`: the main job.

import ArgumentParser
import Glibc
import VineCore
import VineFormats
import VineRuntime

/// Options for a line of a task list, which cannot say them itself.
struct TaskListOptions: ParsableArguments {
  @Option(help: "Task lists: cores of each line.")
  var cores: UInt16 = 1
  @Option(help: "Task lists: memory of each line, in MB.")
  var memory: UInt32?
  @Option(help: "Task lists: seconds that each line may run.")
  var timeout: Double = 0
  @Option(help: "Task lists: tries of each line after its first failure.")
  var retries: UInt16 = 0

  func validate() throws {
    guard cores > 0 else { throw ValidationError("--cores is at least 1") }
    guard timeout >= 0, timeout < 4_000_000 else {
      throw ValidationError("--timeout is from 0 to 4000000 seconds")
    }
  }

  func apply(to options: inout LoadOptions) {
    options.taskListRequest = Request(cores: cores, memoryMB: memory)
    options.taskListTimeoutMilliseconds = UInt32((timeout * 1000).rounded(.up))
    options.taskListRetries = retries
  }
}

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a workflow: on all ranks under mpirun, in this process without it.",
    discussion: """
      Exit status (also in RUN/outcome): 0 all done, 1 some task failed, 2 description or usage \
      refused, 3 interrupted (run the same command again to go on), 4 another vine-mpi owns the \
      run, 6 journal corrupt, 7 journal storage failing, 8 a task contradicts itself, 9 run \
      directory of another version.
      """)

  @Argument(help: "workflow.json, workflow.jsonl, a WfFormat file or a task list.")
  var workflow: String
  @Option(help: "native, jsonl, wfformat or tasklist, where the guess is wrong.")
  var format: String?
  @Option(
    help: """
      The directory of this run; one that holds a run is gone on with. Default: the latest run of \
      this file in vine-runs if that is not all done, else a new one, vine-runs/NAME-TIME.
      """)
  var runDir: String?
  @Flag(help: "Start anew, whatever earlier runs of this file have done.")
  var fresh = false
  @Option(
    help: """
      Time of the job, from now: seconds, MM:SS or HH:MM:SS. What cannot end in it is left to the \
      next run of the same command. Default: $SLURM_JOB_END_TIME, else no limit.
      """)
  var walltime: String?
  @Option(
    name: .customLong("end-time"),
    help: """
      When the job ends, in seconds since 1970; for scripts that start several sessions in one job.
      """)
  var endTimeOfJob: Double?
  @Flag(help: "Go on with what can be read of a damaged journal.")
  var salvage = false
  @Option(
    help: ArgumentHelp("Seconds until a silent owner of the run is dead.", visibility: .hidden))
  var leaseTimeout: Double?
  @Option(
    help: """
      Node-local directory for caches and sandboxes; default: $VINE_SCRATCH, $SLURM_TMPDIR, \
      $TMPDIR, /local/scratch or /tmp.
      """)
  var scratch: String?
  @Option(help: "MB on each node for caches and sandboxes; default: 90 % of what is free there.")
  var cacheLimit: Int64?
  @Flag(
    help: """
      Leave the nodes' caches where they are when the session dies: the next one takes what it needs \
      from there. For scripts that start it again, and remove the caches if they do not.
      """)
  var keepCaches = false
  @Option(help: "Seconds after which a rank that says nothing is lost.")
  var nodeTimeout: Double = 30
  @Flag(
    help: """
      Serve native libraries of mode rank, and gangs, inside the ranks. A function that crashes \
      there takes its rank with it. Needs an MPI with MPI_THREAD_MULTIPLE.
      """)
  var inRank = false
  @Option(help: "Write a row per task: id, node, start, end, cores (tab-separated, seconds).")
  var trace: String?
  @Option(
    help: "Write a row per call: id, library, cold or warm, and where its time went (seconds).")
  var calls: String?
  @Option(
    help: """
      Write a row per transfer: file, from (shared, manager or a node; + before a node that had \
      not all of it yet), to, start, end, bytes, error (tab-separated, seconds).
      """)
  var transfers: String?
  @Option(help: "Write a row per file: id, bytes, SHA-256 (tab-separated).")
  var digests: String?
  @Flag(help: "Show progress as one line that is rewritten.")
  var progress = false
  @Flag(help: "Print problems only.")
  var quiet = false

  @Flag(help: "Replay a recorded WfFormat instance with synthetic tasks.")
  var replay = false
  @Option(help: "Replay: factor on recorded run times.")
  var timeScale = 1.0
  @Option(help: "Replay: factor on recorded file sizes.")
  var bytesScale = 1.0
  @Option(help: "Replay: bytes of a file at most.")
  var maxBytes = 1 << 40
  @Flag(help: "Replay: burn the processor instead of sleeping.")
  var spin = false
  @Flag(help: "Replay: ask for the recorded cores instead of one.")
  var recordedCores = false

  @OptionGroup var taskList: TaskListOptions

  func validate() throws {
    if let format, WorkflowFormat(rawValue: format) == nil {
      throw ValidationError("--format is one of native, jsonl, wfformat, tasklist")
    }
    guard nodeTimeout >= 2, nodeTimeout <= 86_400 else {
      throw ValidationError("--node-timeout is from 2 to 86400 seconds")
    }
    guard cacheLimit ?? 1 > 0, cacheLimit ?? 1 < 1 << 32 else {
      throw ValidationError("--cache-limit is a number of MB, at least 1")
    }
    guard endTimeOfJob?.isFinite ?? true else { throw ValidationError("--end-time is a time") }
    guard maxBytes >= 0 else { throw ValidationError("--max-bytes is not negative") }
  }

  func run() throws {
    var options = RunOptions()
    options.runDirectory = runDir
    options.isFresh = fresh
    options.endTime = try endTime()
    options.salvages = salvage
    options.leaseSeconds = leaseTimeout
    options.scratch = scratch.map(absolutePath) ?? ""
    options.cacheLimitMB = cacheLimit
    options.keepsCaches = keepCaches
    options.tracePath = trace
    options.callsPath = calls
    options.transfersPath = transfers
    options.nodeTimeoutNanoseconds = Int64(nodeTimeout * 1e9)
    options.hasFunctionThread = inRank
    options.digestsPath = digests
    options.hasLiveProgress = progress
    options.isQuiet = quiet
    let status = Rank.run(options: options, load: load)
    throw ExitCode(status)
  }

  /// When the job ends, in seconds since 1970.
  private func endTime() throws -> Double? {
    guard let walltime else {
      return endTimeOfJob ?? getenv("SLURM_JOB_END_TIME").flatMap { Double(String(cString: $0)) }
    }
    var seconds = 0.0
    for part in walltime.split(separator: ":", omittingEmptySubsequences: false) {
      guard let number = Double(part), number >= 0, number < 1e8 else {
        throw ValidationError("--walltime is a number of seconds, MM:SS or HH:MM:SS")
      }
      seconds = seconds * 60 + number
    }
    return Double(time(nil)) + seconds
  }

  /// Reads the description; nil when it was refused, with its problems told.
  private func load() -> PreparedRun? {
    var options = LoadOptions()
    options.format = format.flatMap(WorkflowFormat.init)
    options.mode = replay ? .replay : .run
    options.submitDirectory = absolutePath(".")
    taskList.apply(to: &options)
    do throws(WorkflowError) {
      let loaded = try loadWorkflow(path: workflow, options: options)
      for warning in loaded.warnings where !quiet { complain("\(workflow): warning: \(warning)") }
      if !loaded.unsupported.isEmpty {
        for problem in loaded.unsupported { complain("\(workflow): \(problem)") }
        return nil
      }
      if let library = loaded.workflow.firstLibraryInRanks, !inRank {
        complain(
          "\(workflow): library \(library) has exec_mode \"rank\": start vine-mpi with --in-rank")
        return nil
      }
      if replay, let recorded = loaded.recorded { return prepareReplay(of: recorded) }
      return PreparedRun(name: loaded.workflow.name, path: absolutePath(workflow)) { _ in
        loaded.workflow
      }
    } catch {
      complain("\(error)")
      return nil
    }
  }

  private func prepareReplay(of recorded: RecordedWorkflow) -> PreparedRun {
    PreparedRun(name: recorded.name, path: absolutePath(workflow)) { runDirectory in
      var options = ReplayOptions(
        sourceDirectory: "\(runDirectory)/replay/sources",
        finalDirectory: "\(runDirectory)/replay/finals")
      options.timeScale = timeScale
      options.bytesScale = bytesScale
      options.byteCountMax = maxBytes
      options.spins = spin
      options.usesCores = recordedCores
      options.replayProgram = siblingProgram("vine-replay")
      do throws(RuntimeError) {
        try makeDirectory(options.sourceDirectory)
      } catch {
        complain("vine-mpi: \(error)")
        return nil
      }
      do throws(WorkflowError) {
        let workflow = try recorded.replayWorkflow(path: self.workflow, options)
        do { try recorded.writeSources(options) } catch {
          complain("vine-mpi: cannot make the sources of the replay: \(error)")
          return nil
        }
        return workflow
      } catch {
        complain("\(error)")
        return nil
      }
    }
  }
}

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Say what is wrong with a workflow, every problem with its place.",
    discussion: "Exit status: 0 when it can be run, warnings included; 2 when it is refused.")

  @Argument(help: "The description.")
  var workflow: String
  @Option(help: "native, jsonl, wfformat or tasklist, where the guess is wrong.")
  var format: String?

  func run() throws {
    var options = LoadOptions()
    options.format = format.flatMap(WorkflowFormat.init)
    options.mode = .check
    options.submitDirectory = absolutePath(".")
    do throws(WorkflowError) {
      let loaded = try loadWorkflow(path: workflow, options: options)
      for warning in loaded.warnings { complain("\(workflow): warning: \(warning)") }
      for warning in loaded.workflow.importWarnings() {
        complain("\(workflow): warning: \(warning)")
      }
      for problem in loaded.unsupported {
        complain("\(workflow): correct, but not run by this version: \(problem)")
      }
      tell(
        "\(workflow): \(loaded.format.rawValue), \(loaded.workflow.tasks.count) tasks, "
          + "\(loaded.workflow.files.count) files")
    } catch {
      complain("\(error)")
      throw ExitCode(2)
    }
  }
}

struct LogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Show what a task wrote to its standard output and error.")

  @Argument(help: "The run's directory.")
  var runDirectory: String
  @Argument(help: "The task's id.")
  var task: String

  func run() throws {
    var found = false
    do throws(RuntimeError) {
      try forEachPackedOutput(at: "\(runDirectory)/output.pack", of: task) { entry in
        found = true
        complain("-- attempt \(entry.attempt), standard \(entry.stream == 1 ? "output" : "error")")
        entry.bytes.withUnsafeBytes { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      }
    } catch {
      // A run in which no task wrote anything has no pack.
      if error.errno != ENOENT || access(runDirectory, F_OK) != 0 {
        complain("vine-mpi: \(error)")
        throw ExitCode(2)
      }
    }
    if found { return }
    if journalNames(task: task, in: "\(runDirectory)/journal") == false {
      complain("vine-mpi: no task \(task) ended in the run \(runDirectory)")
      throw ExitCode(2)
    }
    complain("vine-mpi: task \(task) wrote nothing in this run")
  }
}
