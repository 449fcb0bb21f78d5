// Who passes calls on looks for the next for a moment before it sleeps: to be put to sleep and woken
// takes longer than a short call.

internal import CLinux

/// How loops and hosts wait among calls.
struct Looking {
  /// After the last call that came or went.
  static let nanoseconds: Int64 = 50_000

  /// Whether the loops of this node leave a processor to the functions while they look.
  let hasSpareProcessors: Bool

  /// `ranksHere` ranks of the run are on this rank's node.
  init(ranksHere: Int) { hasSpareProcessors = Int(clinux_processor_count()) > ranksHere }

  /// For how long a function's host looks: where it has to share a processor with a rank, it would
  /// only be in its way.
  var nanosecondsOfHosts: Int64 { hasSpareProcessors ? Self.nanoseconds : 0 }
}
