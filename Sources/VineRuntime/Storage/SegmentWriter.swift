// The disk's side of the journal: one flush after another, into one segment after another.

internal import Glibc
internal import Synchronization
internal import VineCore

/// The journal cannot be written any more.
package struct JournalFailure: Error, Equatable, Sendable, CustomStringConvertible {
  package let errno: Int32
  package let path: String

  package var description: String {
    var text = "cannot write the journal in \(path): \(errorText(errno))"
    if errno == ENOSPC || errno == EDQUOT {
      text += ": free space (or quota) on the file system of \(path), then run again: it resumes"
    }
    return text
  }
}

/// Called from one thread at a time; all that blocks happens here.
final class SegmentWriter: Sendable {
  enum Outcome: Sendable, Equatable {
    case synced(UInt64)
    case renewed
    /// A session of a higher epoch has taken the run over.
    case superseded
    case failed(JournalFailure)
  }

  struct State {
    /// -1 when there is no segment to write to.
    var descriptor: Int32
    var name: SegmentName
    var byteCount: Int
    /// The end of what is durable.
    var record: UInt64
    var checksum: UInt32
    var end: Outcome?
  }

  let directory: String
  private let run: RunIdentity
  private let epoch: UInt32
  private let system: JournalSystem
  private let segmentByteCountMax: Int
  private let state: Mutex<State>

  /// Takes over the descriptor in `state`, at the end of its segment.
  init(
    directory: String, run: RunIdentity, state: State, system: JournalSystem,
    segmentByteCountMax: Int
  ) {
    self.directory = directory
    self.run = run
    self.system = system
    self.segmentByteCountMax = segmentByteCountMax
    epoch = state.name.epoch
    self.state = Mutex(state)
  }

  deinit {
    let descriptor = state.withLock { $0.descriptor }
    if descriptor >= 0 { close(descriptor) }
  }

  var syncedRecord: UInt64 { state.withLock { $0.record } }

  /// Whether another session has begun to write.
  var isSuperseded: Bool {
    access("\(directory)/\(SegmentName(epoch: epoch &+ 1, number: 0))", F_OK) == 0
  }

  /// Makes `flush` durable. After an error the segment is not touched again: the kernel may have
  /// dropped the pages that it failed to write and call the next sync a success. The flush goes
  /// into a new segment instead, once.
  func write(_ flush: JournalFlush) -> Outcome {
    state.withLock { state in
      if let end = state.end { return end }
      if isSuperseded {
        state.end = .superseded
        return .superseded
      }
      var error = attempt(flush, &state)
      if error != 0 {
        abandon(&state)
        error = attempt(flush, &state)
      }
      if error != 0 {
        abandon(&state)
        let failure = Outcome.failed(JournalFailure(errno: error, path: directory))
        state.end = failure
        return failure
      }
      state.record = flush.lastRecord
      state.checksum = flush.lastChecksum
      return .synced(flush.lastRecord)
    }
  }

  private func attempt(_ flush: JournalFlush, _ state: inout State) -> Int32 {
    if state.descriptor >= 0 && state.byteCount >= segmentByteCountMax {
      close(state.descriptor)
      state.descriptor = -1
    }
    let isNew = state.descriptor < 0
    if isNew {
      let error = makeSegment(&state)
      if error != 0 { return error }
    }
    var error = flush.bytes.withUnsafeBytes { system.writeAll($0, to: state.descriptor) }
    if error == 0 { error = system.sync(state.descriptor) }
    if error == 0 && isNew { error = FileTree.syncDirectory(directory) }
    if error == 0 { state.byteCount += flush.bytes.count }
    return error
  }

  /// Leaves the segment as it is. One in which nothing became durable is removed, where that works.
  private func abandon(_ state: inout State) {
    if state.descriptor >= 0 { close(state.descriptor) }
    state.descriptor = -1
    if state.byteCount == SegmentHeader.byteCount { unlink("\(directory)/\(state.name)") }
  }

  private func makeSegment(_ state: inout State) -> Int32 {
    state.name.number += 1
    state.byteCount = SegmentHeader.byteCount
    let header = SegmentHeader(
      run: run, name: state.name, previousRecord: state.record, previousChecksum: state.checksum)
    do throws(RuntimeError) {
      state.descriptor = try OwnedDescriptor.open(
        "\(directory)/\(state.name)", O_WRONLY | O_CREAT | O_EXCL, mode: 0o600
      ).release()
    } catch {
      return error.errno
    }
    return header.bytes.withUnsafeBytes { system.writeAll($0, to: state.descriptor) }
  }
}
