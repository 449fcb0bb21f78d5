// A node's agent and the caches of dead sessions of its run: offers what lies there, compares what the
// manager asks for, takes in what is as it was, and removes the rest.

internal import DequeModule
internal import Glibc
internal import Synchronization
internal import VineCore

/// What an agent has to compare.
struct AdoptOrder: Equatable, Sendable {
  /// As it was offered.
  var value: FileValue
  /// The attempt by whose name it goes from then on.
  var attempt: UInt32
  var byteCount: Int64
  var hash: ContentHash
}

/// What the threads of an `Adopter` give back.
enum AdoptionResult: Sendable {
  case looked([DeadCache], [CacheOffer], foreignCount: Int)
  case compared(AdoptOrder, AdoptionRefusal?)
  case removed
}

final class Adopter {
  /// Files that are read at once. Each is read by one thread from the node's own disk.
  private static let threadCount = 4

  private let scratch: ScratchDirectory
  private let queue: BlockingQueue<AdoptionResult>
  private var caches: [DeadCache] = []
  private var offers: [FileValue: [CacheOffer]] = [:]
  /// Orders that no thread has yet.
  private var waiting: Deque<AdoptOrder> = []
  private var comparingCount = 0
  private var isLooking = false
  private let isCancelled = CancelFlag()

  private final class CancelFlag: Sendable {
    let isSet = Atomic(false)
  }

  init(scratch: ScratchDirectory) throws(RuntimeError) {
    self.scratch = scratch
    queue = try BlockingQueue(threadCount: Self.threadCount)
  }

  /// Readable when `takeEvents` has something to say.
  var descriptor: Int32 { queue.descriptor }

  /// Looks for caches of dead sessions of `run`, beside the loop. `files` is the digest of the files of
  /// its description.
  func look(of run: String, files: String) {
    let path = scratch.path
    isLooking = true
    queue.submit {
      let caches = DeadCache.find(beside: path, of: run)
      var offers: [CacheOffer] = []
      var foreignCount = 0
      for cache in caches {
        let found = cache.offers(files)
        offers += found.offers
        foreignCount += found.foreignCount
      }
      return .looked(caches, offers, foreignCount: foreignCount)
    }
  }

  func adopt(_ order: AdoptOrder) {
    waiting.append(order)
    compareNext()
  }

  private func compareNext() {
    while comparingCount < Self.threadCount, let order = waiting.popFirst() {
      comparingCount += 1
      let place = offers[order.value]?.firstIndex { $0.byteCount == order.byteCount }
      let offer = place.flatMap { offers[order.value]?.remove(at: $0) }
      let target = scratch.cachePath(FileValue(order.value.file, attempt: order.attempt))
      let flag = isCancelled
      queue.submit {
        guard let offer, !flag.isSet.load(ordering: .relaxed) else {
          return .compared(order, .unreadable)
        }
        return .compared(
          order,
          offer.adopt(
            order.hash, to: target, while: { !flag.isSet.load(ordering: .relaxed) }))
      }
    }
  }

  /// What has happened since this was asked last.
  func takeEvents() -> [WorkerEvent] {
    var events: [WorkerEvent] = []
    for result in queue.drain() {
      switch result {
      case .looked(let found, let offered, let foreignCount):
        isLooking = false
        caches = found
        for offer in offered {
          offers[offer.value, default: []].append(offer)
          events.append(.offered(offer.value, byteCount: offer.byteCount))
        }
        for _ in 0..<foreignCount {
          events.append(.refused(FileValue(.none, attempt: 0), .foreign))
        }
        events.append(.offersEnded)
      case .compared(let order, let refusal):
        comparingCount -= 1
        if let refusal {
          events.append(.refused(order.value, refusal))
        } else {
          let value = FileValue(order.value.file, attempt: order.attempt)
          events.append(.found(value, byteCount: order.byteCount))
        }
      case .removed: break
      }
    }
    compareNext()
    return events
  }

  /// Removes what was not taken in.
  func drop() {
    offers = [:]
    let left = caches
    caches = []
    if left.isEmpty { return }
    queue.submit {
      for cache in left { cache.remove() }
      return .removed
    }
  }

  /// The run ends: nothing more is compared, and nothing is left. True once that is so.
  func hasEnded() -> Bool {
    isCancelled.isSet.store(true, ordering: .relaxed)
    waiting = []
    if isLooking || comparingCount > 0 { return false }
    drop()
    return queue.pendingCount == 0
  }
}
