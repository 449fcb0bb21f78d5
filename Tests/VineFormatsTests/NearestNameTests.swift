import Testing

@testable import VineFormats

struct NearestNameTests {
  @Test func fewEditsFindTheName() {
    #expect(nearestName(to: "inptus", among: ["outputs", "inputs"]) == "inputs")
    #expect(nearestName(to: "memroy", among: ["memory", "cores"]) == "memory")
    #expect(nearestName(to: "core", among: ["cores"]) == "cores")
    #expect(nearestName(to: "zebra", among: ["cores", "memory"]) == nil)
    #expect(nearestName(to: "", among: ["a"]) == nil)
    #expect(nearestName(to: "ab", among: []) == nil)
  }
}
