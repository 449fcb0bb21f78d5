// Going on from what earlier sessions left. An adapter compares their journal with the description
// at hand by keys; what still holds comes in here, in terms of this run's tasks and files.

import HeapModule

/// What earlier sessions left.
package struct RestoredRun: Sendable {
  /// How far an earlier value of a task counts.
  package enum Reuse: UInt8, Sendable {
    /// There is none, or it is of another definition.
    case none
    /// The task and all that is upstream of it are unchanged.
    case whole
    /// The task is unchanged; its value counts if each input comes out with its earlier content.
    case conditional
  }

  package var reuse: [Reuse]
  /// The accepted attempt of each task; 0: none.
  package var accepted: [UInt32]
  /// Tries so far, by task: numbering goes on behind them, so that no two values share a number.
  package var attemptCounts: [UInt32]
  /// Files of accepted attempts that lie on the shared file system.
  package var durable: [Copy] = []
  /// Contents of accepted values, as far as they are known.
  package var hashes: [FileID: ContentHash] = [:]
  /// Their sizes, in bytes.
  package var byteCounts: [FileID: Int64] = [:]
  /// Tasks of which a copy that was durable is lost or changed: the barrier relied on it.
  package var damaged: Set<TaskID> = []
  /// For each task with conditional reuse, the contents it read, in the order of its inputs;
  /// `.unknown` for an input that no task makes and that did not change.
  package var inputHashes: [TaskID: [ContentHash]] = [:]

  package struct Copy: Sendable {
    package var file: FileID
    /// Names the copy.
    package var attempt: UInt32
    package var isPublished: Bool
    /// The journal holds it.
    package var isJournaled: Bool
    package init(file: FileID, attempt: UInt32, isPublished: Bool, isJournaled: Bool = false) {
      self.file = file
      self.attempt = attempt
      self.isPublished = isPublished
      self.isJournaled = isJournaled
    }
  }

  /// Nothing is left of anything.
  package init(taskCount: Int) {
    reuse = Array(repeating: .none, count: taskCount)
    accepted = Array(repeating: 0, count: taskCount)
    attemptCounts = Array(repeating: 0, count: taskCount)
  }
}

/// An earlier value that counts if its task's inputs come out as they were.
struct ConditionalValue {
  let accepted: UInt32
  let inputHashes: [ContentHash]
  let copies: [RestoredRun.Copy]
  let hashes: [FileID: ContentHash]
}

extension Manager {
  /// Enters what earlier sessions left. Tasks that are done count as done; a value that was lost with
  /// its nodes is made again only if somebody needs it, and if `seeksValues`, only when it is not found
  /// in what the earlier session left on its nodes either. Before any node is added.
  package mutating func restore(
    _ restored: RestoredRun, seeksValues: Bool = false, effects: inout [ManagerEffect]
  ) {
    hasLosses = true
    values.damaged = restored.damaged
    for task in workflow.tasks.ids {
      tasks[task.index].attemptCount = max(
        restored.attemptCounts[task.index], restored.accepted[task.index])
    }
    // A copy may be of an attempt that the journal does not name, since it made the same again.
    for copy in restored.durable {
      let producer = workflow.files[copy.file].producer
      guard producer != .none else { continue }
      let count = tasks[producer.index].attemptCount
      tasks[producer.index].attemptCount = max(count, copy.attempt)
    }
    enterCopies(restored)
    for task in workflow.tasks.ids where restored.reuse[task.index] == .whole {
      enterDone(task, attempt: restored.accepted[task.index])
    }
    for task in workflow.tasks.ids where tasks[task.index].state == .done {
      releaseConsumption(of: task, effects: &effects)
      satisfySuccessors(of: task, at: .zero)
    }
    if seeksValues { seekValues(restored) }
    for task in workflow.tasks.ids where tasks[task.index].state == .done {
      // What somebody needs and what lies nowhere is made again.
      for output in workflow.outputs(of: task) {
        replaceValueIfNeeded(of: output.file, at: .zero, effects: &effects)
      }
    }
    forgetStaleKeys()
    isSettlingDue = true
  }

