// Chunks of files between two nodes, on a communicator of their own. A stream is what one receiver
// asked one sender for: its tag names it at the receiver, tag and rank at the sender, and its chunks
// are matched in the order they were sent. The receiver posts buffers before it asks, and
// a large message that finds none waits inside MPI; what chunks mean is not known here.

internal import CMPI
internal import DequeModule
internal import Glibc
internal import VineCore

/// A chunk that has come.
struct ChunkArrival {
  let tag: Int32
  /// Its place in the stream.
  let place: Int
  let buffer: ChunkBuffer
  /// With the sum behind the data.
  let byteCount: Int
}

/// Names a stream at its sender.
struct OutgoingKey: Hashable {
  let rank: Int
  let tag: Int32
}

/// How fast a stream is, and so how many of its chunks may be on their way at once.
struct StreamPace {
  /// 4 MiB are 34 ms of a link of 1 Gbit/s: a rank that has to wait for a processor for so long does
  /// not leave the link idle.
  static let windowCountMax = 4
  /// Where chunks come faster than every 2 ms, what counts is that they are still in a cache when
  /// they are stored or sent.
  private static let windowCountMin = 2
  private static let slowInterval: Int64 = 2_000_000

  private var last: Int64?
  /// Nanoseconds between two chunks, in the mean of about the last four.
  private var interval: Int64 = 0

  /// `count` chunks, at least one, came or went. `now`: monotonic nanoseconds.
  mutating func note(_ count: Int, at now: Int64) {
    if let last { interval += ((now - last) / Int64(count) - interval) / 4 }
    last = now
  }

  var isSlow: Bool { interval > Self.slowInterval }

  var windowCount: Int { isSlow ? Self.windowCountMax : Self.windowCountMin }
}

final class BulkTransfer {
  /// Chunks that were received and not yet stored, beyond the window.
  private static let heldCountMax = 4

  private struct Message {
    var request: cmpi_request
    let buffer: ChunkBuffer
  }

  private struct IncomingStream {
    let rank: Int
    let tag: Int32
    var arrivedCount = 0
    var heldCount = 0
    /// How many chunks come, once that is known.
    var limit: Int?
    var isPosting: Bool
    /// What comes is thrown away.
    var isDraining = false
    var inFlight: Deque<Message> = []
    var pace = StreamPace()

    var postedCount: Int { arrivedCount + inFlight.count }
    var hasEnded: Bool { limit.map { arrivedCount >= $0 } ?? false }
  }

  let pool = ChunkPool()
  private let mpi: MPIEnvironment
  private var incoming: [IncomingStream] = []
  private var outgoing: [OutgoingKey: Deque<Message>] = [:]
  private var tagCount: Int32 = 0
  /// Peers that MPI gave errors for since they were last taken.
  private var failures: [Int] = []
  private var lost: Set<Int> = []
  private(set) var sentByteCount: Int64 = 0
  private(set) var receivedByteCount: Int64 = 0

  init(mpi: MPIEnvironment) { self.mpi = mpi }

  var isActive: Bool { !outgoing.isEmpty || !incoming.isEmpty }

  /// A tag for the next incoming stream: it only has to differ from this rank's others.
  func nextTag() -> Int32 {
    repeat {
      tagCount = tagCount + 1 >= mpi.bulkTagMax ? 1 : tagCount + 1
    } while incoming.contains { $0.tag == tagCount }
    return tagCount
  }

  // MARK: Receiving

  /// Begins a stream. With `isPosting`, buffers are posted at once, else when its limit is set.
  func open(from rank: Int, tag: Int32, isPosting: Bool) {
    var stream = IncomingStream(rank: rank, tag: tag, isPosting: isPosting)
    postReceives(&stream)
    incoming.append(stream)
  }

  /// `count` chunks come altogether: buffers for more are taken back.
  func limit(_ tag: Int32, to count: Int) {
    guard let place = incoming.firstIndex(where: { $0.tag == tag }) else { return }
    incoming[place].limit = count
    incoming[place].isPosting = true
    while incoming[place].postedCount > count, var last = incoming[place].inFlight.popLast() {
      cmpi_withdraw(&last.request)
    }
    if incoming[place].hasEnded {
      incoming.remove(at: place)
    } else {
      postReceives(&incoming[place])
    }
  }

  /// What still comes of a stream is thrown away.
  func drain(_ tag: Int32) {
    guard let place = incoming.firstIndex(where: { $0.tag == tag }) else { return }
    incoming[place].isDraining = true
    incoming[place].heldCount = 0
    postReceives(&incoming[place])
  }

