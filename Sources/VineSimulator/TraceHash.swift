// A fingerprint of a run: what the manager heard and ordered, and when.

import VineCore

/// FNV-1a over words, with a final mix; order matters, so two runs that differ anywhere differ here.
struct TraceHash {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  /// Takes in one word.
  mutating func mix(_ word: UInt64) {
    value = (value ^ word) &* 0x100_0000_01B3
    value ^= value >> 29
  }

  /// Takes in an event with its time.
  mutating func mix(_ code: UInt64, _ first: Int, _ second: Int, at now: Instant) {
    mix(code << 56 ^ UInt64(truncatingIfNeeded: first) << 24 ^ UInt64(truncatingIfNeeded: second))
    mix(UInt64(bitPattern: now.nanoseconds))
  }

  /// Takes in an order.
  mutating func mix(_ message: ManagerMessage, to worker: WorkerID, at now: Instant) {
    switch message {
    case .startTask(let attempt, let allocation, _, _):
      mix(1, attempt.task.index, Int(attempt.number) << 20 | allocation.index, at: now)
    case .takeBack(let attempt): mix(2, attempt.task.index, Int(attempt.number), at: now)
    case .killTask(let attempt): mix(3, attempt.task.index, Int(attempt.number), at: now)
    case .fetch(let value, let transfer, _, _): mix(4, value.file.index, transfer.index, at: now)
    case .unlink(let value): mix(5, value.file.index, Int(value.attempt), at: now)
    case .commit(let value): mix(6, value.file.index, Int(value.attempt), at: now)
    case .leave: mix(7, 0, 0, at: now)
    case .adopt(let value, let attempt): mix(11, value.file.index, Int(attempt), at: now)
    case .dropOffers: mix(12, 0, 0, at: now)
    case .assist(let value, let transfer, let source):
      mix(13, value.file.index, transfer.index, at: now)
      mix(UInt64(source.agent?.rawValue ?? .max))
    case .startInstance(let allocation, let library, _, _, _):
      mix(8, allocation.index, library.index, at: now)
    case .stopInstance(let allocation): mix(9, allocation.index, 0, at: now)
    case .startCall(let attempt, let allocation, _, _):
      mix(10, attempt.task.index, Int(attempt.number) << 20 | allocation.index, at: now)
    }
    mix(UInt64(worker.rawValue))
  }

  /// Takes in a report.
  mutating func mix(_ message: WorkerMessage, from worker: WorkerID, at now: Instant) {
    switch message {
    case .replicaReady(let value, let byteCount):
      mix(16, value.file.index, Int(byteCount), at: now)
    case .taskFinished(let attempt, let completion):
      mix(17, attempt.task.index, Int(attempt.number), at: now)
      mix(UInt64(bitPattern: completion.end.nanoseconds))
    case .taskReturned(let attempt): mix(18, attempt.task.index, Int(attempt.number), at: now)
    case .transferEnded(let transfer, _, let error):
      mix(19, transfer.index, Int(error), at: now)
    case .helperFailed(let transfer, let agent, let error):
      mix(29, transfer.index, agent.index << 16 ^ Int(error), at: now)
    case .committed(let value, _, let error): mix(20, value.file.index, Int(error), at: now)
    case .replicaFound(let value, _): mix(23, value.file.index, Int(value.attempt), at: now)
    case .recallEnded: mix(24, 0, 0, at: now)
    case .replicaOffered(let value, let byteCount):
      mix(26, value.file.index, Int(value.attempt) << 32 ^ Int(byteCount), at: now)
    case .replicaRefused(let value, let refusal):
      mix(27, value.file.index, Int(refusal.rawValue), at: now)
    case .offersEnded: mix(28, 0, 0, at: now)
    case .replicaDamaged(let value): mix(21, value.file.index, 0, at: now)
    case .diskMeasured(let free): mix(30, 0, Int(free.byteCountMax), at: now)
    case .hashed(let value, _, _): mix(22, value.file.index, Int(value.attempt), at: now)
    case .resultReady(let value, _): mix(31, value.file.index, Int(value.attempt), at: now)
    case .instanceReady(let allocation, _): mix(40, allocation.index, 0, at: now)
    case .instanceEnded(let allocation, let end):
      mix(25, allocation.index, Int(end.rawValue), at: now)
    }
    mix(UInt64(worker.rawValue))
  }
}
