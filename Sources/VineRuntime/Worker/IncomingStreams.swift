// Chunks from other nodes. A transfer's source is asked for all that is missing, in one stream; with
// helpers, everybody is asked for two stripes at a time, so that the next one is under way when one
// ends. A chunk is checked and stored the same way, whoever sends it.

internal import Glibc
internal import VineCore

extension Incoming {
  private static let stripesAheadMax = 2

  // MARK: Asking

  /// The source of a transfer is a peer.
  func begin(_ partial: PartialFile, from rank: Int) {
    guard bulk != nil else { return fail(partial, ENOTCONN) }
    if lostPeers.contains(rank) { return fail(partial, sourceGoneError) }
    partial.source = .node(rank: rank)
    askSource(of: partial)
  }

  private func askSource(of partial: PartialFile) {
    guard case .node(let rank) = partial.source else { return }
    if !partial.isStriped {
      ask(partial, rank, for: partial.book.prefixCount..<Int(UInt32.max), isHelpers: false)
    } else if partial.shape == nil && partial.streams.isEmpty {
      ask(partial, rank, for: 0..<Limits.chunksPerStripe, isHelpers: false)
    }
    pump(partial)
  }

  /// The source is not to send everything any more: others bring some, or it is read here for others.
  func stripe(_ partial: PartialFile) {
    guard !partial.isStriped, !partial.isConcluding, case .node = partial.source else { return }
    partial.isStriped = true
    for stream in partial.streams where !stream.isHelpers {
      if stream.isGranted && !stream.isOver {
        stream.standing = .stopping
        sendStop(stream)
      } else {
        close(stream)
      }
    }
    askSource(of: partial)
  }

  /// The source has stopped sending everything: what it had sent so far still comes.
  private func onStopped(_ stream: RequestedStream, sentCount: Int) {
    let partial = stream.partial
    stream.standing = .stopped
    let first = stream.chunks.lowerBound
    stream.chunks = first..<min(first + sentCount, stream.chunks.upperBound)
    partial.book.assign(stream.chunks, to: stream.rank)
    endIfOver(stream)
    pump(partial)
    concludeIfComplete(partial)
  }

  private func ask(_ partial: PartialFile, _ rank: Int, for chunks: Range<Int>, isHelpers: Bool) {
    guard let bulk else { return }
    let tag = bulk.nextTag()
    let stream = RequestedStream(partial, rank: rank, tag: tag, isHelpers: isHelpers, chunks)
    partial.streams.append(stream)
    byTag[tag] = stream
    let size = partial.order.byteCount
    let isSmall = size >= 0 && size <= Limits.smallFileByteCountMax && partial.shape == nil
    bulk.open(
      from: rank, tag: tag,
      isPosting: !chunks.isEmpty && (!isSmall || partial.order.isDirectory))
    var request = ReadRequest(
      value: partial.value, tag: tag, firstChunk: UInt32(chunks.lowerBound),
      endChunk: UInt32(chunks.upperBound), version: partial.shape?.version ?? 0,
      isDirectory: partial.order.isDirectory, isMade: partial.order.isMade)
    if isHelpers {
      request.behind = partial.helpers.first { $0.rank == rank }?.behind
      request.isOriginal = request.behind != nil
    } else if case .relay(_, let transfer) = partial.order.source {
      request.behind = transfer
    }
    mailbox.send(WireWriter(request), to: rank, .worker)
  }

  /// Has all that a partial file can be got from do something.
  func pump(_ partial: PartialFile) {
    guard let shape = partial.shape, !partial.isConcluding else { return }
    readOriginal(of: partial)
    let isShared = !partial.helpers.isEmpty && shape.byteCount >= Limits.stripedByteCountMin
    if partial.source != .none && isShared {
      let hasReaders = wantsReaders(of: partial)
      for helper in partial.helpers where helper.behind == nil || hasReaders {
        askForStripes(partial, helper.rank, isHelpers: true, readsOriginal: helper.behind != nil)
      }
    }
    if partial.isStriped, case .node(let rank) = partial.source {
      askForStripes(partial, rank, isHelpers: false, readsOriginal: false)
      askForVerdict(partial, rank)
    }
  }

