// Faults on demand, for tests of what no test can wait for.
//
//     VINE_FAULT=<point>[@task|rank][#n]:<action>[,...]
//     action := kill | exit | drop | dup | delay=ms | short=bytes | eio | enospc | flip
//
// A point is a place in the program by name; `@` restricts it to one task or rank, `#n` to the nth
// time (from 1) that it is passed, without which it happens every time.

internal import Glibc
internal import Synchronization

/// What is to go wrong.
package enum FaultAction: Equatable, Sendable {
  /// SIGKILL to this process.
  case kill
  /// Leave at once, with status 70.
  case exit
  case drop
  case dup
  case delay(milliseconds: UInt32)
  case short(byteCount: Int)
  case eio
  case enospc
  case flip

  init?(_ text: Substring) {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let number = parts.count == 2 ? UInt32(parts[1]) : nil
    switch (parts[0], number) {
    case ("delay", let number?): self = .delay(milliseconds: number)
    case ("short", let number?): self = .short(byteCount: Int(number))
    case _ where parts.count == 2: return nil
    case ("kill", _): self = .kill
    case ("exit", _): self = .exit
    case ("drop", _): self = .drop
    case ("dup", _): self = .dup
    case ("eio", _): self = .eio
    case ("enospc", _): self = .enospc
    case ("flip", _): self = .flip
    default: return nil
    }
  }

  /// The errno that a failing call would leave; 0 for other actions.
  package var errorNumber: Int32 {
    switch self {
    case .eio: EIO
    case .enospc: ENOSPC
    default: 0
    }
  }
}

package final class FaultHooks: Sendable {
  private struct Rule {
    var point: Substring
    var name: Substring?
    var turn: Int?
    var action: FaultAction
    var count = 0
  }

  private let rules: Mutex<[Rule]>
  /// Nearly always: then asking costs a comparison.
  private let isEmpty: Bool

  /// Nothing is to go wrong: where even finding out a point's name would cost too much.
  package var isIdle: Bool { isEmpty }

  /// Of the environment variable `VINE_FAULT`. A mistake in it ends the process: a test whose fault
  /// never comes would prove nothing.
  package static let shared: FaultHooks = {
    let text = getenv("VINE_FAULT").map { String(cString: $0) } ?? ""
    guard let hooks = FaultHooks(text) else {
      complain("vine-mpi: cannot read VINE_FAULT=\(text)")
      Glibc.exit(2)
    }
    return hooks
  }()

  /// Nil when `text` does not follow the grammar.
  package init?(_ text: String) {
    var rules: [Rule] = []
    for part in text.split(separator: ",") {
      guard let colon = part.lastIndex(of: ":"),
        let action = FaultAction(part[part.index(after: colon)...])
      else { return nil }
      var point = part[..<colon]
      var turn: Int?
      if let hash = point.lastIndex(of: "#") {
        guard let number = Int(point[point.index(after: hash)...]), number > 0 else { return nil }
        turn = number
        point = point[..<hash]
      }
      var name: Substring?
      if let at = point.firstIndex(of: "@") {
        name = point[point.index(after: at)...]
        point = point[..<at]
      }
      if point.isEmpty { return nil }
      rules.append(Rule(point: point, name: name, turn: turn, action: action))
    }
    isEmpty = rules.isEmpty
    self.rules = Mutex(rules)
  }

  /// What is to go wrong as this point is passed, on behalf of `name` (a task or a rank). To be
  /// asked once each time. Kills, exits and delays have happened when this returns.
  package func action(at point: String, name: String = "") -> FaultAction? {
    if isEmpty { return nil }
    let action = rules.withLock { rules -> FaultAction? in
      var found: FaultAction?
      for place in rules.indices {
        guard rules[place].point == point, rules[place].name ?? name[...] == name[...]
        else { continue }
        rules[place].count += 1
        if rules[place].turn ?? rules[place].count == rules[place].count, found == nil {
          found = rules[place].action
        }
      }
      return found
    }
    switch action {
    case .kill: kill(getpid(), SIGKILL)
    case .exit: _exit(70)
    case .delay(let milliseconds): usleep(milliseconds * 1000)
    default: break
    }
    return action
  }
}
