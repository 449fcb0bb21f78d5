// Host processes: which program serves a library, and how it is started.

internal import CLinux
internal import Glibc

/// Where the programs are that serve calls.
enum HostProgram {
  /// What the interpreter is given: it reads the host from its standard input, which becomes the
  /// channel, so that nothing has to be installed, nor a long text be an argument.
  static let pythonStart = """
    import os, sys
    if sys.version_info < (3, 8):
        sys.exit("Python 3.8 or later is needed, this is " + sys.version.split()[0])
    def take(n):
        data = b""
        while len(data) < n:
            more = os.read(0, n - len(data))
            if not more:
                os._exit(0)
            data += more
        return data
    names = {"__name__": "vine_host"}
    exec(compile(take(int.from_bytes(take(4), "little")), "<vine-mpi host>", "exec"), names)
    names["main"]()
    """

  static let pythonText = PackageResources.python_host_py

  /// `vine-host` beside this program.
  static func native() throws(RuntimeError) -> String {
    let path = siblingProgram("vine-host")
    if access(path, X_OK) == 0 { return path }
    throw RuntimeError(
      "execute", path, errno: errno,
      detail: "native libraries need the program vine-host beside vine-mpi: install both")
  }

  /// The interpreter of the environment, or `python3` for the search in PATH.
  static func python(in environment: String?) -> String {
    if let environment {
      for name in ["python3", "python"] {
        let path = "\(environment)/bin/\(name)"
        if access(path, X_OK) == 0 { return path }
      }
    }
    return "python3"
  }
}

/// A host process that was started.
struct HostLaunch {
  let processID: pid_t
  /// What it reads before it executes its program; nobody else's until it was reaped.
  let space: LaunchSpace
  /// What the library's code writes to its standard output and error.
  let output: OutputCapture
}

extension ProcessLauncher {
  /// Starts the host of `order`, bound to its processing units, in a process group of its own that
  /// dies with this rank. `channel` becomes its standard input. `mark` is part of the environment
  /// of all that the host starts.
  func startHost(
    _ order: LibraryOrder, program: [String], mark: String, channel: Int32
  ) throws(RuntimeError) -> HostLaunch {
    let directory = try OwnedDescriptor.open(
      order.directory, O_RDONLY | O_DIRECTORY, to: "open the directory of a library's instance")
    let ends = try OutputPipe.makeEnds()
    let output = OutputCapture(descriptor: ends.read, spillPath: spillPath)
    let outputEnd = OwnedDescriptor(ends.write)
    let space = spareSpaces.popLast() ?? LaunchSpace()
    gatherHostText(of: order, program: program, mark: mark)
    space.fill(text, base: base)
    space.bind(to: order.processingUnits)
    space.request.pointee.directory = directory.number
    space.request.pointee.input = channel
    space.request.pointee.output = outputEnd.number
    space.request.pointee.error = outputEnd.number
    space.request.pointee.umask = umask
    space.request.pointee.waits = 0
    space.request.pointee.stays = 0
    let result = clinux_spawn(space.request)
    if result < 0 {
      spareSpaces.append(space)
      throw RuntimeError("start the host of library", order.name, errno: -result)
    }
    hostMarks[result] = mark
    return HostLaunch(processID: result, space: space, output: output)
  }

  /// To be called when a host was reaped: the errno why its program was not executed, or 0.
  func forgetHost(_ launch: HostLaunch) -> Int32 {
    hostMarks[launch.processID] = nil
    let failure = launch.space.failure
    spareSpaces.append(launch.space)
    return failure
  }

  private func gatherHostText(of order: LibraryOrder, program: [String], mark: String) {
    text.removeAll()
    for argument in program { text.addArgument(argument.utf8) }
    text.addVariable("VINE_LIBRARY=", order.name)
    text.addVariable("VINE_RUN=", runName)
    text.addVariable("VINE_CORES=", order.coreCount)
    text.addVariable("VINE_LOOKING=", lookingNanoseconds)
    text.addVariable("VINE_CPUSET=", listText(order.processingUnits))
    text.addVariable("VINE_MEMORY_MB=", order.memoryMB)
    text.addVariable("", mark)
    text.addVariable("TMPDIR=", order.directory)
    if !hasThreadCount {
      text.addVariable("OMP_NUM_THREADS=", max(order.coreCount / max(order.slots, 1), 1))
    }
    var search = path
    if let environment = order.environmentPath {
      search = Array("\(environment)/bin:".utf8) + search
      text.addVariable("PATH=", String(decoding: search, as: UTF8.self))
    }
    // What the library declares comes last: it wins.
    for variable in order.environment { text.addVariable(ArraySlice(variable.utf8)) }
    text.addPrograms(path: text.value(of: "PATH=") ?? search)
  }
}
