import FoundationEssentials
import Testing
import VineCore

@testable import VineFormats

struct TaskListReaderTests {
  @Test func everyLineIsATaskOfBashInTheSubmitDirectory() throws {
    var options = LoadOptions()
    options.submitDirectory = "/home/me"
    options.taskListRequest = Request(cores: 2, memoryMB: 50)
    options.taskListRetries = 3
    options.taskListTimeoutMilliseconds = 1500
    let loaded = try load(
      "# two tasks\n\necho one\r\n   \n  echo \"two $LAUNCHER_JID\"", path: "jobs/list",
      options: options)
    let workflow = loaded.workflow
    #expect(loaded.format == .tasklist)
    #expect(workflow.name == "list")
    #expect(workflow.tasks.ids.map { workflow.name(of: $0) } == ["line-3", "line-5"])
    let second = workflow.tasks[TaskID(index: 1)]
    #expect(workflow.text.string(second.command) == "  echo \"two $LAUNCHER_JID\"")
    #expect(workflow.text.string(workflow.tasks[TaskID(index: 0)].command) == "echo one")
    #expect(second.commandKind == .bash)
    #expect(!second.usesSandbox)
    #expect(second.retries == 3 && second.timeoutMilliseconds == 1500)
    #expect(workflow.request(of: TaskID(index: 1)) == Request(cores: 2, memoryMB: 50))
    #expect(
      workflow.text.list(second.environment) == [
        "LAUNCHER_JID=2", "LAUNCHER_NJOBS=2", "LAUNCHER_WORKDIR=/home/me", "PARALLEL_SEQ=2",
      ])
  }

  @Test func whatIsNoListOfCommandsIsRefusedWithItsLine() {
    #expect(problems("", path: "list") == ["there are no tasks: every line is empty or a comment"])
    #expect(problems("# only\n\n", path: "list").count == 1)
    #expect(
      problems("ok\na\u{0}b\n", path: "list") == [
        "line 2: the line holds a NUL character; this is not a list of commands"
      ])
    let long = String(repeating: "x", count: 131_072)
    #expect(problems("ok\n\(long)", path: "list").first?.hasPrefix("line 2: the line has") == true)
    #expect(throws: WorkflowError.self) {
      try loadWorkflow(
        path: "list", bytes: Data([0x61, 0xFF, 0x0A]), options: LoadOptions())
    }
  }

  @Test func brokenJSONIsNotTakenForATaskList() {
    #expect(problems(#"{"schema": "vine-workflow/1", "tasks": [}"#, path: "list").count == 1)
    #expect(guessFormat(path: "list", bytes: Data("\n [1".utf8)) == .native)
    #expect(guessFormat(path: "x.json", bytes: Data("echo hi".utf8)) == .native)
    #expect(guessFormat(path: "x", bytes: Data(#"{"workflow": {"schema": 1}}"#.utf8)) == .wfformat)
    #expect(guessFormat(path: "x.jsonl", bytes: Data()) == .jsonl)
  }
}
