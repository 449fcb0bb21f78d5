// What a person asked of a run.

package struct RunOptions: Sendable {
  /// `--run-dir`; nil: `vine-runs/NAME-TIME`.
  package var runDirectory: String?
  /// `--scratch`; empty: each node looks for a place.
  package var scratch = ""
  package var tracePath: String?
  package var digestsPath: String?
  /// A line that is rewritten, for terminals.
  package var hasLiveProgress = false
  /// Nothing but problems is printed.
  package var isQuiet = false
  package init() {}
}
