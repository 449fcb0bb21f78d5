// File contents between two nodes. The receiver posts its buffers before it asks, so nothing
// arrives unexpected; chunks travel on a communicator of their own, a window of them at a time.
//
// A chunk is up to `chunkByteCount` bytes of the file and their CRC-32C. How many there are follows
// from the size, which both sides know; an empty file needs none.

internal import CChecksum
internal import CMPI
internal import Glibc
internal import VineCore

/// What a transfer came to, on the receiving side.
struct ReceivedFile {
  let transfer: TransferID
  let error: Int32
}

final class BulkTransfer {
  static let chunkByteCount = 1 << 20
  private static let windowCount = 4

  private struct Chunk {
    var request: cmpi_request
    let buffer: UnsafeMutableRawPointer
    let index: Int
    let byteCount: Int
  }

  /// One file on its way out or in.
  private struct Stream {
    let transfer: TransferID
    let rank: Int32
    let tag: Int32
    let descriptor: Int32
    let byteCount: Int64
    var nextChunk = 0
    var inFlight: [Chunk] = []
    var error: Int32 = 0
    /// MPI has given this stream up: its requests are left alone, and their buffers given away.
    var isBroken = false

    var hasEnded: Bool { isBroken || (inFlight.isEmpty && nextChunk == chunkCount) }
    var chunkCount: Int {
      Int((byteCount + Int64(chunkByteCount) - 1) / Int64(chunkByteCount))
    }
    func chunkSize(_ index: Int) -> Int {
      min(chunkByteCount, Int(byteCount - Int64(index) * Int64(chunkByteCount)))
    }
  }

  private let mpi: MPIEnvironment
  private var outgoing: [Stream] = []
  private var incoming: [Stream] = []
  private var spareBuffers: [UnsafeMutableRawPointer] = []
  private var tagCount: Int32 = 0
  /// Peers that MPI gave errors for since they were last taken.
  private var failures: [Int] = []
  private(set) var sentByteCount: Int64 = 0
  private(set) var receivedByteCount: Int64 = 0

  init(mpi: MPIEnvironment) { self.mpi = mpi }

  var isActive: Bool { !outgoing.isEmpty || !incoming.isEmpty }

  /// A tag for the next incoming transfer: its sender answers with it, so it only has to differ
  /// from this receiver's other transfers under way.
  func nextTag() -> Int32 {
    tagCount = tagCount + 1 >= mpi.bulkTagMax ? 1 : tagCount + 1
    return tagCount
  }

  /// Posts the receives of a file into `descriptor`, which it closes when done.
  func receive(
    _ transfer: TransferID, from rank: Int, tag: Int32, byteCount: Int64, into descriptor: Int32
  ) {
    var stream = Stream(
      transfer: transfer, rank: Int32(rank), tag: tag, descriptor: descriptor,
      byteCount: byteCount)
    postReceives(&stream)
    incoming.append(stream)
  }

  /// Sends `byteCount` bytes of `descriptor`, which it closes when done.
  func send(
    _ transfer: TransferID, to rank: Int, tag: Int32, byteCount: Int64, from descriptor: Int32
  ) {
    var stream = Stream(
      transfer: transfer, rank: Int32(rank), tag: tag, descriptor: descriptor,
      byteCount: byteCount)
    postSends(&stream)
    outgoing.append(stream)
  }

  /// Gives up an incoming transfer whose source will not send it.
  func abandon(_ transfer: TransferID) -> Bool {
    guard let place = incoming.firstIndex(where: { $0.transfer == transfer }) else { return false }
    for var chunk in incoming[place].inFlight {
      cmpi_abandon(&chunk.request)
      // The buffer may still be written if a late message matches: it is given away for good.
    }
    close(incoming[place].descriptor)
    incoming.remove(at: place)
    return true
  }

  /// Moves transfers on; returns the incoming ones that ended.
  func progress() -> [ReceivedFile] {
    if !isActive { return [] }
    var ended: [ReceivedFile] = []
    var index = 0
    while index < outgoing.count {
      progress(&outgoing[index], isIncoming: false)
      if outgoing[index].hasEnded {
        close(outgoing[index].descriptor)
        outgoing.remove(at: index)
      } else {
        index += 1
      }
    }
    index = 0
    while index < incoming.count {
      progress(&incoming[index], isIncoming: true)
      let stream = incoming[index]
      if stream.hasEnded {
        let closed = close(stream.descriptor) == 0 ? 0 : errno
        let error = stream.error != 0 ? stream.error : closed
        ended.append(ReceivedFile(transfer: stream.transfer, error: error))
        incoming.remove(at: index)
      } else {
        index += 1
      }
    }
    return ended
  }

