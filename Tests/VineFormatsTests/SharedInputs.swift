// Recorded instances and malformed inputs that are kept outside of the repository, in the
// directory that VINE_SHARED names or in ../shared beside it.

import FoundationEssentials
import Testing

/// The directory `workflows` of the shared inputs; nil where they are absent.
let sharedWorkflows: String? = {
  let source = "\(#filePath)".split(separator: "/").prefix { $0 != "Tests" }
  let parent = "/" + source.dropLast().joined(separator: "/")
  let named = ProcessInfo.processInfo.environment["VINE_SHARED"]
  for root in [named, parent + "/shared"].compactMap({ $0 }) {
    if FileManager.default.fileExists(atPath: root + "/workflows/bad/expected.json") {
      return root + "/workflows"
    }
  }
  return nil
}()

let needsSharedWorkflows = Comment(
  rawValue: "needs the shared workflows (VINE_SHARED, or ../shared beside the repository)")

func sharedFile(_ name: String) throws -> Data {
  try Data(contentsOf: URL(filePath: "\(sharedWorkflows ?? "")/\(name)"))
}
