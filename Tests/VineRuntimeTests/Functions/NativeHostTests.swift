// Native libraries: the same functions in a process of their own and on the rank's function thread.

import Glibc
import Testing

@testable import VineRuntime

@Suite(.enabled(if: HostFixture.hasCompiler, "no C compiler"))
struct NativeHostTests {
  private static let source = #"""
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    #include <vine_function.h>
    static int setups;
    int echo(vine_call *call) { return vine_put(call, call->arguments, call->argument_count); }
    int add(vine_call *call) {
      double a, b;
      if (sscanf(call->arguments, "[%lf,%lf]", &a, &b) != 2) return vine_fail(call, "two numbers, not %s", call->arguments);
      return vine_printf(call, "%.17g", a + b);
    }
    int nothing(vine_call *call) { (void)call; return 0; }
    int silent(vine_call *call) { (void)call; return 7; }
    int crash(vine_call *call) { (void)call; raise_it: *(volatile int *)0 = 1; goto raise_it; }
    int leave(vine_call *call) { (void)call; _exit(3); }
    int broken(vine_call *call) { return vine_printf(call, "{\"a\": tru}"); }
    int raw(vine_call *call) { call->is_bytes = 1; return vine_put(call, "\0\xff" "abc", 5); }
    int large(vine_call *call) {
      long count = atol(call->arguments + 1);
      if (!call->reserve(call, count + 2)) return vine_fail(call, "no memory");
      memset(call->result, 'z', count + 2);
      call->result[0] = call->result[count + 1] = '"';
      call->result_count = count + 2;
      return 0;
    }
    int prepare(vine_call *call) {
      int *value = malloc(sizeof *value);
      *value = atoi(call->arguments + 1);
      if (*value < 0) return vine_fail(call, "no negative tables");
      setups++;
      call->context = value;
      return 0;
    }
    void prepare_teardown(void *context) { printf("over %d\n", *(int *)context); }
    int get(vine_call *call) { return vine_printf(call, "[%d,%d]", *(int *)call->context, setups); }
    int own_setup(vine_call *call) { call->context = (void *)"own"; return 0; }
    int own(vine_call *call) { return vine_printf(call, "\"%s\"", (char *)call->context); }
    int gate(vine_call *call) {
      char path[4096], byte;
      sscanf(call->arguments, "[\"%4095[^\"]", path);
      FILE *file = fopen(path, "r");
      int got = file ? (int)fread(&byte, 1, 1, file) : -1;
      if (file) fclose(file);
      return vine_printf(call, "%d", got);
    }
    int here(vine_call *call) {
      char path[4096];
      return vine_printf(call, "[\"%s\",\"%s\"]", getcwd(path, sizeof path), call->directory ? call->directory : "");
    }
    """#

  private func start(
    _ functions: [String], mode: LibraryOrder.Mode = .process, context: String? = nil,
    arguments: String = "[]"
  ) throws -> HostFixture {
    try HostFixture(
      native: Self.source, functions: functions, context: context, arguments: arguments, mode: mode)
  }

  static let modes: [LibraryOrder.Mode] = [.process, .inRank]

  @Test(arguments: modes) func argumentsAndResultsAreJSONTexts(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["echo", "add", "nothing", "raw"], mode: mode)
    #expect(fixture.becomesReady())
    #expect(fixture.call(0, "[1, {\"a\":[\"]\"]}]") == "[1, {\"a\":[\"]\"]}]")
    #expect(fixture.call(1, "[1.5,2]") == "3.5")
    #expect(fixture.call(2) == "null")
    #expect(fixture.call(3) == "{\"$bytes\":\"AP9hYmM=\"}")
  }

  @Test(arguments: modes) func failuresSayWhatTheFunctionSaid(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["add", "silent", "broken", "echo"], mode: mode)
    #expect(fixture.becomesReady())
    #expect(fixture.call(0, "[\"x\"]") == "! two numbers, not [\"x\"]")
    #expect(fixture.call(1) == "! silent returned 7 and left no error text")
    #expect(
      fixture.call(2)?.hasPrefix("! the result of broken is no JSON value: {\"a\": tru}") == true)
    #expect(
      fixture.call(3, named: "{\"x\":1}") == "! a native function takes no arguments by name")
    #expect(fixture.call(4) == "! the library has no function number 4")
    fixture.host.call(99, function: 3, arguments: Array("{\"args\":[1".utf8))
    fixture.host.flush()
    #expect(fixture.result() == "! the arguments of the call are no JSON text of a call")
    #expect(fixture.call(3, "[]") == "[]")
  }

  @Test func aCrashEndsTheInstanceAfterItsLastReports() throws {
    let fixture = try start(["echo", "crash"])
    #expect(fixture.becomesReady())
    fixture.send(0, "[1]")
    fixture.send(1)
    fixture.send(0, "[2]")
    if let result = fixture.result() { #expect(result == "[1]") }
    #expect(fixture.next() == nil)
    #expect(fixture.host.endText?.hasPrefix("its host process was killed by signal 11") == true)
  }

  @Test(arguments: modes) func theContextIsSetUpOnce(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["get", "own"], mode: mode, context: "prepare", arguments: "[42]")
    #expect(fixture.becomesReady())
    #expect(fixture.call(0) == "[42,1]")
    #expect(fixture.call(1) == "\"own\"")
    #expect(fixture.call(0) == "[42,1]")
  }

  @Test func theTearDownRunsAtAnOrderlyEnd() throws {
    let fixture = try start(["get"], context: "prepare", arguments: "[5]")
    #expect(fixture.becomesReady())
    fixture.host.stop(isKilled: false)
    #expect(fixture.next() == nil)
    #expect(fixture.host.output.contents() == Array("over 5\n".utf8))
    #expect(fixture.host.endText == "its host process ended with status 0")
  }

  @Test(arguments: modes) func setUpsThatFailSayWhy(_ mode: LibraryOrder.Mode) throws {
    let refused = try start(["get"], mode: mode, context: "prepare", arguments: "[-1]")
    #expect(refused.setupError()?.error == "no negative tables")
    let absent = try start(["get", "no_such"], mode: mode, context: "prepare")
    #expect(absent.setupError()?.error.contains("exports no function no_such") == true)
    let unknown = try start(["get"], mode: mode, context: "no_context")
    #expect(unknown.setupError()?.error.contains("exports no context function no_context") == true)
  }

  @Test func aSetUpThatEndsTheProcessIsAFailure() throws {
    let fixture = try start(["get"], context: "leave")
    #expect(
      fixture.setupError()?.error == "its host process ended with status 3 during its set-up")
  }

  @Test(arguments: modes) func valuesOfAnySizePass(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["large", "echo"], mode: mode)
    #expect(fixture.becomesReady())
    for _ in 0..<3 { fixture.send(0, "[\(9 << 20)]") }
    for _ in 0..<3 { #expect(fixture.result()?.utf8.count == 9 << 20 + 2) }
    let text = "[\"" + String(repeating: "x", count: 5 << 20) + "\"]"
    for _ in 0..<3 { fixture.send(1, text) }
    for _ in 0..<3 { #expect(fixture.result() == text) }
    #expect(fixture.call(1, "[7]") == "[7]")
  }

  @Test(arguments: modes) func manyCallsComeBackInOrder(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["echo"], mode: mode)
    #expect(fixture.becomesReady())
    for index in 0..<50_000 {
      fixture.host.call(
        UInt64(index), function: 0, arguments: Array("{\"args\":[\(index)],\"kwargs\":{}}".utf8))
    }
    fixture.host.flush()
    var count = 0
    while count < 50_000 {
      guard
        case .finished(UInt64(count), Array("[\(count)]".utf8), let nanoseconds) = fixture.next(),
        nanoseconds >= 0
      else { break }
      count += 1
    }
    #expect(count == 50_000)
  }

  @Test(arguments: modes) func aMapRunsOneCallPerItem(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["add", "echo"], mode: mode)
    #expect(fixture.becomesReady())
    fixture.sendMap(0, "[{\"$item\":true},0.5]", .range(first: -1, step: 2, count: 3))
    #expect(fixture.result() == "[-0.5,1.5,3.5]")
    let hole = "[{ \"$item\" : true },\"{\\\"$item\\\":true}\",{\"$item\":true}]"
    fixture.sendMap(1, hole, .list(Array(" [ {\"a\": [1]} , \"x\" ] ".utf8)))
    #expect(
      fixture.result()
        == "[[{\"a\": [1]},\"{\\\"$item\\\":true}\",{\"a\": [1]}],"
        + "[\"x\",\"{\\\"$item\\\":true}\",\"x\"]]")
    fixture.sendMap(0, "[{\"$item\":true},1]", .list(Array("[1,2,\"no\",4]".utf8)))
    #expect(fixture.result() == "! item 2: two numbers, not [\"no\",1]")
    fixture.sendMap(1, "[{\"$item\":true}]", .list(Array("[1,2".utf8)))
    #expect(fixture.result() == "! the items of the map are no JSON array")
    fixture.sendMap(0, "[{\"$item\":true}]", .range(first: 0, step: 1, count: 0))
    #expect(fixture.result() == "[]")
  }

  @Test(arguments: modes) func aCallThatHasNotBegunIsTakenBack(_ mode: LibraryOrder.Mode) throws {
    let fixture = try start(["gate", "echo"], mode: mode)
    let path = "\(fixture.directory.path)/pipe"
    try #require(mkfifo(path, 0o600) == 0)
    #expect(fixture.becomesReady())
    fixture.send(0, "[\"\(path)\"]")
    let second = fixture.send(1, "[2]")
    let third = fixture.send(1, "[3]")
    fixture.host.cancel(second)
    let gate = try OwnedDescriptor.open(path, O_WRONLY)
    _ = Array("g".utf8).withUnsafeBytes { writeAll($0, to: gate.number) }
    _ = consume gate
    var finished: [UInt64] = []
    var returned: [UInt64] = []
    for _ in 0..<3 {
      switch fixture.next() {
      case .finished(let number, _, _): finished.append(number)
      case .returned(let number): returned.append(number)
      default: break
      }
    }
    // It takes calls back that wait; whether it read of it in time is the machine's affair.
    #expect(
      returned == [second] && finished == [1, third] || finished == [1, second, third])
  }

  @Test func aCallWithFilesRunsInItsDirectory() throws {
    let fixture = try start(["here"])
    #expect(fixture.becomesReady())
    let other = try TemporaryDirectory()
    fixture.send(0, directory: other.path)
    #expect(fixture.result() == "[\"\(other.path)\",\"\(other.path)\"]")
    fixture.send(0)
    #expect(fixture.result() == "[\"\(fixture.directory.path)\",\"\"]")
  }

  @Test func aRankStaysWhereItIs() throws {
    let fixture = try start(["here"], mode: .inRank)
    #expect(fixture.becomesReady())
    let before = fixture.call(0)
    fixture.send(0, directory: fixture.directory.path)
    #expect(fixture.result()?.hasSuffix(",\"\(fixture.directory.path)\"]") == true)
    #expect(fixture.call(0) == before)
  }

  @Test func theFunctionThreadTellsWhatItRuns() throws {
    let fixture = try start(["gate"], mode: .inRank)
    let path = "\(fixture.directory.path)/pipe"
    try #require(mkfifo(path, 0o600) == 0)
    #expect(fixture.becomesReady())
    let number = fixture.send(0, "[\"\(path)\"]")
    // It is open once the function waits in it.
    let gate = try OwnedDescriptor.open(path, O_WRONLY)
    #expect(fixture.host.running?.number == number)
    _ = consume gate
    #expect(fixture.finishedNumber() == number)
    #expect(fixture.host.running == nil)
  }

  @Test func aGangNeedsMPI() throws {
    let fixture = try start(["echo"], mode: .inRank)
    #expect(fixture.becomesReady())
    fixture.host.gang(
      1, function: 0, arguments: Array("{\"args\":[],\"kwargs\":{}}".utf8), ranks: [0], tag: 1)
    fixture.host.flush()
    #expect(fixture.result() == "! this instance serves no gangs")
  }
}