  /// Peers should read some of the original for this node: where somebody reads along and could be
  /// sent more than there is. Else what they read would only take up the links that pass on what
  /// all wait for.
  private func wantsReaders(of partial: PartialFile) -> Bool {
    if partial.source != .sharedFileSystem { return true }
    return partial.book.heldCount >= Limits.chunksReadAlone && !partial.isAheadOfFollowers
  }

  private func askForStripes(
    _ partial: PartialFile, _ rank: Int, isHelpers: Bool, readsOriginal: Bool
  ) {
    // What nobody brings is known when the stream of everything has stopped.
    if partial.streams.contains(where: { $0.standing == .stopping }) { return }
    var openCount = partial.streams.count { $0.rank == rank }
    while openCount < Self.stripesAheadMax {
      var stripe = partial.book.take(for: rank)
      // What is read from the shared file system is read once.
      let mayTakeOver =
        !readsOriginal && openCount == 0 && partial.helpers.contains { $0.behind == nil }
      if stripe == nil && mayTakeOver { stripe = partial.book.takeOver(for: rank) }
      guard let stripe else { return }
      // A reader books whole stripes, too.
      let chunks =
        readsOriginal ? partial.book.chunks(of: stripe) : partial.book.missingChunks(of: stripe)
      ask(partial, rank, for: chunks, isHelpers: isHelpers)
      openCount += 1
    }
  }

  /// All is there, and the last chunk came from somebody who cannot say that it is right.
  private func askForVerdict(_ partial: PartialFile, _ rank: Int) {
    guard partial.isComplete, !partial.hasVerdict else { return }
    let end = partial.book.chunkCount
    if partial.streams.contains(where: { !$0.isHelpers && $0.chunks.upperBound >= end }) { return }
    ask(partial, rank, for: end..<end, isHelpers: false)
  }

  // MARK: Streams

  /// A stream ends; its sender is told so unless everything has come.
  private func close(_ stream: RequestedStream) {
    let partial = stream.partial
    partial.streams.removeAll { $0 === stream }
    byTag[stream.tag] = nil
    partial.book.giveBack(stream.chunks, of: stream.rank)
    if stream.isOver || lostPeers.contains(stream.rank) { return }
    bulk?.drain(stream.tag)
    if stream.standing == .asked { sendStop(stream) }
  }

  private func sendStop(_ stream: RequestedStream) {
    var frame = WireWriter(.readStop)
    frame.put(stream.tag)
    mailbox.send(frame, to: stream.rank, .worker)
  }

  func closeStreams(of partial: PartialFile) {
    for stream in partial.streams { close(stream) }
  }

  /// Nothing was sent of these chunks yet, and somebody else is going to read them.
  func closeUnusedStreams(of partial: PartialFile, within chunks: Range<Int>) {
    for stream in partial.streams
    where stream.arrivedCount == 0 && stream.chunks.lowerBound >= chunks.lowerBound
      && stream.chunks.upperBound <= chunks.upperBound && !stream.chunks.isEmpty
    { close(stream) }
  }

  /// A helper is asked for nothing more.
  func dismiss(_ rank: Int, from partial: PartialFile, error: Int32) {
    guard let place = partial.helpers.firstIndex(where: { $0.rank == rank }) else { return }
    let helper = partial.helpers.remove(at: place)
    for stream in partial.streams where stream.rank == rank && stream.isHelpers { close(stream) }
    if helper.behind == nil {
      events.append(
        .helperFailed(partial.order.transfer, agent: WorkerID(index: rank), error: error))
    }
    pump(partial)
  }

