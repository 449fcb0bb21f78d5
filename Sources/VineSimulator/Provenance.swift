// Who made what from what: the truth behind values, which the manager cannot see. An observer of the
// run must see one content of each task, however often it ran and whatever was lost.

import VineCore

/// The attempt behind some bytes, in the session that ran it; a source has attempt 0 of no task.
struct Origin: Hashable {
  let session: Int
  let attempt: AttemptID

  static func source(_ file: FileID) -> Origin {
    Origin(session: 0, attempt: AttemptID(.none, file.rawValue))
  }
}

/// Contents of attempts, and what follows for everybody who saw one.
struct Provenance {
  private struct Fact {
    let content: UInt64
    let reads: [Origin]
  }

  private struct Pin {
    let content: UInt64
    let seenThrough: FileID
  }

  private var facts: [Origin: Fact] = [:]
  /// What is at each path, in the order of publication, with the session that put it there.
  private var published: [(file: FileID, origin: Origin, session: Int)] = []
  /// By task: what the world has seen of it, through some published file.
  private var pins: [TaskID: Pin] = [:]

  /// A number that stands for all outputs of an attempt.
  func content(of origin: Origin) -> UInt64 {
    if let fact = facts[origin] { return fact.content }
    return mixed(0x5151, UInt64(origin.attempt.number))
  }

  /// An attempt made its outputs out of what it read and a share of chance.
  mutating func made(_ origin: Origin, from reads: [Origin], drift: UInt64) {
    var content = mixed(UInt64(origin.attempt.task.rawValue), drift)
    for read in reads { content = mixed(content, self.content(of: read)) }
    facts[origin] = Fact(content: content, reads: reads)
  }

  func reads(of origin: Origin) -> [Origin] { facts[origin]?.reads ?? [] }

  /// The hash that is told of one output.
  func hash(of origin: Origin, _ file: FileID) -> ContentHash {
    ContentHash(words: (mixed(content(of: origin), UInt64(file.rawValue)) | 1, 0, 0, 0))
  }

  /// The world sees `file`, and through it one content of everything it came from. Says what is
  /// wrong when it has seen another one before.
  mutating func publish(
    _ file: FileID, _ origin: Origin, in session: Int, accepted: [Origin?]
  ) -> String? {
    published.removeAll { $0.file == file }
    published.append((file, origin, session))
    return pin(file, origin, accepted: accepted)
  }

  /// People were told that an output of an earlier session is going to be replaced: what was seen
  /// through it does not bind any more. Says whether it was one.
  mutating func retract(_ file: FileID, before session: Int) -> Bool {
    guard let place = published.firstIndex(where: { $0.file == file }),
      published[place].session < session
    else { return false }
    published.remove(at: place)
    pins = [:]
    for row in published { _ = pin(row.file, row.origin, accepted: nil) }
    return true
  }

  /// What was to be replaced was not: a crash took the decision away.
  mutating func restore(_ file: FileID, _ origin: Origin, of session: Int) {
    if published.contains(where: { $0.file == file }) { return }
    published.append((file, origin, session))
    _ = pin(file, origin, accepted: nil)
  }

  private mutating func pin(_ file: FileID, _ origin: Origin, accepted: [Origin?]?) -> String? {
    var stack = [origin]
    var seen: Set<Origin> = []
    while let next = stack.popLast() {
      guard next.attempt.task != .none, seen.insert(next).inserted else { continue }
      let task = next.attempt.task
      let content = content(of: next)
      if let other = accepted?[task.index], self.content(of: other) != content {
        return "\(file) is published from \(next.attempt), but \(other.attempt) is what counts"
      }
      if let pin = pins[task], pin.content != content {
        return "\(task) is seen with one value through \(pin.seenThrough), another through \(file)"
      }
      pins[task] = Pin(content: content, seenThrough: file)
      stack += reads(of: next)
    }
    return nil
  }

  /// An attempt's outputs count from now on.
  func accept(_ origin: Origin) -> String? {
    let task = origin.attempt.task
    guard let pin = pins[task], pin.content != content(of: origin) else { return nil }
    return "\(task) gets another value after \(pin.seenThrough), made from it, was published"
  }

  /// What the world saw of a task.
  func seenContent(of task: TaskID) -> UInt64? { pins[task]?.content }
}

private func mixed(_ first: UInt64, _ second: UInt64) -> UInt64 {
  var generator = PRNG(seed: first &* 0x9E37_79B9_7F4A_7C15 ^ second)
  return generator.next()
}
