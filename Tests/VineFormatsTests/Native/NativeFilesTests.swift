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
    #expect(problems(files: #""f": {"untar": "f"}"#).first?.contains("wait for each other") == true)
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