  /// A chunk that arrived needs no more memory: another may come.
  func release(_ tag: Int32) {
    guard let place = incoming.firstIndex(where: { $0.tag == tag }) else { return }
    incoming[place].heldCount = max(incoming[place].heldCount - 1, 0)
    postReceives(&incoming[place])
  }

  private func postReceives(_ stream: inout IncomingStream) {
    guard stream.isPosting, !lost.contains(stream.rank) else { return }
    let windowCount = stream.pace.windowCount
    while stream.inFlight.count < windowCount,
      stream.heldCount + stream.inFlight.count < windowCount + Self.heldCountMax,
      stream.postedCount < stream.limit ?? .max
    {
      var message = Message(request: cmpi_request_null(), buffer: pool.take())
      let code = cmpi_irecv(
        message.buffer.bytes, Int32(ChunkBuffer.dataByteCountMax + ChunkBuffer.sumByteCount),
        Int32(stream.rank), stream.tag, mpi.bulk, &message.request)
      if code != cmpi_success() { return fail(stream.rank) }
      stream.inFlight.append(message)
    }
  }

  /// The chunks that have come, in order within each stream.
  func takeArrivals() -> [ChunkArrival] {
    if incoming.isEmpty { return [] }
    var arrivals: [ChunkArrival] = []
    for place in incoming.indices { takeArrivals(of: &incoming[place], &arrivals) }
    incoming.removeAll { $0.hasEnded }
    return arrivals
  }

  private func takeArrivals(of stream: inout IncomingStream, _ arrivals: inout [ChunkArrival]) {
    while var message = stream.inFlight.first, !lost.contains(stream.rank) {
      var (flag, source, count): (Int32, Int32, Int32) = (0, 0, 0)
      let code = cmpi_test(&message.request, &flag, &source, &count)
      if code != cmpi_success() { return fail(stream.rank) }
      if flag == 0 { return }
      stream.inFlight.removeFirst()
      if !stream.isDraining {
        arrivals.append(
          ChunkArrival(
            tag: stream.tag, place: stream.arrivedCount, buffer: message.buffer,
            byteCount: Int(count)))
        stream.heldCount += 1
      }
      stream.arrivedCount += 1
      stream.pace.note(1, at: monotonicNanoseconds())
      receivedByteCount += Int64(count)
      postReceives(&stream)
    }
  }

  // MARK: Sending

  /// Sends the next chunk of a stream.
  func send(_ buffer: ChunkBuffer, byteCount: Int, to key: OutgoingKey) {
    if lost.contains(key.rank) { return }
    var message = Message(request: cmpi_request_null(), buffer: buffer)
    let code = cmpi_isend(
      buffer.bytes, Int32(byteCount), Int32(key.rank), key.tag, mpi.bulk, &message.request)
    if code != cmpi_success() { return fail(key.rank) }
    sentByteCount += Int64(byteCount)
    outgoing[key, default: []].append(message)
  }

  /// Chunks of a stream that MPI still reads.
  func sendingCount(_ key: OutgoingKey) -> Int { outgoing[key]?.count ?? 0 }

  /// The streams of which chunks have left since the last call, and how many.
  func takeSent() -> [(key: OutgoingKey, count: Int)] {
    var moved: [(key: OutgoingKey, count: Int)] = []
    for key in outgoing.keys where !lost.contains(key.rank) {
      guard var messages = outgoing[key] else { continue }
      let before = messages.count
      while var message = messages.first {
        var (flag, source, count): (Int32, Int32, Int32) = (0, 0, 0)
        let code = cmpi_test(&message.request, &flag, &source, &count)
        if code != cmpi_success() { fail(key.rank) }
        if code != cmpi_success() || flag == 0 { break }
        messages.removeFirst()
      }
      if messages.count == before { continue }
      outgoing[key] = messages.isEmpty ? nil : messages
      moved.append((key, before - messages.count))
    }
    return moved
  }

  // MARK: Lost peers

  private func fail(_ rank: Int) {
    failures.append(rank)
    lost.insert(rank)
  }

  /// The peers that MPI gave errors for since the last call.
  func takeFailures() -> [Int] {
    if failures.isEmpty { return [] }
    defer { failures = [] }
    return Array(Set(failures)).sorted()
  }

  /// Drops all streams to and from a lost peer. Nothing asks MPI for their requests any more, and
  /// their buffers, which it may still use, are given away for good.
  func forget(_ rank: Int) {
    lost.insert(rank)
    for stream in incoming where stream.rank == rank {
      for message in stream.inFlight { message.buffer.giveAway() }
    }
    incoming.removeAll { $0.rank == rank }
    for (key, messages) in outgoing where key.rank == rank {
      for message in messages { message.buffer.giveAway() }
    }
    outgoing = outgoing.filter { $0.key.rank != rank }
  }
}
