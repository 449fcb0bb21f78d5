// Libraries: functions that are called inside a process which keeps its context between calls.
//
// A call is a task like any other: it has inputs, outputs, retries, a time limit and a place in the
// journal. What differs is where it runs: in an instance of its library, which holds the library's
// cores and memory on a node for as long as it lives.

/// Declared functions with one context.
package struct LibraryID: TableID {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable package init(index: Int) { rawValue = UInt32(truncatingIfNeeded: index) }
  @inlinable package var index: Int { Int(rawValue) }
  /// Stands for "no library" in packed rows.
  package static let none = LibraryID(rawValue: .max)
}

package enum LibraryLanguage: UInt8, Sendable { case python, native }

/// Where and how the calls of an instance run.
package enum LibraryMode: UInt8, Sendable {
  /// A child of the host process for each call.
  case fork
  /// In the interpreter of the host process.
  case direct
  /// Exported functions inside a host process.
  case process
  /// Exported functions inside the rank itself.
  case inRank

  /// Whether a call can be ended without its instance.
  package var isolatesCalls: Bool { self == .fork }
}

/// What a file is to a library.
package enum LibraryFileUse: UInt8, Sendable {
  /// The module or shared object.
  case source
  /// The software that it needs, as an archive or a directory.
  case environment
  case input
}

/// A file that an instance needs before it can start.
package struct LibraryFile: Hashable, Sendable {
  package var file: FileID
  /// Its name in the instance's directory.
  package var name: String
  package var use: LibraryFileUse
  package init(_ file: FileID, name: String, use: LibraryFileUse) {
    self.file = file
    self.name = name
    self.use = use
  }
}

/// Everything that makes a library what it is, but its name: two that are equal in this are one.
package struct LibrarySpec: Hashable, Sendable {
  package var language = LibraryLanguage.python
  package var mode = LibraryMode.fork
  /// Calls that an instance runs at once.
  package var slots: UInt16 = 1
  package var functions: [String] = []
  /// Runs once per instance; empty: there is none.
  package var contextFunction = ""
  /// A JSON list.
  package var contextArguments: [UInt8] = Array("[]".utf8)
  /// `KEY=VALUE` texts, sorted.
  package var environment: [String] = []
  package var version = ""
  /// A set-up that takes longer has failed; 0: it may take as long as it likes.
  package var setupTimeoutMilliseconds: UInt32 = 0
  /// The source first.
  package var files: [LibraryFile] = []
  /// Cores and memory of an instance.
  package var request = Request()
  package init() {}
}

/// What an input is to its task.
package enum BindingUse: UInt8, Sendable {
  /// A name in the sandbox.
  case sandbox
  /// A result that the arguments of a call name: it takes the reference's place.
  case reference
  /// A file of the call's library: its instance has it.
  case library
}

/// Marks in the compiled arguments of calls. Bytes below a blank never stand in compact JSON.
package enum ArgumentMark {
  /// `result PLACE pointer POINTER end`: the value, or the part of it, that an input stands for.
  package static let result: UInt8 = 1
  /// Ends the place where more follows it.
  package static let separator: UInt8 = 2
  package static let end: UInt8 = 3
  /// `list FIRST separator COUNT end`: the elements of the lists that so many inputs stand for.
  package static let list: UInt8 = 4
  /// `path PLACE end`: where the input lies in the sandbox, as a text.
  package static let path: UInt8 = 5
}

// MARK: - In the tables

extension Workflow {
  /// Appends a library, or finds the one that is equal to it.
  package mutating func appendLibrary(_ spec: LibrarySpec, named name: String) -> LibraryID {
    if let known = libraryIndex[spec] { return known }
    let library = LibraryID(index: libraries.count)
    libraryIndex[spec] = library
    var row = spec
    row.request.library = library
    libraries.append(row)
    libraryNames.append(name)
    return library
  }

  /// The name of a library whose functions run inside ranks, if there is one.
  package var firstLibraryInRanks: String? {
    libraries.ids.first { libraries[$0].mode == .inRank }.map { name(of: $0) }
  }

  /// The name of a library; of equal ones, the first.
  package func name(of library: LibraryID) -> String { libraryNames[library.index] }

  /// The library of a call; `.none` for any other task.
  package func library(of task: TaskID) -> LibraryID { requests[Int(tasks[task].request)].library }

  /// The file that stands for the result of a call; `.none` for any other task.
  package func resultFile(of task: TaskID) -> FileID {
    guard tasks[task].commandKind.hasResult else { return .none }
    return outputs(of: task).first?.file ?? .none
  }
}
