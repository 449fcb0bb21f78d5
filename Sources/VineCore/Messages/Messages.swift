// What manager and workers tell each other: identifiers and small integers only. Adapters add the
// text (commands, names, contents) while they encode.

/// How an attempt ended.
package enum Ending: Hashable, Sendable {
  case succeeded
  /// Exit status other than 0.
  case exited(Int32)
  case signaled(Int32)
  case timedOut
  /// A declared output, by its place among the task's outputs, was not there after exit 0.
  case missingOutput(UInt32)
  /// A directory where a file was declared, or the other way round.
  case wrongOutputKind(UInt32)
  /// The task changed an input it shares with others, by its place among the task's inputs.
  case changedInput(UInt32)
  /// The command could not be executed: execve(2)'s errno.
  case notStarted(Int32)
  /// The sandbox could not be made or emptied: an errno. Not the task's fault.
  case sandboxFailed(Int32)
  /// An input could not be had on the node: an errno.
  case inputUnavailable(FileID, Int32)
  /// An output could not be written to the shared file system: an errno.
  case outputNotWritten(FileID, Int32)
  /// No node of this run has that many cores or that much memory or disk.
  case fitsNoNode
  /// Its inputs, its outputs and its sandbox together, so many MB, find room on no node.
  case noRoom(UInt32)
  /// It wrote so many MB, more than the `disk` it declared.
  case overDisk(UInt32)
  /// Killed by order of the manager: the run is being stopped.
  case killed
  /// The rank it ran on was lost.
  case lost
  /// The function of a call raised an error.
  case raised
  /// The library's instance died under the call. Not the call's fault, as far as anybody knows.
  case instanceLost
  /// No instance of the library could be set up.
  case setupFailed

  /// Whether the task's own retries are charged, rather than the losses of the run.
  package var isOwnFault: Bool {
    switch self {
    case .sandboxFailed, .inputUnavailable, .outputNotWritten, .killed, .lost, .instanceLost: false
    default: true
    }
  }
}

/// What is known of an attempt that ended.
package struct Completion: Hashable, Sendable {
  package var ending: Ending
  /// From exec to exit, on the manager's clock; both zero when nothing was executed.
  package var start: Instant
  package var end: Instant
  /// User and system time of the task's processes.
  package var cpuMicroseconds: Int64
  /// Peak resident memory of its largest process.
  package var maxResidentKB: Int64

  package init(
    _ ending: Ending, start: Instant = .zero, end: Instant = .zero, cpuMicroseconds: Int64 = 0,
    maxResidentKB: Int64 = 0
  ) {
    self.ending = ending
    self.start = start
    self.end = end
    self.cpuMicroseconds = cpuMicroseconds
    self.maxResidentKB = maxResidentKB
  }
}

/// Why an instance is no more.
package enum InstanceEnd: UInt8, Hashable, Sendable {
  /// By order.
  case stopped
  /// By itself.
  case died
  /// It never was ready for a call.
  case setupFailed
  /// By the worker, for the sake of a call that ran for too long.
  case overdue
}

/// Where a transfer reads.
package enum TransferSource: Hashable, Sendable {
  case sharedFileSystem
  /// Inline bytes of the description: they travel with the message.
  case manager
  /// The cache of another node, through its agent.
  case node(agent: WorkerID)
  /// Nowhere: it is downloaded, or made of its inputs, which lie on the node.
  case derivation
  /// Another node which is still getting the file itself, by `transfer`: what it has so far, and the
  /// rest as it comes.
  case relay(agent: WorkerID, transfer: TransferID)

  /// The agent that is to be asked for it, if it is one.
  package var agent: WorkerID? {
    switch self {
    case .sharedFileSystem, .manager, .derivation: nil
    case .node(let agent), .relay(let agent, _): agent
    }
  }
}

/// Stands for an errno: a derivation failed for a reason that trying again does not change.
package let derivationFailedError: Int32 = 4096
/// ECONNRESET: the source of a transfer is gone or gave up, which says nothing about the file.
package let sourceGoneError: Int32 = 104
/// ENOENT and ESTALE: what is there may not be seen from this node yet.
package func isMissError(_ error: Int32) -> Bool { error == 2 || error == 116 }
/// EBADMSG: what a source sends is damaged, however often it is asked.
package let damagedSourceError: Int32 = 74

