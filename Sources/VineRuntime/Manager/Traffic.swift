// What moved where: sums by file for the summary, and a table of all transfers where one is wanted.

internal import CLinux
internal import Glibc
internal import VineCore

final class Traffic {
  private struct Row {
    let file: FileID
    let source: TransferSource
    let sourceName: String
    let targetName: String
    let start: Instant
  }

  private struct Sum {
    var sharedByteCount: Int64 = 0
    var sharedReadCount = 0
    var nodeByteCount: Int64 = 0
    var helperByteCount: Int64 = 0
    var transferCount = 0
  }

  private var rows: [TransferID: Row] = [:]
  private var sums: [FileID: Sum] = [:]
  /// Descriptor of the table; -1 when none was asked for.
  private let table: Int32
  private(set) var inlineByteCount: Int64 = 0

  init(_ options: RunOptions) throws(RuntimeError) {
    guard let path = options.transfersPath else {
      table = -1
      return
    }
    table = try OwnedDescriptor.open(
      path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644, to: "write the table of transfers"
    ).release()
    write("# file\tfrom\tto\tstart\tend\tbytes\terror\n")
  }

  deinit { if table >= 0 { close(table) } }

  /// An agent is told to fetch a file.
  func ordered(
    _ transfer: TransferID, of file: FileID, from source: TransferSource, to targetName: String,
    at now: Instant, sourceName: String?
  ) {
    rows[transfer] = Row(
      file: file, source: source, sourceName: sourceName ?? "", targetName: targetName, start: now)
  }

  /// An agent says what a transfer has moved; comes before its end.
  func moved(_ bytes: MovedBytes) {
    guard let row = rows[bytes.transfer] else { return }
    sums[row.file, default: Sum()].sharedByteCount += bytes.sharedByteCount
    sums[row.file, default: Sum()].sharedReadCount += Int(bytes.sharedReadCount)
    sums[row.file, default: Sum()].nodeByteCount += bytes.nodeByteCount
    sums[row.file, default: Sum()].helperByteCount += bytes.helperByteCount
  }

  func ended(
    _ transfer: TransferID, byteCount: Int64, error: Int32, at now: Instant,
    in workflow: borrowing Workflow
  ) {
    guard let row = rows.removeValue(forKey: transfer) else { return }
    if row.source == .manager {
      inlineByteCount += byteCount
    } else {
      sums[row.file, default: Sum()].transferCount += 1
    }
    if table < 0 { return }
    let source =
      switch row.source {
      case .sharedFileSystem: "shared"
      case .manager: "manager"
      case .derivation: "derived"
      case .node: row.sourceName
      // It had not all of it yet.
      case .relay: "+" + row.sourceName
      }
    let name = workflow.name(of: row.file).replacing("\t", with: " ").replacing("\n", with: " ")
    let times = [row.start, now].map { decimal(Double($0.nanoseconds) / 1e9, 6) }
    write(
      "\(name)\t\(source)\t\(row.targetName)\t\(times[0])\t\(times[1])\t\(byteCount)\t\(error)\n")
  }

  private func write(_ line: String) {
    var line = line
    _ = line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: table) }
  }

  /// The files that moved most.
  func files(of workflow: borrowing Workflow, countMax: Int) -> [SummaryFile.File] {
    func weight(_ sum: Sum) -> Int64 { sum.sharedByteCount + sum.nodeByteCount }
    let most = sums.sorted { (weight($1.value), $0.key) < (weight($0.value), $1.key) }
    return most.prefix(countMax).map { file, sum in
      SummaryFile.File(
        file: workflow.name(of: file), sharedFileSystemBytes: sum.sharedByteCount,
        sharedFileSystemReads: sum.sharedReadCount, nodeToNodeBytes: sum.nodeByteCount,
        helperBytes: sum.helperByteCount, transfers: sum.transferCount)
    }
  }
}
