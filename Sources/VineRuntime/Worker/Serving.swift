// Files of this node on their way to other nodes: those in the cache, and those that are coming
// themselves (`Incoming`), which are passed on as far as they have come.

internal import Glibc
internal import VineCore

/// One file on its way to one peer.
final class OutgoingFile {
  enum Origin {
    case cached(HeldDescriptor)
    case partial(PartialFile)
  }

  let key: OutgoingKey
  let shape: FileShape
  let origin: Origin
  /// What the peer asked for of it.
  let chunks: Range<Int>
  /// The peer has us read the original for it: it will know by itself whether that was right.
  let isOriginal: Bool
  /// The next chunk to be read or taken from memory, and the next to be sent.
  fileprivate var nextRead: Int
  fileprivate var nextSend: Int
  fileprivate var ready: [Int: ChunkBuffer] = [:]
  fileprivate var pace = StreamPace()
  /// The peer knows that what it gets is right.
  fileprivate var hasVerdict: Bool

  fileprivate init(
    _ key: OutgoingKey, _ shape: FileShape, _ origin: Origin, _ chunks: Range<Int>,
    isOriginal: Bool,
    hasVerdict: Bool
  ) {
    self.key = key
    self.shape = shape
    self.origin = origin
    self.chunks = chunks
    self.isOriginal = isOriginal
    self.hasVerdict = hasVerdict
    nextRead = chunks.lowerBound
    nextSend = chunks.lowerBound
  }

  var isSlow: Bool { pace.isSlow }

  /// More of it is there, or all that was asked for, than is on its way for now.
  func hasBacklog(in book: StripeBook) -> Bool {
    let ahead = min(nextRead + StreamPace.windowCountMax, chunks.upperBound - 1)
    return ahead < nextRead || book.holds(ahead) || book.heldCount > ahead
  }

  /// The end of what was asked for is the end of the stream, and no verdict has to come behind it.
  fileprivate var needsNoVerdict: Bool {
    hasVerdict || isOriginal || chunks.upperBound < shape.chunkCount
  }
}

final class Serving {
  private let scratch: ScratchDirectory
  private let mailbox: Mailbox
  private let bulk: BulkTransfer?
  private let incoming: Incoming
  private var files: [OutgoingKey: OutgoingFile] = [:]
  /// Requests for what no order was heard of yet, and for what cannot be read along.
  private var early: [ReadRequest] = []
  private var waiting: [ReadRequest] = []
  /// To be looked up in the cache.
  private var lookups: [ReadRequest] = []
  private var lostPeers: Set<Int> = []

  init(
    scratch: ScratchDirectory, mailbox: Mailbox, bulk: BulkTransfer?, incoming: Incoming
  ) {
    self.scratch = scratch
    self.mailbox = mailbox
    self.bulk = bulk
    self.incoming = incoming
  }

  var isActive: Bool { !files.isEmpty }

  // MARK: Requests

  func onRequest(_ request: ReadRequest) {
    if lostPeers.contains(request.rank) { return }
    switch incoming.standing(of: request) {
    case .partial(let partial):
      if request.isOriginal && isDeferred(request, partial) { return }
      if let shape = partial.shape, partial.descriptor != nil {
        follow(partial, shape, request)
      } else {
        partial.waiting.append(request)
      }
    case .opaque: waiting.append(request)
    case .notYet: early.append(request)
    case .cached: lookups.append(request)
    }
  }

  /// Has the original read for a peer; false: what is there can be sent as it comes.
  private func isDeferred(_ request: ReadRequest, _ partial: PartialFile) -> Bool {
    switch incoming.claim(partial, request) {
    case .taken: return false
    case .waits: partial.waiting.append(request)
    case .refused(let error): refuse(request, error: error)
    }
    return true
  }

  /// The original of a partial file cannot be read here: who asked for that does it.
  func refuseReaders(of partial: PartialFile, error: Int32) {
    let readers = partial.followers.filter(\.isOriginal)
    let requests = partial.waiting.filter(\.isOriginal)
    partial.followers.removeAll { $0.isOriginal }
    partial.waiting.removeAll { $0.isOriginal }
    for file in readers {
      files[file.key] = nil
      refuse(file, error: error, isWrong: false)
    }
    for request in requests { refuse(request, error: error) }
  }

  /// The peer wants no more of a stream.
  func onStop(_ key: OutgoingKey) {
    if let file = files.removeValue(forKey: key) {
      if case .partial(let partial) = file.origin { partial.followers.removeAll { $0 === file } }
      return refuse(file, error: ECANCELED, isWrong: false)
    }
    if let request = incoming.withdraw(key) { return refuse(request, error: ECANCELED) }
    let isStopped = { (request: ReadRequest) in request.key == key }
    for request in (early + waiting + lookups).filter(isStopped) {
      refuse(request, error: ECANCELED)
    }
    early.removeAll(where: isStopped)
    waiting.removeAll(where: isStopped)
    lookups.removeAll(where: isStopped)
  }

