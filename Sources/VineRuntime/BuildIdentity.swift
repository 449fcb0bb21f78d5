// What must be the same in all ranks, and what tells nodes and processes apart.

internal import Glibc

/// The program's version. All ranks of a run must show the same build.
package enum BuildIdentity {
  package static let version = "0.1.0"

  /// Version, and size and time of the executable: a node that sees an older copy differs.
  package static let text: String = {
    var info = stat()
    guard stat("/proc/self/exe", &info) == 0 else { return version }
    return "\(version) (\(info.st_size) bytes)"
  }()
}

func hostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  gethostname(&name, 255)
  return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Names this boot of this kernel (random(4)): its processes share one monotonic clock.
func bootID() -> String {
  let text = (try? readFile("/proc/sys/kernel/random/boot_id")) ?? []
  return String(decoding: text.prefix { $0 != 10 }, as: UTF8.self)
}

/// Names the process namespace (pid_namespaces(7)): process ids mean the same within one.
func processNamespace() -> UInt64 {
  var info = stat()
  return stat("/proc/self/ns/pid", &info) == 0 ? UInt64(info.st_ino) : 0
}
