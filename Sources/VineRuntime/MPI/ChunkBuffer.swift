// Memory for chunks of files. One buffer goes through many hands: MPI fills it, a helper thread or
// the loop checks and stores it, MPI sends it on to several nodes. It is free again when the last lets go.

internal import Glibc
internal import Synchronization
internal import VineCore

/// Bytes of a chunk and, behind them, their CRC-32C: what travels as one message.
final class ChunkBuffer: Sendable {
  static let dataByteCountMax = Int(Limits.chunkByteCount)
  /// Bytes that follow the data.
  static let sumByteCount = 4

  /// Written by one owner at a time; only read once the chunk was accepted.
  nonisolated(unsafe) let bytes: UnsafeMutableRawPointer
  private let pool: ChunkPool

  fileprivate init(_ bytes: UnsafeMutableRawPointer, of pool: ChunkPool) {
    self.bytes = bytes
    self.pool = pool
  }

  deinit { pool.giveBack(bytes) }

  /// Puts the sum behind `byteCount` bytes of data.
  func setSum(_ sum: UInt32, behind byteCount: Int) {
    bytes.storeBytes(of: sum.littleEndian, toByteOffset: byteCount, as: UInt32.self)
  }

  func sum(behind byteCount: Int) -> UInt32 {
    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: byteCount, as: UInt32.self))
  }

  /// MPI may still read or write it after everybody else forgot it: it is never used again.
  func giveAway() { _ = Unmanaged.passRetained(self) }
}

/// Keeps the memory of a few buffers for the next.
final class ChunkPool: Sendable {
  private static let spareCountMax = 32
  /// Addresses, since pointers cannot be shared.
  private let spare = Mutex<[UInt]>([])

  func take() -> ChunkBuffer {
    let address = spare.withLock { $0.popLast() }
    let bytes = address.flatMap { UnsafeMutableRawPointer(bitPattern: $0) }
    return ChunkBuffer(
      bytes
        ?? .allocate(
          byteCount: ChunkBuffer.dataByteCountMax + ChunkBuffer.sumByteCount, alignment: 4096),
      of: self)
  }

  fileprivate func giveBack(_ bytes: UnsafeMutableRawPointer) {
    let isKept = spare.withLock { spare in
      if spare.count >= Self.spareCountMax { return false }
      spare.append(UInt(bitPattern: bytes))
      return true
    }
    if !isKept { bytes.deallocate() }
  }
}
