// Files of the shared file system, read chunk by chunk: by the node that a transfer tells to, and by
// helpers of that node, which read the ranges that it asks them for. So each byte is read once,
// whoever reads it.

internal import Glibc
internal import VineCore

extension Incoming {
  private static let readsAheadMax = 3
  /// How the book of stripes calls this node: reading for itself, and for others.
  private static let ownTaker = -1
  private static let claimTaker = -2

  // MARK: The transfer's own

  func openOriginal(of partial: PartialFile) {
    partial.source = .sharedFileSystem
    open(partial, partial.order, isClaim: false)
  }

  private func open(_ partial: PartialFile, _ order: FetchOrder, isClaim: Bool) {
    let (number, epoch, path) = (partial.number, partial.epoch, partial.path)
    let isResumed = isClaim || partial.book.heldCount > 0
    let scratch = scratch
    chunks.submit {
      .opened(
        number: number, epoch: epoch, isClaim: isClaim,
        ChunkWork.open(order, part: path, isResumed: isResumed, in: scratch))
    }
  }

  func onOpened(_ partial: PartialFile, _ opening: SharedOpening) {
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
      if !begin(partial, as: shape) { return }
      pump(partial)
      concludeIfComplete(partial)
    }
  }

  /// The transfer does not read the original any more.
  func closeOriginal(of partial: PartialFile) {
    abandonClaims(of: partial, error: sourceGoneError)
    partial.reads.stop()
    partial.book.giveBack(allOf: Self.ownTaker)
    partial.original = nil
  }

  func readOriginal(of partial: PartialFile) {
    guard let shape = partial.shape, let original = partial.original,
      let part = partial.descriptor
    else { return }
    let ownTaker = partial.source == .sharedFileSystem ? Self.ownTaker : nil
    while partial.reads.underWayCount < readsMax(of: partial),
      let index = partial.reads.begin(&partial.book, ownTaker: ownTaker)
    {
      let place = ChunkPlace(
        number: partial.number, epoch: partial.epoch, index: index, tag: 0)
      let size = shape.chunkSize(index)
      let buffer = pool.take()
      // Who reads for others is not the one that looks at the end whether it has changed.
      let version = partial.source == .sharedFileSystem ? 0 : shape.version
      chunks.submit {
        let (sum, error) = ChunkWork.copy(
          original, buffer, byteCount: size, at: index, version: version, to: part)
        return .stored(place, sum: sum, buffer, error: error)
      }
    }
  }

  /// Where all processors are taken, and everybody who reads along has more before him than his link
  /// takes, to read fast would only take processors from those who pass on what was read.
  private func readsMax(of partial: PartialFile) -> Int {
    let followers = partial.followers
    let isAhead = !followers.isEmpty && followers.allSatisfy(\.isSlow) && partial.isAheadOfFollowers
    return isAhead && chunks.isLoaded ? 1 : Self.readsAheadMax
  }

  // MARK: For others

  /// What this node does about a peer's request to read a range of the original.
  enum ClaimStanding {
    case taken
    /// It is not known yet what the file is.
    case waits
    case refused(error: Int32)
  }

  func claim(_ partial: PartialFile, _ request: ReadRequest) -> ClaimStanding {
    if partial.original == nil && partial.originalPath.isEmpty { return .refused(error: ENOENT) }
    if let shape = partial.shape {
      guard shape.version == request.version else { return .refused(error: ESTALE) }
      let chunks = Int(request.firstChunk)..<min(Int(request.endChunk), shape.chunkCount)
      partial.book.assign(chunks, to: Self.claimTaker)
      stripe(partial)
      closeUnusedStreams(of: partial, within: chunks)
      partial.reads.claim(chunks)
      if partial.original != nil {
        pump(partial)
        return .taken
      }
    }
    if !partial.isOpeningOriginal {
      partial.isOpeningOriginal = true
      var order = partial.order
      order.location = partial.originalPath
      open(partial, order, isClaim: true)
    }
    return partial.shape == nil ? .waits : .taken
  }

  func onOpenedForOthers(_ partial: PartialFile, _ opening: SharedOpening) {
    partial.isOpeningOriginal = false
    switch opening {
    case .failed(let error): abandonClaims(of: partial, error: error)
    case .entered: abandonClaims(of: partial, error: EPROTO)
    case .open(let original, let shape):
      if let known = partial.shape, known != shape {
        return abandonClaims(of: partial, error: ESTALE)
      }
      partial.moved.sharedReadCount = 1
      sharedReadCount += 1
      // Set before those that waited for the shape claim their ranges.
      partial.original = original
      if begin(partial, as: shape) { pump(partial) }
    }
  }

  /// Nothing is read for others any more: they do that themselves.
  func abandonClaims(of partial: PartialFile, error: Int32) {
    partial.reads.dropClaims(isCurrentKept: partial.source == .sharedFileSystem)
    partial.book.giveBack(allOf: Self.claimTaker)
    serving?.refuseReaders(of: partial, error: error)
    if partial.source != .none { pump(partial) }
  }
}