  /// All at once: one by one they would have to come up first.
  private mutating func forgetStaleKeys() {
    for request in ready.indices {
      let live = ready[request].unordered.filter { tasks[$0.task.index].state == .ready }
      if live.count < ready[request].count { ready[request] = Heap(live) }
    }
  }

  private mutating func enterDone(_ task: TaskID, attempt: UInt32) {
    // Ready tasks keep a stale key in their heap, which is dropped when it comes up.
    tasks[task.index].restoreAsDone()
    values.accepted[task.index] = attempt
    progressCounts.doneCount += 1
    progressCounts.reusedCount += 1
  }

  /// A durable copy of an earlier session is that of the value that counts.
  private mutating func enterCopy(_ copy: RestoredRun.Copy, at now: Instant) {
    values.durable[copy.file.index] = DurableRow(
      standing: copy.isPublished ? .published : copy.isJournaled ? .journaled : .committed,
      attempt: copy.attempt)
    if copy.isPublished {
      values.isFromEarlierSession[copy.file.index] = true
    } else if workflow.files[copy.file].isPublished {
      waitToPublish(copy.file, at: now)
    }
  }

  private mutating func enterCopies(_ restored: RestoredRun) {
    var copies: [TaskID: [RestoredRun.Copy]] = [:]
    for copy in restored.durable {
      let producer = workflow.files[copy.file].producer
      guard producer != .none else { continue }
      switch restored.reuse[producer.index] {
      case .whole: enterCopy(copy, at: .zero)
      case .conditional: copies[producer, default: []].append(copy)
      case .none: break
      }
    }
    for task in workflow.tasks.ids {
      switch restored.reuse[task.index] {
      case .none: break
      case .whole:
        for output in workflow.outputs(of: task) {
          values.hashes[output.file] = restored.hashes[output.file]
        }
      case .conditional:
        var hashes: [FileID: ContentHash] = [:]
        for output in workflow.outputs(of: task) {
          hashes[output.file] = restored.hashes[output.file]
        }
        conditionalValues[task] = ConditionalValue(
          accepted: restored.accepted[task.index],
          inputHashes: restored.inputHashes[task] ?? [], copies: copies[task] ?? [],
          hashes: hashes)
      }
    }
  }

  /// Takes the earlier value of a task whose inputs came out as they were. Returns whether it did.
  mutating func takeConditionalValue(
    of task: TaskID, at now: Instant, effects: inout [ManagerEffect]
  ) -> Bool {
    guard let earlier = conditionalValues.removeValue(forKey: task) else { return false }
    for (place, input) in workflow.inputs(of: task).enumerated()
    where workflow.files[input.file].producer != .none {
      guard place < earlier.inputHashes.count, earlier.inputHashes[place].isKnown,
        values.hashes[input.file] == earlier.inputHashes[place]
      else { return false }
    }
    // Only what is kept in full is taken: half a value would have to be made again anyway.
    let kept = Set(earlier.copies.map(\.file))
    for output in workflow.outputs(of: task)
    where workflow.files[output.file].isPublished || remainingConsumers[output.file.index] > 0 {
      if usesCommit(task) && !kept.contains(output.file) { return false }
    }
    enterDone(task, attempt: earlier.accepted)
    for copy in earlier.copies {
      enterCopy(copy, at: now)
      values.hashes[copy.file] = earlier.hashes[copy.file]
    }
    isSettlingDue = true
    append(.reused(AttemptID(task, earlier.accepted)), effects: &effects)
    releaseConsumption(of: task, effects: &effects)
    satisfySuccessors(of: task, at: now)
    return true
  }

  /// Whether a consumer's earlier value depends on the content of what `task` makes.
  func feedsConditionalValue(_ task: TaskID) -> Bool {
    if conditionalValues.isEmpty { return false }
    return workflow.outputs(of: task).contains { output in
      consumerBindings(of: output.file).contains {
        conditionalValues[workflow.bindings[$0].task] != nil
      }
    }
  }
}
