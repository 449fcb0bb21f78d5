import Crypto
import FoundationEssentials
import Testing
import VineCore
import VineReplayContent

@testable import VineFormats

struct ReplayWorkflowTests {
  /// Runs the manifests of a replay in one process, each task in a directory of its own, and
  /// returns the digest of every file by its id.
  private func play(
    _ recorded: RecordedWorkflow, _ change: (inout ReplayOptions) -> Void
  ) throws -> [String: String] {
    let manager = FileManager.default
    let root = manager.temporaryDirectory.path(percentEncoded: false) + "replay-\(UUID())"
    for name in ["source", "final", "node"] {
      try manager.createDirectory(atPath: "\(root)/\(name)", withIntermediateDirectories: true)
    }
    defer { try? manager.removeItem(atPath: root) }
    var options = ReplayOptions(sourceDirectory: root + "/source", finalDirectory: root + "/final")
    options.timeScale = 0
    change(&options)
    try recorded.writeSources(options)
    let workflow = try recorded.replayWorkflow(path: "w.json", options)
    guard case .order(let order) = workflow.topologicalOrder() else { return [:] }
    func place(_ file: FileID) -> String {
      let row = workflow.files[file]
      return row.kind == .path
        ? workflow.text.string(row.location) : "\(root)/node/\(file.index)"
    }
    for task in order {
      let inputs = workflow.inputs(of: task)
      let buffer = try #require(inputs.last)
      var manifest = try #require(
        ReplayManifest(decoding: Array(workflow.text.slice(workflow.files[buffer.file].location))))
      // There is no sandbox here, so names become paths.
      for binding in inputs.dropLast() + workflow.outputs(of: task) {
        let name = workflow.text.string(binding.name)
        for index in manifest.inputs.indices where manifest.inputs[index].sandboxName == name {
          manifest.inputs[index].sandboxName = place(binding.file)
        }
        for index in manifest.outputs.indices where manifest.outputs[index].sandboxName == name {
          manifest.outputs[index].sandboxName = place(binding.file)
        }
      }
      try manifest.run()
    }
    var digests: [String: String] = [:]
    for file in workflow.files.ids {
      let row = workflow.files[file]
      if row.isInternal { continue }
      let bytes = try Data(contentsOf: URL(filePath: place(file)))
      #expect(Int64(bytes.count) == row.byteCountHint)
      digests[workflow.name(of: file)] = hexadecimal(SHA256.hash(data: bytes))
    }
    return digests
  }

  @Test func contentsAreChainedAsDocumented() throws {
    let recorded = try #require(
      try loadWorkflow(
        path: "recorded.json", bytes: fixture("recorded.json"), options: LoadOptions()
      ).recorded)
    let digests = try play(recorded) { options in
      options.bytesScale = 0.5
      options.byteCountMax = 100
    }
    #expect(digests == knownDigests)
  }

  @Test(.enabled(if: sharedWorkflows != nil, needsSharedWorkflows))
  func recordedInstancesHaveTheDigestsOfTheOracle() throws {
    let shared = try #require(sharedWorkflows)
    let table =
      FileManager.default.temporaryDirectory.path(percentEncoded: false)
      + "digests-\(UUID()).tsv"
    defer { try? FileManager.default.removeItem(atPath: table) }
    for name in [
      "dev/rnaseq-dirt02-001.json",
      "dev/old-versions/epigenomics-chameleon-hep-1seq-100k-001-v1.0.json",
      "bad/24-absolute-path.json", "bad/28-in-and-out-same-task.json",
    ] {
      let path = "\(shared)/\(name)"
      let oracle = shared.dropLast("workflows".count) + "tools/wf_oracle.py"
      let command =
        "python3 '\(oracle)' '\(path)' --digests '\(table)' --bytes-scale 0.0001 >/dev/null"
      #expect(run(["sh", "-c", command]) == 0)
      var expected: [String: String] = [:]
      let text = String(decoding: try Data(contentsOf: URL(filePath: table)), as: UTF8.self)
      for line in text.split(separator: "\n") {
        let columns = line.split(separator: "\t")
        expected[String(columns[0])] = String(columns[2])
      }
      let recorded = try #require(try loadWorkflow(path: path, options: LoadOptions()).recorded)
      #expect(try play(recorded) { $0.bytesScale = 0.0001 } == expected, "\(name)")
    }
  }

  @Test func aFileWrittenByTwoTasksIsRefused() throws {
    var recorded = RecordedWorkflow()
    recorded.files = [RecordedWorkflow.File(id: "b", producers: [0, 1], consumers: [1])]
    recorded.tasks = [
      RecordedWorkflow.Task(id: "t1", category: "", outputs: [0]),
      RecordedWorkflow.Task(id: "t2", category: "", inputs: [0], outputs: [0]),
    ]
    let options = ReplayOptions(sourceDirectory: "/s", finalDirectory: "/f")
    #expect(throws: WorkflowError.self) { try recorded.replayWorkflow(path: "w", options) }
  }

  @Test func manifestsSurviveAnyName() throws {
    var manifest = ReplayManifest(taskID: "a b\n\u{1F600}:3", microseconds: 12, spins: true)
    manifest.inputs = [.init(id: "in\nput 5 1:x", sandboxName: "f 0", byteCount: 7)]
    manifest.outputs = [.init(id: "/c3/9397/versions.yml", sandboxName: "f1", byteCount: 0)]
    let bytes = manifest.encoded()
    #expect(ReplayManifest(decoding: bytes) == manifest)
    for count in 0..<bytes.count {
      let prefix = ReplayManifest(decoding: Array(bytes[..<count]))
      #expect(prefix != manifest)
    }
  }

  @Test func idsNeverBecomePaths() throws {
    let recorded = try #require(
      try loadWorkflow(
        path: "recorded.json", bytes: fixture("recorded.json"), options: LoadOptions()
      ).recorded)
    let options = ReplayOptions(sourceDirectory: "/s", finalDirectory: "/f")
    let workflow = try recorded.replayWorkflow(path: "w", options)
    for file in workflow.files.ids where workflow.files[file].kind == .path {
      let path = workflow.text.string(workflow.files[file].location)
      #expect(path.hasPrefix("/s/") || path.hasPrefix("/f/"))
      #expect(path.utf8.count { $0 == UInt8(ascii: "/") } == 2)
    }
  }

  /// Computed apart from this code, with half the size of each file and at most 100 bytes.
  private let knownDigests = [
    "/data/in put.txt":
      "09434e7ad6bb0fa47a4a4e9e28b21217e9eb90e7a7eea156c572d38c37c604f3",
    "https://example.org/table":
      "af0efa34c385657b14681d0d01eb6e064d7f875477859b2c9bb0e6a4a8b30c2e",
    "unused":
      "611e4e57a3e92f2cb8e658d51e31032e8dd77ac5f035f6a3691b6be8493e25e7",
    "part/a":
      "0590b881fb7541ef2af4be3fdcad71ee302b424bd3a942669859beeae9a8f291",
    "part/b":
      "cb13bae81690b365b3073ef15039ce29e0ffe5b64d5a5bb3946e0de7e0d16931",
    "done.a":
      "fde502858306c235a3121e42326b53228b7ef4690eeed92a2b2eafe73c03a3ef",
    "done.b":
      "5347346d0ef55928e588852dd45191361028494487aa8f8d6a56a33baa353d21",
    "empty":
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "log":
      "7d599d2d5931bcf4c1f564b5beedb7490e411d08f2ef4bbcb1c88be86dbb97cd",
    "résumé":
      "18ec5bbb87083ac357738e4c405f5b031942156b09f7a52ef794928962174ef0",
    "log/extra":
      "12dbf040e84a30829efb14201183288af786e249fc3731beb9be54718128b6e2",
  ]
}
