// What a person asked of a run.

internal import VineCore

package struct RunOptions: Sendable {
  /// `--run-dir`; nil: `vine-runs/NAME-TIME`.
  package var runDirectory: String?
  /// `--fresh`: never go on with an earlier run.
  package var isFresh = false
  /// `--salvage`: go on with what can be read of a damaged journal.
  package var salvages = false
  /// Seconds after which a silent owner of the run counts as dead; nil: a minute.
  package var leaseSeconds: Double?
  /// When the job ends, in seconds since 1970; nil: nobody said.
  package var endTime: Double?
  /// `--scratch`; empty: each node looks for a place.
  package var scratch = ""
  /// Where to write a row per call; nil: nowhere.
  package var callsPath: String?
  /// `--cache-limit`: MB that may lie on each node; nil: most of what is free there.
  package var cacheLimitMB: Int64?
  /// `--keep-caches`: what lies on the nodes outlives a session that dies.
  package var keepsCaches = false
  package var tracePath: String?
  package var transfersPath: String?
  package var digestsPath: String?
  /// A line that is rewritten, for terminals.
  package var hasLiveProgress = false
  /// Nothing but problems is printed.
  package var isQuiet = false
  /// `--node-timeout`: a rank that is silent for this long is lost.
  package var nodeTimeoutNanoseconds = Limits.nodeTimeoutNanoseconds
  /// `--in-rank`: each rank has a function thread, which may use MPI.
  package var hasFunctionThread = false
  package init() {}
}
