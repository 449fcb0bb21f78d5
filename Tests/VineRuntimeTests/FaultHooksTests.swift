// The grammar of VINE_FAULT.

import Testing

@testable import VineRuntime

struct FaultHooksTests {
  @Test func aFaultComesAtItsTurnOnly() throws {
    let hooks = try #require(FaultHooks("journal.fsync#2:eio,journal.write:short=5"))
    #expect(hooks.action(at: "journal.fsync") == nil)
    #expect(hooks.action(at: "journal.fsync") == .eio)
    #expect(hooks.action(at: "journal.fsync") == nil)
    #expect(hooks.action(at: "journal.write") == .short(byteCount: 5))
    #expect(hooks.action(at: "journal.write") == .short(byteCount: 5))
    #expect(hooks.action(at: "other") == nil)
  }

  @Test func aFaultMayBeForOneTaskOrRank() throws {
    let hooks = try #require(FaultHooks("finish@b#1:drop,finish@c:dup"))
    #expect(hooks.action(at: "finish", name: "a") == nil)
    #expect(hooks.action(at: "finish", name: "b") == .drop)
    #expect(hooks.action(at: "finish", name: "b") == nil)
    #expect(hooks.action(at: "finish", name: "c") == .dup)
  }

  @Test func mistakesAreNotTakenForFaults() {
    for text in ["x", "x:boom", "x#0:eio", "x#a:eio", ":eio", "x:delay", "x:eio=3", "x:short=a"] {
      #expect(FaultHooks(text) == nil, "\(text)")
    }
    #expect(FaultHooks("") != nil)
  }
}
