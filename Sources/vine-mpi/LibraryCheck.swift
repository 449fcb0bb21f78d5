// What `check` says of libraries: what they import and their environment lacks.

import VineCore
import VineRuntime

extension Workflow {
  /// Where a file lies on this machine before anything has run; nil when it does not.
  private func pathHere(of file: FileID) -> String? {
    let row = files[file]
    return row.kind == .path && row.producer == .none ? text.string(row.location) : nil
  }

  /// Lines for people; a Python library is looked into only where its module is here.
  func importWarnings() -> [String] {
    var lines: [String] = []
    for library in libraries.ids {
      let spec = libraries[library]
      guard spec.language == .python, let module = spec.files.first,
        let modulePath = pathHere(of: module.file)
      else { continue }
      var packages = PythonLibrarySource.Packages.interpreter
      var inputs: [(name: String, path: String?)] = []
      for file in spec.files.dropFirst() {
        switch file.use {
        case .source: break
        case .input: inputs.append((file.name, pathHere(of: file.file)))
        case .environment:
          let archive = derivation(of: file.file)?.inputs.first?.file ?? file.file
          packages = pathHere(of: archive).map { .environment(path: $0) } ?? .unknown
        }
      }
      lines += ImportCheck.warnings(
        PythonLibrarySource(
          name: name(of: library), modulePath: modulePath, inputs: inputs, packages: packages))
    }
    return lines
  }
}
