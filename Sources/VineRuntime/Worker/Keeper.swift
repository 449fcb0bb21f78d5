// A node's agent and what the node keeps beyond runs: looks for what this run wants, and adds what it
// brings. Until a file was looked for, orders to fetch it wait.

internal import Glibc
internal import VineCore

/// How a file of this run is found among what nodes keep.
struct ForeverOrder: Equatable, Sendable {
  var value: FileValue
  var key: ContentHash
  var kind: String
  var name: String
  var isConditional: Bool
}

final class Keeper {
  private let cache: ForeverCache
  private let scratch: ScratchDirectory
  private let runName: String
  private let queue: BlockingQueue<HelperResult>
  /// Orders that wait until their file was looked for.
  private var held: [FileValue: [FetchOrder]] = [:]
  /// Files that were found, with their sizes.
  private var found: [FileValue: Int64] = [:]
  /// Files that are to be kept once a transfer has brought them.
  private var wanted: [TransferID: FetchOrder] = [:]

  init?(scratch: ScratchDirectory, runName: String, queue: BlockingQueue<HelperResult>) {
    guard let slash = scratch.path.lastIndex(of: "/"),
      let cache = try? ForeverCache.open(below: String(scratch.path[..<slash]))
    else { return nil }
    self.cache = cache
    self.scratch = scratch
    self.runName = runName
    self.queue = queue
  }

  /// Looks for files, beside the loop.
  func recall(_ orders: [ForeverOrder]) {
    for order in orders where !order.isConditional {
      held[order.value] = []
      let part = scratch.part("keep-\(order.value.file.rawValue)")
      let cache = cache
      queue.submit { .recalled(order.value, part: part, cache.recall(order.key, to: part)) }
    }
  }

  /// Whether nothing is looked for any more.
  var hasRecalledAll: Bool { held.isEmpty }

  enum Answer {
    /// It was looked for in vain, or not at all.
    case proceed
    /// It is still looked for; the order comes back from `onRecalled`.
    case held
    /// It is there: the manager had not heard of that yet.
    case done(WorkerEvent)
  }

  /// What is to be done about an order to bring a file.
  func answer(_ order: FetchOrder) -> Answer {
    if held[order.value] != nil {
      held[order.value]?.append(order)
      return .held
    }
    var info = stat()
    // It may have been dropped since, or thrown away by who found it changed.
    guard let byteCount = found.removeValue(forKey: order.value),
      lstat(scratch.cachePath(order.value), &info) == 0
    else { return .proceed }
    return .done(.transferred(order.transfer, byteCount: byteCount, error: 0))
  }

  /// What became of looking for a file: events, orders to be carried out now, those that need not be,
  /// and a text for people.
  func onRecalled(
    _ value: FileValue, part: String, _ recall: ForeverCache.Recall
  ) -> (events: [WorkerEvent], orders: [FetchOrder], answered: [FetchOrder], text: String) {
    let orders = held.removeValue(forKey: value) ?? []
    switch recall {
    case .missing: return ([], orders, [], "")
    case .damaged(let entry):
      let text =
        "\(hostName()): what this node had kept of \(entry.name) is damaged; it is brought anew"
      return ([], orders, [], text)
    case .found(let entry):
      if scratch.enter(part, as: value, error: 0) != 0 { return ([], orders, [], "") }
      let byteCount =
        entry.isDirectory ? TreeArchive.byteCount(of: scratch.cachePath(value)) : entry.byteCount
      if orders.isEmpty {
        found[value] = byteCount
        return ([.found(value, byteCount: byteCount)], [], [], "")
      }
      let events = orders.map { order in
        WorkerEvent.transferred(order.transfer, byteCount: byteCount, error: 0)
      }
      return (events, [], orders, "")
    }
  }

  /// What `order` brings is to be kept.
  func expect(_ order: FetchOrder) {
    if order.forever != nil { wanted[order.transfer] = order }
  }

  /// A transfer ended: keeps what it brought, beside the loop. `validators` are those of a download.
  func onTransferred(_ transfer: TransferID, error: Int32, validators: Download.Validators?) {
    guard let order = wanted.removeValue(forKey: transfer), error == 0, let forever = order.forever
    else { return }
    if forever.isConditional && validators?.isEmpty ?? true { return }
    let entry = ForeverEntry(
      content: "", byteCount: 0, isDirectory: order.isDirectory, kind: forever.kind,
      name: forever.name, run: runName, etag: validators?.etag,
      lastModified: validators?.lastModified)
    let cache = cache
    let source = scratch.cachePath(order.value)
    queue.submit {
      _ = cache.store(source, as: forever.key, entry)
      return .removed
    }
  }

  /// What the server has to be asked before a kept download may be used; nil where none is kept.
  func validators(of order: FetchOrder) -> Download.Validators? {
    guard let forever = order.forever, forever.isConditional,
      let entry = cache.entry(forever.key.text)
    else { return nil }
    return Download.Validators(etag: entry.etag, lastModified: entry.lastModified)
  }

  /// The server says that a kept download is what it has: takes that.
  func takeUnchanged(_ order: FetchOrder) {
    guard let forever = order.forever else { return }
    let part = scratch.part("keep-\(order.value.file.rawValue)")
    let cache = cache
    let scratch = scratch
    queue.submit {
      if case .found(let entry) = cache.recall(forever.key, to: part),
        scratch.enter(part, as: order.value, error: 0) == 0
      {
        return .derived(
          .transferred(order.transfer, byteCount: entry.byteCount, error: 0), "")
      }
      // Gone or damaged since it was looked up: the next try finds no validators.
      return .derived(.transferred(order.transfer, byteCount: 0, error: EAGAIN), "")
    }
  }
}
