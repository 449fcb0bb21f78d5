// Imports of Python libraries, and what their environments lack.

import Glibc
import Testing

@testable import VineRuntime

struct ImportCheckTests {
  private func names(_ text: String) -> [String] {
    PythonImportReader.imports(in: Array(text.utf8)).map {
      String(repeating: ".", count: $0.level) + $0.name
        + ($0.members.isEmpty ? "" : ":" + $0.members.joined(separator: "+"))
        + ($0.isTried ? "?" : "") + "@\($0.line)"
    }
  }

  @Test func everyFormOfTheStatementIsRead() {
    #expect(names("import a") == ["a@1"])
    #expect(names("import a.b as c, d ; import e\n") == ["a.b@1", "d@1", "e@1"])
    #expect(
      names("from a.b import (c as d,\n  e, # note\n  f)\nimport g") == ["a.b:c+e+f@1", "g@4"])
    #expect(
      names("from . import x\nfrom ..p.q import y\nfrom a import *") == [
        ".:x@1", "..p.q:y@2", "a@3",
      ])
    #expect(names("import \\\n  a, \\\r\n b\nimport c") == ["a@1", "b@1", "c@4"])
    #expect(names("\u{c}import a\r\nimport ä\r\n") == ["a@1", "ä@2"])
  }

  @Test func nestedAndConditionalImportsCount() {
    let text = """
      def f(x: int = d[1:2]):
          import a
          if x: import b
          else:
              from c import d
      class K:
          import e
      try:
          import f
          if True:
              import g
      except ImportError:
          import h
      import i
      if TYPE_CHECKING:
          import never
      elif typing.TYPE_CHECKING: import never2
      import j
      """
    #expect(
      names(text) == [
        "a@2", "b@3", "c:d@5", "e@7", "f?@9", "g?@11", "h@13", "i@14", "never2@17", "j@18",
      ])
  }

  @Test func stringsAndOtherWordsAreNoImports() {
    let text = """
      '''import a
      import b'''
      x = "import c" ; y = 'it''s' # import d
      z = r"\\\\" ; import real
      def g():
          yield from h
          raise E from import_error
      important = 1
      data = {"k": "import e", 'l': f"{x} import f"}
      t = \"\"\"a "quoted" \\\"\"\" import g\"\"\"
      import last
      """
    #expect(names(text) == ["real@4", "last@11"])
    #expect(names("'unclosed\nimport a") == ["a@2"])
    for broken in [
      "import", "from", "from x", "from import", "from . ", "import ,", "\"\"\"", "\\",
      "(\nimport a",
    ] {
      _ = names(broken)
    }
  }

  @Test func anEnvironmentIsReadFromItsFiles() {
    let environment = PythonEnvironment(paths: [
      "./env/bin/python3", "./env/lib/python3.11/site-packages/numpy/__init__.py",
      "./env/lib/python3.11/site-packages/numpy/core/multiarray.py",
      "./env/lib/python3.11/site-packages/six.py",
      "./env/lib/python3.11/site-packages/fast.cpython-311-x86_64-linux-gnu.so",
      "./env/lib/python3.11/site-packages/limited.abi3.so",
      "./env/lib/python3.11/site-packages/google/protobuf/__init__.py",
      "./env/lib/python3.11/site-packages/PyYAML-6.dist-info/METADATA",
    ])
    for name in [
      "numpy", "numpy.core", "numpy.made.at.run.time", "six", "six.moves", "fast", "limited",
      "google.protobuf", "google.protobuf.message", "os", "os.path", "_thread", "__future__",
    ] { #expect(environment.provides(name), "\(name)") }
    for name in ["torch", "google.cloud", "yaml"] {
      #expect(!environment.provides(name), "\(name)")
    }
    let plain = PythonEnvironment(paths: ["helper.py", "pack/__init__.py", "native.so"])
    #expect(plain.provides("helper") && plain.provides("pack.x") && plain.provides("native"))
    let wrapped = PythonEnvironment(paths: [
      "modules/", "modules/helper.py", "modules/space/inner.py",
    ])
    #expect(wrapped.provides("helper") && wrapped.provides("space.inner"))
    #expect(!wrapped.provides("space.other"))
  }

  @Test func whatAnArchiveLacksIsSaidWithItsPlace() throws {
    let directory = try TemporaryDirectory()
    mkdir("\(directory.path)/e", 0o700)
    try directory.write("", to: "e/here.py")
    try #require(system("cd '\(directory.path)' && tar -czf e.tar.gz e") == 0)
    try directory.write(
      "import os, here\nimport torch.nn\ndef f():\n    try:\n        import cupy\n    except ImportError: pass\n"
        + "from helper import g\nfrom . import x\n", to: "m.py")
    try directory.write("import absent_too\n", to: "helper.py")
    let path = directory.path
    func check(_ packages: PythonLibrarySource.Packages) -> [String] {
      ImportCheck.warnings(
        PythonLibrarySource(
          name: "l", modulePath: "\(path)/m.py",
          inputs: [("helper.py", "\(path)/helper.py"), ("data.bin", nil)], packages: packages))
    }
    let relative =
      "library l: \(path)/m.py:8 imports relative to a package, but the module is loaded by itself: "
      + "put the package into the environment and import it by its name"
    #expect(
      check(.environment(path: "\(path)/e.tar.gz")) == [
        relative,
        "library l: \(path)/m.py:2 imports torch.nn, which its environment \(path)/e.tar.gz lacks",
        "library l: \(path)/m.py:5 tries to import cupy, which its environment \(path)/e.tar.gz lacks",
        "library l: \(path)/helper.py:1 imports absent_too, which its environment \(path)/e.tar.gz lacks",
      ])
    #expect(
      check(.environment(path: "\(path)/e"))
        == check(.environment(path: "\(path)/e.tar.gz")).map {
          $0.replacing("e.tar.gz", with: "e")
        })
    #expect(
      check(.environment(path: "\(path)/none.tar")) == [
        relative, "library l: imports are not checked: cannot list \(path)/none.tar",
      ])
    #expect(
      check(.unknown) == [
        relative, "library l: imports are not checked: its environment is not there yet",
      ])
    let here = check(.interpreter)
    #expect(
      here.contains { $0.contains("imports absent_too, which the python3 of this machine lacks") }
        || here.contains { $0.contains("there is no python3 here") })
  }

  @Test func noTextEndsTheReader() {
    let text = Array(
      "try:\n  from a.b import (c,\n d)\nexcept: pass\nx = '''s''' ; import e\n".utf8)
    for count in 0...text.count { _ = PythonImportReader.imports(in: Array(text.prefix(count))) }
    for place in text.indices {
      for byte: UInt8 in [0, 10, 34, 39, 40, 41, 92, 255] {
        var changed = text
        changed[place] = byte
        #expect(PythonImportReader.imports(in: changed).count <= 3)
      }
    }
  }
}
