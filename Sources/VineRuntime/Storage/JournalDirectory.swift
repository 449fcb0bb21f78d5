// The journal of a run as a directory of segments: read, judged, taken over.

internal import CLinux
internal import Glibc
package import VineCore

package struct JournalDirectory {
  /// `RUN/journal`.
  package let path: String

  package init(_ path: String) { self.path = path }

  /// The segments that are there, in order.
  package func segments() throws(RuntimeError) -> [SegmentName] {
    let (entries, error) = FileTree.entries(of: path)
    if error != 0 { throw RuntimeError("read the journal", path, errno: error) }
    return entries.compactMap { SegmentName(fileName: $0.name) }.sorted()
  }

  /// When something was last written into it; nil: never.
  var lastWrite: FileTime? {
    (try? segments())?.last.flatMap { FileTime.write(of: "\(path)/\($0)") }
  }

  /// What the beginnings of the segments say.
  package func plan() throws(RuntimeError) -> JournalPlan {
    var prefixes: [(SegmentName, [UInt8])] = []
    for name in try segments() {
      prefixes.append((name, try load(name, limit: JournalPlan.prefixByteCount)))
    }
    return JournalPlan(prefixes)
  }

  /// The first bytes of a segment, `limit` at most. Not zeroed first: segments are large.
  private func load(_ name: SegmentName, limit: Int = .max) throws(RuntimeError) -> [UInt8] {
    let path = "\(path)/\(name)"
    let file = try OwnedDescriptor.open(path, O_RDONLY, to: "read")
    let descriptor = file.number
    var info = stat()
    if fstat(descriptor, &info) != 0 { throw RuntimeError("read", path, errno: errno) }
    var error: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: min(Int(info.st_size), limit)) {
      room, count in
      while count < room.count, let start = room.baseAddress {
        let more = Glibc.read(descriptor, start + count, room.count - count)
        if more < 0 && errno == EINTR { continue }
        if more < 0 { error = errno }
        if more <= 0 { break }
        count += more
      }
    }
    if error != 0 { throw RuntimeError("read", path, errno: error) }
    return bytes
  }

  /// Reads the log from one of the plan's starts, a segment at a time. `body` gets each entry with
  /// its record number and segment.
  package func read(
    _ plan: JournalPlan, start: Int = 0, salvages: Bool = false,
    _ body: (JournalEntry, UInt64, SegmentName) -> Void
  ) throws(RuntimeError) -> JournalReading {
    var reader = JournalReader(plan, start: start, salvages: salvages)
    let names = plan.names
    for place in names.indices.dropFirst(start) where !plan.isFencedOff(place) {
      let bytes = try load(names[place])
      bytes.withUnsafeBytes { bytes in
        reader.read(bytes, of: place) { entry, record in body(entry, record, names[place]) }
      }
    }
    return reader.finish()
  }

  /// Folds the log, from the newest whole snapshot on.
  package func fold(
    salvages: Bool = false
  ) throws(RuntimeError) -> (prior: PriorRun, reading: JournalReading, plan: JournalPlan) {
    let plan = try plan()
    for start in plan.starts {
      var prior = PriorRun()
      let reading = try read(plan, start: start, salvages: salvages) { entry, _, _ in
        prior.apply(entry)
      }
      if reading.isStartWhole { return (prior, reading, plan) }
    }
    return (PriorRun(), JournalReader(plan, salvages: salvages).finish(), plan)
  }
}

extension JournalVerdict {
  /// The exit status of the commands and of a run that cannot go on: 0, 6 or 9.
  package var exitStatus: Int32 {
    switch self {
    case .clean, .tornTail: 0
    case .corrupt: 6
    case .foreign, .otherFormat: 9
    }
  }

  /// For people.
  package var text: String {
    switch self {
    case .clean: return "the journal is whole"
    case .tornTail(let damage):
      return "the journal ends at \(damage.text): what came after was not yet durable and is done "
        + "again (\(damage.byteCount) bytes, \(damage.frameCount) whole records dropped)"
    case .corrupt(let damage):
      return "the journal is damaged at \(damage.text), which had been durable (up to record "
        + "\(damage.syncedRecord)): the file system lost or changed it; --salvage goes on with "
        + "what can be read"
    case .foreign(let segment, let run, let expected):
      return "\(segment) belongs to the run \(run), not to this one, \(expected)"
    case .otherFormat(let segment, let format):
      return "\(segment) is of journal format \(format), this vine-mpi reads format "
        + "\(SegmentHeader.format): use the version that wrote it"
    }
  }
}

extension JournalDamage {
  package var text: String { "\(segment), byte \(offset), record \(record)" }
}

/// Whether a task of this name ended in the run whose journal directory this is. Nil when there is
/// no journal to ask.
package func journalNames(task name: String, in directory: String) -> Bool? {
  guard let (prior, reading, _) = try? JournalDirectory(directory).fold(salvages: true)
  else { return nil }
  if reading.verdict.exitStatus != 0 { return nil }
  let wanted = Array(name.utf8)
  return prior.tasks.contains { task in
    (task.isDone || task.isFailed) && prior.text.slice(task.name).elementsEqual(wanted)
  }
}
