// A node's agent: brings files into the node's cache, out of it to other nodes, and to the shared
// file system. What may block runs on helper threads.

internal import CLinux
internal import Glibc
internal import VineCore

/// What helper threads of a worker give back.
enum HelperResult: Sendable {
  /// A part file is complete, or failed.
  case fetched(TransferID, FileValue, part: String, byteCount: Int64, error: Int32)
  /// The hash is unknown for a directory beside its target.
  case committed(FileValue, byteCount: Int64, ContentHash, error: Int32)
  case hashed([HashedValue])
  /// All outputs of an attempt, in order.
  case hashedFirst(AttemptID, [HashedValue])
  case removed
  /// A derived file was compared with its digest; the text is for people.
  case derived(WorkerEvent, String)
  /// A file was looked for among what the node keeps.
  case recalled(FileValue, part: String, ForeverCache.Recall)
}

/// The content of one output.
struct HashedValue: Sendable {
  let value: FileValue
  let byteCount: Int64
  let hash: ContentHash
}

final class Agent {
  private let scratch: ScratchDirectory
  private let runName: String
  private let mailbox: Mailbox
  private let bulk: BulkTransfer?
  private let queue: BlockingQueue<HelperResult>
  private let chunks: ChunkHelpers
  private let remover: Remover
  private let incoming: Incoming
  private let serving: Serving
  private(set) var totals = WorkerTotals()
  /// Each holds a descriptor, so there are few.
  private static let hashingBatchMax = 32
  private static let hashingDelayNanoseconds: Int64 = 50_000_000
  private var unhashed: [(FileValue, Int32)] = []
  /// When `hashDue` wants to be called, on the monotonic clock.
  private(set) var hashingDue: Int64?

  init(
    scratch: ScratchDirectory, runName: String, mailbox: Mailbox, bulk: BulkTransfer?,
    queue: BlockingQueue<HelperResult>, chunks: ChunkHelpers, remover: Remover
  ) {
    self.scratch = scratch
    self.remover = remover
    self.chunks = chunks
    self.runName = runName
    self.mailbox = mailbox
    self.bulk = bulk
    self.queue = queue
    incoming = Incoming(scratch: scratch, mailbox: mailbox, bulk: bulk, chunks: chunks)
    serving = Serving(scratch: scratch, mailbox: mailbox, bulk: bulk, incoming: incoming)
    incoming.serving = serving
  }

  private func cachePath(_ value: FileValue) -> String { scratch.cachePath(value) }

  // MARK: Fetching

  /// Begins a transfer; the event comes at once when it needs no waiting.
  func fetch(_ order: FetchOrder) -> WorkerEvent? {
    let part = scratch.part("\(order.transfer.rawValue)")
    switch order.source {
    case .node, .relay: incoming.fetch(order)
    case .sharedFileSystem where !order.isDirectory: incoming.fetch(order)
    case .manager:
      incoming.beginOpaque(order)
      FileTree.remove(part)
      let error = write(order.location, to: part)
      return finish(
        order.value, order.transfer, part: part, byteCount: Int64(order.location.count),
        error: error
      )
    case .sharedFileSystem:
      incoming.beginOpaque(order)
      let path = String(decoding: order.location, as: UTF8.self)
      queue.submit {
        FileTree.remove(part)
        let (byteCount, error) =
          order.isArchive ? Self.unpack(path, to: part) : Self.copyDirectory(path, to: part)
        return .fetched(
          order.transfer, order.value, part: part, byteCount: byteCount, error: error)
      }
    case .derivation: return .transferred(order.transfer, byteCount: 0, error: EINVAL)
    }
    return nil
  }

  /// A transfer has one more source.
  func assist(_ order: AssistOrder) { incoming.assist(order) }

  /// What `order` asks for lies in the cache: who waits for it here can have it.
  func hasAlready(_ order: FetchOrder) {
    incoming.beginOpaque(order)
    incoming.endOpaque(order.value, error: 0)
  }

  private static func copyDirectory(
    _ path: String, to part: String
  ) -> (byteCount: Int64, error: Int32) {
    var info = stat()
    if stat(path, &info) != 0 { return (0, errno) }
    if info.st_mode & S_IFMT != S_IFDIR { return (0, ENOTDIR) }
    let (_, error) = FileTree.copyTree(path, to: part)
    return (error == 0 ? TreeArchive.byteCount(of: part) : 0, error)
  }

