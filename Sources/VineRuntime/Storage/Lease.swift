// A file that its owner rewrites again and again, so that others see from afar that it lives.
//
// The lease only keeps a second manager from starting. What keeps two from writing is the journal:
// an epoch has one creator, and an old one's writer looks for a new one before each flush.

internal import FoundationEssentials
internal import Glibc
internal import Synchronization
internal import VineCore

/// Times of leases, in nanoseconds.
package struct LeaseTiming: Sendable {
  /// Between two renewals.
  package var renewal: Int64 = 10_000_000_000
  /// Unchanged for so long on the newcomer's clock, a lease counts as abandoned.
  package var takeover: Int64 = 60_000_000_000
  /// Between two looks of a newcomer.
  package var look: Int64 = 500_000_000
  package init() {}
}

/// What `RUN/lease` holds.
struct LeaseFile: Codable, Equatable {
  var host: String
  var bootID: String
  var processNamespace: UInt64
  var pid: Int32
  var epoch: UInt32
  /// Goes up with each renewal.
  var counter: UInt64
}

/// An owner's side.
final class Lease: Sendable {
  let timing: LeaseTiming
  private let path: String
  private let content: Mutex<LeaseFile>
  /// When the last renewal that worked was begun.
  private let renewedAt: Atomic<Int64>

  init(path: String, epoch: UInt32, owner: ProcessIdentity, timing: LeaseTiming) {
    self.path = path
    self.timing = timing
    content = Mutex(
      LeaseFile(
        host: hostName(), bootID: owner.bootID, processNamespace: owner.namespace,
        pid: owner.number, epoch: epoch, counter: 0))
    renewedAt = Atomic(monotonicNanoseconds())
  }

  /// Nanoseconds since the last renewal. Asks no file system.
  var age: Int64 { monotonicNanoseconds() - renewedAt.load(ordering: .relaxed) }

  /// Rewrites the file. A failure shows in the age.
  func renew() {
    let now = monotonicNanoseconds()
    if FaultHooks.shared.action(at: "lease.renew") == .drop { return }
    content.withLock { content in
      content.counter += 1
      guard let data = try? JSONEncoder().encode(content) else { return }
      do throws(RuntimeError) {
        try replaceFile(path, with: String(decoding: data, as: UTF8.self) + "\n")
        renewedAt.store(now, ordering: .relaxed)
      } catch {}
    }
  }

  static func read(_ path: String) -> LeaseFile? {
    guard let bytes = try? readFile(path) else { return nil }
    return try? JSONDecoder().decode(LeaseFile.self, from: Data(bytes))
  }
}

/// A newcomer's side: whether the last session's owner is still there.
struct LeaseWatch {
  enum Verdict: Equatable {
    case free
    case taken
    /// Look again after a while.
    case unknown
  }

  private let firstLook: Int64
  private let first: LeaseFile?
  private let timing: LeaseTiming

  /// Begins to watch at `now`, when the lease was `first`.
  init(first: LeaseFile?, at now: Int64, timing: LeaseTiming) {
    self.first = first
    firstLook = now
    self.timing = timing
  }

  /// What the lease, now `lease`, says at `now`.
  func verdict(of lease: LeaseFile?, at now: Int64) -> Verdict {
    if lease != first { return .taken }
    return now - firstLook >= timing.takeover ? .free : .unknown
  }
}

extension ProcessIdentity {
  /// This process.
  static func current() -> ProcessIdentity {
    ProcessIdentity(
      bootID: VineRuntime.bootID(), namespace: processNamespace(), number: getpid(),
      startTick: startTick(of: getpid()) ?? 0)
  }

  /// Whether the process runs; nil when that cannot be told from here.
  var isAlive: Bool? {
    guard !bootID.isEmpty, bootID == VineRuntime.bootID(), namespace == processNamespace()
    else { return nil }
    guard let tick = Self.startTick(of: number) else {
      return kill(number, 0) != 0 && errno == ESRCH ? false : nil
    }
    return tick == startTick && tick != 0
  }

  /// When a process started (proc(5), stat's 22nd field).
  private static func startTick(of process: Int32) -> UInt64? {
    guard let bytes = try? readFile("/proc/\(process)/stat"),
      let parenthesis = bytes.lastIndex(of: UInt8(ascii: ")"))
    else { return nil }
    let fields = bytes[parenthesis...].split(separator: UInt8(ascii: " "))
    // One that has ended and waits to be reaped does nothing any more.
    if fields.count > 1 && (fields[1] == [UInt8(ascii: "Z")] || fields[1] == [UInt8(ascii: "X")]) {
      return 0
    }
    return fields.count > 20 ? UInt64(String(decoding: fields[20], as: UTF8.self)) : nil
  }
}
