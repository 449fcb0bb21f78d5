// What is going to happen, in the order of virtual time.

import HeapModule
import VineCore

/// Events by time; those of one instant come out as they went in.
struct EventHeap<Event> {
  private struct Key: Comparable {
    let at: Int64
    let sequence: UInt32
    let slot: UInt32

    static func < (left: Key, right: Key) -> Bool {
      // The sequence wraps; what lies in the heap together is never 2^31 entries apart.
      left.at != right.at
        ? left.at < right.at : Int32(truncatingIfNeeded: left.sequence &- right.sequence) < 0
    }
  }

  private var keys = Heap<Key>()
  // Events are large beside their keys, so the heap sifts the keys alone.
  private var events: [Event] = []
  private var unused: [UInt32] = []
  private var sequence: UInt32 = 0

  var count: Int { keys.count }
  /// When the next event is due; nil when nothing is to come.
  var nextTime: Instant? { keys.min.map { Instant(nanoseconds: $0.at) } }

  /// Enters what will happen at `time`, which may be the present.
  mutating func insert(_ event: Event, at time: Instant) {
    let slot: UInt32
    if let free = unused.popLast() {
      events[Int(free)] = event
      slot = free
    } else {
      events.append(event)
      slot = UInt32(events.count - 1)
    }
    keys.insert(Key(at: time.nanoseconds, sequence: sequence, slot: slot))
    sequence &+= 1
  }

  /// The next event, which is removed.
  mutating func popNext() -> (event: Event, at: Instant)? {
    guard let key = keys.popMin() else { return nil }
    unused.append(key.slot)
    return (events[Int(key.slot)], Instant(nanoseconds: key.at))
  }
}
