// What an instance of a library is made from, and what it reports: the words between a rank's loop
// and the processes that serve calls.

/// Everything an instance is made from, on the rank that hosts it.
struct LibraryOrder: Sendable {
  enum Language: Sendable, Equatable { case python, native }

  enum Mode: String, Sendable {
    /// Python: a child per call.
    case fork
    /// Python: one call after another in one interpreter.
    case direct
    /// Native: in a process of its own.
    case process
    /// Native: on the rank's function thread.
    case inRank = "rank"
  }

  var name: String
  var language: Language
  var mode: Mode
  /// Path of the module or shared object, below `directory`.
  var source: String
  /// What calls name by their place here.
  var functions: [String]
  /// Called once, before the first call.
  var contextFunction: String?
  /// Its arguments: the text of a JSON array.
  var contextArguments: [UInt8] = Array("[]".utf8)
  /// Calls that may run at once.
  var slots = 1
  var coreCount = 1
  var memoryMB: UInt32 = 0
  /// Operating system indices of the processing units it is bound to; none: not bound.
  var processingUnits: [UInt32] = []
  /// `NAME=VALUE` texts that the library declares.
  var environment: [String] = []
  /// The instance's own directory, with its inputs linked; its working directory.
  var directory: String
  /// An unpacked software environment: `bin/python`, `lib/pythonX.Y/site-packages`, or modules.
  var environmentPath: String?
}

/// Why a call or a set-up failed, for people.
struct CallError: Equatable, Sendable {
  var error: String
  /// Of the user's own frames; empty where there is none.
  var traceback: String

  init(_ error: String, traceback: String = "") {
    self.error = error
    self.traceback = traceback
  }
}

/// The items of a part of a map.
enum ItemRun: Equatable, Sendable {
  case range(first: Int64, step: Int64, count: Int)
  /// The text of a JSON array.
  case list([UInt8])
}

/// What an instance says.
enum HostReport: Equatable, Sendable {
  /// The set-up is over and took that long.
  case ready(setupNanoseconds: Int64)
  /// The instance ends, or never began.
  case setupFailed(CallError)
  /// The result is the text of a JSON value.
  case finished(UInt64, result: [UInt8], runNanoseconds: Int64)
  case failed(UInt64, CallError, runNanoseconds: Int64)
  /// Cancelled before it began.
  case returned(UInt64)
}
