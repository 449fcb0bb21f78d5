// The cores and the memory of one node, and who holds them.

/// What an allocation holds of its node.
package struct Grant: Hashable, Sendable {
  package var cpuset: CPUSet
  package var memoryMB: UInt32
  package init(cpuset: CPUSet, memoryMB: UInt32) {
    self.cpuset = cpuset
    self.memoryMB = memoryMB
  }
}

/// Grants and takes back; never grants a core or an MB twice.
package struct NodePool: Sendable {
  package let coreCount: Int
  package let memoryMB: UInt32
  package private(set) var freeCoreCount: Int
  package private(set) var freeMemoryMB: UInt32
  private var free: CPUSet

  package init(_ topology: Topology) {
    coreCount = topology.cores.count
    memoryMB = topology.memoryMB
    freeCoreCount = coreCount
    freeMemoryMB = memoryMB
    free = CPUSet(count: coreCount)
  }

  /// The memory `request` holds here: as declared, else its share of the node by cores.
  package func memoryMB(for request: Request) -> UInt32 {
    if let declared = request.memoryMB { return declared }
    if coreCount == 0 { return 0 }
    return UInt32(UInt64(memoryMB) * UInt64(request.cores) / UInt64(coreCount))
  }

  /// Whether an empty node of this kind could ever run it.
  package func couldFit(_ request: Request) -> Bool {
    Int(request.cores) <= coreCount && request.gpus == 0 && memoryMB(for: request) <= memoryMB
  }

  package func fits(_ request: Request) -> Bool {
    Int(request.cores) <= freeCoreCount && request.gpus == 0
      && memoryMB(for: request) <= freeMemoryMB
  }

  /// Whether it would fit if so much more were free.
  package func fits(_ request: Request, withCores cores: Int, memoryMB memory: UInt32) -> Bool {
    Int(request.cores) <= freeCoreCount + cores && request.gpus == 0
      && UInt64(memoryMB(for: request)) <= UInt64(freeMemoryMB) + UInt64(memory)
  }

  /// Takes what `request` asks for; nil when it does not fit now.
  package mutating func grant(_ request: Request) -> Grant? {
    guard fits(request), let cpuset = free.choose(Int(request.cores)) else { return nil }
    let memory = memoryMB(for: request)
    free.subtract(cpuset)
    freeCoreCount -= Int(request.cores)
    freeMemoryMB -= memory
    return Grant(cpuset: cpuset, memoryMB: memory)
  }

  package mutating func release(_ grant: Grant) {
    invariant(free.isDisjoint(with: grant.cpuset), "a core is released twice")
    free.formUnion(grant.cpuset)
    freeCoreCount += grant.cpuset.count
    freeMemoryMB += grant.memoryMB
    invariant(
      freeCoreCount <= coreCount && freeMemoryMB <= memoryMB, "a pool holds more than its node")
  }
}
