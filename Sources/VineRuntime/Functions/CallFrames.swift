// Orders about libraries and calls as bytes.

internal import VineCore

/// All an executor needs to make an instance of a library.
struct InstanceOrder: Equatable {
  var allocation: AllocationID
  var library: LibraryID
  var name: String
  var language: LibraryLanguage
  var mode: LibraryMode
  var slots: UInt16
  /// For its set-up; 0: none.
  var timeoutMilliseconds: UInt32
  var functions: [String]
  var contextFunction: String
  var contextArguments: [UInt8]
  var environment: [String]
  var coreCount: UInt16
  var memoryMB: UInt32
  /// Operating system indices of the processing units it is bound to.
  var processingUnits: [UInt32]
  /// The source first.
  var files: [FileOrder]
  /// What each of them is.
  var uses: [LibraryFileUse]
}

/// All an executor needs for a call: what every attempt has, and what its function gets.
struct CallOrder: Equatable {
  /// Its inputs are those in the sandbox, its outputs all but the result; `command` is the compiled
  /// arguments, or the items.
  var attempt: AttemptOrder
  /// Index among the functions of the library.
  var function: UInt16
  var template: [UInt8]
  /// The file that stands for the result.
  var result: FileID
  /// The first output is the result as a file.
  var hasResultFile: Bool
  /// Places of the inputs that lie in the sandbox, in the order of `attempt.inputs`.
  var sandboxPlaces: [UInt32]
  /// Of a gang: its ranks in the job, the leader first, and a number that no other gang of the
  /// moment has. Empty for any other call.
  var gang: [UInt32] = []
  var gangNumber: UInt32 = 0
  /// The function gets the communicator of the gang.
  var isParallel = false
  /// It is not the leader: what it returns is nobody's result.
  var isMember = false
  /// Results that the arguments name, by the places of their inputs: as files in the cache...
  var references: [Reference]
  /// ... or as they are.
  var values: [InlineValue]

  struct Reference: Equatable {
    var place: UInt32
    var value: FileValue
  }

  struct InlineValue: Equatable {
    var place: UInt32
    var bytes: [UInt8]
  }
}

/// Why no instance of a library could be set up.
struct LibraryNote: Equatable {
  var library: LibraryID
  var error: String
  var traceback: String
}

extension WireWriter {
  init(_ order: InstanceOrder) {
    self.init(.startInstance)
    put(order.allocation.rawValue)
    put(order.library.rawValue)
    put(order.name)
    put(order.language.rawValue)
    put(order.mode.rawValue)
    put(order.slots)
    put(order.timeoutMilliseconds)
    put(order.functions)
    put(order.contextFunction)
    put(bytes: order.contextArguments)
    put(order.environment)
    put(order.coreCount)
    put(order.memoryMB)
    put(order.processingUnits)
    put(order.files)
    for use in order.uses { put(use.rawValue) }
  }

  init(_ order: CallOrder) {
    self.init(.startCall)
    put(order.attempt)
    put(order.function)
    put(bytes: order.template)
    put(order.result.rawValue)
    put(order.hasResultFile)
    put(order.sandboxPlaces)
    put(order.gang)
    put(order.gangNumber)
    put(order.isParallel)
    put(order.isMember)
    put(UInt32(order.references.count))
    for reference in order.references {
      put(reference.place)
      put(reference.value)
    }
    put(UInt32(order.values.count))
    for value in order.values {
      put(value.place)
      put(bytes: value.bytes)
    }
  }

  init(_ note: LibraryNote) {
    self.init(.libraryNote)
    put(note.library.rawValue)
    put(note.error)
    put(note.traceback)
  }
}

extension WireReader {
  mutating func takeInstanceOrder() throws(WireError) -> InstanceOrder {
    let allocation = AllocationID(rawValue: try take())
    let library = LibraryID(rawValue: try take())
    let name = try takeText()
    guard let language = LibraryLanguage(rawValue: try take()),
      let mode = LibraryMode(rawValue: try take())
    else { throw WireError() }
    var order = InstanceOrder(
      allocation: allocation, library: library, name: name, language: language, mode: mode,
      slots: try take(), timeoutMilliseconds: try take(), functions: try takeTexts(),
      contextFunction: try takeText(),
      contextArguments: Array(try takeBytes()), environment: try takeTexts(),
      coreCount: try take(), memoryMB: try take(), processingUnits: try takeNumbers(),
      files: try takeFileOrders(), uses: [])
    for _ in order.files {
      guard let use = LibraryFileUse(rawValue: try take()) else { throw WireError() }
      order.uses.append(use)
    }
    return order
  }

  mutating func takeCallOrder() throws(WireError) -> CallOrder {
    var order = CallOrder(
      attempt: try takeAttemptOrder(), function: try take(), template: Array(try takeBytes()),
      result: FileID(rawValue: try take()), hasResultFile: try takeBool(),
      sandboxPlaces: try takeNumbers(), gang: try takeNumbers(), gangNumber: try take(),
      isParallel: try takeBool(), isMember: try takeBool(), references: [], values: [])
    for _ in 0..<(try take(UInt32.self)) {
      order.references.append(
        CallOrder.Reference(place: try take(), value: try takeValue()))
    }
    for _ in 0..<(try take(UInt32.self)) {
      order.values.append(
        CallOrder.InlineValue(place: try take(), bytes: Array(try takeBytes())))
    }
    return order
  }

  mutating func takeLibraryNote() throws(WireError) -> LibraryNote {
    LibraryNote(
      library: LibraryID(rawValue: try take()), error: try takeText(), traceback: try takeText())
  }
}