  /// An order about `value` came: those who wait for it may go on.
  func onOrder(of value: FileValue) {
    if early.isEmpty { return }
    let requests = early
    early = []
    for request in requests { onRequest(request) }
  }

  /// What could not be read along is in the cache, or failed.
  func onOpaqueEnd(of value: FileValue, error: Int32) {
    let ended = waiting.filter { $0.value == value }
    if ended.isEmpty { return }
    waiting.removeAll { $0.value == value }
    for request in ended {
      if error == 0 { lookups.append(request) } else { refuse(request, error: sourceGoneError) }
    }
  }

  /// Has a helper look up what was asked for in this turn.
  func flush() {
    if lookups.isEmpty { return }
    let batch = lookups
    lookups = []
    let scratch = scratch
    incoming.chunks.submit { .lookedUp(batch.map { ChunkWork.lookUp($0, in: scratch) }) }
  }

  private func onLookedUp(_ lookup: Lookup) {
    let request = lookup.request
    if lostPeers.contains(request.rank) { return }
    switch lookup.found {
    case .nothing(let error):
      // Whoever reads along may come too late, which is nobody's fault.
      refuse(request, error: request.behind == nil ? error : sourceGoneError)
    case .small(var shape, let sum, let bytes):
      shape.version = incoming.version(for: request)
      let content = ReadContent(tag: request.tag, shape: shape, sum: sum, bytes: bytes)
      mailbox.send(WireWriter(content), to: request.rank, .worker)
    case .large(let file, var shape):
      shape.version = incoming.version(for: request)
      send(.cached(file), shape, request, hasVerdict: true)
    }
  }

  private func refuse(_ request: ReadRequest, error: Int32) {
    let refusal = ReadRefusal(tag: request.tag, error: error, sentCount: 0, isWrong: false)
    mailbox.send(WireWriter(refusal), to: request.rank, .worker)
  }

  private func refuse(_ file: OutgoingFile, error: Int32, isWrong: Bool) {
    let refusal = ReadRefusal(
      tag: file.key.tag, error: error, sentCount: UInt32(file.nextSend - file.chunks.lowerBound),
      isWrong: isWrong)
    mailbox.send(WireWriter(refusal), to: file.key.rank, .worker)
  }

  // MARK: Reading along

  private func follow(_ partial: PartialFile, _ shape: FileShape, _ request: ReadRequest) {
    let isWhole = partial.hasVerdict && partial.isComplete
    if let file = send(.partial(partial), shape, request, hasVerdict: isWhole) {
      if files[file.key] === file { partial.followers.append(file) }
    }
  }

  /// It is known what a partial file will be.
  func onShape(of partial: PartialFile) {
    let requests = partial.waiting
    partial.waiting = []
    for request in requests { onRequest(request) }
  }

  /// More of a partial file is there.
  func onChunks(of partial: PartialFile) {
    for file in partial.followers { fill(file) }
  }

  /// All of a partial file is there, and right.
  func onWhole(_ partial: PartialFile) {
    for file in partial.followers where !file.hasVerdict {
      var frame = WireWriter(.readVerdict)
      frame.put(file.key.tag)
      mailbox.send(frame, to: file.key.rank, .worker)
      file.hasVerdict = true
      endIfDone(file)
    }
  }

  /// A partial file has its name in the cache.
  func onCached(_ partial: PartialFile) {
    lookups += partial.waiting
    partial.waiting = []
  }

  /// A partial file will not come, or not as it was begun.
  func refuseFollowers(of partial: PartialFile, error: Int32, isWrong: Bool) {
    for file in partial.followers {
      files[file.key] = nil
      refuse(file, error: isWrong ? error : sourceGoneError, isWrong: isWrong)
    }
    for request in partial.waiting { refuse(request, error: sourceGoneError) }
    partial.followers = []
    partial.waiting = []
  }

  // MARK: Sending

  @discardableResult
  private func send(
    _ origin: OutgoingFile.Origin, _ shape: FileShape, _ request: ReadRequest, hasVerdict: Bool
  ) -> OutgoingFile? {
    let isSame = request.version == shape.version && Int(request.firstChunk) <= shape.chunkCount
    if request.isOriginal && !isSame {
      refuse(request, error: ESTALE)
      return nil
    }
    let first = isSame ? Int(request.firstChunk) : 0
    let wantedCount = Int(request.endChunk) - Int(request.firstChunk)
    let end = request.endChunk == .max ? .max : first + wantedCount
    let chunks = first..<min(end, shape.chunkCount)
    let grant = ReadGrant(
      tag: request.tag, shape: shape, firstChunk: UInt32(first),
      chunkCount: UInt32(chunks.count), isFinal: hasVerdict)
    mailbox.send(WireWriter(grant), to: request.rank, .worker)
    let file = OutgoingFile(
      request.key, shape, origin, chunks, isOriginal: request.isOriginal, hasVerdict: hasVerdict)
    if chunks.isEmpty && file.needsNoVerdict { return nil }
    files[file.key] = file
    fill(file)
    return file
  }

