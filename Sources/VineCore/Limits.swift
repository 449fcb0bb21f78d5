// Every limit of the system, once.

/// Bounds that keep one bad input or one slow peer from taking the whole run down.
package enum Limits {
  /// Bytes of one inline buffer, command or name: `TextRef` has 24 bits of length.
  package static let textByteCountMax = (1 << 24) - 1
  /// Cores of one node that a cpuset can name.
  package static let coresPerNodeMax = 1 << 16
  /// Bytes kept of each output stream of an attempt: half of them head, half tail
  /// (operations.md, "Output of tasks").
  package static let outputByteCountMax = 16 << 20
  /// Bytes of standard error that are shown with a failure.
  package static let errorTailByteCount = 4096
  /// Ranks that may die under one task before it is taken for the cause.
  package static let ranksLostUnderTaskMax = 3
  /// Outputs that may wait to be published before what they wait for is committed.
  package static let publishWaitingMax = 100
  /// How long tasks wait for values that lie in caches of a dead session, once all nodes have
  /// registered, in nanoseconds: as long as some hundred gigabytes take to be read and compared.
  package static let adoptionWaitNanoseconds: Int64 = 60_000_000_000
  /// How long an output may wait before that, in nanoseconds.
  package static let publishWaitNanoseconds: Int64 = 60_000_000_000
  /// Time between two looks at the barrier, per task of the workflow: a look costs a tenth of it.
  package static let settlingNanosecondsPerTask: Int64 = 2_000
  /// Bytes of an intermediate file that is always kept for the next session when its consumer
  /// failed.
  package static let keptByteCountMax: Int64 = 16 << 20
  /// Bytes of an intermediate file that is hashed without being asked for.
  package static let hashedByteCountMax: Int64 = 256 << 20
  /// Tries after a loss that was not the task's own fault.
  package static let lossRetryMax = 5
  /// Times a shared-file-system read of one file is tried on a node before the task fails.
  package static let fetchRetryMax = 3
  /// Bytes of a result that travels with the end of its call; a larger one is a file in a cache.
  package static let inlineResultByteCountMax = 65_536
  /// Instances of a library that fail to be set up one after another before its calls fail.
  package static let setupFailuresMax = 3
  /// How long the ranks of a gang that ended may take to leave its function, in nanoseconds.
  package static let gangGraceNanoseconds: Int64 = 10_000_000_000
  /// Calls that may wait behind those that an instance runs: they may be very short.
  package static let instanceDepthMax = 64
  /// Attempts that may wait behind a running one on the same allocation (see `Scheduler`).
  package static let laneDepthMax = 8
  /// A lane is kept filled for this long ahead, in nanoseconds: more than a round trip between
  /// a busy manager and a worker, less than anybody notices at the end of a run.
  package static let laneAheadNanoseconds: Int64 = 4_000_000
  /// Transfers that one node serves at once, unless the description's policy says otherwise.
  package static let transfersPerSourceMax = 4
  /// A transfer of a small file counts as this part of one: what it costs is a message, not a share
  /// of the link.
  package static let smallTransfersPerTransfer = 64
  /// Copies for safety's sake that are begun in one turn, files that are looked at for that, and nodes
  /// that are looked at for each.
  package static let sparesPerTurnMax = 8
  package static let spareLooksMax = 32
  package static let spareNodeLooksMax = 16
  /// Bytes of a file that travels within one message.
  package static let smallFileByteCountMax: Int64 = 32 << 10
  /// Bytes of a chunk, the unit in which files are passed on before they are whole.
  package static let chunkByteCount: Int64 = 1 << 20
  /// Chunks that a file of unknown size is taken to have when sources are chosen.
  package static let chunksOfUnknownFile = 32
  /// Chunks of a stripe, the unit in which several sources share a file.
  package static let chunksPerStripe = 8
  /// Chunks of a file that a node reads from the shared file system before it asks others to read
  /// some for it. By then what the buffers of a slow link take in is full.
  package static let chunksReadAlone = 32
  /// Bytes of a file from which on several sources share it.
  package static let stripedByteCountMin: Int64 = 64 << 20
  /// Sources of one transfer at once, unless the description's policy says otherwise.
  package static let sourcesPerTransferMax = 4
  /// Replicas of a file that are looked at to find further sources.
  static let helperLooksMax = 16
  /// Transfers that one node receives at once.
  package static let transfersPerReceiverMax = 16
  /// What a node is assumed to receive from another in a second, until it was measured: a link of
  /// 1 Gbit/s.
  static let assumedBytesPerSecond = 125_000_000.0
  /// Inputs of a task that are looked at to find the node that has most of them.
  static let inputLooksMax = 32
  /// Moving inputs that takes less than this, in nanoseconds, is not worth waiting for a busy node.
  package static let patienceNanosecondsMin: Int64 = 20_000_000
  /// A task waits for a busy node that has its inputs no longer than this in all, in nanoseconds, and
  /// no longer than moving them would take.
  package static let patienceNanosecondsMax: Int64 = 120_000_000_000
  /// Nodes that one task waits for at once, and tasks that may wait for one node.
  static let patientNodesMax = 4
  static let patientTasksPerNodeMax = 1_024
  /// Tasks that wait for a node that are looked at when it has room.
  static let patientLooksMax = 16
  /// Bytes of a transfer that tell something of the bandwidth.
  static let measuredByteCountMin: Int64 = 1 << 20
  /// Bytes that an attempt's sandbox is taken to need if it declares none: directory and small files.
  package static let sandboxByteCount: Int64 = 64 << 10
  /// Names that an attempt's sandbox is taken to need.
  package static let sandboxInodeCount: Int64 = 4
  /// Ready tasks that are looked at in one turn though the disks have no room for them.
  package static let roomlessLooksMax = 16
  /// Times that the last copy of what a task made may be evicted because it can be made again: two
  /// tasks could evict each other's inputs for ever.
  package static let remakesMax = 2
  /// Times that a node that was found full is tried with its first limit when nothing fits any more.
  package static let limitRestoresMax = 3
  /// Times that a task goes elsewhere since its node's disk was full.
  package static let fullDiskRetryMax = 50
  /// Share of a node's limit, in per cent, from which on its intermediate files make it tight.
  static let tightPerCent: Int64 = 70
  /// A file that no more tasks than this will read is about to be freed.
  static let lastReadersMax: UInt32 = 4
  /// Files that are named when the disks are full.
  package static let fullDiskFilesMax = 5
  /// Bytes of one file that the accounts of disks believe: one pebibyte.
  package static let fileByteCountMax: Int64 = 1 << 50
  /// Bytes of a linux argument string, with its NUL (MAX_ARG_STRLEN, execve(2)).
  package static let argumentByteCountMax = 131_072
  /// A rank that is silent for this long is lost, unless `--node-timeout` says otherwise, in
  /// nanoseconds: more than the seconds by which a network that comes back delays messages.
  package static let nodeTimeoutNanoseconds: Int64 = 30_000_000_000
  /// What of a silence counts between two looks at the clock: in the rest of the time the observer
  /// itself was stopped or held up, and could have heard nobody.
  package static let silenceStepNanoseconds: Int64 = 1_000_000_000
  /// How long the end of a run waits for what the last words to other ranks need, in nanoseconds.
  package static let farewellNanoseconds: Int64 = 5_000_000_000
  /// Time between SIGTERM and SIGKILL at a timeout, in nanoseconds.
  package static let killGraceNanoseconds: Int64 = 5_000_000_000
}
