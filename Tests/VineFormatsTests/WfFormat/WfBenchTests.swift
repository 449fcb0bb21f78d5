import FoundationEssentials
import Testing
import VineCore

@testable import VineFormats

struct WfBenchTests {
  private var specification: String {
    #"""
    {"name": "bench", "schemaVersion": "1.6", "workflow": {"specification": {"tasks": [
      {"name": "make", "id": "make_1", "parents": [], "children": ["use_2"], "inputFiles": ["in"], "outputFiles": ["o'1"]},
      {"name": "use", "id": "use_2", "parents": ["make_1"], "children": [], "inputFiles": ["o'1"], "outputFiles": ["end"]}],
      "files": [{"id": "in", "sizeInBytes": 1}, {"id": "o'1", "sizeInBytes": 2}, {"id": "end", "sizeInBytes": 3}]},
     "execution": {"makespanInSeconds": 0, "executedAt": "", "tasks": [
      {"id": "make_1", "runtimeInSeconds": 0, "command": {"program": "wfbench", "arguments":
        ["--name make_1", "--percent-cpu 0.6", "--quiet", "--output-files {\"o'1\": 2}", "--input-files ['in']"]}},
      {"id": "use_2", "runtimeInSeconds": 0, "command": {"program": "wfbench", "arguments":
        ["--name use_2", "--output-files {'end': 3}", "--input-files ['o\\'1', '\\u00e9']"]}}]}}}
    """#
  }

  @Test func aSpecificationBecomesRealCommands() throws {
    var options = LoadOptions()
    options.mode = .run
    let workflow = try load(specification, options: options).workflow
    let task = TaskID(index: 0)
    #expect(
      workflow.text.list(workflow.tasks[task].command) == [
        "wfbench", "--name", "make_1", "--percent-cpu", "0.6", "--quiet", "--output-files",
        #"{"o'1": 2}"#, "--input-files", #"["in"]"#,
      ])
    #expect(
      workflow.text.list(workflow.tasks[TaskID(index: 1)].command).last == #"["o'1", "é"]"#)
    let end = try #require(workflow.fileID(named: "end"))
    #expect(workflow.text.string(workflow.files[end].location) == "/flow/end")
    let middle = try #require(workflow.fileID(named: "o'1"))
    #expect(workflow.files[middle].kind == .temp)
  }

  @Test func anArgumentTooLongForLinuxGoesIntoAFile() throws {
    let names = (0..<10_000).map { "'name_of_a_file_\($0)'" }.joined(separator: ", ")
    var task = RecordedWorkflow.Task(id: "t", category: "")
    task.program = "wfbench"
    task.arguments = ["--input-files [\(names)]"]
    let command = try #require(WfBenchCommand(task))
    #expect(command.argv == ["wfbench", "--input-files", "input-files.json"])
    #expect(command.files.count == 1)
    #expect(command.files[0].content.hasPrefix(#"["name_of_a_file_0", "#))
  }

  @Test func aRecordedInstanceIsNotRun() throws {
    var options = LoadOptions()
    options.mode = .run
    #expect {
      try loadWorkflow(path: "r.json", bytes: fixture("recorded.json"), options: options)
    } throws: { error in
      "\(error)".contains("--replay r.json")
    }
  }

  @Test func whatIsNoLiteralIsRefused() {
    #expect(pythonLiteralAsJSON("['a', 'b']") == #"["a", "b"]"#)
    #expect(pythonLiteralAsJSON(#"{'a"b': 1.5}"#) == #"{"a\"b": 1.5}"#)
    for text in ["['a", "[a]", "['\\q']", "['\\x4']", "", "['\\ud800']"] {
      #expect(pythonLiteralAsJSON(text) == nil, "\(text)")
    }
  }

  @Test(.enabled(if: sharedWorkflows != nil, needsSharedWorkflows))
  func generatedSpecificationsBecomeRealCommands() throws {
    for name in ["blast", "genome", "montage"] {
      var options = LoadOptions()
      options.mode = .run
      let path = "\(sharedWorkflows ?? "")/wfbench/\(name)-benchmark-100.json"
      let workflow = try loadWorkflow(path: path, options: options).workflow
      for task in workflow.tasks.ids {
        #expect(
          workflow.text.list(workflow.tasks[task].command).prefix(2) == ["wfbench", "--name"])
      }
    }
  }
}
