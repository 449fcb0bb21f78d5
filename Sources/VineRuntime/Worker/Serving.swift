// Files of this node's cache on their way to other nodes.

internal import CLinux
internal import Glibc
internal import VineCore

/// A peer's wish to read a file of this node.
struct ReadRequest: Sendable {
  let value: FileValue
  let transfer: TransferID
  let tag: Int32
  let byteCount: Int64
  let isDirectory: Bool
  let rank: Int
}

final class Serving {
  private let scratch: ScratchDirectory
  private let mailbox: Mailbox
  private let bulk: BulkTransfer?
  private let queue: BlockingQueue<HelperResult>
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

  func onRequest(_ request: ReadRequest) {
    guard request.isDirectory else {
      serve(request, path: scratch.cachePath(request.value))
      return
    }
    let tree = scratch.cachePath(request.value)
    let packed = scratch.part("send-\(request.rank)-\(request.transfer.rawValue)")
    queue.submit {
      FileTree.remove(packed)
      let to = clinux_open_at(AT_FDCWD, packed, O_WRONLY | O_CREAT | O_EXCL, 0o600)
      if to < 0 { return .packed(request, path: packed, error: -to) }
      let error = TreeArchive.write(tree, to: to)
      close(to)
      return .packed(request, path: packed, error: error)
    }
  }

  /// A directory was packed, or could not be.
  func onPacked(_ request: ReadRequest, path: String, error: Int32) {
    if error != 0 { refuse(request, error: error) } else { serve(request, path: path) }
    Glibc.unlink(path)
  }

  private func serve(_ request: ReadRequest, path: String) {
    if lostPeers.contains(request.rank) { return }
    let descriptor = clinux_open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, 0)
    var info = stat()
    guard let bulk, descriptor >= 0, fstat(descriptor, &info) == 0,
      Int64(info.st_size) == request.byteCount
    else {
      refuse(request, error: descriptor < 0 ? -descriptor : EIO)
      if descriptor >= 0 { close(descriptor) }
      return
    }
    var answer = WireWriter(.readGranted)
    answer.put(request.transfer.rawValue)
    answer.put(UInt32(info.st_mode & 0o777))
    mailbox.send(answer, to: request.rank, .worker)
    bulk.send(
      request.transfer, to: request.rank, tag: request.tag, byteCount: request.byteCount,
      from: descriptor)
  }

  private func refuse(_ request: ReadRequest, error: Int32) {
    var answer = WireWriter(.readRefused)
    answer.put(request.transfer.rawValue)
    answer.put(error)
    mailbox.send(answer, to: request.rank, .worker)
  }

  /// A peer is lost: it gets nothing more.
  func forget(_ peer: Int) { lostPeers.insert(peer) }
}
