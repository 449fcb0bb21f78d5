// One session on a run: its journal taken, what earlier sessions left compared with the description.

internal import Glibc
internal import VineCore

struct Session {
  let run: RunDirectory
  let journal: JournalFile
  /// What the run's directories on the nodes say of themselves.
  let record: CacheRecord
  let keys: WorkflowKeys
  let continuation: Continuation
  let priorTaskCount: Int
  let priorSourceCount: Int
  /// Whether there were sessions before.
  let isContinued: Bool
  /// What people should know before anything runs.
  let notices: [String]
  /// By the clock of the run's file system.
  let beganAt: FileTime?

  /// Takes the run: from here on no other manager may. The session before must have ended, or be
  /// known or shown to be dead.
  static func open(
    _ workflow: borrowing Workflow, workflowPath: String, in run: RunDirectory,
    options: RunOptions
  ) throws(RuntimeError) -> Session {
    var info = SessionInfo(workflowName: workflow.name)
    info.workflowPath = workflowPath
    for name in ["SLURM_JOB_ID", "PBS_JOBID"] {
      if let value = getenv(name) { info.jobID = String(cString: value) }
    }
    var journalOptions = JournalOptions()
    if let seconds = options.leaseSeconds {
      journalOptions.lease.takeover = Int64(seconds * 1e9)
      journalOptions.lease.renewal = journalOptions.lease.takeover / 6
    }
    // Keys need nothing of the journal, and with a million tasks each takes a good part of a second.
    let beside = try BlockingQueue<WorkflowKeys>(threadCount: 1)
    let described = copy workflow
    beside.submit { WorkflowKeys(described) }
    let opened = try JournalDirectory.open(
      run.path, options.salvages ? .salvage : .resume, info, options: journalOptions)
    run.removeOutcome()
    let keys = beside.next()
    let continuation = Continuation(
      opened.prior, workflow, keys, runPath: run.path, lastWrite: opened.lastWrite)
    var run = run
    run.copyNames = CopyNames(run: opened.run, epoch: opened.file.epoch)
    run.copyNames.earlier = continuation.copyPaths
    return Session(
      run: run, journal: opened.file,
      record: CacheRecord(
        run: "\(opened.run)", name: run.name, epoch: opened.file.epoch,
        files: CacheRecord.digest(ofFilesOf: workflow), isKept: options.keepsCaches),
      keys: keys, continuation: continuation,
      priorTaskCount: opened.prior.tasks.count, priorSourceCount: opened.prior.sources.count,
      isContinued: opened.prior.sessionCount > 0,
      notices: opened.notices + continuation.notices, beganAt: opened.beganAt)
  }
}
