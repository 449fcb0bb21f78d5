// Python libraries whose calls run in children of the process that holds the context.

import Glibc
import Testing

@testable import VineRuntime

struct PythonForkTests {
  private let source = """
    import os, subprocess, sys, time
    count = 0
    table = list(range(1000))
    def bump():
        global count
        count += 1
        return [count, os.getpid() != parent, table[999]]
    parent = os.getpid()
    def crash():
        os.kill(os.getpid(), 11)
    def die(status):
        os._exit(status)
    def fail():
        raise KeyError("k")
    def large(n):
        return "z" * n
    def wait(path):
        with open(path) as pipe:
            return pipe.read()
    def sleeper(path):
        child = subprocess.Popen(["sleep", "1000"])
        with open(path, "w") as file:
            file.write("%d %d" % (os.getpid(), child.pid))
        os.rename(path, path + ".done")
        time.sleep(1000)
    def detach():
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(5)
    """

  private func start(_ functions: [String], slots: Int = 1) throws -> HostFixture {
    try HostFixture(source, functions: functions, mode: .fork, slots: slots)
  }

  @Test func aCallCannotChangeTheContext() throws {
    let fixture = try start(["bump"])
    #expect(fixture.becomesReady())
    for _ in 0..<3 { #expect(fixture.call(0) == "[1,true,999]") }
  }

  @Test func aCallThatCrashesFailsAlone() throws {
    let fixture = try start(["crash", "die", "bump", "fail"])
    #expect(fixture.becomesReady())
    #expect(fixture.call(0) == "! the process of the call was killed by signal 11 (SIGSEGV)")
    #expect(
      fixture.call(1, "[3]")
        == "! the process of the call ended with status 3 before the function returned")
    fixture.send(3)
    let error = try #require(fixture.callError())
    #expect(error.error == "KeyError: 'k'" && error.traceback.contains("in fail"))
    #expect(fixture.call(2) == "[1,true,999]")
  }

  @Test func aChildThatLeavesAProcessBehindIsNoticed() throws {
    let fixture = try start(["detach"])
    #expect(fixture.becomesReady())
    #expect(
      fixture.call(0)
        == "! the process of the call ended with status 5 before the function returned")
  }

  @Test func slotsRunAtOnce() throws {
    let fixture = try start(["wait", "bump"], slots: 2)
    #expect(fixture.becomesReady())
    for name in ["a", "b"] {
      try #require(mkfifo("\(fixture.directory.path)/\(name)", 0o600) == 0)
    }
    let first = fixture.send(0, "[\"a\"]")
    let second = fixture.send(0, "[\"b\"]")
    let third = fixture.send(1)
    // Opening waits for the reader: both run, and the second ends first.
    let a = try OwnedDescriptor.open("\(fixture.directory.path)/a", O_WRONLY)
    let b = try OwnedDescriptor.open("\(fixture.directory.path)/b", O_WRONLY)
    _ = Array("B".utf8).withUnsafeBytes { writeAll($0, to: b.number) }
    _ = consume b
    #expect(fixture.finishedNumber() == second)
    #expect(fixture.finishedNumber() == third)
    _ = consume a
    #expect(fixture.finishedNumber() == first)
  }

  @Test func resultsOfAnySizePass() throws {
    let fixture = try start(["large"], slots: 2)
    #expect(fixture.becomesReady())
    for _ in 0..<3 { fixture.send(0, "[\(8 << 20)]") }
    for _ in 0..<3 { #expect(fixture.result()?.utf8.count == 8 << 20 + 2) }
  }

  @Test func aRunningCallIsEndedWithAllItStarted() throws {
    let fixture = try start(["sleeper", "bump"])
    #expect(fixture.becomesReady())
    let number = fixture.send(0, "[\"pids\"]")
    let waiting = fixture.send(1)
    var pids: [Int32] = []
    for _ in 0..<3000 where pids.isEmpty {
      usleep(10_000)
      let text = (try? fixture.directory.read("pids.done")) ?? ""
      pids = text.split(separator: " ").compactMap { Int32($0) }
    }
    try #require(pids.count == 2)
    fixture.host.cancel(number)
    #expect(fixture.result() == "! the call was cancelled")
    #expect(fixture.finishedNumber() == waiting)
    // The grandchild may be a zombie until its new parent reaps it.
    var isGone = false
    for _ in 0..<500 where !isGone {
      let state = (try? readFile("/proc/\(pids[1])/stat")).map {
        String(decoding: $0, as: UTF8.self)
      }
      isGone = state == nil || state?.contains(") Z") == true
      if !isGone { usleep(10_000) }
    }
    #expect(isGone)
    #expect(kill(pids[0], 0) != 0)
  }

  @Test func aWaitingCallIsTakenBack() throws {
    let fixture = try start(["wait", "bump"])
    #expect(fixture.becomesReady())
    try #require(mkfifo("\(fixture.directory.path)/a", 0o600) == 0)
    let first = fixture.send(0, "[\"a\"]")
    let second = fixture.send(1)
    fixture.host.cancel(second)
    #expect(fixture.next() == .returned(second))
    let gate = try OwnedDescriptor.open("\(fixture.directory.path)/a", O_WRONLY)
    _ = consume gate
    #expect(fixture.finishedNumber() == first)
  }

  @Test func threadsOfTheContextAreRefused() throws {
    let named = """
      import threading, time
      def context():
          threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="poller").start()
      def f(): pass
      """
    let fixture = try HostFixture(named, functions: ["f"], context: "context", mode: .fork)
    let error = try #require(fixture.setupError())
    #expect(error.error.contains("started 1 threads (poller)"))
    #expect(error.error.contains("\"exec_mode\": \"direct\""))
    // Mode direct takes it.
    let direct = try HostFixture(named, functions: ["f"], context: "context")
    #expect(direct.becomesReady())
  }

  @Test func threadsOutsidePythonAreRefused() throws {
    let source = """
      import _thread, time
      _thread.start_new_thread(time.sleep, (1000,))
      def f(): pass
      """
    let fixture = try HostFixture(source, functions: ["f"], mode: .fork)
    #expect(fixture.setupError()?.error.contains("1 threads outside Python") == true)
  }

  @Test func aMapRunsInOneChild() throws {
    let fixture = try start(["bump", "large"])
    #expect(fixture.becomesReady())
    fixture.sendMap(1, "[{\"$item\":true}]", .range(first: 0, step: 1, count: 3))
    #expect(fixture.result() == "[\"\",\"z\",\"zz\"]")
    #expect(fixture.call(0) == "[1,true,999]")
  }

  @Test func theChildrenEndWithTheInstance() throws {
    let fixture = try start(["sleeper"])
    #expect(fixture.becomesReady())
    fixture.send(0, "[\"pids\"]")
    var pids: [Int32] = []
    for _ in 0..<3000 where pids.isEmpty {
      usleep(10_000)
      let text = (try? fixture.directory.read("pids.done")) ?? ""
      pids = text.split(separator: " ").compactMap { Int32($0) }
    }
    try #require(pids.count == 2)
    fixture.host.stop(isKilled: false)
    #expect(fixture.next() == nil)
    var isGone = false
    for _ in 0..<500 where !isGone {
      let state = (try? readFile("/proc/\(pids[0])/stat")).map {
        String(decoding: $0, as: UTF8.self)
      }
      isGone = state == nil || state?.contains(") Z") == true
      if !isGone { usleep(10_000) }
    }
    #expect(isGone)
  }
}
