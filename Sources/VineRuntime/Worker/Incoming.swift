// Files on their way into this node's cache: from other nodes in chunks, from the shared file system
// chunk by chunk as well, so that others can read along (`Serving`). What fails because of its source
// stays as far as it came, until the manager names another source or has it forgotten.

internal import Glibc
internal import VineCore

final class Incoming {
  private let scratch: ScratchDirectory
  private let mailbox: Mailbox
  private let bulk: BulkTransfer?
  let chunks: BlockingQueue<ChunkResult>
  let pool: ChunkPool
  /// Reads along; set once.
  weak var serving: Serving?
  private var partials: [FileValue: PartialFile] = [:]
  private var byNumber: [Int: PartialFile] = [:]
  private var byTag: [Int32: PartialFile] = [:]
  private var partialCount = 0
  /// Values that come in other ways: nobody can read along.
  private var opaque: Set<FileValue> = []
  /// The last transfer that was ordered; they are ordered by their numbers.
  private var lastTransfer: TransferID?
  /// Which version of a file of the shared file system lies in the cache.
  private var versions: [FileValue: UInt64] = [:]
  private var small: [SmallFile] = []
  private var lostPeers: Set<Int> = []
  private var events: [WorkerEvent] = []
  private(set) var sharedReadByteCount: Int64 = 0
  private(set) var sharedReadCount: Int64 = 0
  private static let readsAheadMax = 3
  private static let mismatchesMax = 3

  init(
    scratch: ScratchDirectory, mailbox: Mailbox, bulk: BulkTransfer?,
    chunks: BlockingQueue<ChunkResult>
  ) {
    self.scratch = scratch
    self.mailbox = mailbox
    self.bulk = bulk
    self.chunks = chunks
    pool = bulk?.pool ?? ChunkPool()
  }

  // MARK: Orders

  /// Begins or resumes a transfer whose bytes others can read along.
  func fetch(_ order: FetchOrder) {
    note(order)
    let partial = partials[order.value] ?? makePartial(order)
    partial.order = order
    partial.moved = MovedBytes(transfer: order.transfer)
    partial.mismatchCount = 0
    if let agent = order.source.agent {
      ask(partial, agent.index)
    } else {
      openOriginal(of: partial)
    }
    serving?.onOrder(of: order.value)
  }

  /// A transfer of another kind begins.
  func beginOpaque(_ order: FetchOrder) {
    note(order)
    opaque.insert(order.value)
    serving?.onOrder(of: order.value)
  }

  /// A transfer of another kind has ended, and its file is in the cache unless there is an error.
  func endOpaque(_ value: FileValue, error: Int32) {
    opaque.remove(value)
    serving?.onOpaqueEnd(of: value, error: error)
  }

  private func note(_ order: FetchOrder) {
    lastTransfer = max(lastTransfer ?? order.transfer, order.transfer)
  }

  private func makePartial(_ order: FetchOrder) -> PartialFile {
    partialCount += 1
    let path = scratch.part("\(order.transfer.rawValue)")
    FileTree.remove(path)
    let partial = PartialFile(partialCount, order, path: path)
    partials[order.value] = partial
    byNumber[partial.number] = partial
    return partial
  }

  /// Where a value is that a peer asks for.
  enum Standing {
    case partial(PartialFile)
    /// It comes, but cannot be read along.
    case opaque
    /// The order to get it has not come yet.
    case notYet
    /// In the cache, or nowhere.
    case cached
  }

  func standing(of request: ReadRequest) -> Standing {
    if let partial = partials[request.value] { return .partial(partial) }
    if opaque.contains(request.value) { return .opaque }
    if let behind = request.behind, lastTransfer.map({ $0 < behind }) ?? true { return .notYet }
    return .cached
  }

  /// Stands for the bytes that this node has of a value that was asked for.
  func version(for request: ReadRequest) -> UInt64 {
    if request.isMade { return 0 }
    if let known = versions[request.value] { return known }
    // Downloaded, derived, or a directory: another node's may differ.
    let version = UInt64(bitPattern: monotonicNanoseconds()) << 16 | UInt64(mailbox.rank & 0xFFFF)
    versions[request.value] = version
    return version
  }

  /// The value is not wanted any more; the manager knows that.
  func forget(_ value: FileValue) {
    versions[value] = nil
    guard let partial = partials[value] else { return }
    if partial.source != .none { report(partial, byteCount: 0, error: ECANCELED) }
    stop(partial)
    drop(partial, isWrong: false)
  }

  // MARK: From nodes

