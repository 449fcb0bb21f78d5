import Testing
import VineCore

@testable import VineFormats

/// A workflow with a library `m` of the functions `f` and `g`.
private func calls(_ tasks: String, _ others: String = "") -> String {
  native(
    tasks,
    #", "libraries": {"m": {"language": "python", "module": "m.py", "functions": ["f", "g"]}}"#
      + others)
}

/// Compiled arguments with their marks made visible.
private func arguments(_ workflow: Workflow, _ name: String) throws -> String {
  let task = try #require(workflow.taskID(named: name))
  let names: [UInt8: String] = [1: "<ref ", 2: "|", 3: ">", 4: "<list ", 5: "<path "]
  return workflow.text.slice(workflow.tasks[task].command).map {
    names[$0] ?? String(decoding: [$0], as: UTF8.self)
  }.joined()
}

@Suite struct NativeCallsTests {
  @Test func argumentsGoIntoTheTablesAsTheyAreWritten() throws {
    let workflow = try load(
      calls(
        #"""
        {"id": "a", "call": {"library": "m", "function": "g",
          "args": [1.0, 1e-7, {"k" : [ 1 , "a \u0041\n" ]}, {"$json": {"$ref": "x"}}],
          "kwargs": {"z": true, "y": null}}}
        """#)
    ).workflow
    #expect(
      try arguments(workflow, "a")
        == #"{"args":[1.0,1e-7,{"k":[1,"a \u0041\n"]},{"$ref":"x"}],"kwargs":{"z":true,"y":null}}"#)
    let task = try #require(workflow.taskID(named: "a"))
    #expect(workflow.tasks[task].commandKind == .call)
    #expect(workflow.tasks[task].function == 1)
    #expect(workflow.name(of: workflow.library(of: task)) == "m")
  }

  @Test func referencesAreEdgesWhereverTheTaskStands() throws {
    let workflow = try load(
      calls(
        #"""
        {"id": "b", "call": {"library": "m", "function": "f", "args": [{"$ref": "a"},
          [{"$ref": "c", "path": "/x/0"}, {"$ref": "a"}]], "kwargs": {"p": {"$file": "data"}}}},
        {"id": "a", "call": {"library": "m", "function": "f"}},
        {"id": "c", "call": {"library": "m", "function": "f", "args": [{"$ref": "a"}]}}
        """#)
    ).workflow
    #expect(
      try arguments(workflow, "b")
        == #"{"args":[<ref 0|>,[<ref 1|/x/0>,<ref 0|>]],"kwargs":{"p":<path 2>}}"#)
    let b = try #require(workflow.taskID(named: "b"))
    let a = try #require(workflow.taskID(named: "a"))
    #expect(workflow.inputs(of: b).map(\.use) == [.reference, .reference, .sandbox, .library])
    #expect(workflow.inputs(of: b).first?.file == workflow.resultFile(of: a))
    #expect(workflow.edgeCount(into: b) == 2)
    var successors: [String] = []
    workflow.forEachSuccessor(of: a) { successors.append(workflow.name(of: $0)) }
    #expect(successors.sorted() == ["b", "c"])
  }

  @Test func aResultFileIsTheFirstOutputBehindTheResult() throws {
    let workflow = try load(
      calls(
        #"""
        {"id": "a", "call": {"library": "m", "function": "f"}, "outputs": ["o"], "result": "r"}
        """#)
    ).workflow
    let task = try #require(workflow.taskID(named: "a"))
    #expect(workflow.tasks[task].hasResultFile)
    let files = workflow.outputs(of: task).map(\.file)
    #expect(files.first == workflow.resultFile(of: task))
    #expect(files.dropFirst().map { workflow.name(of: $0) } == ["r", "o"])
  }

  @Test func equalLibrariesAreOneAndTheirFilesAreInputsOfEachCall() throws {
    let library = #"{"language": "python", "module": "m.py", "functions": ["f"], "slots": 2,"#
    let workflow = try load(
      native(
        #"""
        {"id": "a", "call": {"library": "x", "function": "f"}},
        {"id": "b", "call": {"library": "y", "function": "f"}},
        {"id": "c", "call": {"library": "z", "function": "f"}}
        """#,
        #", "libraries": {"x": \#(library) "context": {"function": "s", "args": [ 1 ]}},"#
          + #""y": \#(library) "context": {"args": [1], "function": "s"}},"#
          + #""z": \#(library) "context": {"args": [2], "function": "s"}, "inputs": ["d/in"]}}"#)
    ).workflow
    #expect(workflow.libraries.count == 2)
    let a = try #require(workflow.taskID(named: "a"))
    let b = try #require(workflow.taskID(named: "b"))
    let c = try #require(workflow.taskID(named: "c"))
    #expect(workflow.library(of: a) == workflow.library(of: b))
    #expect(workflow.library(of: a) != workflow.library(of: c))
    let spec = workflow.libraries[workflow.library(of: c)]
    #expect(spec.contextArguments == Array("[2]".utf8))
    #expect(spec.files.map(\.name) == ["m.py", "in"])
    #expect(workflow.inputs(of: c).map(\.file) == spec.files.map(\.file))
  }

  @Test func onlyForkHasSlots() throws {
    for (mode, language) in [
      ("direct", #""python", "module": "m.py""#),
      ("process", #""native", "shared_object": "m.so""#),
      ("rank", #""native", "shared_object": "m.so""#),
    ] {
      #expect(throws: WorkflowError.self) {
        try load(
          native(
            #"{"id": "a", "call": {"library": "x", "function": "f"}}"#,
            #", "libraries": {"x": {"language": \#(language), "functions": ["f"], "slots": 2,"#
              + #""exec_mode": "\#(mode)"}}"#))
      }
    }
  }

  @Test func aMapIsChunksAndATaskThatGathersThem() throws {
    let workflow = try load(
      calls(
        #"""
        {"id": "m", "map": {"library": "m", "function": "f", "over": {"range": [10, 0, -3]},
          "args": [{"$item": true}, {"$ref": "z"}], "chunk": 3}, "result": "r", "after": ["z"]},
        {"id": "z", "call": {"library": "m", "function": "f", "args": [{"$ref": "q", "path": ""}]}},
        {"id": "q", "map": {"library": "m", "function": "f", "over": [1, "two", {"$ref": 3}],
          "chunk": 2}}
        """#)
    ).workflow
    #expect(
      workflow.tasks.ids.map { workflow.name(of: $0) } == [
        "m[0]", "m[1]", "m", "z", "q[0]", "q[1]", "q",
      ])
    #expect(try arguments(workflow, "m[0]") == #"{"range":[10,-3,3]}"#)
    #expect(try arguments(workflow, "m[1]") == #"{"range":[1,-3,1]}"#)
    #expect(try arguments(workflow, "m") == "<list 0|2>")
    #expect(try arguments(workflow, "q[0]") == #"[1,"two"]"#)
    let chunk = try #require(workflow.taskID(named: "m[0]"))
    #expect(
      workflow.text.string(workflow.tasks[chunk].template)
        == "{\"args\":[{\"$item\":true},\u{1}0\u{2}\u{3}],\"kwargs\":{}}")
    // The result of z, and its end.
    #expect(workflow.edgeCount(into: chunk) == 2)
    #expect(workflow.edgeCount(into: try #require(workflow.taskID(named: "m"))) == 2)
  }

  @Test func aReductionIsATreeOfBoundedWidth() throws {
    let workflow = try load(
      calls(
        #"""
        {"id": "m", "map": {"library": "m", "function": "f", "over": {"range": [0, 100]},
          "chunk": 1, "reduce": "g"}}
        """#)
    ).workflow
    #expect(workflow.tasks.count == 100 + 4 + 1)
    let last = try #require(workflow.taskID(named: "m"))
    #expect(workflow.tasks[last].function == 1)
    #expect(workflow.inputs(of: last).count { $0.use == .reference } == 4)
    #expect(
      try arguments(workflow, "m")
        == #"{"args":[[<ref 0|>,<ref 1|>,<ref 2|>,<ref 3|>]],"kwargs":{}}"#)
    #expect(try arguments(workflow, "m[reduce 0]") == #"{"args":[<list 0|32>],"kwargs":{}}"#)
  }

  @Test func manyItemsBecomeABoundedNumberOfTasks() throws {
    let workflow = try load(
      calls(
        #"{"id": "m", "map": {"library": "m", "function": "f", "over": {"range": [0, 300000]}}}"#)
    ).workflow
    #expect(workflow.tasks.count <= 2_049)
    #expect(workflow.text.bytes.count < 300_000)
  }

  @Test func linesOfABufferAreItems() throws {
    let workflow = try load(
      calls(
        #"{"id": "m", "map": {"library": "m", "function": "f", "over": {"lines": "l"}, "chunk": 9}}"#,
        #", "files": {"l": {"buffer": "one\n\"two\"\r\n\nfour\n"}}"#)
    ).workflow
    #expect(try arguments(workflow, "m[0]") == #"["one","\"two\"","","four"]"#)
  }

  @Test func whatIsWrongWithACallIsSaid() {
    let found = problems(
      calls(
        #"""
        {"id": "a", "call": {"library": "n", "function": "f"}},
        {"id": "b", "call": {"library": "m", "function": "h"}},
        {"id": "c", "call": {"library": "m", "function": "f", "args": [{"$rfe": "a"}]}},
        {"id": "d", "call": {"library": "m", "function": "f", "args": [{"$ref": "no"}]}},
        {"id": "e", "call": {"library": "m", "function": "f", "args": [{"$ref": "k"}]}, "cores": 2},
        {"id": "k", "command": "true"},
        {"id": "l", "call": {"library": "m", "function": "f", "args": [{"$ref": "c", "path": "x"}]}},
        {"id": "o", "map": {"library": "m", "function": "f", "over": {"lines": "t"}}},
        {"id": "p", "map": {"library": "m", "function": "f", "over": [1], "args": [2]}}
        """#, #", "files": {"t": {"temp": true}}"#))
    #expect(found.contains(#"tasks[0].call.library: there is no library "n""#))
    #expect(found.contains { $0.hasPrefix("tasks[1].call.function: the library \"m\" has no") })
    #expect(found.contains { $0.hasPrefix("tasks[2].call.args[0]: \"$rfe\" is not known") })
    #expect(found.contains { $0.hasPrefix("tasks[3].call.args[0]: there is no task \"no\"") })
    #expect(found.contains { $0.hasPrefix("tasks[4].call.args[0]: the task \"k\" is a command") })
    #expect(found.contains { $0.hasPrefix("tasks[4].cores: a call runs in") })
    #expect(found.contains { $0.hasPrefix("tasks[6].call.args[0]: `path` is a JSON pointer") })
    #expect(found.contains { $0.hasPrefix("tasks[7].map.over.lines: the lines of a file") })
    #expect(found.contains { $0.hasPrefix("tasks[8].map: neither `args` nor `kwargs`") })
  }

  @Test func callsOfLinesAreReadLikeThoseOfADocument() throws {
    let workflow = try load(
      #"""
      {"schema": "vine-workflow/1", "libraries": {"m": {"language": "native",
      """#.replacing("\n", with: " ")
        + #" "shared_object": "m.so", "functions": ["f"], "inputs": ["table"]}}}"# + "\n"
        + #"{"task": {"id": "a", "call": {"library": "m", "function": "f", "args": [ 1.50 ]}}}"#
        + "\n" + #"{"file": {"id": "table", "buffer": "x"}}"#, path: "/flow/w.jsonl"
    ).workflow
    #expect(try arguments(workflow, "a") == #"{"args":[1.50],"kwargs":{}}"#)
    #expect(workflow.files[try #require(workflow.fileID(named: "table"))].kind == .buffer)
  }
}
