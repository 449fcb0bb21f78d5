import Testing
import VineCore

@Suite struct NodePoolTests {
  private let pool = NodePool(Topology(coreCount: 4, memoryMB: 1_000))

  @Test func whatIsGrantedIsNotGrantedAgain() {
    var pool = pool
    let first = pool.grant(Request(cores: 3))
    #expect(first?.cpuset.cores == [0, 1, 2])
    #expect(first?.memoryMB == 750)
    #expect(pool.grant(Request(cores: 2)) == nil)
    #expect(pool.grant(Request(cores: 1))?.cpuset.cores == [3])
    if let first { pool.release(first) }
    #expect(pool.freeCoreCount == 3)
    #expect(pool.freeMemoryMB == 750)
  }

  @Test func memoryRunsOutBeforeCores() {
    var pool = pool
    #expect(pool.grant(Request(cores: 1, memoryMB: 900)) != nil)
    #expect(!pool.fits(Request(cores: 1, memoryMB: 200)))
    #expect(pool.couldFit(Request(cores: 1, memoryMB: 200)))
    #expect(pool.fits(Request(cores: 1, memoryMB: 100)))
  }

  @Test func whatNoEmptyNodeCouldHoldNeverFits() {
    #expect(!pool.couldFit(Request(cores: 5)))
    #expect(!pool.couldFit(Request(memoryMB: 1_001)))
    #expect(!pool.couldFit(Request(gpus: 1)))
    #expect(pool.couldFit(Request(cores: 0)))
  }
}