  private func ask(_ partial: PartialFile, _ rank: Int) {
    guard let bulk else { return fail(partial, ENOTCONN) }
    if lostPeers.contains(rank) { return fail(partial, sourceGoneError) }
    let tag = bulk.nextTag()
    partial.source = .node(rank: rank, tag: tag)
    partial.isGranted = false
    partial.early = []
    partial.hasVerdict = false
    byTag[tag] = partial
    let size = partial.order.byteCount
    let isSmall = size >= 0 && size <= Limits.smallFileByteCountMax && partial.shape == nil
    bulk.open(from: rank, tag: tag, isPosting: !isSmall || partial.order.isDirectory)
    var request = ReadRequest(
      value: partial.value, tag: tag, firstChunk: UInt32(partial.validCount),
      version: partial.shape?.version ?? 0, isDirectory: partial.order.isDirectory,
      isMade: partial.order.isMade)
    if case .relay(_, let transfer) = partial.order.source { request.behind = transfer }
    mailbox.send(WireWriter(request), to: rank, .worker)
  }

  private func current(_ tag: Int32) -> PartialFile? {
    guard let partial = byTag[tag], case .node(_, tag) = partial.source else { return nil }
    return partial
  }

  /// The source sends it.
  func onGranted(_ grant: ReadGrant) {
    let count = max(grant.shape.chunkCount - Int(grant.firstChunk), 0)
    bulk?.limit(grant.tag, to: count)
    guard let partial = current(grant.tag) else { return }
    if partial.shape == nil || grant.firstChunk == 0 {
      guard begin(partial, as: grant.shape) else { return }
    } else if partial.shape != grant.shape || Int(grant.firstChunk) != partial.validCount {
      stop(partial)
      partial.forgetChunks()
      return fail(partial, EPROTO)
    }
    partial.firstChunk = Int(grant.firstChunk)
    partial.isGranted = true
    partial.hasVerdict = grant.isFinal
    let early = partial.early
    partial.early = []
    for arrival in early { onArrival(arrival) }
    concludeIfComplete(partial)
  }

  /// Gives a partial file its shape: what came of another version is thrown away. False: it failed.
  private func begin(_ partial: PartialFile, as shape: FileShape) -> Bool {
    if partial.shape == shape && partial.validCount == 0 { return true }
    if partial.shape != nil {
      serving?.refuseFollowers(of: partial, error: EBUSY, isWrong: true)
      FileTree.remove(partial.path)
      let original = partial.original
      partial.forgetChunks()
      partial.original = original
    }
    let (part, error) = ChunkWork.makePart(partial.path, byteCount: shape.byteCount)
    guard let part else {
      stop(partial)
      fail(partial, error, isKept: false)
      return false
    }
    partial.descriptor = part
    partial.shape = shape
    serving?.onShape(of: partial)
    return true
  }

  /// A chunk of some stream.
  func onArrival(_ arrival: ChunkArrival) {
    guard let partial = current(arrival.tag) else {
      bulk?.release(arrival.tag)
      return
    }
    guard partial.isGranted, let shape = partial.shape, let part = partial.descriptor else {
      partial.early.append(arrival)
      return
    }
    let index = partial.firstChunk + arrival.place
    let place = ChunkPlace(
      number: partial.number, epoch: partial.epoch, index: index, tag: arrival.tag)
    guard index < shape.chunkCount else { return onMismatch(partial) }
    let size = shape.chunkSize(index)
    guard arrival.byteCount == size + ChunkBuffer.sumByteCount else { return onMismatch(partial) }
    let buffer = arrival.buffer
    chunks.submit(lane: partial.number) {
      let (sum, error) = ChunkWork.store(buffer, byteCount: size, at: index, in: part)
      return .stored(place, sum: sum, buffer, error: error)
    }
  }

  private func onStored(_ place: ChunkPlace, sum: UInt32, _ buffer: ChunkBuffer, error: Int32) {
    if place.tag != 0 { bulk?.release(place.tag) }
    guard let partial = byNumber[place.number], partial.epoch == place.epoch else { return }
    if place.tag == 0 { partial.readsInFlight -= 1 }
    if error == EBADMSG && place.tag != 0 {
      if current(place.tag) === partial { onMismatch(partial) }
      return
    }
    if error != 0 {
      if partial.source == .none { return }
      stop(partial)
      // On a full disk nothing is kept, though it says nothing about what others have.
      let isKept = place.tag == 0 && ![EBUSY, ENOSPC, EDQUOT].contains(error)
      return fail(partial, error, isKept: isKept, isWrong: error == EBUSY)
    }
    let size = Int64(partial.shape?.chunkSize(place.index) ?? 0)
    if place.tag == 0 {
      partial.moved.sharedByteCount += size
      sharedReadByteCount += size
    } else {
      partial.moved.nodeByteCount += size
    }
    if !partial.accept(place.index, sum: sum, buffer).isEmpty { serving?.onChunks(of: partial) }
    if place.tag == 0 { readOriginal(of: partial) }
    concludeIfComplete(partial)
  }

