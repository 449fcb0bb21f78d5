// A file that is on its way into this node's cache. Its chunks are valid one by one: those can be
// passed on, and a transfer that is cut goes on with the others.

internal import DequeModule
internal import Glibc
internal import VineCore

/// A descriptor that helper threads use, too: closed when the last lets go.
final class HeldDescriptor: Sendable {
  let number: Int32
  init(_ number: Int32) { self.number = number }
  deinit { close(number) }
}

/// Where the bytes of a partial file come from: whose failure is the transfer's, and whose verdict
/// ends it. Helpers come on top.
enum PartialSource: Equatable {
  /// From nowhere at the moment: its source failed, and the manager looks for another.
  case none
  case sharedFileSystem
  /// The streams of a peer.
  case node(rank: Int)
}

/// A peer that may be asked for stripes of a partial file, beside its source.
struct TransferHelper {
  let rank: Int
  /// The transfer by which it gets the file itself: it reads the original for us.
  let behind: TransferID?
  /// Chunks from it that were damaged.
  var mismatchCount = 0
}

/// Chunks that a peer was asked for.
final class RequestedStream {
  enum Standing {
    case asked
    /// The peer was told to send no more of it.
    case stopping
    /// It will not, beyond `chunks`.
    case stopped
  }

  let partial: PartialFile
  let rank: Int
  let tag: Int32
  /// Not of the source but of a helper.
  let isHelpers: Bool
  /// As it was asked for, then as it was granted.
  var chunks: Range<Int>
  var isGranted = false
  /// Of a stream of everything that is cut short.
  var standing = Standing.asked
  var arrivedCount = 0
  /// Chunks that were faster than the grant.
  var early: [ChunkArrival] = []

  init(_ partial: PartialFile, rank: Int, tag: Int32, isHelpers: Bool, _ chunks: Range<Int>) {
    self.partial = partial
    self.rank = rank
    self.tag = tag
    self.isHelpers = isHelpers
    self.chunks = chunks
  }

  /// Nothing more comes in it.
  var isOver: Bool { isGranted && arrivedCount >= chunks.count }
}

/// A partial file's chunk, as helper threads name it.
struct ChunkPlace: Sendable {
  /// Of the partial file.
  let number: Int
  /// Its part file is begun anew with each version.
  let epoch: Int
  let index: Int
  /// Of the stream it came in; 0: from the shared file system.
  let tag: Int32
}

final class PartialFile {
  let number: Int
  let value: FileValue
  var order: FetchOrder
  var source = PartialSource.none
  var epoch = 0
  var path: String
  var shape: FileShape?
  var descriptor: HeldDescriptor?
  /// Which chunks are valid, and who was asked for the others; empty without a shape.
  var book = StripeBook(chunkCount: 0)
  /// The sums of the valid chunks.
  private var sums: [UInt32] = []
  /// The last chunks that came, for those who read along.
  private var recent: Deque<(index: Int, buffer: ChunkBuffer)> = []
  /// Those who read along, and those who wait to hear what it is.
  var followers: [OutgoingFile] = []
  var waiting: [ReadRequest] = []
  /// What peers were asked for and have not sent.
  var streams: [RequestedStream] = []
  var helpers: [TransferHelper] = []
  /// Its source is asked for one stripe after another, since others bring some.
  var isStriped = false
  /// Whoever reads the original has seen that it did not change meanwhile.
  var hasVerdict = false
  /// Chunks of the current source that were damaged.
  var mismatchCount = 0
  /// The file on the shared file system, and what of it is to be read, for itself and for others.
  var original: HeldDescriptor?
  var originalPath: [UInt8] = []
  var isOpeningOriginal = false
  var reads = OriginalReads()
  /// Chunks of peers that are being checked and written. The file gets no name before all of them
  /// are done: one that came twice would change it under those who use it.
  var storesInFlight = 0
  var isConcluding = false
  var moved: MovedBytes

  init(_ number: Int, _ order: FetchOrder, path: String) {
    self.number = number
    self.order = order
    self.path = path
    value = order.value
    moved = MovedBytes(transfer: order.transfer)
  }

  var isComplete: Bool { shape != nil && book.isComplete }

  /// Peers have claimed some of the original.
  var readsForOthers: Bool { original != nil || isOpeningOriginal }

  /// Their links hold those up who read along, not this node.
  var isAheadOfFollowers: Bool {
    // A peer has several streams where it asks for one stripe after another.
    followers.allSatisfy { file in
      followers.contains { $0.key.rank == file.key.rank && $0.hasBacklog(in: book) }
    }
  }

  /// What it will be is known: from now on chunks can come.
  func take(_ shape: FileShape, in descriptor: HeldDescriptor) {
    self.shape = shape
    self.descriptor = descriptor
    book = StripeBook(chunkCount: shape.chunkCount)
    sums = Array(repeating: 0, count: shape.chunkCount)
  }

  /// Takes a chunk in; false: it was there.
  func accept(_ index: Int, sum: UInt32, _ buffer: ChunkBuffer) -> Bool {
    guard book.accept(index) else { return false }
    sums[index] = sum
    recent.append((index, buffer))
    let sourceCount = helpers.count + 1
    let keptCount = followers.isEmpty ? 0 : StreamPace.windowCountMax * sourceCount
    while recent.count > keptCount { recent.removeFirst() }
    return true
  }

  func sum(of index: Int) -> UInt32 { sums[index] }

  /// The chunk in memory, if it is still there.
  func buffer(of index: Int) -> ChunkBuffer? {
    recent.last { $0.index == index }?.buffer
  }

  /// Nothing of what came counts.
  func forgetChunks() {
    epoch += 1
    book = StripeBook(chunkCount: 0)
    sums = []
    recent = []
    shape = nil
    descriptor = nil
    original = nil
    hasVerdict = false
    isOpeningOriginal = false
    reads = OriginalReads()
    storesInFlight = 0
  }
}
