// Which modules a software environment has, from a list of its files.

internal import Glibc

/// The modules of an unpacked or packed environment.
struct PythonEnvironment {
  /// Of 3.8 to 3.14. Names that begin with an underscore are the interpreter's own affair.
  static let standardLibrary = Set(
    """
    abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop
    base64 bdb binascii binhex bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd
    code codecs codeop collections colorsys compileall compression concurrent configparser
    contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses datetime dbm decimal
    difflib dis distutils doctest dummy_threading email encodings ensurepip enum errno
    faulthandler fcntl filecmp fileinput fnmatch formatter fractions ftplib functools gc
    genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html http idlelib
    imaplib imghdr imp importlib inspect io ipaddress itertools json keyword lib2to3 linecache
    locale logging lzma macpath mailbox mailcap marshal math mimetypes mmap modulefinder msilib
    msvcrt multiprocessing netrc nis nntplib nt ntpath nturl2path numbers opcode operator optparse
    os ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib
    posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue
    quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors
    shelve shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3
    sre_compile sre_constants sre_parse ssl stat statistics string stringprep struct subprocess
    sunau symbol symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios
    textwrap this threading time timeit tkinter token tokenize tomllib trace traceback tracemalloc
    tty turtle turtledemo types typing unicodedata unittest urllib uu uuid venv warnings wave
    weakref webbrowser winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib
    zoneinfo
    """.split { $0 == " " || $0 == "\n" }.map(String.init))

  /// Paths below the places that the interpreter searches, without what tells a module's kind:
  /// `numpy` for a package, `numpy/linalg`, `six` for six.py.
  private var modules: Set<String> = []
  /// Modules with a text of their own, packages with an `__init__.py` among them: what is below
  /// those is their own affair.
  private var withText: Set<String> = []

  /// `paths` are those of files, as `tar -t` lists them. Everything may lie in one directory.
  init(paths: some Sequence<String>) {
    let files = paths.map { path in
      path.split(separator: "/", omittingEmptySubsequences: true).filter { $0 != "." }
    }.filter { !$0.isEmpty }
    let tops = Set(files.map { $0[0] })
    let hasWrapper = tops.count == 1 && !files.contains { $0.count == 1 && $0[0].hasSuffix(".py") }
    for parts in files {
      var inner = parts[...]
      if let place = parts.lastIndex(where: { $0 == "site-packages" || $0 == "dist-packages" }) {
        inner = parts[(place + 1)...]
        addModules(inner)
        continue
      }
      addModules(inner)
      if hasWrapper { addModules(inner.dropFirst()) }
    }
  }

  private mutating func addModules(_ parts: ArraySlice<Substring>) {
    guard let file = parts.last else { return }
    let directories = parts.dropLast()
    var path = ""
    for directory in directories {
      path += path.isEmpty ? directory : "/\(directory)"
      modules.insert(path)
    }
    let name = file.prefix { $0 != "." }
    if name.isEmpty { return }
    // six.py, _x.cpython-311-x86_64-linux-gnu.so, _x.abi3.so, _x.so, or a directory's entry.
    guard file.hasSuffix(".py") || file.hasSuffix(".so") || !file.contains(".") else { return }
    if file != "__init__.py" { path += path.isEmpty ? name : "/\(name)" }
    modules.insert(path)
    if file.contains(".") { withText.insert(path) }
  }

  /// Whether `name`, dotted, is to be had. Below a module with a text everything counts as there: it may
  /// make modules as it likes.
  func provides(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    guard let first = parts.first else { return true }
    if first.hasPrefix("_") || Self.standardLibrary.contains(String(first)) { return true }
    var path = ""
    for part in parts {
      path += path.isEmpty ? part : "/\(part)"
      if !modules.contains(path) { return false }
      if withText.contains(path) { return true }
    }
    return true
  }

  /// Whether `path` has modules below it but no text of its own: a namespace package.
  func isNamespace(_ name: String) -> Bool {
    let path = name.replacing(".", with: "/")
    return modules.contains(path) && !withText.contains(path)
      && modules.contains { $0.hasPrefix(path + "/") }
  }

  /// The files of an archive or directory on this machine; nil where they cannot be listed.
  static func paths(at path: String) -> [String]? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    if info.st_mode & S_IFMT == S_IFDIR {
      var found: [String] = []
      collect(path, prefix: "", depth: 0, into: &found)
      return found
    }
    guard let text = output(of: ["tar", "-tf", path]) else { return nil }
    return text.split(separator: "\n").map(String.init)
  }

  private static func collect(
    _ path: String, prefix: String, depth: Int, into found: inout [String]
  ) {
    for entry in FileTree.entries(of: path).entries {
      found.append(prefix + entry.name)
      if entry.isDirectory && depth < 12 {
        collect(
          "\(path)/\(entry.name)", prefix: "\(prefix)\(entry.name)/", depth: depth + 1, into: &found
        )
      }
    }
  }

  /// What a command writes; nil if it fails.
  static func output(of command: [String]) -> String? {
    let line = command.map { "'" + $0.replacing("'", with: "'\\''") + "'" }.joined(separator: " ")
    guard let pipe = popen("exec \(line) 2>/dev/null </dev/null", "re") else { return nil }
    var bytes: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&room, 1, room.count, pipe)
      if count == 0 { break }
      bytes += room[..<count]
    }
    return pclose(pipe) == 0 ? String(decoding: bytes, as: UTF8.self) : nil
  }
}
