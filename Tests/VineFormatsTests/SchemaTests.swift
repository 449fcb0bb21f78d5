import FoundationEssentials
import Testing

@testable import VineFormats

struct SchemaTests {
  private var root: String {
    let parts = "\(#filePath)".split(separator: "/").prefix { $0 != "Tests" }
    return "/" + parts.joined(separator: "/")
  }

  @Test func theSchemaIsJSON() throws {
    let bytes = try Data(contentsOf: URL(filePath: root + "/docs/workflow.schema.json"))
    #expect(try checkSyntax(of: bytes).isEmpty)
  }

  /// Every workflow.json of the examples, and the fixture that has every key.
  private var examples: [String] {
    let manager = FileManager.default
    var found = [root + "/Tests/VineFormatsTests/Fixtures/every-key.json"]
    for folder in (try? manager.contentsOfDirectory(atPath: root + "/Examples")) ?? [] {
      let path = "\(root)/Examples/\(folder)/workflow.json"
      if manager.fileExists(atPath: path) { found.append(path) }
    }
    return found
  }

  @Test func theExamplesAreAccepted() throws {
    for path in examples {
      var options = LoadOptions()
      options.mode = .simulate
      #expect(throws: Never.self, "\(path)") { try loadWorkflow(path: path, options: options) }
    }
  }

  private static let hasValidator =
    run(["python3", "-c", "import jsonschema; jsonschema.Draft202012Validator"]) == 0

  @Test(.enabled(if: hasValidator, "needs python3 with jsonschema"))
  func theExamplesFollowTheSchema() {
    let program = """
      import json, sys, jsonschema
      schema = json.load(open(sys.argv[1]))
      jsonschema.Draft202012Validator.check_schema(schema)
      for path in sys.argv[2:]: jsonschema.validate(json.load(open(path)), schema)
      """
    let schema = root + "/docs/workflow.schema.json"
    #expect(run(["python3", "-c", program, schema] + examples) == 0)
  }
}
