// The one way the core stops: a bug in itself. No message and no input can reach it.

/// Ends the process, saying what broke, when the core contradicts itself. Stays on in release
/// builds: a wrong decision silently carried on is worse than a stopped run.
@inlinable
package func invariant(
  _ condition: @autoclosure () -> Bool, _ what: @autoclosure () -> String,
  file: StaticString = #fileID, line: UInt = #line
) {
  if _fastPath(condition()) { return }
  fatalError("vine-mpi broke an invariant of its own: \(what())", file: file, line: line)
}
