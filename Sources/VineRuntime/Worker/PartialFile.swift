// A file that is on its way into this node's cache. Its chunks are valid from the first on: those
// can be passed on, and a transfer that is cut goes on behind them.

internal import DequeModule
internal import Glibc
internal import VineCore

/// A descriptor that helper threads use, too: closed when the last lets go.
final class HeldDescriptor: Sendable {
  let number: Int32
  init(_ number: Int32) { self.number = number }
  deinit { close(number) }
}

/// Where the bytes of a partial file come from.
enum PartialSource: Equatable {
  /// From nowhere at the moment: its source failed, and the manager looks for another.
  case none
  case sharedFileSystem
  /// The stream of a peer.
  case node(rank: Int, tag: Int32)
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
  /// The sums of the valid chunks.
  private(set) var sums: [UInt32] = []
  /// Chunks that were stored out of turn.
  private var stored: [Int: (sum: UInt32, buffer: ChunkBuffer)] = [:]
  /// The last valid chunks, for those who read along.
  private var recent: Deque<ChunkBuffer> = []
  /// Those who read along, and those who wait to hear what it is.
  var followers: [OutgoingFile] = []
  var waiting: [ReadRequest] = []
  /// The first chunk of the current stream.
  var firstChunk = 0
  /// Whoever reads the original has seen that it did not change meanwhile.
  var hasVerdict = false
  /// The current stream was granted; chunks that were faster than that wait.
  var isGranted = false
  var early: [ChunkArrival] = []
  /// Chunks of the current source that were damaged.
  var mismatchCount = 0
  /// The file on the shared file system, and how it looked when it was opened.
  var original: HeldDescriptor?
  var nextRead = 0
  var readsInFlight = 0
  var isConcluding = false
  var moved: MovedBytes

  init(_ number: Int, _ order: FetchOrder, path: String) {
    self.number = number
    self.order = order
    self.path = path
    value = order.value
    moved = MovedBytes(transfer: order.transfer)
  }

  var validCount: Int { sums.count }
  var isComplete: Bool { shape.map { sums.count == $0.chunkCount } ?? false }

  /// Takes a chunk in; returns the chunks that became valid by it.
  func accept(_ index: Int, sum: UInt32, _ buffer: ChunkBuffer) -> Range<Int> {
    let first = sums.count
    if index < first { return first..<first }
    stored[index] = (sum, buffer)
    while let next = stored.removeValue(forKey: sums.count) {
      sums.append(next.sum)
      recent.append(next.buffer)
    }
    let keptCount = followers.isEmpty ? 0 : BulkTransfer.windowCount
    while recent.count > keptCount { recent.removeFirst() }
    return first..<sums.count
  }

  func sum(of index: Int) -> UInt32 { sums[index] }

  /// The chunk in memory, if it is still there.
  func buffer(of index: Int) -> ChunkBuffer? {
    let place = index - (sums.count - recent.count)
    return recent.indices.contains(place) ? recent[place] : nil
  }

  /// Nothing of what came counts.
  func forgetChunks() {
    epoch += 1
    sums = []
    stored = [:]
    recent = []
    early = []
    shape = nil
    descriptor = nil
    original = nil
    hasVerdict = false
    nextRead = 0
    readsInFlight = 0
  }

  /// Chunks beyond the valid ones are fetched again.
  func forgetStored() { stored = [:] }

  /// No chunk is kept for anybody.
  func letGo() {
    recent = []
    stored = [:]
  }
}
