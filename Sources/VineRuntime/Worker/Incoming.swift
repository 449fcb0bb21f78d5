// Files on their way into this node's cache: from other nodes in chunks (`IncomingStreams`), from the
// shared file system chunk by chunk as well (`IncomingOriginals`), so that others can read along
// (`Serving`). What fails because of its source stays as far as it came, until the manager names
// another source or has it forgotten.

internal import Glibc
internal import VineCore

final class Incoming {
  let scratch: ScratchDirectory
  let mailbox: Mailbox
  let bulk: BulkTransfer?
  let chunks: ChunkHelpers
  let pool: ChunkPool
  /// Reads along; set once.
  weak var serving: Serving?
  private var partials: [FileValue: PartialFile] = [:]
  var byNumber: [Int: PartialFile] = [:]
  var byTag: [Int32: RequestedStream] = [:]
  private var partialCount = 0
  /// Values that come in other ways: nobody can read along.
  private var opaque: Set<FileValue> = []
  /// The last transfer that was ordered; they are ordered by their numbers.
  private var lastTransfer: TransferID?
  /// Helpers of transfers that were not ordered yet.
  private var assists: [TransferID: [AssistOrder]] = [:]
  /// Which version of a file of the shared file system lies in the cache.
  private var versions: [FileValue: UInt64] = [:]
  var small: [SmallFile] = []
  var lostPeers: Set<Int> = []
  var events: [WorkerEvent] = []
  var sharedReadByteCount: Int64 = 0
  var sharedReadCount: Int64 = 0
  static let mismatchesMax = 3

  init(
    scratch: ScratchDirectory, mailbox: Mailbox, bulk: BulkTransfer?,
    chunks: ChunkHelpers
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
    // What was under way when the last transfer failed counts for this one.
    partial.moved.transfer = order.transfer
    partial.mismatchCount = 0
    partial.hasVerdict = false
    partial.helpers = []
    let helpers = order.isDirectory ? [] : assists.removeValue(forKey: order.transfer) ?? []
    for helper in helpers { enlist(helper, for: partial) }
    let isShared = !partial.helpers.isEmpty || partial.readsForOthers
    partial.isStriped = isShared && order.source != .sharedFileSystem
    if let agent = order.source.agent {
      begin(partial, from: agent.index)
    } else {
      openOriginal(of: partial)
    }
    serving?.onOrder(of: order.value)
  }

  /// A transfer has one more source, from its begin on or now.
  func assist(_ order: AssistOrder) {
    if let partial = partials[order.value], partial.order.transfer == order.transfer {
      enlist(order, for: partial)
      if !partial.helpers.isEmpty { stripe(partial) }
      pump(partial)
    } else if lastTransfer.map({ $0 < order.transfer }) ?? true {
      assists[order.transfer, default: []].append(order)
    }
  }

  private func enlist(_ order: AssistOrder, for partial: PartialFile) {
    let helper: TransferHelper
    switch order.source {
    case .sharedFileSystem:
      partial.originalPath = order.location
      return
    case .node(let agent): helper = TransferHelper(rank: agent.index, behind: nil)
    case .relay(let agent, let transfer):
      helper = TransferHelper(rank: agent.index, behind: transfer)
    case .manager, .derivation: return
    }
    let isKnown = partial.helpers.contains { $0.rank == helper.rank }
    if !isKnown && !lostPeers.contains(helper.rank) { partial.helpers.append(helper) }
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

  /// Takes back what a peer asked for and waits to be granted; nil: nothing of the kind.
  func withdraw(_ key: OutgoingKey) -> ReadRequest? {
    for partial in partials.values {
      if let place = partial.waiting.firstIndex(where: { $0.key == key }) {
        return partial.waiting.remove(at: place)
      }
    }
    return nil
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
    closeStreams(of: partial)
    partial.source = .none
    drop(partial, isWrong: false)
  }

  // MARK: The end

  func concludeIfComplete(_ partial: PartialFile) {
    guard partial.isComplete, !partial.isConcluding, partial.source != .none,
      partial.reads.underWayCount == 0, partial.storesInFlight == 0, let shape = partial.shape
    else { return }
    let (number, epoch) = (partial.number, partial.epoch)
    if partial.source == .sharedFileSystem && !partial.hasVerdict, let original = partial.original {
      partial.isConcluding = true
      chunks.submit {
        .checked(
          number: number, epoch: epoch, error: ChunkWork.check(original, version: shape.version))
      }
      return
    }
    guard partial.hasVerdict else { return }
    partial.isConcluding = true
    closeStreams(of: partial)
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

  func onEntered(_ partial: PartialFile, error: Int32) {
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
      partial.moved = MovedBytes(transfer: partial.order.transfer)
    }
    events.append(.transferred(partial.order.transfer, byteCount: byteCount, error: error))
  }

  /// The current transfer has failed. What is kept can be gone on with.
  func fail(
    _ partial: PartialFile, _ error: Int32, isKept: Bool = true, isWrong: Bool = false
  ) {
    let readOriginal = partial.source == .sharedFileSystem
    partial.source = .none
    closeStreams(of: partial)
    if readOriginal { closeOriginal(of: partial) }
    partial.isConcluding = false
    // How large it is, is what the manager must know of a file that found no room.
    let byteCount = isDiskFull(error) ? partial.shape?.byteCount ?? 0 : 0
    report(partial, byteCount: byteCount, error: error)
    let isEmpty =
      partial.book.heldCount == 0 && partial.followers.isEmpty && partial.waiting.isEmpty
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
    case .opened(let number, let epoch, let isClaim, let opening):
      guard let partial = byNumber[number], partial.epoch == epoch else { return true }
      if isClaim { onOpenedForOthers(partial, opening) } else { onOpened(partial, opening) }
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
    for partial in partials.values.sorted(by: { $0.number < $1.number }) {
      if partial.source == .node(rank: peer) && !partial.isConcluding {
        fail(partial, sourceGoneError)
      } else {
        dismiss(peer, from: partial, error: sourceGoneError)
      }
    }
  }
}
