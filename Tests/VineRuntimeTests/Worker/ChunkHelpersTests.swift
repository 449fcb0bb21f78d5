// Chunks that the loop reads and stores itself, and how many of them are on their way.

import CLinux
import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct ChunkHelpersTests {
  private static let size = Int(Limits.chunkByteCount)

  private func chunk(_ pool: ChunkPool, filledWith byte: UInt8, byteCount: Int) -> ChunkBuffer {
    let buffer = pool.take()
    memset(buffer.bytes, Int32(byte), byteCount)
    ChunkWork.setSum(nil, of: buffer, byteCount: byteCount)
    return buffer
  }

  private func open(_ path: String) throws -> HeldDescriptor {
    let number = Glibc.open(path, O_RDWR | O_CREAT, 0o600)
    try #require(number >= 0)
    return HeldDescriptor(number)
  }

  /// Waits for what the helper threads do.
  private func results(of helpers: ChunkHelpers) -> [ChunkResult] {
    var all: [ChunkResult] = []
    while helpers.pendingCount > 0 {
      var ready = pollfd(fd: helpers.descriptor, events: Int16(POLLIN), revents: 0)
      _ = poll(&ready, 1, 10)
      all += helpers.drain()
    }
    return all
  }

  /// Both ways do the same: by helpers as well as at once, where that can be done.
  @Test(arguments: [false, true], ["/tmp", "/dev/shm"])
  func aChunkThatIsStoredCanBeReadAgain(mayDoIt: Bool, memory: String) throws {
    let directory = try TemporaryDirectory(below: memory)
    let part = try open("\(directory.path)/part")
    let pool = ChunkPool()
    let helpers = try ChunkHelpers(threadCount: 2, mayDoIt: mayDoIt)
    let last = 1000
    for (index, count) in [(0, Self.size), (1, last)] {
      helpers.store(
        chunk(pool, filledWith: UInt8(index + 1), byteCount: count), byteCount: count,
        at: ChunkPlace(number: 1, epoch: 0, index: index, tag: 1), in: part)
    }
    for result in results(of: helpers) {
      guard case .stored(_, _, _, let error) = result else { throw Unexpected() }
      #expect(error == 0)
    }
    let key = OutgoingKey(rank: 1, tag: 1)
    helpers.read(part, pool.take(), byteCount: last, at: 1, sum: nil, for: key)
    let result = try #require(results(of: helpers).first)
    guard case .read(key, 1, let buffer, 0) = result else { throw Unexpected() }
    #expect(buffer.bytes.load(as: UInt8.self) == 2)
    #expect(buffer.sum(behind: last) == ChunkWork.sum(of: buffer.bytes, count: last))
  }

  @Test func aDamagedChunkIsNotStored() throws {
    let directory = try TemporaryDirectory(below: "/dev/shm")
    let part = try open("\(directory.path)/part")
    let buffer = chunk(ChunkPool(), filledWith: 7, byteCount: Self.size)
    buffer.bytes.storeBytes(of: 8, toByteOffset: 5, as: UInt8.self)
    #expect(ChunkWork.store(buffer, byteCount: Self.size, at: 0, in: part).error == EBADMSG)
    var info = stat()
    #expect(fstat(part.number, &info) == 0 && info.st_size == 0)
  }

  @Test func aFileInMemoryIsReadAtOnce() throws {
    let directory = try TemporaryDirectory(below: "/dev/shm")
    let part = try open("\(directory.path)/part")
    let pool = ChunkPool()
    let buffer = chunk(pool, filledWith: 7, byteCount: Self.size)
    #expect(clinux_is_in_memory(part.number) == 1)
    #expect(ChunkWork.store(buffer, byteCount: Self.size, at: 0, in: part).error == 0)
    let other = pool.take()
    #expect(ChunkWork.readAtOnce(part, into: other, byteCount: Self.size, at: 0))
    #expect(memcmp(other.bytes, buffer.bytes, Self.size) == 0)
    // What ends before is left to a helper, which says so.
    #expect(!ChunkWork.readAtOnce(part, into: other, byteCount: Self.size, at: 1))
  }

  @Test func aFastStreamHasFewChunksOnTheirWay() {
    var pace = StreamPace()
    let few = pace.windowCount
    for number in 0..<20 { pace.note(1, at: Int64(number) * 500_000) }
    #expect(pace.windowCount == few && !pace.isSlow)
    // A link of 1 Gbit/s, from the second chunk on.
    pace = StreamPace()
    pace.note(1, at: 0)
    pace.note(1, at: 9_000_000)
    #expect(pace.windowCount > few && pace.isSlow)
    // Four chunks at once were not faster than one after the other.
    for number in 1..<20 { pace.note(4, at: 9_000_000 + Int64(number) * 36_000_000) }
    #expect(pace.isSlow)
    for number in 0..<40 { pace.note(1, at: 1_000_000_000 + Int64(number) * 500_000) }
    #expect(!pace.isSlow)
  }
}

private struct Unexpected: Error {}
