// Who reads and stores chunks: helper threads, so that the rank goes on meanwhile, or its loop itself
// where helpers would only take turns with it.

internal import CLinux
internal import Glibc
internal import VineCore

/// Whether processors of this machine have nothing to do, by the count of who runs or is ready to.
struct ProcessorLoad {
  private static let samplePause: Int64 = 2_000_000
  /// A count is of one moment: after one that found no idle processor, others do not count for so long.
  private static let memory: Int64 = 50_000_000

  private let file = HeldDescriptor(clinux_open_at(AT_FDCWD, "/proc/loadavg", O_RDONLY, 0))
  private let processorCount = Int32(clamping: sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  private var nextSample = Int64.min
  private var busyUntil = Int64.min

  /// All processors are taken, this thread's among them. `now`: monotonic nanoseconds.
  mutating func isFull(at now: Int64) -> Bool {
    if now >= nextSample {
      nextSample = now + Self.samplePause
      if clinux_running_count(file.number) >= processorCount { busyUntil = now + Self.memory }
    }
    return now < busyUntil
  }
}

/// Where chunks are read and stored. To hand one to a helper thread moves it to that thread's
/// processor and back, through caches that do not hold it: worth it if the processor is idle, or if
/// the file's device has to be waited for.
final class ChunkHelpers {
  private let queue: BlockingQueue<ChunkResult>
  private var load = ProcessorLoad()
  private let mayDoIt: Bool
  /// Of what was done at once.
  private var results: [ChunkResult] = []

  /// `mayDoIt`: whether the loop may do what waits for nothing itself.
  init(threadCount: Int, mayDoIt: Bool = FaultHooks.shared.isIdle) throws(RuntimeError) {
    queue = try BlockingQueue(threadCount: threadCount)
    self.mayDoIt = mayDoIt
  }

  /// Readable when a helper's result is there.
  var descriptor: Int32 { queue.descriptor }

  /// Work whose result was not drained yet.
  var pendingCount: Int { queue.pendingCount + results.count }

  /// Work that may wait for a device.
  func submit(lane: Int? = nil, _ work: @escaping BlockingQueue<ChunkResult>.Work) {
    queue.submit(lane: lane, work)
  }

  /// The results that are there.
  func drain() -> [ChunkResult] {
    if results.isEmpty { return queue.drain() }
    defer { results = [] }
    return results + queue.drain()
  }

  /// All processors are taken.
  var isLoaded: Bool { load.isFull(at: monotonicNanoseconds()) }

  private var isLoopsOwn: Bool { mayDoIt && isLoaded }

  /// Reads a chunk to be sent; without a `sum`, finds it.
  func read(
    _ file: HeldDescriptor, _ buffer: ChunkBuffer, byteCount: Int, at index: Int, sum: UInt32?,
    for key: OutgoingKey
  ) {
    if isLoopsOwn && ChunkWork.readAtOnce(file, into: buffer, byteCount: byteCount, at: index) {
      ChunkWork.setSum(sum, of: buffer, byteCount: byteCount)
      results.append(.read(key, index: index, buffer, error: 0))
      return
    }
    queue.submit {
      let error = ChunkWork.read(file, into: buffer, byteCount: byteCount, at: index)
      ChunkWork.setSum(sum, of: buffer, byteCount: byteCount)
      return .read(key, index: index, buffer, error: error)
    }
  }

  /// Checks a chunk that came and writes it.
  func store(
    _ buffer: ChunkBuffer, byteCount: Int, at place: ChunkPlace, in part: HeldDescriptor
  ) {
    let store: BlockingQueue<ChunkResult>.Work = {
      let (sum, error) = ChunkWork.store(buffer, byteCount: byteCount, at: place.index, in: part)
      return .stored(place, sum: sum, buffer, error: error)
    }
    if isLoopsOwn && clinux_is_in_memory(part.number) == 1 {
      results.append(store())
    } else {
      queue.submit(lane: place.number, store)
    }
  }
}
