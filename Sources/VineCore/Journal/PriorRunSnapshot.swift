// A prior run as entries: what a compaction writes.

extension PriorRun {
  /// Gives the entries that rebuild this state, and nothing that no longer counts.
  package func snapshotEntries(_ body: (JournalEntry) -> Void) {
    let isOpen: UInt32 = lastOpen == nil ? 0 : 1
    body(.snapshot(sessionCount: sessionCount &- isOpen))
    if let lastOpen { body(.sessionOpen(lastOpen)) }
    for (row, source) in sources.enumerated() where source.isDefined {
      body(
        .sourceDefinition(
          SourceDefinition(
            source: SourceNumber(UInt32(row)), path: text.string(source.path),
            byteCount: source.byteCount, modificationTime: source.modificationTime,
            hash: source.hash)))
    }
    for (row, task) in tasks.enumerated() where task.isDefined {
      emit(task, TaskNumber(UInt32(row)), body)
    }
    if let lastClose { body(.sessionClose(lastClose)) }
  }

  private func emit(_ task: PriorTask, _ number: TaskNumber, _ body: (JournalEntry) -> Void) {
    body(
      .taskDefinition(
        TaskDefinition(
          task: number, key: task.key, definition: task.definition,
          isDeterministic: task.isDeterministic, name: text.string(task.name))))
    if task.invalidatedAttempt != 0 {
      body(.invalidate(number, attempt: task.invalidatedAttempt, cause: .none))
    }
    if let ending = task.ending {
      body(
        .failed(
          FailedEntry(
            task: number, attempt: task.lastAttempt, ending: ending,
            failureCount: task.failureCount)))
    }
    guard task.isDone else { return }
    let completion = Completion(
      .succeeded, start: task.start, end: task.end, cpuMicroseconds: task.cpuMicroseconds,
      maxResidentKB: task.maxResidentKB)
    body(
      .done(
        DoneEntry(
          task: number, attempt: task.attempt, rank: task.rank, completion: completion,
          inputs: Array(inputs[task.inputRange]),
          outputByteCounts: outputs[task.outputRange].map(\.byteCount))))
    for (place, output) in outputs[task.outputRange].enumerated() {
      emit(output, OutputPlace(task: number, attempt: task.attempt, output: UInt16(place)), body)
    }
  }

  private func emit(_ output: PriorOutput, _ place: OutputPlace, _ body: (JournalEntry) -> Void) {
    switch output.place {
    case .none:
      if output.hash.isKnown {
        body(.hashed(place, byteCount: output.byteCount, hash: output.hash))
      }
    case .journal: body(.result(place, Array(text.slice(output.path))))
    case .objects:
      body(
        .commit(
          place, byteCount: output.byteCount, mode: output.mode, hash: output.hash, at: .objects))
    case .temporary, .published:
      // What is published had a temporary name once; its mode travels in such a commit.
      let path = text.string(output.path)
      body(
        .commit(
          place, byteCount: output.byteCount, mode: output.mode, hash: output.hash,
          at: .temporary(path)))
      if output.place == .published {
        body(.publishIntent(place, hash: output.hash, path: path))
        body(.published(place))
      }
    }
    if let intent = openIntents[place] {
      body(.publishIntent(place, hash: intent.hash, path: text.string(intent.path)))
    }
  }
}
