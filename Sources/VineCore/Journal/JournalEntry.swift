// What lies in the journal: facts about tasks by their keys, so that a later session with other
// ranks, other nodes or an edited description can tell what still holds.

/// The number of a task in the journal of a run: counts its task definitions from 0, through all
/// sessions. A task that was edited has another key and so another number.
package struct TaskNumber: Hashable, Comparable, Sendable {
  package let rawValue: UInt32
  package init(_ rawValue: UInt32) { self.rawValue = rawValue }
  package static let none = TaskNumber(.max)
  package static func < (left: TaskNumber, right: TaskNumber) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// The number of an entry in the journal of a run: counts through all sessions.
package struct RecordNumber: Hashable, Comparable, Sendable {
  package let rawValue: UInt64
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  package static func < (left: RecordNumber, right: RecordNumber) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// The number of a source file in the journal of a run, likewise.
package struct SourceNumber: Hashable, Sendable {
  package let rawValue: UInt32
  package init(_ rawValue: UInt32) { self.rawValue = rawValue }
}

/// One entry of the journal.
package enum JournalEntry: Equatable, Sendable {
  case sessionOpen(SessionOpen)
  case taskDefinition(TaskDefinition)
  case sourceDefinition(SourceDefinition)
  case done(DoneEntry)
  case hashed(OutputPlace, byteCount: Int64, hash: ContentHash)
  case commit(OutputPlace, byteCount: Int64, mode: UInt16, hash: ContentHash, at: CommitPlace)
  case failed(FailedEntry)
  case invalidate(TaskNumber, attempt: UInt32, cause: TaskNumber)
  case publishIntent(OutputPlace, hash: ContentHash, path: String)
  case published(OutputPlace)
  case sessionClose(SessionClose)
  /// The entries that follow rebuild all that came before, in which that many sessions began before
  /// the one named next.
  case snapshot(sessionCount: UInt32)
  /// The result of a call, a JSON text.
  case result(OutputPlace, [UInt8])
}

/// An output of an accepted attempt, by its place among the task's outputs.
package struct OutputPlace: Hashable, Sendable {
  package var task: TaskNumber
  package var attempt: UInt32
  package var output: UInt16
  package init(task: TaskNumber, attempt: UInt32, output: UInt16) {
    self.task = task
    self.attempt = attempt
    self.output = output
  }
}

/// Where the durable bytes of a committed output are.
package enum CommitPlace: Hashable, Sendable {
  /// `RUN/objects`, under their hash.
  case objects
  /// Under this temporary name beside the target, until they are published.
  case temporary(String)
}

/// A process, told apart from all others of its cluster.
package struct ProcessIdentity: Equatable, Sendable {
  /// Of the kernel's start on the host.
  package var bootID: String
  package var namespace: UInt64
  package var number: Int32
  /// When it started, in the kernel's ticks: numbers are used again.
  package var startTick: UInt64

  package init(bootID: String = "", namespace: UInt64 = 0, number: Int32 = 0, startTick: UInt64 = 0)
  {
    self.bootID = bootID
    self.namespace = namespace
    self.number = number
    self.startTick = startTick
  }
}

package struct SessionOpen: Equatable, Sendable {
  package var epoch: UInt32
  /// Seconds since 1970.
  package var time: UInt64
  package var version: String
  package var host: String
  /// Of the batch system; empty when there is none.
  package var jobID: String
  package var workflowPath: String
  package var workflowName: String
  /// Where the log this session goes on from ends: what an older epoch writes behind it is never
  /// read. Segment (epoch, number) and bytes in it; all 0 in a new run.
  package var tailEpoch: UInt32
  package var tailSegment: UInt32
  package var tailByteCount: UInt64
  package var tailRecordNumber: UInt64
  /// The manager.
  package var owner: ProcessIdentity

  package init(
    epoch: UInt32, time: UInt64, version: String, host: String, jobID: String,
    workflowPath: String, workflowName: String, tailEpoch: UInt32 = 0, tailSegment: UInt32 = 0,
    tailByteCount: UInt64 = 0, tailRecordNumber: UInt64 = 0,
    owner: ProcessIdentity = ProcessIdentity()
  ) {
    self.epoch = epoch
    self.time = time
    self.version = version
    self.host = host
    self.jobID = jobID
    self.workflowPath = workflowPath
    self.workflowName = workflowName
    self.tailEpoch = tailEpoch
    self.tailSegment = tailSegment
    self.tailByteCount = tailByteCount
    self.tailRecordNumber = tailRecordNumber
    self.owner = owner
  }
}

package struct TaskDefinition: Equatable, Sendable {
  package var task: TaskNumber
  /// Of the task and all that is upstream of it.
  package var key: ContentHash
  /// Of the task alone: the key without the inputs' part.
  package var definition: ContentHash
  package var isDeterministic: Bool
  /// The task's id, for people.
  package var name: String

  package init(
    task: TaskNumber, key: ContentHash, definition: ContentHash, isDeterministic: Bool,
    name: String
  ) {
    self.task = task
    self.key = key
    self.definition = definition
    self.isDeterministic = isDeterministic
    self.name = name
  }
}

package struct SourceDefinition: Equatable, Sendable {
  package var source: SourceNumber
  package var path: String
  package var byteCount: Int64
  /// Nanoseconds since 1970.
  package var modificationTime: Int64
  /// When the description declares one.
  package var hash: ContentHash

  package init(
    source: SourceNumber, path: String, byteCount: Int64, modificationTime: Int64,
    hash: ContentHash = .unknown
  ) {
    self.source = source
    self.path = path
    self.byteCount = byteCount
    self.modificationTime = modificationTime
    self.hash = hash
  }
}

/// The value an attempt read through one of its inputs.
package enum InputValue: Hashable, Sendable {
  case output(OutputPlace)
  case source(SourceNumber)
  /// Inline content: part of the task's definition.
  case inline
}

package struct DoneEntry: Equatable, Sendable {
  package var task: TaskNumber
  package var attempt: UInt32
  /// The rank that ran it.
  package var rank: UInt32
  package var completion: Completion
  /// In the order of the task's inputs.
  package var inputs: [InputValue]
  /// Bytes of each output, in the order of the task's outputs.
  package var outputByteCounts: [Int64]

  package init(
    task: TaskNumber, attempt: UInt32, rank: UInt32, completion: Completion,
    inputs: [InputValue], outputByteCounts: [Int64]
  ) {
    self.task = task
    self.attempt = attempt
    self.rank = rank
    self.completion = completion
    self.inputs = inputs
    self.outputByteCounts = outputByteCounts
  }
}

package struct FailedEntry: Equatable, Sendable {
  package var task: TaskNumber
  package var attempt: UInt32
  package var ending: Ending
  /// The task's own failures so far.
  package var failureCount: UInt16

  package init(task: TaskNumber, attempt: UInt32, ending: Ending, failureCount: UInt16) {
    self.task = task
    self.attempt = attempt
    self.ending = ending
    self.failureCount = failureCount
  }
}

package struct SessionClose: Equatable, Sendable {
  package enum Reason: UInt8, Sendable { case ended, drained, walltime, signal, error }
  package var reason: Reason
  /// The exit status of the session.
  package var status: Int32
  package var doneCount: UInt64
  package var failedCount: UInt64

  package init(reason: Reason, status: Int32, doneCount: UInt64, failedCount: UInt64) {
    self.reason = reason
    self.status = status
    self.doneCount = doneCount
    self.failedCount = failedCount
  }
}
