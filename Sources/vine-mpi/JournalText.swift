// Entries of the journal in words and as JSON.

import VineCore

enum JournalField {
  case text(String)
  /// As it is to be printed.
  case number(String)
  case list([[(String, JournalField)]])

  var plain: String {
    switch self {
    case .text(let text): text.isEmpty ? "-" : text
    case .number(let text): text
    case .list(let rows):
      "["
        + rows.map { row in row.map { "\($0.0)=\($0.1.plain)" }.joined(separator: ",") }
        .joined(separator: " ") + "]"
    }
  }

  var json: String {
    switch self {
    case .text(let text): quoted(text)
    case .number(let text): text
    case .list(let rows): "[" + rows.map(jsonObject).joined(separator: ",") + "]"
    }
  }
}

func jsonObject(_ fields: [(String, JournalField)]) -> String {
  "{" + fields.map { "\(quoted($0.0)):\($0.1.json)" }.joined(separator: ",") + "}"
}

private func quoted(_ text: String) -> String {
  var quoted = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": quoted += "\\\""
    case "\\": quoted += "\\\\"
    case _ where scalar.value < 0x20:
      let digits = String(scalar.value, radix: 16)
      quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: quoted.unicodeScalars.append(scalar)
    }
  }
  return quoted + "\""
}

private func number(_ value: some BinaryInteger) -> JournalField { .number("\(value)") }

extension JournalEntry {
  var typeName: String {
    switch self {
    case .sessionOpen: "SESSION_OPEN"
    case .taskDefinition: "TASK_DEF"
    case .sourceDefinition: "FILE_DEF"
    case .done: "DONE"
    case .hashed: "HASHED"
    case .commit: "COMMIT"
    case .failed: "FAILED"
    case .invalidate: "INVALIDATE"
    case .publishIntent: "PUBLISH_INTENT"
    case .published: "PUBLISHED"
    case .sessionClose: "SESSION_CLOSE"
    case .snapshot: "SNAPSHOT"
    case .result: "RESULT"
    }
  }

  /// What it says, in the order in which it is shown.
  var fields: [(String, JournalField)] {
    switch self {
    case .sessionOpen(let open): open.fields
    case .taskDefinition(let row):
      [
        ("task", number(row.task.rawValue)), ("name", .text(row.name)),
        ("key", hashField(row.key)),
        ("definition", hashField(row.definition)),
        ("deterministic", .number("\(row.isDeterministic)")),
      ]
    case .sourceDefinition(let row):
      [
        ("source", number(row.source.rawValue)), ("path", .text(row.path)),
        ("bytes", number(row.byteCount)), ("mtime", number(row.modificationTime)),
        ("hash", hashField(row.hash)),
      ]
    case .done(let row): row.fields
    case .hashed(let place, let byteCount, let hash):
      place.fields + [("bytes", number(byteCount)), ("hash", hashField(hash))]
    case .commit(let place, let byteCount, let mode, let hash, let location):
      place.fields + [
        ("bytes", number(byteCount)), ("mode", number(mode)), ("hash", hashField(hash)),
        ("at", .text(location.text)),
      ]
    case .failed(let row):
      [
        ("task", number(row.task.rawValue)), ("attempt", number(row.attempt)),
        ("class", .text(row.ending.className)), ("number", number(row.ending.journalNumber)),
        ("failures", number(row.failureCount)),
      ]
    case .invalidate(let task, let attempt, let cause):
      [
        ("task", number(task.rawValue)), ("attempt", number(attempt)),
        ("cause", cause == .none ? .text("") : number(cause.rawValue)),
      ]
    case .publishIntent(let place, let hash, let path):
      place.fields + [("hash", hashField(hash)), ("path", .text(path))]
    case .published(let place): place.fields
    case .sessionClose(let close):
      [
        ("reason", .text("\(close.reason)")), ("status", number(close.status)),
        ("done", number(close.doneCount)), ("failed", number(close.failedCount)),
      ]
    case .snapshot(let sessionCount): [("sessions", number(sessionCount))]
    case .result(let place, let bytes):
      place.fields + [("value", .text(String(decoding: bytes, as: UTF8.self)))]
    }
  }
}

private func hashField(_ hash: ContentHash) -> JournalField {
  .text(hash.isKnown ? hash.text : "")
}

extension CommitPlace {
  fileprivate var text: String {
    switch self {
    case .objects: "objects"
    case .temporary(let path): path
    }
  }
}

extension OutputPlace {
  fileprivate var fields: [(String, JournalField)] {
    [("task", number(task.rawValue)), ("attempt", number(attempt)), ("output", number(output))]
  }
}

extension SessionOpen {
  fileprivate var fields: [(String, JournalField)] {
    [
      ("epoch", number(epoch)), ("time", number(time)), ("version", .text(version)),
      ("host", .text(host)), ("pid", number(owner.number)), ("job", .text(jobID)),
      ("workflow", .text(workflowPath)), ("name", .text(workflowName)),
      ("tail", .text("\(SegmentName(epoch: tailEpoch, number: tailSegment))")),
      ("tailBytes", number(tailByteCount)), ("tailRecord", number(tailRecordNumber)),
    ]
  }
}

extension DoneEntry {
  fileprivate var fields: [(String, JournalField)] {
    let inputs: [[(String, JournalField)]] = inputs.map { input in
      switch input {
      case .inline: [("inline", .number("true"))]
      case .output(let place): place.fields
      case .source(let source): [("source", number(source.rawValue))]
      }
    }
    return [
      ("task", number(task.rawValue)), ("attempt", number(attempt)), ("rank", number(rank)),
      ("start", number(completion.start.nanoseconds)),
      ("end", number(completion.end.nanoseconds)),
      ("cpuMicroseconds", number(completion.cpuMicroseconds)),
      ("maxResidentKB", number(completion.maxResidentKB)), ("inputs", .list(inputs)),
      ("outputs", .list(outputByteCounts.map { [("bytes", number($0))] })),
    ]
  }
}

extension Ending {
  fileprivate var className: String {
    switch self {
    case .succeeded: "succeeded"
    case .exited: "exit"
    case .signaled: "signal"
    case .timedOut: "timeout"
    case .missingOutput: "missing-output"
    case .wrongOutputKind: "wrong-output-kind"
    case .changedInput: "changed-input"
    case .notStarted: "not-started"
    case .sandboxFailed: "sandbox"
    case .inputUnavailable: "input-unavailable"
    case .outputNotWritten: "output-not-written"
    case .fitsNoNode: "fits-no-node"
    case .killed: "killed"
    case .lost: "lost"
    case .raised: "raised"
    case .instanceLost: "instance-lost"
    case .setupFailed: "setup-failed"
    case .noRoom: "no-room"
    case .overDisk: "over-disk"
    }
  }
}