  private static func unpack(
    _ path: String, to part: String
  ) -> (byteCount: Int64, error: Int32) {
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY, 0)
    if descriptor < 0 { return (0, -descriptor) }
    defer { close(descriptor) }
    let error = TreeArchive.read(from: descriptor, to: part)
    return (error == 0 ? TreeArchive.byteCount(of: part) : 0, error)
  }

  private func write(_ content: [UInt8], to part: String) -> Int32 {
    let to = clinux_open_at(AT_FDCWD, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644)
    if to < 0 { return -to }
    defer { close(to) }
    return content.withUnsafeBytes { writeAll($0, to: to) }
  }

  /// Gives a complete part its name in the cache.
  private func finish(
    _ value: FileValue, _ transfer: TransferID, part: String, byteCount: Int64, error: Int32
  ) -> WorkerEvent {
    let error = scratch.enter(part, as: value, error: error)
    incoming.endOpaque(value, error: error)
    return .transferred(transfer, byteCount: byteCount, error: error)
  }

  // MARK: Between nodes

  /// Takes a frame of another agent in; false: it is none.
  func receive(
    _ kind: FrameKind, _ reader: inout WireReader, from rank: Int
  ) throws(WireError) -> Bool {
    switch kind {
    case .readRequest:
      var request = try reader.takeReadRequest()
      request.rank = rank
      serving.onRequest(request)
    case .readStop: serving.onStop(OutgoingKey(rank: rank, tag: try reader.take()))
    case .readGranted: incoming.onGranted(try reader.takeReadGrant())
    case .readRefused: incoming.onRefused(try reader.takeReadRefusal())
    case .readContent: incoming.onContent(try reader.takeReadContent())
    case .readVerdict: incoming.onVerdict(try reader.take())
    default: return false
    }
    return true
  }

  /// Moves transfers on; returns whether a chunk came nearer to where it goes.
  func progress(_ events: inout [WorkerEvent]) -> Bool {
    let results = chunks.drain()
    for result in results where !incoming.take(result) { serving.take(result) }
    let arrivals = bulk?.takeArrivals() ?? []
    for arrival in arrivals { incoming.onArrival(arrival) }
    let hasSent = serving.progress()
    incoming.flush()
    serving.flush()
    events.append(contentsOf: incoming.takeEvents())
    return hasSent || !results.isEmpty || !arrivals.isEmpty
  }

  /// Whether something is on its way between nodes, or between a disk and this node.
  var isMoving: Bool { bulk?.isActive ?? false || serving.isActive || chunks.pendingCount > 0 }

  /// A peer is lost: what it was sending has to come from others, and it gets nothing more.
  func forget(_ peer: Int) {
    // First, so that nothing asks MPI for the requests of a lost peer.
    bulk?.forget(peer)
    serving.forget(peer)
    incoming.forget(peer)
  }

  // MARK: The rest

  func unlink(_ value: FileValue) {
    incoming.forget(value)
    let path = cachePath(value)
    var info = stat()
    if lstat(path, &info) != 0 { return }
    if Remover.isLong(info) { remover.remove(path) } else { Glibc.unlink(path) }
  }

  func commit(_ order: CommitOrder) {
    let source = cachePath(order.value)
    queue.submit {
      let result = order.isObject ? keepObject(source, order) : keepBeside(source, order)
      return .committed(
        order.value, byteCount: result.byteCount, result.hash, error: result.error)
    }
  }

  /// Turns a helper's result into events.
  func onResult(_ result: HelperResult) -> [WorkerEvent] {
    switch result {
    case .fetched(let transfer, let value, let part, let byteCount, let error):
      if error == 0 {
        totals.sharedReadByteCount += byteCount
        totals.sharedReadCount += 1
        let moved = MovedBytes(
          transfer: transfer, sharedByteCount: byteCount, sharedReadCount: 1)
        mailbox.send(WireWriter(moved), to: 0, .manager)
      }
      return [finish(value, transfer, part: part, byteCount: byteCount, error: error)]
    case .committed(let value, let byteCount, let hash, let error):
      if error == 0 { totals.sharedWrittenByteCount += byteCount }
      let end = WorkerEvent.committed(value, byteCount: byteCount, error: error)
      return hash.isKnown ? [.hashed(value, byteCount: byteCount, hash), end] : [end]
    case .hashed(let values):
      return values.map { .hashed($0.value, byteCount: $0.byteCount, $0.hash) }
    case .hashedFirst(let attempt, let values):
      return values.map { .hashed($0.value, byteCount: $0.byteCount, $0.hash) }
        + [.settled(attempt, .succeeded)]
    case .removed, .derived, .recalled:
      return []
    }
  }

  /// Hashes what `descriptor` reads, which it closes, soon: many small files one by one would cost
  /// more in waking threads than in hashing.
  func hash(_ value: FileValue, from descriptor: Int32, at now: Int64) {
    if unhashed.isEmpty { hashingDue = now + Self.hashingDelayNanoseconds }
    unhashed.append((value, descriptor))
    if unhashed.count >= Self.hashingBatchMax { hashNow() }
  }

  /// Hands over what has waited for long enough.
  func hashDue(at now: Int64) {
    if let due = hashingDue, now >= due { hashNow() }
  }

  /// Hands over all that waits to be hashed.
  func hashNow() {
    hashingDue = nil
    if unhashed.isEmpty { return }
    let batch = unhashed
    unhashed.removeAll(keepingCapacity: true)
    queue.submit {
      var values: [HashedValue] = []
      for (value, descriptor) in batch {
        let (byteCount, hash) = contentHash(of: descriptor)
        close(descriptor)
        values.append(HashedValue(value: value, byteCount: byteCount, hash: hash))
      }
      return .hashed(values)
    }
  }

  /// Hashes all outputs of an attempt; its end comes with them.
  func hashFirst(_ order: AttemptOrder) {
    let files = order.outputs.filter { !$0.isDirectory }.map { ($0.value, cachePath($0.value)) }
    queue.submit {
      var values: [HashedValue] = []
      for (value, path) in files {
        let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
        if descriptor < 0 { continue }
        let (byteCount, hash) = contentHash(of: descriptor)
        close(descriptor)
        values.append(HashedValue(value: value, byteCount: byteCount, hash: hash))
      }
      return .hashedFirst(order.attempt, values)
    }
  }

  var finalTotals: WorkerTotals {
    var sums = totals
    sums.sharedReadByteCount += incoming.sharedReadByteCount
    sums.sharedReadCount += incoming.sharedReadCount
    sums.receivedByteCount = bulk?.receivedByteCount ?? 0
    sums.sentByteCount = bulk?.sentByteCount ?? 0
    return sums
  }
}
