// This node's cores and memory, read by hwloc within what the cgroup and the batch system allow.

internal import CHwloc
internal import CLinux
internal import Glibc
package import VineCore

package enum TopologyDiscovery {
  /// The topology of this node. A launcher binds ranks to a few cores each, but a node's executors
  /// share all of the job's cores: so hwloc's view (cgroup included) counts, not this rank's own
  /// affinity. Without hwloc's help, the processing units of sched_getaffinity(2) are the cores.
  package static func read() -> Topology {
    let memory = memoryMB()
    let cores = coresOfHwloc()
    if !cores.isEmpty { return Topology(cores: cores, memoryMB: memory) }
    return Topology(
      cores: affinity().map { Core(processingUnits: [$0]) }, memoryMB: memory)
  }

  /// The processing units this process may run on.
  package static func affinity() -> [UInt32] {
    var words = [UInt64](repeating: 0, count: 1024)
    let used = clinux_affinity(&words, words.count)
    var units: [UInt32] = []
    for index in 0..<max(Int(used), 0) {
      for bit in 0..<64 where words[index] & 1 << UInt64(bit) != 0 {
        units.append(UInt32(index * 64 + bit))
      }
    }
    return units
  }

  private static func coresOfHwloc() -> [Core] {
    var topology: hwloc_topology_t?
    guard hwloc_topology_init(&topology) == 0, let topology else { return [] }
    defer { hwloc_topology_destroy(topology) }
    guard hwloc_topology_load(topology) == 0 else { return [] }
    let coreCount = chwloc_core_count(topology)
    let count = coreCount > 0 ? coreCount : chwloc_pu_count(topology)
    var cores: [Core] = []
    for index in 0..<count {
      let object =
        coreCount > 0 ? chwloc_core(topology, index) : chwloc_pu(topology, index)
      guard let object else { continue }
      var units: [UInt32] = []
      var unit = chwloc_next_pu(object, -1)
      while unit >= 0 {
        units.append(UInt32(unit))
        unit = chwloc_next_pu(object, unit)
      }
      if units.isEmpty { continue }
      cores.append(
        Core(processingUnits: units, numaNode: chwloc_numa_node(topology, object)))
    }
    return cores
  }

  /// Where the memory limits of this process's cgroup and of those above it are (cgroups(7)): batch
  /// systems put a job some levels down.
  private static func memoryLimitFiles() -> [String] {
    var files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    let text = (try? readFile("/proc/self/cgroup")) ?? []
    for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let isUnified = fields[0] == "0" && fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains("memory") else { continue }
      var path = ""
      for part in fields[2].split(separator: "/") {
        path += "/\(part)"
        files.append(
          isUnified
            ? "/sys/fs/cgroup\(path)/memory.max"
            : "/sys/fs/cgroup/memory\(path)/memory.limit_in_bytes")
      }
    }
    return files
  }

  /// Physical memory, or the cgroup's limit where that is less; in MB of 2^20 bytes.
  private static func memoryMB() -> UInt32 {
    var bytes = UInt64(max(sysconf(Int32(_SC_PHYS_PAGES)), 0)) * UInt64(max(getpagesize(), 0))
    for path in memoryLimitFiles() {
      guard let text = try? readFile(path) else { continue }
      let digits = String(decoding: text.prefix { $0 >= 48 && $0 <= 57 }, as: UTF8.self)
      if let limit = UInt64(digits), limit > 0 { bytes = min(bytes, limit) }
    }
    return UInt32(min(bytes >> 20, UInt64(UInt32.max)))
  }
}
