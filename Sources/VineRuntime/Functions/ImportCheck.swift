// What a Python library imports that its environment lacks: `vine-mpi check` says so before a
// thousand ranks do.

internal import Glibc

/// A Python library as a description declares it.
package struct PythonLibrarySource {
  /// Where modules come from besides the interpreter's own.
  package enum Packages {
    /// The interpreter that a node finds.
    case interpreter
    /// An archive or directory on this machine.
    case environment(path: String)
    /// Made by a task or fetched: nothing is known of it here.
    case unknown
  }

  package var name: String
  /// The module's file on this machine.
  package var modulePath: String
  /// Further files of the instance's directory: their names there, and their paths on this machine
  /// where they have one.
  package var inputs: [(name: String, path: String?)]
  package var packages: Packages

  package init(
    name: String, modulePath: String, inputs: [(name: String, path: String?)], packages: Packages
  ) {
    self.name = name
    self.modulePath = modulePath
    self.inputs = inputs
    self.packages = packages
  }
}

package enum ImportCheck {
  /// What is missing, a line each for people. None of it is certain: a module may come from a path
  /// that the library's environment variables name, or be made while it runs. So these are
  /// warnings.
  package static func warnings(_ library: PythonLibrarySource) -> [String] {
    guard let text = try? readFile(library.modulePath) else { return [] }
    let place = "library \(library.name)"
    var imports = wanted(PythonImportReader.imports(in: text), of: library.modulePath)
    // Modules beside it are read, too; what they import has to be there as well.
    let local = PythonEnvironment(paths: library.inputs.map(\.name))
    for input in library.inputs where input.name.hasSuffix(".py") {
      guard let path = input.path, let text = try? readFile(path) else { continue }
      imports += wanted(PythonImportReader.imports(in: text), of: path)
    }
    let relative = imports.filter { $0.statement.level > 0 && $0.path == library.modulePath }
    var lines = relative.map {
      "\(place): \($0.path):\($0.statement.line) imports relative to a package, but the module is "
        + "loaded by itself: put the package into the environment and import it by its name"
    }
    imports.removeAll { $0.statement.level > 0 || local.provides($0.statement.name) }
    switch library.packages {
    case .unknown:
      if !imports.isEmpty {
        lines.append("\(place): imports are not checked: its environment is not there yet")
      }
    case .environment(let path):
      guard let paths = PythonEnvironment.paths(at: path) else {
        lines.append("\(place): imports are not checked: cannot list \(path)")
        return lines
      }
      let environment = PythonEnvironment(paths: paths)
      for one in imports {
        for name in one.names(in: environment) where !environment.provides(name) {
          lines.append("\(place): \(one.text(name)), which its environment \(path) lacks")
        }
      }
    case .interpreter:
      lines += missingHere(imports, place)
    }
    return lines
  }

  private struct Wanted {
    var statement: PythonImport
    var path: String

    func text(_ name: String) -> String {
      let tried = statement.isTried ? " tries to import " : " imports "
      return "\(path):\(statement.line)\(tried)\(name)"
    }

    /// The modules that have to be there: of a namespace package, those named after `import`.
    func names(in environment: PythonEnvironment) -> [String] {
      if statement.members.isEmpty || !environment.isNamespace(statement.name) {
        return [statement.name]
      }
      return statement.members.map { "\(statement.name).\($0)" }
    }
  }

  private static func wanted(_ statements: [PythonImport], of path: String) -> [Wanted] {
    statements.map { Wanted(statement: $0, path: path) }
  }

  /// Asks the python3 of this machine.
  private static func missingHere(_ imports: [Wanted], _ place: String) -> [String] {
    func top(_ one: Wanted) -> String {
      one.statement.name.split(separator: ".").first.map(String.init) ?? ""
    }
    let names = Set(imports.map(top)).filter {
      !$0.hasPrefix("_") && !PythonEnvironment.standardLibrary.contains($0)
    }.sorted()
    if names.isEmpty { return [] }
    let program =
      "import sys, importlib.util as u\n"
      + "print(' '.join(n for n in sys.argv[1:] if u.find_spec(n) is None))"
    guard
      let text = PythonEnvironment.output(of: ["python3", "-I", "-c", program] + names)
    else { return ["\(place): imports are not checked: there is no python3 here"] }
    let missing = Set(text.split { $0 == " " || $0 == "\n" }.map(String.init))
    return imports.filter { missing.contains(top($0)) }.map {
      "\(place): \($0.text(top($0))), which the python3 of this machine lacks, and the library "
        + "declares no environment"
    }
  }
}
