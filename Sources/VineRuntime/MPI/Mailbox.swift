// Messages between roles. Between two ranks they are a stream of frames, cut into packets for MPI;
// within one process they are handed over as they are. Nobody else knows the difference.
//
// MPI keeps the order of messages between two ranks on one communicator and tag (MPI 3.1, 3.5), so
// frames need no numbers. Receives are posted ahead as a ring and completed in posting order: a
// later one cannot match before an earlier one, for the same reason.

internal import CMPI
internal import Glibc
package import VineCore

/// Who sends or gets a message. Rank 0 may host both roles.
package enum Role: Sendable {
  case manager, worker
}

/// The MPI tag of each kind of stream: two roles of one rank must not share one.
private func tag(from sender: Role, to target: Role) -> Int32 {
  switch (sender, target) {
  case (_, .manager): 1
  case (.manager, .worker): 2
  case (.worker, .worker): 3
  }
}

package final class Mailbox {
  /// Bytes of one packet: within the eager limit of common fabrics' TCP and InfiniBand paths, and
  /// small enough that a ring of them costs a rank little.
  static let packetByteCount = 16384
  /// Packets under way to one rank before more is held back; the rest waits in `Outbox.bytes`.
  private static let packetsInFlightMax = 8
  /// Errors of receives without a message between them, after which MPI itself must be broken.
  private static let receiveErrorsMax = 1000

  private struct Address: Hashable {
    let rank: Int
    let role: Role
  }

  private struct Outbox {
    var bytes: [UInt8] = []
    var inFlightCount = 0
    var isListed = false
  }

  private struct SendRow {
    var request: cmpi_request
    let buffer: UnsafeMutableRawPointer
    let address: Address
  }

  private struct ReceiveRow {
    var request: cmpi_request
    let buffer: UnsafeMutableRawPointer
    var isPosted = false
  }

  /// The receives of one tag.
  private struct Ring {
    let tag: Int32
    var rows: [ReceiveRow] = []
    var next = 0
    /// Beginnings of frames that go on in the next packet, by sender.
    var partial: [Int: [UInt8]] = [:]
  }

  private let role: Role
  private let mpi: MPIEnvironment?
  /// The other role's mailbox when this process hosts both.
  package weak var neighbour: Mailbox?
  private var neighbourFrames: [[UInt8]] = []
  private var outboxes: [Address: Outbox] = [:]
  private var listed: [Address] = []
  private var sends: [SendRow] = []
  private var spareBuffers: [UnsafeMutableRawPointer] = []
  private var rings: [Ring] = []
  private var pollCount = 0
  /// Peers that nothing is sent to any more.
  private var lost: Set<Int> = []
  /// Peers that MPI could not reach and nobody was told of.
  private var failures: [Int] = []
  /// Of all messages that were sent and received over MPI.
  private(set) var movedByteCount: Int64 = 0
  /// Errors of receives since the last message.
  private var receiveErrorCount = 0
  /// Processes on this node to wake when a message went to them, by rank.
  package var doorbells: [Int: Int32] = [:]

  package init(role: Role, mpi: MPIEnvironment?) throws(RuntimeError) {
    self.role = role
    self.mpi = mpi
    guard let mpi, mpi.size > 1 else { return }
    switch role {
    case .manager:
      // A manager hears from everybody at once.
      try addRing(tag: tag(from: .worker, to: .manager), count: min(max(16, mpi.size), 256))
    case .worker:
      try addRing(tag: tag(from: .manager, to: .worker), count: 8)
      try addRing(tag: tag(from: .worker, to: .worker), count: 4)
    }
  }

  private func addRing(tag: Int32, count: Int) throws(RuntimeError) {
    var ring = Ring(tag: tag)
    for _ in 0..<count {
      var row = ReceiveRow(
        request: cmpi_request_null(),
        buffer: .allocate(byteCount: Self.packetByteCount, alignment: 16))
      let code = post(&row, tag: tag)
      if code != cmpi_success() { throw RuntimeError("receive", detail: mpiErrorText(code)) }
      ring.rows.append(row)
    }
    rings.append(ring)
  }

  package var rank: Int { mpi?.rank ?? 0 }
  package var hasUnfinishedSends: Bool { !sends.isEmpty || !listed.isEmpty }

  /// Queues a frame for a role; `flush` sets it moving.
  package func send(_ writer: consuming WireWriter, to rank: Int, _ target: Role) {
    let frame = writer.bytes
    if rank == mpi?.rank ?? 0 {
      neighbour?.neighbourFrames.append(frame)
      return
    }
    if lost.contains(rank) { return }
    let address = Address(rank: rank, role: target)
    var box = outboxes.removeValue(forKey: address) ?? Outbox()
    withUnsafeBytes(of: UInt32(frame.count).littleEndian) { box.bytes.append(contentsOf: $0) }
    box.bytes.append(contentsOf: frame)
    if !box.isListed {
      box.isListed = true
      listed.append(address)
    }
    outboxes[address] = box
  }

  /// Hands queued bytes to MPI as far as packets are free.
  package func flush() {
    if listed.isEmpty && sends.isEmpty { return }
    collectSends()
    let addresses = listed
    listed = []
    for address in addresses { flush(to: address) }
  }

  private func flush(to address: Address) {
    guard let mpi, !lost.contains(address.rank), var box = outboxes.removeValue(forKey: address)
    else { return }
    var offset = 0
    while offset < box.bytes.count && box.inFlightCount < Self.packetsInFlightMax {
      let count = min(Self.packetByteCount, box.bytes.count - offset)
      let buffer =
        spareBuffers.popLast() ?? .allocate(byteCount: Self.packetByteCount, alignment: 16)
      box.bytes.withUnsafeBytes {
        buffer.copyMemory(from: $0.baseAddress! + offset, byteCount: count)
      }
      var row = SendRow(request: cmpi_request_null(), buffer: buffer, address: address)
      let code = cmpi_isend(
        buffer, Int32(count), Int32(address.rank), tag(from: role, to: address.role), mpi.control,
        &row.request)
      if code != cmpi_success() { return fail(address.rank) }
      offset += count
      movedByteCount += Int64(count)
      switch finishSend(&row) {
      case .done: break
      case .pending:
        box.inFlightCount += 1
        sends.append(row)
      case .failed: return fail(address.rank)
      }
    }
    if offset > 0, let process = doorbells[address.rank] { kill(process, SIGURG) }
    if offset == box.bytes.count {
      box.bytes.removeAll(keepingCapacity: box.bytes.capacity <= 1 << 16)
      box.isListed = false
    } else {
      box.bytes.removeFirst(offset)
      listed.append(address)
    }
    outboxes[address] = box
  }

  private enum SendState { case done, pending, failed }

  private func finishSend(_ row: inout SendRow) -> SendState {
    var flag: Int32 = 0
    var source: Int32 = 0
    var count: Int32 = 0
    let code = cmpi_test(&row.request, &flag, &source, &count)
    if code != cmpi_success() { return .failed }
    if flag != 0 { spareBuffers.append(row.buffer) }
    return flag != 0 ? .done : .pending
  }

  private func collectSends() {
    var index = 0
    var failed: [Int] = []
    while index < sends.count {
      switch finishSend(&sends[index]) {
      case .pending: index += 1
      case .failed:
        failed.append(sends[index].address.rank)
        index += 1
      case .done:
        outboxes[sends[index].address]?.inFlightCount -= 1
        sends.swapAt(index, sends.count - 1)
        sends.removeLast()
      }
    }
    for rank in failed { fail(rank) }
  }

  // MARK: Lost peers

  private func fail(_ rank: Int) {
    if !lost.contains(rank) { failures.append(rank) }
    forget(rank)
  }

  /// The peers that MPI gave an error for since the last call; they are forgotten already.
  package func takeFailures() -> [Int] {
    if failures.isEmpty { return [] }
    defer { failures = [] }
    return failures
  }

  /// Sends nothing more to a peer. What is under way to it may stay so for ever: its requests are
  /// never waited for, and their buffers, which MPI may still read, are given away for good.
  package func forget(_ rank: Int) {
    lost.insert(rank)
    for address in outboxes.keys.filter({ $0.rank == rank }) { outboxes[address] = nil }
    listed.removeAll { $0.rank == rank }
    sends.removeAll { $0.address.rank == rank }
    // What has come from it stays: its stream must still be cut into frames rightly, if only to be
    // dropped.
  }

  /// A frame to a peer that was forgotten, in case it is alive after all. Nothing waits for it, and
  /// it may be lost: the buffer is given away.
  package func sendWithoutHope(_ writer: consuming WireWriter, to rank: Int, _ target: Role) {
    guard let mpi, rank != mpi.rank else { return }
    let frame = writer.bytes
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: frame.count + 4, alignment: 16)
    buffer.storeBytes(of: UInt32(frame.count).littleEndian, as: UInt32.self)
    UnsafeMutableRawBufferPointer(rebasing: buffer[4...]).copyBytes(from: frame)
    var request = cmpi_request_null()
    _ = cmpi_isend(
      buffer.baseAddress, Int32(buffer.count), Int32(rank), tag(from: role, to: target),
      mpi.control, &request)
  }

  /// Takes all receives back. Nothing can be received any more.
  package func close() {
    for index in rings.indices {
      for row in rings[index].rows.indices where rings[index].rows[row].isPosted {
        cmpi_withdraw(&rings[index].rows[row].request)
      }
    }
    rings = []
  }

  // MARK: Receiving

  /// Calls `deliver` with each frame that has come; returns their number. A frame lives as long as
  /// the call.
  /// In a silence, `isSparing` looks at the streams of peers every other time only: each look at
  /// MPI costs system calls.
  package func poll(
    isSparing: Bool = false, _ deliver: (Int, UnsafeRawBufferPointer) -> Void
  ) throws(RuntimeError) -> Int {
    var count = 0
    pollCount &+= 1
    if !neighbourFrames.isEmpty {
      let frames = neighbourFrames
      neighbourFrames = []
      for frame in frames { frame.withUnsafeBytes { deliver(mpi?.rank ?? 0, $0) } }
      count += frames.count
    }
    for index in rings.indices where index == 0 || !isSparing || pollCount & 1 == 0 {
      count += try poll(&rings[index], deliver)
    }
    return count
  }

  private func poll(
    _ ring: inout Ring, _ deliver: (Int, UnsafeRawBufferPointer) -> Void
  ) throws(RuntimeError) -> Int {
    var count = 0
    // Bounded, so that a flood of messages does not keep the loop from its other duties.
    for _ in 0..<ring.rows.count {
      if !ring.rows[ring.next].isPosted {
        let code = post(&ring.rows[ring.next], tag: ring.tag)
        if code != cmpi_success() {
          try onReceiveError(code)
          break
        }
        // Posted now, it is the last in order.
        ring.next = ring.next + 1 == ring.rows.count ? 0 : ring.next + 1
        continue
      }
      var flag: Int32 = 0
      var source: Int32 = 0
      var byteCount: Int32 = 0
      let code = cmpi_test(&ring.rows[ring.next].request, &flag, &source, &byteCount)
      if code == cmpi_success() {
        if flag == 0 { break }
        receiveErrorCount = 0
        movedByteCount += Int64(byteCount)
        let packet = UnsafeRawBufferPointer(
          start: ring.rows[ring.next].buffer, count: Int(byteCount))
        count += unpack(packet, from: Int(source), &ring.partial, deliver)
      } else {
        try onReceiveError(code)
        if cmpi_is_still_posted(code) != 0 { break }
      }
      // A failed receive is posted again behind the others: it, too, must be completed in order.
      ring.rows[ring.next].isPosted = false
      _ = post(&ring.rows[ring.next], tag: ring.tag)
      ring.next = ring.next + 1 == ring.rows.count ? 0 : ring.next + 1
    }
    return count
  }

  /// An error of a receive from anybody: some peer is lost, and an MPI with fault tolerance says
  /// which. Others get a bounded number of further tries, since one bad peer must not end the run.
  private func onReceiveError(_ code: Int32) throws(RuntimeError) {
    receiveErrorCount += 1
    if receiveErrorCount > Self.receiveErrorsMax {
      throw RuntimeError("receive", detail: mpiErrorText(code))
    }
    guard let mpi else { return }
    var ranks = [Int32](repeating: 0, count: mpi.size)
    let count = cmpi_acknowledge_lost(mpi.control, &ranks, Int32(ranks.count))
    for rank in ranks.prefix(Int(count)) { fail(Int(rank)) }
  }

  private func unpack(
    _ packet: UnsafeRawBufferPointer, from rank: Int, _ partial: inout [Int: [UInt8]],
    _ deliver: (Int, UnsafeRawBufferPointer) -> Void
  ) -> Int {
    if var bytes = partial.removeValue(forKey: rank) {
      bytes.append(contentsOf: packet)
      let (count, used) = bytes.withUnsafeBytes { frames(in: $0, from: rank, deliver) }
      if used < bytes.count {
        bytes.removeFirst(used)
        partial[rank] = bytes
      }
      return count
    }
    let (count, used) = frames(in: packet, from: rank, deliver)
    if used < packet.count { partial[rank] = Array(packet[used...]) }
    return count
  }

  private func frames(
    in bytes: UnsafeRawBufferPointer, from rank: Int,
    _ deliver: (Int, UnsafeRawBufferPointer) -> Void
  ) -> (count: Int, used: Int) {
    var position = 0
    var count = 0
    while bytes.count - position >= 4 {
      let length = Int(
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
      guard bytes.count - position - 4 >= length else { break }
      deliver(
        rank, UnsafeRawBufferPointer(rebasing: bytes[position + 4..<position + 4 + length]))
      position += 4 + length
      count += 1
    }
    return (count, position)
  }

  private func post(_ row: inout ReceiveRow, tag: Int32) -> Int32 {
    guard let mpi else { return cmpi_success() }
    let code = cmpi_irecv(
      row.buffer, Int32(Self.packetByteCount), -1, tag, mpi.control, &row.request)
    row.isPosted = code == cmpi_success()
    return code
  }
}
