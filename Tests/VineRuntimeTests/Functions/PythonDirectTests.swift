// Python libraries whose calls run one after another in one interpreter.

import Glibc
import Testing

@testable import VineRuntime

struct PythonDirectTests {
  private let echo = """
    import os, sys
    count = 0
    def echo(*args, **named):
        return [list(args), named]
    def next_count():
        global count
        count += 1
        return count
    def fail(text):
        def inner():
            raise ValueError(text)
        inner()
    def leave(status):
        sys.exit(status)
    def die(status):
        os._exit(status)
    """

  @Test func argumentsAndResultsAreJSONValues() throws {
    let fixture = try HostFixture(echo, functions: ["echo"])
    #expect(fixture.becomesReady())
    #expect(fixture.call(0) == "[[],{}]")
    #expect(
      fixture.call(0, "[1,2.5,\"ä\\u0000\",null,[true]]", named: "{\"limit\":{\"a\":[]}}")
        == "[[1,2.5,\"\\u00e4\\u0000\",null,[true]],{\"limit\":{\"a\":[]}}]")
    #expect(fixture.call(0, "[12345678901234567890123]") == "[[12345678901234567890123],{}]")
  }

  @Test func callsShareTheInterpreter() throws {
    let fixture = try HostFixture(echo, functions: ["next_count"])
    #expect(fixture.becomesReady())
    for _ in 0..<3 { fixture.send(0) }
    #expect(["1", "2", "3"] == [fixture.result(), fixture.result(), fixture.result()])
  }

  @Test func anErrorHasItsTypeAndTheUsersFrames() throws {
    let fixture = try HostFixture(echo, functions: ["fail", "echo"])
    #expect(fixture.becomesReady())
    fixture.send(0, "[\"no luck\"]")
    let error = try #require(fixture.callError())
    #expect(error.error == "ValueError: no luck")
    #expect(error.traceback.contains("in inner"))
    #expect(error.traceback.contains("module_under_test.py\", line 11"))
    #expect(!error.traceback.contains("vine-mpi host"))
    fixture.send(0, "[1, 2, 3]")
    #expect(fixture.callError()?.error.hasPrefix("TypeError: fail()") == true)
    #expect(fixture.call(1) == "[[],{}]")
  }

  @Test func aFunctionThatExitsDoesNotEndTheInstance() throws {
    let fixture = try HostFixture(echo, functions: ["leave", "echo"])
    #expect(fixture.becomesReady())
    #expect(fixture.call(0, "[3]") == "! the function called sys.exit(3)")
    #expect(fixture.call(1) == "[[],{}]")
  }

  @Test func aProcessThatEndsIsNoticedAfterItsLastReports() throws {
    let fixture = try HostFixture(echo, functions: ["next_count", "die"])
    #expect(fixture.becomesReady())
    fixture.send(0)
    fixture.send(1, "[7]")
    fixture.send(0)
    #expect(fixture.result() == "1" || fixture.hasEnded)
    #expect(fixture.next() == nil)
    #expect(fixture.host.endText == "its host process ended with status 7")
  }

  @Test func theContextIsSetUpOnceAndBecomesGlobals() throws {
    let source = """
      print("loading")
      setups = 0
      def prepare(base, step=2):
          global setups
          setups += 1
          return {"table": [base * step], "base": base}
      def get(i):
          return [table, base, setups, i]
      """
    let fixture = try HostFixture(
      source, functions: ["get"], context: "prepare", arguments: "[21]")
    #expect(fixture.becomesReady())
    #expect(fixture.call(0, "[0]") == "[[42],21,1,0]")
    #expect(fixture.call(0, "[1]") == "[[42],21,1,1]")
    #expect(fixture.host.output.contents() == Array("loading\n".utf8))
  }

  @Test func aSetUpThatFailsSaysWhy() throws {
    let raising = try HostFixture(
      "import sys\nprint('so far', file=sys.stderr)\nimport no_such_module_here\n",
      functions: ["f"])
    let error = try #require(raising.setupError())
    #expect(error.error == "ModuleNotFoundError: No module named 'no_such_module_here'")
    #expect(error.traceback.contains("line 3"))
    #expect(raising.next() == nil)

    let absent = try HostFixture("x = 1", functions: ["f"])
    #expect(absent.setupError()?.error == "the module module_under_test has no function f")
    let value = try HostFixture("f = 1", functions: ["f"])
    #expect(value.setupError()?.error == "f of the module module_under_test is no function")
  }

  @Test func aSetUpThatEndsTheProcessIsAFailure() throws {
    let fixture = try HostFixture(
      "import os\nos.write(2, b'last words')\nos._exit(9)\n", functions: ["f"])
    let error = try #require(fixture.setupError())
    #expect(error.error == "its host process ended with status 9 during its set-up")
    #expect(error.traceback.hasSuffix("last words"))
    #expect(fixture.next() == nil)
  }

  @Test func aResultThatIsNoJSONNamesItsType() throws {
    let source = """
      import decimal, math
      def number(): return [decimal.Decimal(1)]
      def group(): return {1, 2}
      def nan(): return {"x": math.nan}
      def round():
          a = []
          a.append(a)
          return a
      def raw(): return {"data": b"\\x00\\xffabc"}
      def kind(x): return [type(x).__name__, len(x)]
      """
    let fixture = try HostFixture(
      source, functions: ["number", "group", "nan", "round", "raw", "kind"])
    #expect(fixture.becomesReady())
    #expect(
      fixture.call(0) == "! the result holds a decimal.Decimal, which is no JSON value")
    #expect(
      fixture.call(1) == "! the result holds a set, which is no JSON value (a list is one)")
    #expect(fixture.call(2)?.hasPrefix("! the result holds a NaN or an infinity") == true)
    #expect(fixture.call(3)?.hasPrefix("! the result is nested too deeply") == true)
    // Bytes go out and come in untouched.
    #expect(fixture.call(4) == "{\"data\":{\"$bytes\":\"AP9hYmM=\"}}")
    #expect(fixture.call(5, "[{\"$bytes\":\"AP9hYmM=\"}]") == "[\"bytes\",5]")
  }

  @Test func largeValuesPassBothWays() throws {
    let fixture = try HostFixture(
      "def echo(x): return x\ndef make(n): return 'y' * n\n", functions: ["echo", "make"])
    #expect(fixture.becomesReady())
    let text = "\"" + String(repeating: "x", count: 5 << 20) + "\""
    for _ in 0..<3 { fixture.send(0, "[\(text)]") }
    // The host cannot have read all that: the rest waits on this side.
    for _ in 0..<3 { #expect(fixture.result() == text) }
    #expect(fixture.host.waitingByteCount == 0)
    fixture.send(1, "[\(20 << 20)]")
    fixture.send(1, "[1]")
    #expect(fixture.result()?.utf8.count == 20 << 20 + 2)
    #expect(fixture.result() == "\"y\"")
  }

  @Test func manyCallsComeBackInOrder() throws {
    let fixture = try HostFixture("def f(i): return i * 2", functions: ["f"])
    #expect(fixture.becomesReady())
    for index in 0..<20_000 {
      fixture.host.call(
        UInt64(index), function: 0, arguments: Array("{\"args\":[\(index)],\"kwargs\":{}}".utf8))
    }
    fixture.host.flush()
    var count = 0
    while count < 20_000 {
      guard
        case .finished(UInt64(count), Array(String(count * 2).utf8), let nanoseconds) =
          fixture.next(), nanoseconds >= 0
      else { break }
      count += 1
    }
    #expect(count == 20_000)
  }

  @Test func aCallThatHasNotBegunIsTakenBack() throws {
    let source = """
      import os
      def wait(path):
          with open(path) as pipe:
              return pipe.read()
      def f(): return 1
      """
    let fixture = try HostFixture(source, functions: ["wait", "f"])
    try #require(mkfifo("\(fixture.directory.path)/gate", 0o600) == 0)
    #expect(fixture.becomesReady())
    fixture.send(0, "[\"gate\"]")
    let second = fixture.send(1)
    fixture.send(1)
    fixture.host.cancel(second)
    let gate = try OwnedDescriptor.open("\(fixture.directory.path)/gate", O_WRONLY)
    _ = Array("go".utf8).withUnsafeBytes { writeAll($0, to: gate.number) }
    _ = consume gate
    var results: [String] = []
    var returned: [UInt64] = []
    for _ in 0..<3 {
      switch fixture.next() {
      case .finished(_, let text, _): results.append(String(decoding: text, as: UTF8.self))
      case .returned(let number): returned.append(number)
      default: break
      }
    }
    // It had to be read together with the other calls to be too late.
    #expect(results == ["\"go\"", "1"] && returned == [second] || results == ["\"go\"", "1", "1"])
  }

  @Test func aMapRunsOneCallPerItem() throws {
    let source = """
      def square(x): return x * x
      def pair(a, b): return [a, b]
      def inverse(x): return 1 // x
      def odd(x): return {x}
      """
    let fixture = try HostFixture(source, functions: ["square", "pair", "inverse", "odd"])
    #expect(fixture.becomesReady())
    let hole = "[{\"$item\":true}]"
    fixture.sendMap(0, hole, .range(first: 3, step: 2, count: 4))
    #expect(fixture.result() == "[9,25,49,81]")
    fixture.sendMap(
      1, "[{\"k\":[{\"$item\":true},7]},{\"$item\":true}]", .list(Array("[1,\"x\"]".utf8)))
    #expect(fixture.result() == "[[{\"k\":[1,7]},1],[{\"k\":[\"x\",7]},\"x\"]]")
    fixture.sendMap(2, hole, .list(Array("[1,2,0,4]".utf8)))
    let error = try #require(fixture.callError())
    #expect(error.error.hasPrefix("item 2: ZeroDivisionError:"))
    #expect(error.traceback.contains("in inverse"))
    fixture.sendMap(3, hole, .list(Array("[1]".utf8)))
    #expect(
      fixture.result() == "! item 0: the result holds a set, which is no JSON value (a list is one)"
    )
    fixture.sendMap(0, hole, .range(first: 0, step: 1, count: 0))
    #expect(fixture.result() == "[]")
  }

  @Test func aCallWithFilesRunsInItsDirectory() throws {
    let fixture = try HostFixture(
      "import os\ndef here(): return os.getcwd()\n", functions: ["here"])
    #expect(fixture.becomesReady())
    let other = try TemporaryDirectory()
    fixture.send(0, directory: other.path)
    #expect(fixture.result() == "\"\(other.path)\"")
    fixture.send(0)
    #expect(fixture.result() == "\"\(fixture.directory.path)\"")
    fixture.send(0, directory: "/no/such/place")
    #expect(fixture.callError()?.error.hasPrefix("FileNotFoundError") == true)
  }

  @Test func anOrderlyEndRunsExitHandlers() throws {
    let fixture = try HostFixture(
      "import atexit\natexit.register(lambda: print('bye'))\ndef f(): pass\n", functions: ["f"])
    #expect(fixture.becomesReady())
    #expect(fixture.call(0) == "null")
    fixture.host.stop(isKilled: false)
    #expect(fixture.next() == nil)
    #expect(fixture.host.output.contents() == Array("bye\n".utf8))
    #expect(fixture.host.endText == "its host process ended with status 0")
  }

  @Test func theEnvironmentsPackagesComeFirst() throws {
    let environment = try TemporaryDirectory()
    try environment.write("where = __file__\n", to: "only_here.py")
    let fixture = try HostFixture(
      "import only_here\ndef where(): return only_here.where\n", functions: ["where"],
      environmentPath: environment.path)
    #expect(fixture.becomesReady())
    #expect(fixture.call(0) == "\"\(environment.path)/only_here.py\"")
  }

  @Test func anEnvironmentForAnotherPythonIsRefused() throws {
    let environment = try TemporaryDirectory()
    for part in ["lib", "lib/python3.0", "lib/python3.0/site-packages"] {
      mkdir("\(environment.path)/\(part)", 0o700)
    }
    let fixture = try HostFixture(
      "def f(): pass", functions: ["f"], environmentPath: environment.path)
    #expect(
      fixture.setupError()?.error.contains("has packages for python3.0 only") == true)
  }

  @Test func anAbsentInterpreterIsNamed() throws {
    let directory = try TemporaryDirectory()
    let fixture = try HostFixture(
      "def f(): pass", functions: ["f"], environment: ["PATH=\(directory.path)"])
    if let error = fixture.setupError() {
      #expect(error.error.contains("cannot execute python3 (neither in"))
    } else {
      Issue.record("it must not become ready")
    }
  }
}
