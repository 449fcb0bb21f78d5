import FoundationEssentials
import Testing
import VineCore

@testable import VineFormats

struct NativeReaderTests {
  @Test func linesMayComeInAnyOrder() throws {
    let loaded = try load(
      """
      {"schema": "vine-workflow/1", "name": "lines", "files": {"c": {"buffer": "x"}}}

      {"task": {"id": "b", "command": "cat t", "inputs": ["t", "c"], "after": ["a"]}}
      {"file": {"id": "t", "temp": true}}
      {"task": {"id": "a", "command": "echo > t", "outputs": ["t"]}}
      """, path: "w.jsonl")
    #expect(loaded.format == .jsonl)
    #expect(loaded.workflow.name == "lines")
    #expect(loaded.workflow.tasks.count == 2)
    #expect(loaded.workflow.files.count == 2)
    #expect(loaded.workflow.controlEdges.count == 1)
  }

  @Test func problemsOfLinesNameTheirLine() {
    let header = #"{"schema": "vine-workflow/1"}"#
    #expect(
      problems("\(header)\n{\"task\": {\"id\": 5}}", path: "w.jsonl")
        == ["line 2: task.id: expected a text, found a number"])
    #expect(
      problems(
        "\(header)\n\n{\"task\": {\"id\": \"a\", \"command\": \"x\", \"after\": [\"b\"]}}",
        path: "w.jsonl") == ["line 3: task.after[0]: there is no task \"b\""])
    #expect(
      problems("\(header)\n{\"tsak\": {}}", path: "w.jsonl").first
        == #"line 2: tsak: a line has no key "tsak" (did you mean "task"?)"#)
    #expect(problems("\(header)\n{\"task\": {", path: "w.jsonl").first?.hasPrefix("line 2") == true)
  }

  @Test func aTypeErrorHasItsPlace() {
    #expect(
      problems(native(#"{"id": "a", "command": "x", "inputs": [{"file": "f", "as": 3}]}"#))
        == ["tasks[0].inputs[0].as: expected a text, found a number"])
    #expect(
      problems(native(#"{"id": "a", "command": "x", "cores": "4"}"#))
        == ["tasks[0].cores: expected a number, found a text"])
    #expect(
      problems(#"{"schema": "vine-workflow/1", "tasks": {}}"#).first?.hasPrefix("tasks: ") == true)
  }

  @Test func aSyntaxErrorHasItsPlace() {
    #expect(
      problems(native(#"{"id": "a", "command": "x", "cores": 1e999}"#))
        == ["tasks[0].cores: the number 1e999 is out of range (line 1, column 78)"])
    #expect(
      problems("{\"schema\": \"vine-workflow/1\",\n \"tasks\": [{\"id\": \"a\",}]}")
        == ["tasks[0].id: expected a key in double quotes, found \"}\" (line 2, column 23)"])
    #expect(
      problems(native(#"{"id": "a", "command": "x", "outputs": [], "outputs": []}"#))
        == ["tasks[0].outputs: this key stands twice in the same object"])
  }

  @Test func cyclesNameTheirTasks() {
    let found = problems(
      native(
        """
        {"id": "a", "command": "x", "inputs": ["f"], "outputs": ["g"]},
        {"id": "b", "command": "x", "inputs": ["g"], "outputs": ["h"]},
        {"id": "c", "command": "x", "after": ["b"], "outputs": ["f"]}
        """))
    #expect(found.count == 1)
    #expect(found[0].hasPrefix("tasks: these tasks wait for each other: "))
    #expect(["\"a\"", "\"b\"", "\"c\""].allSatisfy { found[0].contains($0) })
    #expect(problems(native(#"{"id": "a", "command": "x", "after": ["a"]}"#)).count == 1)
  }

  @Test func headerProblemsAreFound() {
    #expect(problems("{}").first?.hasPrefix("this is not a workflow description") == true)
    #expect(
      problems(#"{"files": {}}"#) == [
        "the key `schema` is missing; it should be \"vine-workflow/1\"",
        "the key `tasks` is missing",
      ])
    #expect(problems(#"{"schema": "vine-workflow/2", "tasks": []}"#).count == 1)
    #expect(
      problems(native(#"{"id": "a", "command": "x"}"#, #", "policy": {"order": "hef"}"#))
        == [#"policy.order: "hef" is none of fifo, file, heft, lpt, depth (did you mean "heft"?)"#])
    #expect(
      problems(native(#"{"id": "a", "command": "x"}"#, #", "defaults": {"env": {"A=B": ""}}"#))
        .count == 1)
  }

  @Test func tasksTakeWhatTheyDoNotSayFromCategoryAndDefaults() throws {
    let loaded = try load(
      native(
        """
        {"id": "a", "command": "x", "category": "big", "env": {"C": "task"}},
        {"id": "b", "command": "x", "cores": 1, "timeout": 0}
        """,
        """
        , "defaults": {"cores": 2, "memory": 10, "timeout": 5, "env": {"A": "d", "B": "d"}},
        "categories": {"big": {"cores": 8, "env": {"B": "c", "C": "c"}}}
        """))
    let workflow = loaded.workflow
    let a = TaskID(index: 0)
    #expect(workflow.request(of: a) == Request(cores: 8, memoryMB: 10))
    #expect(workflow.text.list(workflow.tasks[a].environment) == ["A=d", "B=c", "C=task"])
    #expect(workflow.categories[Int(workflow.tasks[a].category)] == "big")
    let b = TaskID(index: 1)
    #expect(workflow.request(of: b) == Request(cores: 1, memoryMB: 10))
    #expect(workflow.tasks[b].timeoutMilliseconds == 0)
    #expect(workflow.tasks[a].timeoutMilliseconds == 5000)
  }

  @Test func noPrefixAndNoFlippedByteOfADescriptionCrashes() throws {
    for name in ["every-key.json", "recorded.json"] {
      let bytes = try fixture(name)
      for count in stride(from: 0, to: bytes.count, by: 37) {
        #expect(throws: WorkflowError.self) {
          try loadWorkflow(path: "w.json", bytes: bytes.prefix(count), options: LoadOptions())
        }
      }
      var state: UInt64 = 1
      for _ in 0..<200 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var broken = bytes
        broken[Int(state >> 33) % broken.count] ^= 1 << UInt8(state >> 60 & 7)
        for format in [nil, WorkflowFormat.jsonl, .tasklist] {
          var options = LoadOptions()
          options.format = format
          _ = try? loadWorkflow(path: "w.json", bytes: broken, options: options)
        }
      }
    }
  }

  @Test func aMissingUndeclaredFileIsAWarningWithTheNearestName() throws {
    let loaded = try load(
      native(
        #"{"id": "a", "command": "x", "inputs": ["paramters.txt"]}"#,
        #", "files": {"parameters.txt": {"buffer": "1"}}"#))
    #expect(loaded.warnings.count == 1)
    #expect(loaded.warnings[0].place == #"files["paramters.txt"]"#)
    #expect(loaded.warnings[0].suggestion == "parameters.txt")
  }

  @Test func aFileThatIsNotThereOrADirectoryIsUnreadable() {
    for path in ["/nowhere/w.json", "/"] {
      do throws(WorkflowError) {
        _ = try loadWorkflow(path: path, options: LoadOptions())
        Issue.record("accepted \(path)")
      } catch {
        #expect(error.unreadable)
        #expect(error.description.hasPrefix("\(path): "))
      }
    }
  }
}
