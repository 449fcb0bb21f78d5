// An instance under test, with what its rank's loop does for it.

import CLinux
import Glibc
import Testing

@testable import VineRuntime

/// Starts an instance in a directory of its own and waits for its reports.
final class HostFixture {
  let directory: TemporaryDirectory
  let launcher: ProcessLauncher
  private(set) var host: LibraryHost
  private(set) var hasEnded = false
  /// Reports that came and that no test has taken yet.
  private var reports: [HostReport] = []
  private var nextNumber: UInt64 = 1

  static func makeLauncher(environment: [String] = []) -> ProcessLauncher {
    var base = environment
    for name in ["PATH", "HOME"] where !environment.contains(where: { $0.hasPrefix("\(name)=") }) {
      if let value = getenv(name) { base.append("\(name)=\(String(cString: value))") }
    }
    let welcome = Welcome(
      token: "test\(getpid())", runName: "test", scratch: "", submitDirectory: "/",
      environment: base, umask: 0o22, wantsHashes: false, managerProcessID: 0, outputPath: "",
      nodeTimeoutNanoseconds: 0,
      record: CacheRecord(run: "", name: "", epoch: 1, files: "", isKept: false), seeksValues: false
    )
    return ProcessLauncher(welcome, rank: 0, spillPath: "/tmp/vine-test-spill-\(getpid())")
  }

  /// A Python module with the text `source`.
  init(
    _ source: String, functions: [String], context: String? = nil, arguments: String = "[]",
    mode: LibraryOrder.Mode = .direct, slots: Int = 1, environment: [String] = [],
    environmentPath: String? = nil
  ) throws {
    directory = try TemporaryDirectory()
    launcher = Self.makeLauncher(environment: environment)
    try directory.write(source, to: "module_under_test.py")
    let order = LibraryOrder(
      name: "under test", language: .python, mode: mode, source: "module_under_test.py",
      functions: functions, contextFunction: context, contextArguments: Array(arguments.utf8),
      slots: slots, directory: directory.path, environmentPath: environmentPath)
    host = try LibraryHost.start(order, number: 1, launcher: launcher)
  }

  /// A shared object made from the C text `source`.
  init(
    native source: String, functions: [String], context: String? = nil, arguments: String = "[]",
    mode: LibraryOrder.Mode = .process
  ) throws {
    directory = try TemporaryDirectory()
    launcher = Self.makeLauncher()
    try directory.write(source, to: "library.c")
    try Self.compile("library.c", to: "library.so", in: directory.path)
    let order = LibraryOrder(
      name: "under test", language: .native, mode: mode, source: "library.so",
      functions: functions, contextFunction: context, contextArguments: Array(arguments.utf8),
      directory: directory.path)
    var inRank = order
    inRank.source = "\(directory.path)/library.so"
    host = try LibraryHost.start(
      mode == .inRank ? inRank : order, number: 1, launcher: launcher,
      hostProgram: Self.hostProgram)
  }

  /// Where the tests were built, `vine-host` is, too.
  private static var hostProgram: String {
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") } ?? ""
    let parts = bundle.split(separator: "/").prefix { !$0.hasSuffix(".xctest") }
    let beside = "/" + parts.joined(separator: "/") + "/vine-host"
    return access(beside, X_OK) == 0 ? beside : "\(root)/.build/debug/vine-host"
  }

  /// ROOT of ROOT/Tests/VineRuntimeTests/Functions/HostFixture.swift.
  static let root = "/" + "\(#filePath)".split(separator: "/").dropLast(4).joined(separator: "/")

  static let hasCompiler = system("command -v cc >/dev/null 2>&1") == 0

  private static func compile(_ source: String, to result: String, in directory: String) throws {
    let command =
      "cd '\(directory)' && cc -shared -fPIC -Wall -Werror "
      + "-I '\(root)/Sources/CVineHost/include' -o \(result) \(source)"
    try #require(system(command) == 0)
  }

  deinit {
    if host.processID == nil { host.stop(isKilled: false) }
    if !hasEnded {
      host.stop(isKilled: true)
      var status: Int32 = 0
      while let process = host.processID, waitpid(process, &status, 0) < 0 && errno == EINTR {}
    }
  }

  /// The next report; nil when the instance has ended and said all.
  func next() -> HostReport? {
    // Generous: a machine under load must not fail a test.
    let deadline = monotonicNanoseconds() + 60_000_000_000
    while reports.isEmpty && monotonicNanoseconds() < deadline {
      reports = host.takeReports()
      if !reports.isEmpty { break }
      if hasEnded { return nil }
      _ = clinux_wait_readable(host.descriptor, 20_000_000)
      reports = host.takeReports()
      if reports.isEmpty { reap() }
    }
    return reports.isEmpty ? nil : reports.removeFirst()
  }

  private func reap() {
    var status: Int32 = 0
    guard !hasEnded, let process = host.processID, waitpid(process, &status, WNOHANG) == process
    else { return }
    hasEnded = true
    let isSignaled = status & 0x7F != 0
    reports += host.onExit(
      isSignaled: isSignaled, status: isSignaled ? status & 0x7F : status >> 8 & 0xFF)
  }

  func becomesReady() -> Bool {
    guard case .ready(let nanoseconds) = next() else { return false }
    return nanoseconds >= 0
  }

  func setupError() -> CallError? {
    guard case .setupFailed(let error) = next() else { return nil }
    return error
  }

  @discardableResult
  func send(
    _ function: Int, _ arguments: String = "[]", named: String = "{}", directory: String? = nil
  ) -> UInt64 {
    let number = nextNumber
    nextNumber += 1
    host.call(
      number, function: function,
      arguments: Array("{\"args\":\(arguments),\"kwargs\":\(named)}".utf8),
      directory: directory)
    host.flush()
    return number
  }

  @discardableResult
  func sendMap(_ function: Int, _ arguments: String, _ items: ItemRun) -> UInt64 {
    let number = nextNumber
    nextNumber += 1
    host.map(
      number, function: function, template: Array("{\"args\":\(arguments),\"kwargs\":{}}".utf8),
      items: items)
    host.flush()
    return number
  }

  /// The result's text, or the error as `! error`.
  func result() -> String? {
    switch next() {
    case .finished(_, let result, _): String(decoding: result, as: UTF8.self)
    case .failed(_, let error, _): "! \(error.error)"
    default: nil
    }
  }

  func callError() -> CallError? {
    guard case .failed(_, let error, _) = next() else { return nil }
    return error
  }

  /// Result of one call.
  func call(_ function: Int, _ arguments: String = "[]", named: String = "{}") -> String? {
    send(function, arguments, named: named)
    return result()
  }
}

extension HostFixture {
  /// The number of the call that finished.
  func finishedNumber() -> UInt64? {
    guard case .finished(let number, _, _) = next() else { return nil }
    return number
  }
}
