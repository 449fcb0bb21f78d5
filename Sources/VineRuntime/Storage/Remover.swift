// Removing what takes long to be removed: a gigabyte in memory takes a third of a second, and while a
// rank's loop did it, all that passes through the rank would wait.

internal import Glibc

/// Removes files and trees beside the loop. They lose their names at once, their room a little later.
final class Remover {
  /// What is smaller is removed sooner than handed over.
  static let directByteCountMax: Int64 = 8 << 20

  /// Who makes files faster than they are removed has to wait.
  private static let pendingCountMax = 4

  private let queue: BlockingQueue<Void>
  private let prefix: String
  private var count = 0

  /// `prefix`: of paths that nobody else uses, on the file system of all that is to be removed.
  init(prefix: String) throws(RuntimeError) {
    self.prefix = prefix
    // One after the other: more would take processors and disks from those who have work to do.
    queue = try BlockingQueue(threadCount: 1)
  }

  /// Readable when a removal has ended and `isIdle` may have changed.
  var descriptor: Int32 { queue.descriptor }

  /// Whether all was removed.
  var isIdle: Bool {
    _ = queue.drain()
    return queue.pendingCount == 0
  }

  /// Removes a file or a tree; nothing there is no error.
  func remove(_ path: String) {
    count += 1
    let trash = "\(prefix)\(count)"
    if (!isIdle && queue.pendingCount >= Self.pendingCountMax) || rename(path, trash) != 0 {
      FileTree.remove(path)
      return
    }
    queue.submit { FileTree.remove(trash) }
  }

  /// Whether to remove a file here and now would take long.
  static func isLong(_ info: stat) -> Bool {
    info.st_mode & S_IFMT == S_IFDIR
      || info.st_nlink == 1 && Int64(info.st_blocks) * 512 > directByteCountMax
  }

  /// Waits until all was removed: before what is free of a full disk is asked for.
  func finish() { while !isIdle { queue.next() } }
}