  /// The source sends it.
  func onGranted(_ grant: ReadGrant) {
    bulk?.limit(grant.tag, to: Int(grant.chunkCount))
    guard let stream = byTag[grant.tag] else { return }
    let partial = stream.partial
    let first = Int(grant.firstChunk)
    let isWhole = first == 0 && !stream.isHelpers
    if partial.shape == nil || (isWhole && partial.shape != grant.shape) {
      guard begin(partial, as: grant.shape, keeping: stream) else { return }
      if byTag[grant.tag] !== stream {
        // Peers waited for that to claim what this stream was to bring.
        pump(partial)
        return concludeIfComplete(partial)
      }
    } else if partial.shape != grant.shape || first != stream.chunks.lowerBound {
      if stream.isHelpers { return dismiss(stream.rank, from: partial, error: EPROTO) }
      closeStreams(of: partial)
      serving?.refuseFollowers(of: partial, error: EBUSY, isWrong: true)
      partial.forgetChunks()
      return fail(partial, EPROTO)
    }
    stream.chunks = first..<first + Int(grant.chunkCount)
    if partial.isStriped { partial.book.assign(stream.chunks, to: stream.rank) }
    stream.isGranted = true
    if !stream.isHelpers && grant.isFinal { partial.hasVerdict = true }
    let early = stream.early
    stream.early = []
    for arrival in early { onArrival(arrival) }
    endIfOver(stream)
    pump(partial)
    concludeIfComplete(partial)
  }

  /// Gives a partial file its shape: what came of another version is thrown away. False: it failed.
  func begin(
    _ partial: PartialFile, as shape: FileShape, keeping stream: RequestedStream? = nil
  ) -> Bool {
    if partial.shape == shape { return true }
    if partial.shape != nil {
      serving?.refuseFollowers(of: partial, error: EBUSY, isWrong: true)
      for other in partial.streams where other !== stream { close(other) }
      FileTree.remove(partial.path)
      // One that was just opened is why.
      let original = stream == nil ? partial.original : nil
      partial.forgetChunks()
      partial.original = original
    }
    let (part, error) = ChunkWork.makePart(partial.path, byteCount: shape.byteCount)
    guard let part else {
      fail(partial, error, isKept: false)
      return false
    }
    partial.take(shape, in: part)
    // What was asked for before it was known what the file is.
    for asked in partial.streams where partial.isStriped {
      partial.book.assign(asked.chunks, to: asked.rank)
    }
    serving?.onShape(of: partial)
    return true
  }

  /// A chunk of some stream.
  func onArrival(_ arrival: ChunkArrival) {
    guard let stream = byTag[arrival.tag] else {
      bulk?.release(arrival.tag)
      return
    }
    let partial = stream.partial
    guard stream.isGranted, let shape = partial.shape, let part = partial.descriptor else {
      stream.early.append(arrival)
      return
    }
    let index = stream.chunks.lowerBound + arrival.place
    let place = ChunkPlace(
      number: partial.number, epoch: partial.epoch, index: index, tag: arrival.tag)
    guard stream.chunks.contains(index), index < shape.chunkCount else { return onMismatch(stream) }
    let size = shape.chunkSize(index)
    guard arrival.byteCount == size + ChunkBuffer.sumByteCount else { return onMismatch(stream) }
    stream.arrivedCount += 1
    partial.storesInFlight += 1
    chunks.store(arrival.buffer, byteCount: size, at: place, in: part)
  }

  /// A chunk was stored, or was not worth it.
  func onStored(_ place: ChunkPlace, sum: UInt32, _ buffer: ChunkBuffer, error: Int32) {
    if place.tag != 0 { bulk?.release(place.tag) }
    guard let partial = byNumber[place.number], partial.epoch == place.epoch else { return }
    if place.tag == 0 { partial.reads.end(place.index) } else { partial.storesInFlight -= 1 }
    if error == EBADMSG && place.tag != 0 {
      if let stream = byTag[place.tag] { onMismatch(stream) }
      concludeIfComplete(partial)
      return
    }
    if error != 0 { return onNotStored(place, partial, error) }
    let size = Int64(partial.shape?.chunkSize(place.index) ?? 0)
    if place.tag == 0 {
      partial.moved.sharedByteCount += size
      sharedReadByteCount += size
    } else {
      partial.moved.nodeByteCount += size
      if byTag[place.tag]?.isHelpers ?? false { partial.moved.helperByteCount += size }
    }
    if partial.accept(place.index, sum: sum, buffer) { serving?.onChunks(of: partial) }
    if let stream = byTag[place.tag] { endIfOver(stream) }
    pump(partial)
    concludeIfComplete(partial)
  }

