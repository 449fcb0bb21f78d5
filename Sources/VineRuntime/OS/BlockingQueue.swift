// Helper threads for calls that may block: copies, hashes, renames on the shared file system.

internal import CLinux
internal import DequeModule
internal import Glibc
internal import Synchronization

/// A pool of threads with one queue of work and one of results. Work may touch nothing that the
/// loop owns; its result is an event like any other. `descriptor` is readable when there is one.
package final class BlockingQueue<Value: Sendable> {
  package typealias Work = @Sendable () -> Value

  private struct Item {
    let work: Work
    /// Of items with the same lane, one runs at a time, in the order they were handed in.
    let lane: Int?
  }

  private struct State {
    var items: Deque<Item> = []
    var busyLanes: [Int] = []
    var results: [Value] = []

    /// The next item that may run.
    mutating func take() -> Item? {
      let isFree = { [busyLanes] (item: Item) in item.lane.map { !busyLanes.contains($0) } ?? true }
      guard let place = items.firstIndex(where: isFree) else { return nil }
      let item = items.remove(at: place)
      if let lane = item.lane { busyLanes.append(lane) }
      return item
    }

    /// Takes the result of an item in; whether one that had to wait for it may run now.
    mutating func end(_ item: Item, _ result: Value) -> Bool {
      results.append(result)
      guard let lane = item.lane else { return false }
      busyLanes.removeAll { $0 == lane }
      return items.contains { $0.lane == lane }
    }
  }

  /// What the threads share. Kept apart from the queue, so that threads do not keep it alive.
  private final class Shared: Sendable {
    let state = Mutex(State())
    let descriptor: Int32
    // A semaphore is made to be used from many threads.
    nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

    init(descriptor: Int32) {
      self.descriptor = descriptor
      semaphore = .allocate(capacity: 1)
      sem_init(semaphore, 0, 0)
    }
  }

  private let shared: Shared
  private let threadCount: Int
  private var startedCount = 0
  /// Work handed in whose result was not drained yet.
  package private(set) var pendingCount = 0

  /// Threads are started when first needed.
  package init(threadCount: Int) throws(RuntimeError) {
    self.threadCount = threadCount
    let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    if descriptor < 0 { throw RuntimeError("make an event descriptor", errno: errno) }
    shared = Shared(descriptor: descriptor)
  }

  package var descriptor: Int32 { shared.descriptor }

  /// Work that is given the same lane is done one after the other: threads that write to one file
  /// would only wait for each other inside the kernel.
  package func submit(lane: Int? = nil, _ work: @escaping Work) {
    pendingCount += 1
    shared.state.withLock { $0.items.append(Item(work: work, lane: lane)) }
    if startedCount < threadCount && startedCount < pendingCount { startThread() }
    sem_post(shared.semaphore)
  }

  /// The results that are there, in the order of their ends.
  package func drain() -> [Value] {
    if pendingCount == 0 { return [] }
    let ready = shared.state.withLock { state in
      // With the results, so that the descriptor is readable as long as there are some, and no longer.
      var count: UInt64 = 0
      _ = read(shared.descriptor, &count, 8)
      let ready = state.results
      state.results = []
      return ready
    }
    pendingCount -= ready.count
    return ready
  }

  /// The one result that is under way, waited for.
  package func next() -> Value {
    while true {
      var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      _ = poll(&ready, 1, -1)
      if let value = drain().first { return value }
    }
  }

  private func startThread() {
    startedCount += 1
    let shared = shared
    // A C function pointer cannot carry a generic type, a boxed closure can.
    let argument = Unmanaged.passRetained(ThreadBody { Self.run(shared) }).toOpaque()
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { argument in
        clinux_start_at_home()
        if let argument {
          Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
        }
        return nil
      }, argument)
    pthread_detach(thread)
  }

  private static func run(_ shared: Shared) {
    while true {
      sem_wait(shared.semaphore)
      guard let item = shared.state.withLock({ $0.take() }) else { continue }
      let result = item.work()
      let hasWaiting = shared.state.withLock { state in
        var one: UInt64 = 1
        _ = write(shared.descriptor, &one, 8)
        return state.end(item, result)
      }
      // Whoever woke for an item of this lane meanwhile has found it busy.
      if hasWaiting { sem_post(shared.semaphore) }
    }
  }
}

private final class ThreadBody {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
