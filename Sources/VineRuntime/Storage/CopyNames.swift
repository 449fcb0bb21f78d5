// The names that outputs have on the shared file system before they are published, and what is left
// of them when nobody will publish them any more.
//
// An attempt is written down when it is done, so two sessions may give one number to two attempts; and
// a worker of a session that died may live some seconds longer and go on writing. Hence the session's
// epoch in each name: what two sessions write never meets.

internal import VineCore

/// Where an output is written before it is renamed: beside its target, so that a rename is enough,
/// under a name that says whose it is.
struct CopyNames: Sendable {
  /// Copies that earlier sessions left, as they named them.
  var earlier: [FileValue: String] = [:]
  private let mark: String
  private let epoch: UInt32

  /// Names of a session of a run. Of the run's identity eight digits are enough to tell its names
  /// from those of other runs with the same targets.
  init(run: RunIdentity, epoch: UInt32) {
    mark = ".vine-\("\(run)".prefix(8))-"
    self.epoch = epoch
  }

  /// The name of a copy of `value`, the target of which is `path`.
  func temporary(of value: FileValue, beside path: String) -> String {
    if let name = earlier[value] { return name }
    let (directory, name) = split(path)
    // A file name has 255 bytes at most (NAME_MAX).
    var kept = name
    while kept.utf8.count > 120 { kept.removeLast() }
    return "\(directory).\(kept)\(mark)\(epoch)-\(value.attempt)"
  }

  /// The attempt that a name ends with: the copy may be of a later attempt than the journal's, when
  /// that made the same again.
  static func attempt(of temporary: String) -> UInt32? {
    guard temporary.contains(".vine-"), let dash = temporary.lastIndex(of: "-") else { return nil }
    return UInt32(temporary[temporary.index(after: dash)...])
  }

  /// Removes from the directories of `targets` what this session and earlier ones of the run have
  /// written there, except for `kept`.
  func removeStrays(beside targets: some Sequence<String>, except kept: Set<String>) {
    var directories: Set<String> = []
    for target in targets { directories.insert(split(target).directory) }
    for directory in directories {
      for entry in FileTree.entries(of: directory.isEmpty ? "." : directory).entries
      where isOwn(entry.name) && !kept.contains("\(directory)\(entry.name)") {
        FileTree.remove("\(directory)\(entry.name)")
      }
    }
  }

  /// Whether a name in a directory is one that this session or an earlier one may have given.
  private func isOwn(_ name: String) -> Bool {
    guard name.hasPrefix("."), let place = name.firstRange(of: mark) else { return false }
    return UInt32(name[place.upperBound...].prefix { $0 != "-" }).map { $0 <= epoch } ?? false
  }

  private func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return ("", path) }
    return (String(path[...slash]), String(path[path.index(after: slash)...]))
  }
}