  private func progress(_ stream: inout Stream, isIncoming: Bool) {
    while !stream.isBroken, var chunk = stream.inFlight.first {
      var flag: Int32 = 0
      var source: Int32 = 0
      var count: Int32 = 0
      let code = cmpi_test(&chunk.request, &flag, &source, &count)
      if code != cmpi_success() { return giveUp(&stream) }
      if flag == 0 { return }
      if isIncoming {
        store(chunk, count: Int(count), of: &stream)
      } else {
        sentByteCount += Int64(chunk.byteCount)
      }
      spareBuffers.append(chunk.buffer)
      stream.inFlight.removeFirst()
      if isIncoming { postReceives(&stream) } else { postSends(&stream) }
    }
  }

  /// After an error of MPI's nothing of the stream is waited for.
  private func giveUp(_ stream: inout Stream) {
    stream.isBroken = true
    failures.append(Int(stream.rank))
    stream.error = ECONNRESET
    stream.inFlight = []
  }

  /// The peers that MPI gave errors for since the last call.
  func takeFailures() -> [Int] {
    if failures.isEmpty { return [] }
    defer { failures = [] }
    return Array(Set(failures)).sorted()
  }

  /// Drops all transfers to and from a lost peer; returns those that were to come in.
  func forget(_ rank: Int) -> [TransferID] {
    for stream in outgoing + incoming where stream.rank == Int32(rank) { close(stream.descriptor) }
    let lost = incoming.filter { $0.rank == Int32(rank) }.map(\.transfer)
    outgoing.removeAll { $0.rank == Int32(rank) }
    incoming.removeAll { $0.rank == Int32(rank) }
    return lost
  }

  private func store(_ chunk: Chunk, count: Int, of stream: inout Stream) {
    guard count == chunk.byteCount + 4 else {
      stream.error = stream.error == 0 ? EIO : stream.error
      return
    }
    let expected = chunk.buffer.loadUnaligned(fromByteOffset: chunk.byteCount, as: UInt32.self)
    if cchecksum_crc32c(0, chunk.buffer, chunk.byteCount) != UInt32(littleEndian: expected) {
      stream.error = stream.error == 0 ? EBADMSG : stream.error
      return
    }
    receivedByteCount += Int64(chunk.byteCount)
    if stream.error != 0 { return }
    var done = 0
    while done < chunk.byteCount {
      let offset = Int64(chunk.index) * Int64(Self.chunkByteCount) + Int64(done)
      let put = pwrite(
        stream.descriptor, chunk.buffer + done, chunk.byteCount - done, off_t(offset))
      if put < 0 && errno == EINTR { continue }
      if put < 0 {
        stream.error = errno
        return
      }
      done += put
    }
  }

  private func buffer() -> UnsafeMutableRawPointer {
    spareBuffers.popLast() ?? .allocate(byteCount: Self.chunkByteCount + 4, alignment: 4096)
  }

  private func postReceives(_ stream: inout Stream) {
    while !stream.isBroken && stream.inFlight.count < Self.windowCount
      && stream.nextChunk < stream.chunkCount
    {
      let size = stream.chunkSize(stream.nextChunk)
      var chunk = Chunk(
        request: cmpi_request_null(), buffer: buffer(), index: stream.nextChunk, byteCount: size)
      let code = cmpi_irecv(
        chunk.buffer, Int32(size + 4), stream.rank, stream.tag, mpi.bulk, &chunk.request)
      if code != cmpi_success() { return giveUp(&stream) }
      stream.nextChunk += 1
      stream.inFlight.append(chunk)
    }
  }

  private func postSends(_ stream: inout Stream) {
    while !stream.isBroken && stream.inFlight.count < Self.windowCount
      && stream.nextChunk < stream.chunkCount
    {
      let size = stream.chunkSize(stream.nextChunk)
      var chunk = Chunk(
        request: cmpi_request_null(), buffer: buffer(), index: stream.nextChunk, byteCount: size)
      read(chunk, of: &stream)
      var crc = cchecksum_crc32c(0, chunk.buffer, size)
      // A file that could not be read travels with a sum that cannot be right: the receiver has
      // posted its buffers and must get its chunks, and must not believe them.
      if stream.error != 0 { crc = ~crc }
      chunk.buffer.storeBytes(of: crc.littleEndian, toByteOffset: size, as: UInt32.self)
      let code = cmpi_isend(
        chunk.buffer, Int32(size + 4), stream.rank, stream.tag, mpi.bulk, &chunk.request)
      if code != cmpi_success() { return giveUp(&stream) }
      stream.nextChunk += 1
      stream.inFlight.append(chunk)
    }
  }

  private func read(_ chunk: Chunk, of stream: inout Stream) {
    var done = 0
    while done < chunk.byteCount && stream.error == 0 {
      let offset = Int64(chunk.index) * Int64(Self.chunkByteCount) + Int64(done)
      let got = pread(
        stream.descriptor, chunk.buffer + done, chunk.byteCount - done, off_t(offset))
      if got < 0 && errno == EINTR { continue }
      if got <= 0 { stream.error = got < 0 ? errno : EIO }
      done += max(got, 0)
    }
  }
}