package enum ManagerMessage: Hashable, Sendable {
  /// Run it once the allocation's earlier attempts have ended. With `hashesFirst` the hashes of its
  /// outputs come before its end: an earlier value is to be compared.
  case startTask(
    AttemptID, allocation: AllocationID, timeoutMilliseconds: UInt32, hashesFirst: Bool)
  /// Make an instance of a library, with the allocation's cores. It runs so many calls at once; where
  /// they are isolated, one can be killed without the others. With a timeout, its set-up has so long.
  case startInstance(
    AllocationID, LibraryID, slots: UInt16, isolatesCalls: Bool, timeoutMilliseconds: UInt32)
  /// End an instance that has no calls; the answer is `instanceEnded`.
  case stopInstance(AllocationID)
  /// Call it in the allocation's instance as soon as that has a free slot; it comes back as
  /// `taskReturned` when there is no such instance any more.
  case startCall(
    AttemptID, allocation: AllocationID, timeoutMilliseconds: UInt32, hashesFirst: Bool)
  /// Give it back if it has not begun; the answer is `taskReturned`, or in the end `taskFinished`.
  case takeBack(AttemptID)
  case killTask(AttemptID)
  /// To an agent: bring the file into the node's cache.
  case fetch(FileValue, transfer: TransferID, from: TransferSource, byteCount: Int64)
  /// To an agent: a transfer has a helper. A node that has the file may be asked for ranges of it; one
  /// that relays it may be asked to read ranges of the original. `sharedFileSystem`: somebody may ask
  /// for that here. Comes before the order to fetch, or while that is carried out.
  case assist(FileValue, transfer: TransferID, from: TransferSource)
  /// To an agent: forget the replica.
  case unlink(FileValue)
  /// To an agent: write the replica to the shared file system, synced: beside its target if it has
  /// one, else among the run's objects.
  case commit(FileValue)
  /// To an agent: compare what it offered with its digest, and put it into the cache as what that
  /// attempt made; the answer is `replicaFound` or `replicaRefused`.
  case adopt(FileValue, as: UInt32)
  /// To an agent: remove all that it offered and that was not adopted.
  case dropOffers
  /// Nothing more will come: clean up and leave.
  case leave
}

package enum WorkerMessage: Hashable, Sendable {
  /// An output lies in the node's cache.
  case replicaReady(FileValue, byteCount: Int64)
  /// A task changed this node's replica in place; comes before the finish of that attempt.
  case replicaDamaged(FileValue)
  /// The node's agent found the file among what earlier runs or sessions left, and compared it.
  case replicaFound(FileValue, byteCount: Int64)
  /// The node's agent has looked for everything.
  case recallEnded
  /// A dead session of this run left the file on the node; it was not compared yet.
  case replicaOffered(FileValue, byteCount: Int64)
  /// Answers `adopt`. For no file: something lies there that the run does not know.
  case replicaRefused(FileValue, AdoptionRefusal)
  /// The node's agent has offered all that it has.
  case offersEnded
  case taskFinished(AttemptID, Completion)
  /// Answers `takeBack`: it had not begun.
  case taskReturned(AttemptID)
  /// `error` is 0 or an errno.
  case transferEnded(TransferID, byteCount: Int64, error: Int32)
  /// A helper of a transfer, not its source, is asked for nothing any more: an errno.
  case helperFailed(TransferID, agent: WorkerID, error: Int32)
  case committed(FileValue, byteCount: Int64, error: Int32)
  /// The disk of the worker's node was found to be full: what is free there now. Comes before the
  /// report of what failed for it.
  case diskMeasured(DiskCapacity)
  /// The content of an output.
  case hashed(FileValue, byteCount: Int64, ContentHash)
  /// The result of a call comes with this message; before the end of that attempt.
  case resultReady(FileValue, byteCount: Int64)
  case instanceReady(AllocationID, setupNanoseconds: Int64)
  /// Before the reports of the calls that it had.
  case instanceEnded(AllocationID, InstanceEnd)
}
