// What a node has, as a value: read by hwloc on the node, sent once, decided on by the manager.

/// One core: the hardware threads the operating system may run it on, and where it lies.
package struct Core: Hashable, Sendable {
  /// Operating system indices of its processing units.
  package var processingUnits: [UInt32]
  /// Index of its NUMA node within the node.
  package var numaNode: UInt32
  package init(processingUnits: [UInt32], numaNode: UInt32 = 0) {
    self.processingUnits = processingUnits
    self.numaNode = numaNode
  }
}

/// What may lie in the scratch directory of a node.
package struct DiskCapacity: Hashable, Sendable {
  package var byteCountMax: Int64
  package var inodeCountMax: Int64

  package init(byteCountMax: Int64 = .max, inodeCountMax: Int64 = .max) {
    self.byteCountMax = byteCountMax
    self.inodeCountMax = inodeCountMax
  }

  /// Nobody set a bound.
  package static let unlimited = DiskCapacity()
}

/// The cores, memory and GPUs that tasks may use on one node.
package struct Topology: Hashable, Sendable {
  package var cores: [Core]
  /// MB = 2^20 bytes.
  package var memoryMB: UInt32
  package var gpuCount: UInt16
  /// Of the cache and the sandboxes.
  package var disk = DiskCapacity.unlimited

  package init(cores: [Core], memoryMB: UInt32, gpuCount: UInt16 = 0) {
    self.cores = cores
    self.memoryMB = memoryMB
    self.gpuCount = gpuCount
  }

  /// `count` equal cores, each with one processing unit.
  package init(coreCount: Int, memoryMB: UInt32) {
    self.init(
      cores: (0..<coreCount).map { Core(processingUnits: [UInt32($0)]) }, memoryMB: memoryMB)
  }
}