  /// Reads ahead as far as the window goes, and sends what is there.
  private func fill(_ file: OutgoingFile) {
    guard let bulk else { return }
    while file.nextRead < file.chunks.upperBound, isThere(file.nextRead, of: file),
      file.nextRead - file.nextSend + bulk.sendingCount(file.key) < file.pace.windowCount
    {
      obtain(file.nextRead, of: file)
      file.nextRead += 1
      push(file)
    }
    push(file)
    endIfDone(file)
  }

  private func isThere(_ index: Int, of file: OutgoingFile) -> Bool {
    if case .partial(let partial) = file.origin { return partial.book.holds(index) }
    return true
  }

  private func obtain(_ index: Int, of file: OutgoingFile) {
    let size = file.shape.chunkSize(index)
    let sum: UInt32?
    let source: HeldDescriptor
    switch file.origin {
    case .partial(let partial):
      if let buffer = partial.buffer(of: index) {
        file.ready[index] = buffer
        return
      }
      guard let part = partial.descriptor else { return }
      (sum, source) = (partial.sum(of: index), part)
    case .cached(let cached): (sum, source) = (nil, cached)
    }
    incoming.chunks.read(
      source, incoming.pool.take(), byteCount: size, at: index, sum: sum, for: file.key)
  }

  private func push(_ file: OutgoingFile) {
    while let buffer = file.ready.removeValue(forKey: file.nextSend) {
      let size = file.shape.chunkSize(file.nextSend)
      bulk?.send(
        faulty(buffer, size), byteCount: size + ChunkBuffer.sumByteCount, to: file.key)
      file.nextSend += 1
    }
  }

  /// The chunk, unless a test wants it damaged.
  private func faulty(_ buffer: ChunkBuffer, _ byteCount: Int) -> ChunkBuffer {
    if FaultHooks.shared.isIdle || byteCount == 0 { return buffer }
    guard FaultHooks.shared.action(at: "bulk.send", name: "\(mailbox.rank)") == .flip else {
      return buffer
    }
    let damaged = incoming.pool.take()
    damaged.bytes.copyMemory(from: buffer.bytes, byteCount: byteCount + ChunkBuffer.sumByteCount)
    let last = damaged.bytes.load(fromByteOffset: byteCount - 1, as: UInt8.self)
    damaged.bytes.storeBytes(of: last ^ 1, toByteOffset: byteCount - 1, as: UInt8.self)
    return damaged
  }

  private func onRead(_ key: OutgoingKey, _ index: Int, _ buffer: ChunkBuffer, _ error: Int32) {
    guard let file = files[key], index >= file.nextSend, index < file.nextRead else { return }
    if error != 0 {
      files[key] = nil
      if case .partial(let partial) = file.origin { partial.followers.removeAll { $0 === file } }
      return refuse(file, error: error == ENODATA ? EIO : error, isWrong: false)
    }
    file.ready[index] = buffer
    fill(file)
  }

  private func endIfDone(_ file: OutgoingFile) {
    guard file.needsNoVerdict, file.nextSend == file.chunks.upperBound,
      bulk?.sendingCount(file.key) ?? 0 == 0
    else { return }
    files[file.key] = nil
    if case .partial(let partial) = file.origin { partial.followers.removeAll { $0 === file } }
  }

  // MARK: Turns

  /// Moves sending on; returns whether a chunk has left.
  func progress() -> Bool {
    let sent = bulk?.takeSent() ?? []
    let now = sent.isEmpty ? 0 : monotonicNanoseconds()
    for (key, count) in sent {
      guard let file = files[key] else { continue }
      file.pace.note(count, at: now)
      fill(file)
    }
    return !sent.isEmpty
  }

  /// Takes a helper's result in.
  func take(_ result: ChunkResult) {
    switch result {
    case .lookedUp(let lookups): for lookup in lookups { onLookedUp(lookup) }
    case .read(let key, let index, let buffer, let error): onRead(key, index, buffer, error)
    default: break
    }
  }

  /// A peer is lost: it gets nothing more.
  func forget(_ peer: Int) {
    lostPeers.insert(peer)
    for (key, file) in files where key.rank == peer {
      if case .partial(let partial) = file.origin { partial.followers.removeAll { $0 === file } }
    }
    files = files.filter { $0.key.rank != peer }
    early.removeAll { $0.rank == peer }
    waiting.removeAll { $0.rank == peer }
    lookups.removeAll { $0.rank == peer }
  }
}
