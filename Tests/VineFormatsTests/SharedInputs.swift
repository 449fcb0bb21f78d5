// Recorded instances and malformed inputs that are kept outside of the repository, in the
// directory that VINE_SHARED names or in ../shared beside it.

import FoundationEssentials
import Glibc
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

/// The exit status of a program in PATH; -1 when it could not be started.
func run(_ arguments: [String]) -> Int32 {
  var list: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
  defer { for item in list { free(item) } }
  var child: pid_t = 0
  guard posix_spawnp(&child, list[0]!, nil, nil, &list, environ) == 0 else { return -1 }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0 && errno == EINTR {}
  return status & 0x7F == 0 ? status >> 8 & 0xFF : -1
}
