import FoundationEssentials
import Testing
import VineCore

@testable import VineFormats

struct NativeFilesTests {
  private func problems(files: String, tasks: String = #"{"id": "a", "command": "x"}"#) -> [String]
  {
    VineFormatsTests.problems(native(tasks, #", "files": {\#(files)}"#))
  }

  @Test func everyKindIsReadIntoItsRow() throws {
    let loaded = try load(
      native(
        #"{"id": "a", "command": "x", "inputs": ["b", "c"], "outputs": ["d", "t"]}"#,
        """
        , "files": {"b": {"buffer": "h\\u00e9\\u0000"}, "c": {"buffer64": "AAEC/w=="},
        "d": {"path": "./out//x/../y", "directory": true, "cache": "worker"},
        "t": {"temp": true, "size": 12345678901}}
        """))
    let workflow = loaded.workflow
    func row(_ id: String) throws -> FileSpec {
      workflow.files[try #require(workflow.fileID(named: id))]
    }
    #expect(Array(workflow.text.slice(try row("b").location)) == [0x68, 0xC3, 0xA9, 0])
    #expect(Array(workflow.text.slice(try row("c").location)) == [0, 1, 2, 255])
    #expect(try row("c").byteCountHint == 4)
    #expect(workflow.text.string(try row("d").location) == "/flow/out/x/../y")
    #expect(try row("d").isDirectory && row("d").lifetime == .worker)
    #expect(try row("t").byteCountHint == 12_345_678_901)
  }

  @Test func whatIsWrongWithAFileIsNamed() {
    #expect(problems(files: #""f": {}"#).count == 1)
    #expect(
      problems(files: #""f": {"path": "x", "temp": true}"#)
        == ["files.f: a file has only one of path and temp"])
    #expect(
      problems(files: #""f": {"buffer64": "?"}"#) == ["files.f.buffer64: this is not base64 text"])
    #expect(problems(files: #""f": {"path": "x", "size": -1}"#).count == 1)
    #expect(
      problems(files: #""f": {"path": "x", "cache": "taks"}"#).first?.contains("task") == true)
    #expect(problems(files: #""f": {"path": "x", "pack": true}"#).count == 1)
    #expect(problems(files: #""f": {"url": "x"}"#).count == 1)
    #expect(problems(files: #""f": {"path": "a\u0000b"}"#).count == 1)
    #expect(
      problems(files: #""f": {"untar": "f"}"#).first?.contains("made of each other") == true)
    #expect(
      problems(files: #""f": {"untar": "g"}, "g": {"untar": "f"}"#)
        == [#"files.f.untar: these files are made of each other: "f", "g""#])
    #expect(problems(files: #""f": {"url": "http://x/y", "directory": true}"#).count == 1)
    #expect(problems(files: #""f": {"untar": "x.tar", "directory": false}"#).count == 1)
    #expect(problems(files: #""f": {"mini_task": {"command": "x", "output": "../o"}}"#).count == 1)
    #expect(
      problems(
        files: #""f": {"mini_task": {"command": "x", "inputs": ["o"], "output": "o"}}"#
      ).count == 1)
  }

  @Test func derivedFilesKnowAllTheyAreMadeOf() throws {
    let workflow = try load(
      native(
        #"{"id": "use", "command": "x", "inputs": ["index"]}, {"id": "m", "command": "x", "outputs": ["raw"]}"#,
        """
        , "defaults": {"env": {"A": "1"}, "timeout": 2}, "files": {"a.tar": {"url": "http://x/a.tar"},
        "db": {"untar": "a.tar"}, "raw": {"temp": true}, "index": {"mini_task": {"argv": ["mk", "db"],
          "inputs": ["db", {"file": "raw", "as": "in"}], "output": "out/i", "env": {"B": "2"}}}}
        """)
    ).workflow
    func file(_ id: String) throws -> FileID { try #require(workflow.fileID(named: id)) }
    let index = try #require(workflow.derivation(of: try file("index")))
    #expect(index.kind == .miniTask && index.timeoutMilliseconds == 2_000)
    #expect(workflow.text.list(index.command) == ["mk", "db"])
    #expect(workflow.text.list(index.environment) == ["A=1", "B=2"])
    #expect(index.inputs.map { workflow.text.string($0.name) } == ["db", "in"])
    #expect(index.sources == [try file("db"), try file("a.tar"), try file("raw")])
    #expect(workflow.files[try file("db")].isDirectory)
    // The task waits for what its input is made of, but gets only the input itself.
    let use = try #require(workflow.taskID(named: "use"))
    #expect(workflow.stagedInputs(of: use).map(\.file) == [try file("index")])
    #expect(workflow.inputs(of: use).count == 4)
    #expect(workflow.edgeCount(into: use) == 1)
  }

  @Test func whatATaskMakesOutOfWhatItNeedsIsACycle() {
    let found = problems(
      files: #""t": {"temp": true}, "d": {"untar": "t"}"#,
      tasks: #"{"id": "a", "command": "x", "inputs": ["d"], "outputs": ["t"]}"#)
    #expect(found.count == 1)
  }

  @Test func filesThatNobodyMakesOrTwoMakeAreRefused() {
    #expect(
      problems(
        files: #""f": {"temp": true}"#, tasks: #"{"id": "a", "command": "x", "inputs": ["f"]}"#
      ) == ["files.f: no task makes this temp file, but the task \"a\" needs it"])
    let two =
      #"{"id": "a", "command": "x", "outputs": ["f"]}, {"id": "b", "command": "x", "outputs": ["f"]}"#
    #expect(
      problems(files: "", tasks: two).first?.hasPrefix("tasks[1].outputs: the file \"f\"") == true)
    #expect(
      problems(
        files: #""f": {"path": "x"}, "g": {"path": "./x"}"#,
        tasks:
          #"{"id": "a", "command": "x", "outputs": ["f"]}, {"id": "b", "command": "x", "inputs": ["g"]}"#
      ).count == 1)
    #expect(
      problems(
        files: #""f": {"buffer": "x"}"#, tasks: #"{"id": "a", "command": "x", "outputs": ["f"]}"#
      ) == ["tasks[0].outputs[0]: the file \"f\" is a buffer; a task cannot make it"])
  }

  @Test func packedOutputsBecomeMembersOfOneMoreTask() throws {
    let workflow = try load(
      native(
        #"{"id": "a", "command": "x", "outputs": ["r.tar", {"file": "r.tar", "as": "log", "member": "l/a"}]},"#
          + #"{"id": "b", "command": "x", "outputs": [{"file": "r.tar", "as": "log"}]},"#
          + #"{"id": "c", "command": "x", "inputs": [{"file": "r.tar", "member": "b/log"}]}"#,
        #", "files": {"r.tar": {"path": "r.tar", "pack": true}}"#)
    ).workflow
    let pack = try #require(workflow.taskID(named: "pack r.tar"))
    let archive = try #require(workflow.fileID(named: "r.tar"))
    #expect(workflow.files[archive].producer == pack)
    let names = try #require(workflow.inputs(of: pack).first).file
    #expect(
      Array(workflow.text.slice(workflow.files[names].location)) == Array("a\0l/a\0b/log\0".utf8))
    #expect(workflow.inputs(of: pack).count == 4)
    let a = try #require(workflow.taskID(named: "a"))
    #expect(workflow.outputs(of: a).map { workflow.text.string($0.name) } == ["a", "log"])
    let c = try #require(workflow.taskID(named: "c"))
    let member = try #require(workflow.stagedInputs(of: c).first)
    #expect(workflow.text.string(member.name) == "b/log\0b/log")
    #expect(workflow.derivation(of: member.file)?.sources == [archive])
  }

  @Test func wrongMembersAreRefused() {
    let files = #""r.tar": {"path": "r.tar", "pack": true}, "p": {"path": "p"}"#
    func count(_ tasks: String) -> Int { problems(files: files, tasks: tasks).count }
    let one = #"{"id": "a", "command": "x", "outputs": [{"file": "r.tar", "member": "m"}]}"#
    #expect(count(one) == 0)
    #expect(count(one + "," + one.replacing(#""id": "a""#, with: #""id": "b""#)) == 1)
    #expect(
      count(#"{"id": "a", "command": "x", "outputs": [{"file": "r.tar", "member": "../m"}]}"#) == 1)
    #expect(count(#"{"id": "a", "command": "x", "inputs": [{"file": "p", "member": "m"}]}"#) == 1)
    #expect(count(#"{"id": "a", "command": "x", "sandbox": false, "outputs": ["r.tar"]}"#) == 1)
  }

  @Test func strictFilesAsksForDeclarations() {
    let found = VineFormatsTests.problems(
      native(
        #"{"id": "a", "command": "x", "inputs": ["reads.fp"]}"#,
        #", "files": {"reads.fq": {"path": "r"}}, "policy": {"strict_files": true}"#))
    #expect(found.count == 1)
    #expect(found.first?.hasSuffix(#"(did you mean "reads.fq"?)"#) == true)
  }

  @Test func aFileInsideAnotherFileOfTheTaskIsRefused() {
    let found = VineFormatsTests.problems(
      native(#"{"id": "a", "command": "x", "inputs": ["b"], "outputs": ["b/sub"]}"#))
    #expect(
      found == [
        #"tasks[0].outputs[0]: the sandbox name "b/sub" lies inside "b", a file of this task"#
      ])
  }

  @Test func hugeTextsAreRefused() {
    let long = String(repeating: "x", count: 131_072)
    #expect(
      VineFormatsTests.problems(native(#"{"id": "a", "argv": ["x", "\#(long)"]}"#)).count == 1)
    #expect(VineFormatsTests.problems(native(#"{"id": "a", "command": "\#(long)"}"#)).count == 1)
    let huge = String(repeating: "x", count: 1 << 24)
    #expect(problems(files: #""f": {"buffer": "\#(huge)"}"#).count == 1)
  }
}
