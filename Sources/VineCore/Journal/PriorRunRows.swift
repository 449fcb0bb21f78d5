// What is known of tasks, outputs and sources after the sessions so far.

/// A task that an earlier session defined.
package struct PriorTask: Sendable {
  package var key = ContentHash.unknown
  package var definition = ContentHash.unknown
  package var name = TextRef.empty
  /// The attempt whose value holds; 0 when there is none.
  package var attempt: UInt32 = 0
  /// The highest number any attempt had: new ones go on behind it.
  package var lastAttempt: UInt32 = 0
  /// The last attempt whose value was given up; 0 when none was.
  package var invalidatedAttempt: UInt32 = 0
  package var rank: UInt32 = 0
  package var start = Instant.zero
  package var end = Instant.zero
  package var cpuMicroseconds: Int64 = 0
  package var maxResidentKB: Int64 = 0
  var inputStart: UInt32 = 0
  var inputCount: UInt32 = 0
  var outputStart: UInt32 = 0
  var outputCount: UInt32 = 0
  /// How the last attempt ended, when `isFailed`.
  var endingNumber: Int32 = 0
  var endingCode: UInt8 = 0
  /// False for a number that was jumped over, which a whole journal never does.
  package var isDefined = false
  package var isDeterministic = false
  /// The last thing known of it is a failure.
  package var isFailed = false
  /// The task's own failures since it was last done.
  package var failureCount: UInt16 = 0

  package var isDone: Bool { attempt != 0 }
  package var ending: Ending? {
    isFailed ? Ending(journalCode: endingCode, number: endingNumber) : nil
  }
  package var inputRange: Range<Int> {
    Int(inputStart)..<Int(inputStart) + Int(inputCount)
  }
  package var outputRange: Range<Int> {
    Int(outputStart)..<Int(outputStart) + Int(outputCount)
  }
}

/// An output of an accepted attempt.
package struct PriorOutput: Sendable {
  package enum Place: UInt8, Sendable {
    /// In caches of nodes, if anywhere.
    case none
    /// In `RUN/objects`, under its hash.
    case objects
    /// Beside its target, under the temporary name `path`.
    case temporary
    /// Under `path`.
    case published
    /// In the journal: `path` is the content.
    case journal
  }
  package var byteCount: Int64
  package var hash = ContentHash.unknown
  package var path = TextRef.empty
  package var mode: UInt16 = 0
  package var place = Place.none
}

package struct PriorSource: Sendable {
  package var path = TextRef.empty
  package var byteCount: Int64 = 0
  package var modificationTime: Int64 = 0
  package var hash = ContentHash.unknown
  package var isDefined = false
}

/// A publication that was begun.
package struct PriorIntent: Hashable, Sendable {
  package var path: TextRef
  package var hash: ContentHash
}

/// Rows by a hash of theirs, sorted: 16 bytes a row, built in one go.
struct HashOrder: Sendable {
  private var rows: [(word: UInt64, row: UInt32)] = []

  init(count: Int, hash: (Int) -> ContentHash?) {
    rows.reserveCapacity(count)
    for row in 0..<count {
      if let hash = hash(row) { rows.append((hash.words.0, UInt32(row))) }
    }
    rows.sort { ($0.word, $0.row) < ($1.word, $1.row) }
  }

  /// Rows whose hash begins like `hash`, ascending.
  func candidates(for hash: ContentHash) -> some Sequence<Int> {
    var low = 0
    var high = rows.count
    while low < high {
      let middle = (low + high) / 2
      if rows[middle].word < hash.words.0 { low = middle + 1 } else { high = middle }
    }
    return rows[low...].lazy.prefix { $0.word == hash.words.0 }.map { Int($0.row) }
  }
}