  /// A damaged chunk: what follows it in the stream is of no use, and it is asked for again.
  private func onMismatch(_ partial: PartialFile) {
    guard case .node(let rank, _) = partial.source else { return }
    stop(partial)
    partial.forgetStored()
    partial.mismatchCount += 1
    if partial.mismatchCount >= Self.mismatchesMax {
      fail(partial, damagedSourceError)
    } else {
      ask(partial, rank)
    }
  }

  /// No more comes than was sent so far.
  func onRefused(_ refusal: ReadRefusal) {
    let partial = current(refusal.tag)
    byTag[refusal.tag] = nil
    if partial != nil || refusal.error == ECANCELED { bulk?.drain(refusal.tag) }
    bulk?.limit(refusal.tag, to: Int(refusal.sentCount))
    guard let partial else { return }
    fail(partial, refusal.error, isKept: !refusal.isWrong, isWrong: refusal.isWrong)
  }

  /// What the source sent was right.
  func onVerdict(_ tag: Int32) {
    guard let partial = current(tag) else { return }
    partial.hasVerdict = true
    concludeIfComplete(partial)
  }

  /// A small file came as a whole.
  func onContent(_ content: ReadContent) {
    bulk?.limit(content.tag, to: 0)
    guard let partial = current(content.tag) else { return }
    let sum = content.bytes.withUnsafeBytes {
      ChunkWork.sum(of: $0.baseAddress, count: $0.count)
    }
    if sum != content.sum || content.bytes.count != Int(content.shape.byteCount) {
      return onMismatch(partial)
    }
    byTag[content.tag] = nil
    partial.shape = content.shape
    partial.isConcluding = true
    partial.moved.nodeByteCount += content.shape.byteCount
    small.append(
      SmallFile(
        number: partial.number, value: partial.value, part: partial.path,
        mode: content.shape.mode, bytes: content.bytes))
  }

  /// Ends the current stream, if there is one.
  private func stop(_ partial: PartialFile) {
    guard case .node(let rank, let tag) = partial.source else {
      partial.source = .none
      return
    }
    partial.source = .none
    byTag[tag] = nil
    guard !lostPeers.contains(rank) else { return }
    bulk?.drain(tag)
    var frame = WireWriter(.readStop)
    frame.put(tag)
    mailbox.send(frame, to: rank, .worker)
  }

  // MARK: From the shared file system

  private func openOriginal(of partial: PartialFile) {
    partial.source = .sharedFileSystem
    partial.hasVerdict = false
    partial.readsInFlight = 0
    let (number, epoch) = (partial.number, partial.epoch)
    let (order, path, isResumed) = (partial.order, partial.path, partial.validCount > 0)
    let scratch = scratch
    chunks.submit {
      .opened(
        number: number, epoch: epoch,
        ChunkWork.open(order, part: path, isResumed: isResumed, in: scratch))
    }
  }

  private func onOpened(_ partial: PartialFile, _ opening: SharedOpening) {
    guard partial.source == .sharedFileSystem else { return }
    switch opening {
    case .failed(let error):
      fail(partial, error, isKept: error != EBUSY, isWrong: error == EBUSY)
    case .entered(let shape):
      partial.shape = shape
      partial.moved.sharedByteCount += shape.byteCount
      partial.moved.sharedReadCount = 1
      sharedReadByteCount += shape.byteCount
      sharedReadCount += 1
      onEntered(partial, error: 0)
    case .open(let original, let shape):
      partial.moved.sharedReadCount = 1
      sharedReadCount += 1
      partial.original = original
      if partial.shape != shape && !begin(partial, as: shape) { return }
      partial.nextRead = partial.validCount
      partial.forgetStored()
      readOriginal(of: partial)
      concludeIfComplete(partial)
    }
  }

  private func readOriginal(of partial: PartialFile) {
    guard partial.source == .sharedFileSystem, let shape = partial.shape,
      let original = partial.original, let part = partial.descriptor
    else { return }
    while partial.readsInFlight < Self.readsAheadMax, partial.nextRead < shape.chunkCount {
      let place = ChunkPlace(
        number: partial.number, epoch: partial.epoch, index: partial.nextRead, tag: 0)
      let size = shape.chunkSize(place.index)
      let buffer = pool.take()
      partial.nextRead += 1
      partial.readsInFlight += 1
      chunks.submit {
        let (sum, error) = ChunkWork.copy(
          original, buffer, byteCount: size, at: place.index, to: part)
        return .stored(place, sum: sum, buffer, error: error)
      }
    }
  }

  // MARK: The end

