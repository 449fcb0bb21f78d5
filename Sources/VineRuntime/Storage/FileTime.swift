// When something happened to a file, by the clock of the file system that holds it.

internal import Glibc

struct FileTime: Equatable, Sendable {
  /// Between two file systems, whose clocks may differ.
  private static let slackNanoseconds: Int64 = 2_000_000_000

  private let device: dev_t
  private let nanoseconds: Int64

  private init(_ info: stat, _ time: timespec) {
    device = info.st_dev
    nanoseconds = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// The last change of a file or of what is said of it: nobody can set that back.
  static func change(_ info: stat) -> FileTime { FileTime(info, info.st_ctim) }

  /// The last write into a file.
  static func write(_ info: stat) -> FileTime { FileTime(info, info.st_mtim) }

  static func write(of path: String) -> FileTime? {
    var info = stat()
    return stat(path, &info) == 0 ? write(info) : nil
  }

  /// Whether this cannot have been before `other`, nor with it.
  func isAfter(_ other: FileTime) -> Bool { nanoseconds - slack(other) > other.nanoseconds }

  /// Whether this may have been after `other`.
  func mayBeAfter(_ other: FileTime) -> Bool { nanoseconds + slack(other) > other.nanoseconds }

  private func slack(_ other: FileTime) -> Int64 {
    device == other.device ? 0 : Self.slackNanoseconds
  }
}
