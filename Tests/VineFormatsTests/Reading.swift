// Helpers of all reader tests.

import FoundationEssentials
import VineCore

@testable import VineFormats

/// Loads a text as the file /flow/w.json (or another name), or gives its problems as texts.
func load(
  _ text: String, path: String = "/flow/w.json", options: LoadOptions = LoadOptions()
) throws(WorkflowError) -> LoadedWorkflow {
  try loadWorkflow(path: path, bytes: Data(text.utf8), options: options)
}

/// The problems of a text that should be refused; empty when it was accepted.
func problems(
  _ text: String, path: String = "/flow/w.json", options: LoadOptions = LoadOptions()
) -> [String] {
  do throws(WorkflowError) {
    _ = try load(text, path: path, options: options)
    return []
  } catch {
    return error.problems.map(\.description)
  }
}

/// A native workflow around `tasks` and, after a comma, other members.
func native(_ tasks: String, _ others: String = "") -> String {
  #"{"schema": "vine-workflow/1", "tasks": [\#(tasks)]\#(others)}"#
}

/// Bytes of a file in Fixtures.
func fixture(_ name: String, file: StaticString = #filePath) throws -> Data {
  let path = "\(file)".split(separator: "/").prefix { $0 != "VineFormatsTests" }
  let root = "/" + path.joined(separator: "/") + "/VineFormatsTests/Fixtures/"
  return try Data(contentsOf: URL(filePath: root + name))
}