  private func concludeIfComplete(_ partial: PartialFile) {
    guard partial.isComplete, !partial.isConcluding, partial.source != .none,
      let shape = partial.shape
    else { return }
    let (number, epoch) = (partial.number, partial.epoch)
    if partial.source == .sharedFileSystem && !partial.hasVerdict, let original = partial.original {
      partial.isConcluding = true
      chunks.submit {
        .checked(number: number, epoch: epoch, error: ChunkWork.check(original, shape))
      }
      return
    }
    guard partial.hasVerdict else { return }
    partial.isConcluding = true
    if case .node(_, let tag) = partial.source { byTag[tag] = nil }
    serving?.onWhole(partial)
    let (value, path, isDirectory) = (partial.value, partial.path, partial.order.isDirectory)
    let scratch = scratch
    chunks.submit {
      if isDirectory {
        return .entered(number: number, error: ChunkWork.unpack(path, as: value, in: scratch))
      }
      chmod(path, mode_t(shape.mode))
      return .entered(number: number, error: scratch.enter(path, as: value, error: 0))
    }
  }

  private func onEntered(_ partial: PartialFile, error: Int32) {
    if error != 0 { return fail(partial, error, isKept: false) }
    let byteCount = partial.shape?.byteCount ?? 0
    if let version = partial.shape?.version, version != 0,
      byteCount > Limits.chunkByteCount
    {
      versions[partial.value] = version
    }
    remove(partial)
    report(partial, byteCount: byteCount, error: 0)
    serving?.onCached(partial)
  }

  private func report(_ partial: PartialFile, byteCount: Int64, error: Int32) {
    if partial.moved.sharedByteCount > 0 || partial.moved.sharedReadCount > 0
      || partial.moved.nodeByteCount > 0
    {
      mailbox.send(WireWriter(partial.moved), to: 0, .manager)
    }
    events.append(.transferred(partial.order.transfer, byteCount: byteCount, error: error))
  }

  /// The current transfer has failed. What is kept can be gone on with.
  private func fail(
    _ partial: PartialFile, _ error: Int32, isKept: Bool = true, isWrong: Bool = false
  ) {
    if case .node(_, let tag) = partial.source { byTag[tag] = nil }
    partial.source = .none
    partial.isConcluding = false
    partial.original = nil
    // How large it is, is what the manager must know of a file that found no room.
    let byteCount = isDiskFull(error) ? partial.shape?.byteCount ?? 0 : 0
    report(partial, byteCount: byteCount, error: error)
    let isEmpty =
      partial.validCount == 0 && partial.followers.isEmpty && partial.waiting.isEmpty
    if !isKept || isEmpty { drop(partial, isWrong: isWrong) }
  }

  private func drop(_ partial: PartialFile, isWrong: Bool) {
    remove(partial)
    FileTree.remove(partial.path)
    serving?.refuseFollowers(of: partial, error: EBUSY, isWrong: isWrong)
  }

  private func remove(_ partial: PartialFile) {
    if partials[partial.value] === partial { partials[partial.value] = nil }
    byNumber[partial.number] = nil
  }

  // MARK: Turns

  /// Hands over the small files that have come in this turn, together.
  func flush() {
    if small.isEmpty { return }
    let batch = small
    small = []
    let scratch = scratch
    chunks.submit {
      .enteredSmall(batch.map { ($0.number, ChunkWork.enter($0, in: scratch)) })
    }
  }

  /// Takes a helper's result in; false: it is not about incoming files.
  func take(_ result: ChunkResult) -> Bool {
    switch result {
    case .stored(let place, let sum, let buffer, let error):
      onStored(place, sum: sum, buffer, error: error)
    case .opened(let number, let epoch, let opening):
      if let partial = byNumber[number], partial.epoch == epoch { onOpened(partial, opening) }
    case .checked(let number, let epoch, let error):
      guard let partial = byNumber[number], partial.epoch == epoch, partial.source != .none
      else { return true }
      partial.isConcluding = false
      if error == 0 {
        partial.hasVerdict = true
        concludeIfComplete(partial)
      } else {
        fail(partial, error, isKept: false, isWrong: true)
      }
    case .entered(let number, let error):
      if let partial = byNumber[number] { onEntered(partial, error: error) }
    case .enteredSmall(let ended):
      for (number, error) in ended {
        if let partial = byNumber[number] { onEntered(partial, error: error) }
      }
    case .lookedUp, .read: return false
    }
    return true
  }

  /// What has come of the transfers since the last call.
  func takeEvents() -> [WorkerEvent] {
    if events.isEmpty { return [] }
    defer { events = [] }
    return events
  }

  /// A peer is lost: what it was sending has to come from somebody else.
  func forget(_ peer: Int) {
    lostPeers.insert(peer)
    let cut = partials.values.filter {
      if case .node(peer, _) = $0.source { return !$0.isConcluding }
      return false
    }
    for partial in cut.sorted(by: { $0.number < $1.number }) { fail(partial, sourceGoneError) }
  }
}
