// Processes from the request to the exit.

import CLinux
import Glibc
import Testing

@testable import VineRuntime

struct LaunchTests {
  /// Runs `arguments` with `variables` over `base`; returns what it wrote and how it ended.
  private func run(
    _ arguments: [String], _ variables: [String] = [],
    base: [String] = ["PATH=/none:/bin", "A=1"], units: [UInt32] = [], stays: Bool = false
  ) throws -> (output: String, failure: Int32, exit: Int32) {
    var text = LaunchText()
    for argument in arguments { text.addArgument(argument.utf8) }
    for variable in variables { text.addVariable(ArraySlice(variable.utf8)) }
    text.addPrograms(path: text.value(of: "PATH=") ?? Array("/none:/bin".utf8))
    let space = LaunchSpace()
    let strings = base.compactMap { strdup($0) }
    defer { for string in strings { free(string) } }
    space.fill(text, base: strings)
    space.bind(to: units)
    space.request.pointee.stays = stays ? 1 : 0
    var ends: [Int32] = [-1, -1]
    try #require(clinux_pipe(&ends) == 0)
    let directory = clinux_open_at(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0)
    let null = clinux_open_at(AT_FDCWD, "/dev/null", O_RDWR, 0)
    space.request.pointee.directory = directory
    space.request.pointee.input = null
    space.request.pointee.output = ends[1]
    space.request.pointee.error = null
    space.request.pointee.umask = 0o22
    let process = clinux_spawn(space.request)
    for descriptor in [ends[1], directory, null] { close(descriptor) }
    try #require(process > 0)
    var status: Int32 = 0
    // Only this process: other tests may have children of their own.
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    let capture = OutputCapture(descriptor: ends[0], spillPath: "/none")
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
    defer { buffer.deallocate() }
    _ = capture.drain(with: buffer)
    return (
      String(decoding: capture.contents(), as: UTF8.self), space.failure, status >> 8 & 0xFF
    )
  }

  @Test func aProgramIsFoundInPath() throws {
    let end = try run(["echo", "a  b", ""])
    #expect(end.output == "a  b \n")
    #expect(end.failure == 0 && end.exit == 0)
  }

  @Test func laterVariablesAreInPlaceOfEarlierOnes() throws {
    let end = try run(["/usr/bin/env"], ["A=2", "B=3", "AB=4", "B=5"])
    #expect(end.output == "PATH=/none:/bin\nA=2\nB=5\nAB=4\n")
  }

  @Test func thePathOfTheTaskIsTheOneSearched() throws {
    #expect(try run(["echo"], ["PATH=/none"]).failure == ENOENT)
    #expect(try run(["echo"], ["PATH=/none::/bin"]).failure == 0)
  }

  @Test func aProgramThatCannotBeExecutedIsTold() throws {
    #expect(try run(["/none/program"]).failure == ENOENT)
    #expect(try run([""]).failure == ENOENT)
    #expect(try run(["/bin"]).failure == EACCES)
    #expect(try run(["/bin/sh", "-c", "exit 3"]).exit == 3)
  }

  /// The processing units of this thread, as `taskset` writes them.
  private func boundsHere() throws -> String {
    let status = String(decoding: try readFile("/proc/thread-self/status"), as: UTF8.self)
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
    return String(try #require(line).dropFirst("Cpus_allowed_list:\t".count))
  }

  @Test func aProcessIsBoundAndItsMakerOnlyWhereItMayStay() throws {
    let before = try boundsHere()
    let first = try #require(UInt32(before.prefix { $0.isNumber }))
    let read = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    defer { clinux_move_home() }
    let bound = "Cpus_allowed_list:\t\(first)\n"
    #expect(try run(read, units: [first]).output == bound)
    #expect(try boundsHere() == before)
    // It binds itself only where it already is: sooner or later that is there.
    for _ in 0..<1000 where try boundsHere() != "\(first)" {
      #expect(try run(read, units: [first], stays: true).output == bound)
    }
    #expect(try boundsHere() == "\(first)")
    #expect(try run(read, units: [first], stays: true).output == bound)
    // A process with no bounds, or with others, has nothing of that.
    #expect(try run(read).output == "Cpus_allowed_list:\t\(before)\n")
    #expect(try boundsHere() == before)
  }

  @Test func aScriptWithoutAnInterpreterIsTheShells() throws {
    let directory = try TemporaryDirectory()
    try directory.write("echo \"$1-$2\"; exit 4\n", to: "script")
    chmod("\(directory.path)/script", 0o755)
    let end = try run(["\(directory.path)/script", "x", "y"])
    #expect(end.output == "x-y\n")
    #expect(end.failure == 0 && end.exit == 4)
  }

  @Test func noSignalIsBlockedOrIgnoredForTheTask() throws {
    signal(SIGPIPE, SIG_IGN)
    let end = try run(["/bin/sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status"])
    let masks = end.output.split(whereSeparator: \.isWhitespace).filter { !$0.hasSuffix(":") }
    #expect(masks.first == "0000000000000000")
    let ignored = masks.last.flatMap { UInt64($0, radix: 16) } ?? .max
    #expect(ignored & 1 << UInt64(SIGPIPE - 1) == 0)
  }
}
