// Other ranks of this node, as processes: the kernel tells at once when one has ended.

internal import CLinux
internal import Glibc

/// Watches processes by descriptor (pidfd_open(2)), or by asking for them every second where the
/// kernel has none (before Linux 5.3) or does not allow it.
final class ProcessWatch {
  private struct Row {
    let processID: Int32
    /// -1 without a descriptor.
    let descriptor: Int32
    /// When it was started, in ticks: tells it from a later process of the same number.
    let startTime: UInt64
  }

  private let poll: EventPoll
  private var rows: [Int: Row] = [:]
  private var ended: [Int] = []
  private var nextCheck: Int64 = 0

  init(poll: EventPoll) { self.poll = poll }

  deinit { for row in rows.values where row.descriptor >= 0 { close(row.descriptor) } }

  /// Watches the process of a rank.
  func watch(_ rank: Int, processID: Int32) {
    guard rows[rank] == nil, processID > 0 else { return }
    let descriptor = clinux_open_process(processID)
    if descriptor == -ESRCH {
      ended.append(rank)
      return
    }
    rows[rank] = Row(
      processID: processID, descriptor: max(descriptor, -1),
      startTime: processStartTime(processID) ?? 0)
    if descriptor >= 0 { poll.add(descriptor, token: PollToken.process(rank)) }
  }

  /// The descriptor of this token is readable: its process has ended.
  func onReady(_ token: UInt64) {
    guard let rank = PollToken.rank(of: token), rows[rank] != nil else { return }
    forget(rank)
    ended.append(rank)
  }

  /// The ranks whose processes were found to have ended since the last call.
  func takeEnded(at now: Int64) -> [Int] {
    if now >= nextCheck {
      nextCheck = now + 1_000_000_000
      for (rank, row) in rows where row.descriptor < 0 {
        guard kill(row.processID, 0) != 0, errno == ESRCH else { continue }
        forget(rank)
        ended.append(rank)
      }
    }
    if ended.isEmpty { return [] }
    defer { ended = [] }
    return ended.sorted()
  }

  /// Kills the process of a rank if it is the one that was watched; returns whether it was.
  func fence(_ rank: Int, processID: Int32) -> Bool {
    guard let row = rows[rank], row.processID == processID else { return false }
    if row.descriptor >= 0 { return clinux_kill_process(row.descriptor, SIGKILL) == 0 }
    guard row.startTime != 0, processStartTime(processID) == row.startTime else { return false }
    return kill(processID, SIGKILL) == 0
  }

  /// Watches a rank no more.
  func forget(_ rank: Int) {
    guard let row = rows.removeValue(forKey: rank), row.descriptor >= 0 else { return }
    poll.remove(row.descriptor)
    close(row.descriptor)
  }
}

/// When a process was started, in clock ticks since the machine's start (proc(5), field 22 of stat).
func processStartTime(_ processID: Int32) -> UInt64? {
  guard let bytes = try? readFile("/proc/\(processID)/stat") else { return nil }
  // The name, in parentheses, may hold anything: fields are counted behind the last one.
  let text = String(decoding: bytes, as: UTF8.self)
  guard let end = text.lastIndex(of: ")") else { return nil }
  let fields = text[text.index(after: end)...].split(separator: " ")
  return fields.count > 19 ? UInt64(fields[19]) : nil
}
