// How much room the scratch file system of a node has, and what of it a run may take.

internal import CLinux
internal import Glibc
internal import VineCore

enum ScratchRoom {
  /// statfs(2)'s magic number of tmpfs.
  private static let temporaryFileSystem: Int64 = 0x0102_1994
  /// A file system with less is full: what is left is for those who may use the last blocks.
  private static let fullByteCount: Int64 = 64 << 10

  /// Enters what may lie in the run's directory below `scratch`: `limitMB`, else 90 % of what is free
  /// now. What lies in memory is taken out of the memory of the node's tasks, so that it is half of
  /// that at most.
  static func describe(_ scratch: String, limitMB: Int64?, in topology: inout Topology) {
    guard let base = try? ScratchDirectory.choose(scratch), let free = measure(base) else { return }
    var limit = DiskCapacity(
      byteCountMax: free.byteCountMax / 10 * 9, inodeCountMax: free.inodeCountMax / 10 * 9)
    let isInMemory = clinux_file_system(base) == temporaryFileSystem
    if isInMemory { limit.byteCountMax = min(limit.byteCountMax, Int64(topology.memoryMB) << 19) }
    if let limitMB { limit.byteCountMax = limitMB << 20 }
    if isInMemory {
      let megabytes = UInt32(clamping: limit.byteCountMax >> 20)
      topology.memoryMB -= min(megabytes, topology.memoryMB / 2)
    }
    topology.disk = limit
  }

  /// What is free at `path` for this user now that something there has failed with `error`. A quota
  /// is not seen in the figures of the file system.
  static func free(at path: String, after error: Int32) -> DiskCapacity {
    if error == EDQUOT { return DiskCapacity(byteCountMax: 0, inodeCountMax: 0) }
    return measure(path) ?? .unlimited
  }

  /// Whether nothing more can be written at `path`.
  static func isFull(_ path: String) -> Bool {
    guard let free = measure(path) else { return false }
    return free.byteCountMax < fullByteCount || free.inodeCountMax == 0
  }

  private static func measure(_ path: String) -> DiskCapacity? {
    var info = statvfs()
    guard statvfs(path, &info) == 0 else { return nil }
    let blocks = Int64(clamping: info.f_bavail)
    let (bytes, isOver) = blocks.multipliedReportingOverflow(by: Int64(clamping: info.f_frsize))
    return DiskCapacity(
      byteCountMax: isOver ? .max : bytes,
      // Some file systems make inodes as they need them, and count none.
      inodeCountMax: info.f_files == 0 ? .max : Int64(clamping: info.f_favail))
  }
}

extension WorkerEvent {
  /// ENOSPC or EDQUOT, if that is what the event is about.
  var fullDiskError: Int32? {
    switch self {
    case .transferred(_, _, let error) where isDiskFull(error): error
    case .launchFailed(_, .sandboxFailed(let error)) where isDiskFull(error): error
    case .settled(_, .sandboxFailed(let error)) where isDiskFull(error): error
    default: nil
    }
  }
}
