// Files on their way from other nodes into this node's cache.

internal import CLinux
internal import Glibc
internal import VineCore

final class Incoming {
  private struct Row {
    let order: FetchOrder
    let part: String
    var mode: mode_t?
    var isReceived = false
  }

  private let scratch: ScratchDirectory
  private let mailbox: Mailbox
  private let bulk: BulkTransfer?
  private let queue: BlockingQueue<HelperResult>
  private var rows: [TransferID: Row] = [:]
  private var lostPeers: Set<Int> = []

  init(
    scratch: ScratchDirectory, mailbox: Mailbox, bulk: BulkTransfer?,
    queue: BlockingQueue<HelperResult>
  ) {
    self.scratch = scratch
    self.mailbox = mailbox
    self.bulk = bulk
    self.queue = queue
  }

  /// Begins to receive a file; the event comes at once when that fails.
  func receive(_ order: FetchOrder, from rank: Int, part: String) -> WorkerEvent? {
    guard let bulk else { return .transferred(order.transfer, byteCount: 0, error: ENOTCONN) }
    if lostPeers.contains(rank) {
      return .transferred(order.transfer, byteCount: 0, error: ECONNRESET)
    }
    let descriptor = clinux_open_at(
      AT_FDCWD, part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    if descriptor < 0 {
      return .transferred(order.transfer, byteCount: 0, error: -descriptor)
    }
    let tag = bulk.nextTag()
    bulk.receive(
      order.transfer, from: rank, tag: tag, byteCount: order.byteCount, into: descriptor)
    rows[order.transfer] = Row(order: order, part: part)
    var request = WireWriter(.readRequest)
    request.put(order.value)
    request.put(order.transfer.rawValue)
    request.put(tag)
    request.put(order.byteCount)
    request.put(order.isDirectory)
    mailbox.send(request, to: rank, .worker)
    return nil
  }

  /// The source has begun to send, with the file's mode.
  func onGranted(_ transfer: TransferID, mode: UInt32) -> WorkerEvent? {
    rows[transfer]?.mode = mode_t(mode) & 0o777
    return complete(transfer)
  }

  /// The source cannot send it.
  func onRefused(_ transfer: TransferID, error: Int32) -> WorkerEvent? {
    guard let row = rows.removeValue(forKey: transfer) else { return nil }
    _ = bulk?.abandon(transfer)
    FileTree.remove(row.part)
    return .transferred(transfer, byteCount: 0, error: error)
  }

  /// Moves transfers on.
  func progress() -> [WorkerEvent] {
    guard let bulk, bulk.isActive else { return [] }
    var events: [WorkerEvent] = []
    for ended in bulk.progress() {
      if ended.error != 0 {
        if let event = onRefused(ended.transfer, error: ended.error) { events.append(event) }
        continue
      }
      rows[ended.transfer]?.isReceived = true
      if let event = complete(ended.transfer) { events.append(event) }
    }
    return events
  }

  private func complete(_ transfer: TransferID) -> WorkerEvent? {
    guard let row = rows[transfer], row.isReceived, let mode = row.mode else { return nil }
    rows[transfer] = nil
    let order = row.order
    let part = row.part
    if !order.isDirectory {
      chmod(part, mode)
      let error = scratch.enter(part, as: order.value, error: 0)
      return .transferred(transfer, byteCount: order.byteCount, error: error)
    }
    queue.submit {
      let tree = "\(part)-tree"
      FileTree.remove(tree)
      var error: Int32 = 0
      let descriptor = clinux_open_at(AT_FDCWD, part, O_RDONLY, 0)
      if descriptor < 0 {
        error = -descriptor
      } else {
        error = TreeArchive.read(from: descriptor, to: tree)
        close(descriptor)
      }
      Glibc.unlink(part)
      if error != 0 { FileTree.remove(tree) }
      return .fetched(
        transfer, order.value, part: tree, byteCount: order.byteCount, error: error)
    }
    return nil
  }

  /// A peer is lost: what it was sending will never be whole.
  func forget(_ peer: Int) -> [WorkerEvent] {
    lostPeers.insert(peer)
    // First, so that nothing asks MPI for the requests of a lost peer.
    _ = bulk?.forget(peer)
    let source = TransferSource.node(agent: WorkerID(index: peer))
    let transfers = rows.filter { $0.value.order.source == source }.keys.sorted()
    return transfers.compactMap { onRefused($0, error: ECONNRESET) }
  }
}
