// Which programs the system executes at once.

/// Programs that were executed without delay the last time. To wait for those is cheaper than not to
/// wait (`clinux_spawn`); for one that lies on a slow or hanging file system nobody may wait, since
/// the rank says nothing meanwhile.
struct QuickPrograms {
  /// More than a workflow has; what is forgotten is learnt again by one start.
  static let limit = 4096
  private var hashes: Set<Int> = []

  /// `name`: the program as the command names it, looked for in PATH or not.
  func contains(_ name: some Sequence<UInt8>) -> Bool { hashes.contains(Self.hash(name)) }

  mutating func note(_ name: some Sequence<UInt8>, isQuick: Bool) {
    let hash = Self.hash(name)
    if !isQuick {
      hashes.remove(hash)
      return
    }
    if hashes.count >= Self.limit && !hashes.contains(hash) { hashes.removeAll() }
    hashes.insert(hash)
  }

  /// Two programs of one hash take each other's place now and then.
  private static func hash(_ name: some Sequence<UInt8>) -> Int {
    var hasher = Hasher()
    for byte in name { hasher.combine(byte) }
    return hasher.finalize()
  }
}