  private func onNotStored(_ place: ChunkPlace, _ partial: PartialFile, _ error: Int32) {
    let isForOthers = place.tag == 0 && partial.source != .sharedFileSystem
    let isOurs = [EBUSY, ENOSPC, EDQUOT].contains(error)
    if partial.source == .none || (isForOthers && !isOurs) {
      if place.tag == 0 { abandonClaims(of: partial, error: error) }
      // It may have waited for this read alone.
      concludeIfComplete(partial)
      return
    }
    // On a full disk nothing is kept, though it says nothing about what others have.
    fail(
      partial, error, isKept: place.tag == 0 && !isOurs, isWrong: error == EBUSY)
  }

  /// Forgets a stream of which all has come and been stored, and which has nothing more to say.
  private func endIfOver(_ stream: RequestedStream) {
    let partial = stream.partial
    guard stream.isOver, partial.source != .none else { return }
    let isWaitedFor = stream.chunks.contains { !partial.book.holds($0) }
    let tellsVerdict =
      !stream.isHelpers && !partial.hasVerdict && stream.standing != .stopped
      && stream.chunks.upperBound == partial.book.chunkCount
    if !isWaitedFor && !tellsVerdict { close(stream) }
  }

  /// A damaged chunk: what follows it in the stream is of no use, and it is asked for again.
  private func onMismatch(_ stream: RequestedStream) {
    let partial = stream.partial
    stream.arrivedCount = 0
    close(stream)
    if stream.isHelpers {
      guard let place = partial.helpers.firstIndex(where: { $0.rank == stream.rank }) else {
        return
      }
      partial.helpers[place].mismatchCount += 1
      if partial.helpers[place].mismatchCount >= Self.mismatchesMax {
        return dismiss(stream.rank, from: partial, error: damagedSourceError)
      }
      // Of the same one: what it has read from the shared file system is not read again.
      partial.book.assign(stream.chunks, to: stream.rank)
      return ask(partial, stream.rank, for: stream.chunks, isHelpers: true)
    }
    partial.mismatchCount += 1
    if partial.mismatchCount >= Self.mismatchesMax {
      fail(partial, damagedSourceError)
    } else {
      askSource(of: partial)
    }
  }

  /// No more comes than was sent so far.
  func onRefused(_ refusal: ReadRefusal) {
    if refusal.error == ECANCELED, let stream = byTag[refusal.tag], stream.standing == .stopping {
      bulk?.limit(refusal.tag, to: Int(refusal.sentCount))
      return onStopped(stream, sentCount: Int(refusal.sentCount))
    }
    let stream = byTag.removeValue(forKey: refusal.tag)
    if stream != nil || refusal.error == ECANCELED { bulk?.drain(refusal.tag) }
    bulk?.limit(refusal.tag, to: Int(refusal.sentCount))
    guard let stream else { return }
    let partial = stream.partial
    partial.streams.removeAll { $0 === stream }
    partial.book.giveBack(stream.chunks, of: stream.rank)
    if stream.isHelpers && !refusal.isWrong {
      dismiss(stream.rank, from: partial, error: refusal.error)
    } else {
      fail(partial, refusal.error, isKept: !refusal.isWrong, isWrong: refusal.isWrong)
    }
  }

  /// What the source sent was right.
  func onVerdict(_ tag: Int32) {
    guard let stream = byTag[tag], !stream.isHelpers else { return }
    stream.partial.hasVerdict = true
    endIfOver(stream)
    concludeIfComplete(stream.partial)
  }

  /// A small file came as a whole.
  func onContent(_ content: ReadContent) {
    bulk?.limit(content.tag, to: 0)
    guard let stream = byTag[content.tag] else { return }
    let partial = stream.partial
    let sum = content.bytes.withUnsafeBytes {
      ChunkWork.sum(of: $0.baseAddress, count: $0.count)
    }
    if stream.isHelpers { return dismiss(stream.rank, from: partial, error: EPROTO) }
    if sum != content.sum || content.bytes.count != Int(content.shape.byteCount) {
      return onMismatch(stream)
    }
    byTag[content.tag] = nil
    partial.streams.removeAll { $0 === stream }
    partial.shape = content.shape
    partial.isConcluding = true
    partial.moved.nodeByteCount += content.shape.byteCount
    small.append(
      SmallFile(
        number: partial.number, value: partial.value, part: partial.path,
        mode: content.shape.mode, bytes: content.bytes))
  }
}
