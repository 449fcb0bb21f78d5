import FoundationEssentials
import Testing
import VineCore

@testable import VineFormats

struct NativeTasksTests {
  @Test func aSmallWorkflowFillsTheTables() throws {
    var options = LoadOptions()
    options.mode = .simulate
    let loaded = try load(
      native(
        """
        {"id": "a", "command": "sort in > out", "inputs": [{"file": "data/x", "as": "in"}],
         "outputs": [{"file": "t", "as": "out"}], "cores": 4, "memory": 100, "timeout": 0.25,
         "priority": -3, "retries": 2, "env": {"B": "2", "A": "1"}},
        {"id": "b", "argv": ["cat", "t"], "inputs": ["t"], "outputs": ["r"], "sandbox": true}
        """, #", "files": {"t": {"temp": true, "cache": "task", "size": 9}, "r": {"path": "/o/r"}}"#
      ), options: options)
    let workflow = loaded.workflow
    #expect(loaded.format == .native)
    #expect(loaded.warnings.isEmpty && loaded.unsupported.isEmpty)
    #expect(workflow.tasks.count == 2)
    let a = try #require(workflow.taskID(named: "a"))
    #expect(workflow.request(of: a) == Request(cores: 4, memoryMB: 100))
    let row = workflow.tasks[a]
    #expect(row.timeoutMilliseconds == 250)
    #expect(row.priority == -3)
    #expect(row.retries == 2)
    #expect(workflow.text.list(row.environment) == ["A=1", "B=2"])
    let input = try #require(workflow.inputs(of: a).first)
    #expect(workflow.text.string(input.name) == "in")
    #expect(workflow.text.string(workflow.files[input.file].location) == "/flow/data/x")
    let b = try #require(workflow.taskID(named: "b"))
    #expect(workflow.text.list(workflow.tasks[b].command) == ["cat", "t"])
    let t = try #require(workflow.fileID(named: "t"))
    #expect(workflow.files[t].lifetime == .task)
    #expect(workflow.files[t].byteCountHint == 9)
    #expect(workflow.files[try #require(workflow.fileID(named: "r"))].isPublished)
  }

  @Test func theExampleWithEveryKeyIsAcceptedAndNamesWhatIsNotRunYet() throws {
    let loaded = try loadWorkflow(
      path: "every-key.json", bytes: fixture("every-key.json"), options: LoadOptions())
    #expect(loaded.warnings.map(\.place) == [#"files["libfluid.so"]"#, #"files["score.py"]"#])
    let places = Set(loaded.unsupported.map(\.place))
    #expect(!places.contains("tasks[5].gang"))
    #expect(!places.contains(#"files["db.tar.gz"].url"#))
    #expect(places.contains("policy.result_cache"))
    #expect(!places.contains("policy.temp_replicas"))
    #expect(loaded.workflow.policy.tempReplicas == 2)
    #expect(places.contains("categories.cfd.gpus"))
  }

  @Test func everySemanticProblemIsReportedWithItsPlace() {
    let found = problems(
      native(
        """
        {"id": "a", "command": "x", "argv": ["y"], "inptus": [], "cores": 0},
        {"id": "b", "command": "x", "outputs": ["../up", {"file": "o", "as": "/abs"}, "o2", "o2"]},
        {"id": "b", "command": "x"},
        {"id": "c", "command": "x", "after": ["a", "splti"], "inputs": ["n"], "outputs": ["n"]},
        {"id": "split", "command": "x", "retries": 1e300, "timeout": -1, "priority": 0.5}
        """))
    #expect(found.contains(#"tasks[0]: the task has only one of command and argv"#))
    #expect(
      found.contains(#"tasks[0].inptus: a task has no key "inptus" (did you mean "inputs"?)"#))
    #expect(found.contains { $0.hasPrefix("tasks[0].cores: 0 is not a whole number") })
    #expect(found.contains { $0.hasPrefix("tasks[1].outputs[0]: the sandbox name") })
    #expect(found.contains { $0.hasPrefix("tasks[1].outputs[1]: the sandbox name") })
    #expect(found.contains { $0.hasPrefix("tasks[1].outputs[3]: the file \"o2\" is listed twice") })
    #expect(found.contains { $0.hasPrefix("tasks[2].id: the id \"b\" is taken") })
    #expect(found.contains(#"tasks[3].after[1]: there is no task "splti" (did you mean "split"?)"#))
    #expect(found.contains { $0.hasPrefix("tasks[3].outputs[0]: the file \"n\" is also an input") })
    #expect(found.count == 12)
    #expect(found.contains { $0.hasPrefix("tasks[4].retries") })
    #expect(found.contains { $0.hasPrefix("tasks[4].timeout") })
    #expect(found.contains { $0.hasPrefix("tasks[4].priority") })
  }

  @Test func aTaskWithoutSandboxHasFilesWithPathsOnly() {
    let tasks =
      #"{"id": "t", "command": "x", "sandbox": false, "inputs": ["in"], "outputs": ["t1"]}"#
    #expect(
      problems(native(tasks, #", "files": {"t1": {"temp": true}}"#)) == [
        "tasks[0].outputs[0]: a task without sandbox finds files by their `path` only, and "
          + "\"t1\" has none"
      ])
  }
}
