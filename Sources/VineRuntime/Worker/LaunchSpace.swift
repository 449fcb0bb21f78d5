// What a process reads of our memory before it is a program of its own.

internal import CLinux
internal import Glibc

/// The texts of one launch, one after the other and each ended by NUL, and where they begin.
struct LaunchText {
  private(set) var bytes: [UInt8] = []
  /// Paths to execute, tried in turn.
  private(set) var programs: [Int] = []
  private(set) var arguments: [Int] = []
  /// Variables that are in place of those of the same name before them.
  private(set) var variables: [Int] = []

  /// The first argument.
  var program: ArraySlice<UInt8> {
    guard let start = arguments.first else { return [] }
    return bytes[start...].prefix { $0 != 0 }
  }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    programs.removeAll(keepingCapacity: true)
    arguments.removeAll(keepingCapacity: true)
    variables.removeAll(keepingCapacity: true)
  }

  mutating func addArgument(_ text: some Sequence<UInt8>) {
    arguments.append(bytes.count)
    bytes.append(contentsOf: text)
    bytes.append(0)
  }

  mutating func addVariable(_ name: StaticString, _ value: String) {
    beginVariable(name)
    bytes.append(contentsOf: value.utf8)
    bytes.append(0)
  }

  mutating func addVariable(_ name: StaticString, _ value: some FixedWidthInteger) {
    beginVariable(name)
    bytes.append(contentsOf: String(value).utf8)
    bytes.append(0)
  }

  private mutating func beginVariable(_ name: StaticString) {
    variables.append(bytes.count)
    name.withUTF8Buffer { bytes.append(contentsOf: $0) }
  }

  /// Adds a whole `NAME=VALUE`.
  mutating func addVariable(_ text: ArraySlice<UInt8>) {
    variables.append(bytes.count)
    bytes.append(contentsOf: text)
    bytes.append(0)
  }

  /// The first argument: itself if it is a path, else looked for in the directories of `path`.
  mutating func addPrograms(path: [UInt8]) {
    let name = Array(program)
    if name.isEmpty { return }
    if name.contains(UInt8(ascii: "/")) {
      programs.append(contentsOf: arguments.prefix(1))
      return
    }
    for directory in path.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    where directory.count + name.count + 2 <= Int(PATH_MAX) {
      programs.append(bytes.count)
      bytes.append(contentsOf: directory)
      // An empty entry is the working directory.
      if !directory.isEmpty { bytes.append(UInt8(ascii: "/")) }
      bytes.append(contentsOf: name)
      bytes.append(0)
    }
  }

  /// The value of a variable in `variables`.
  func value(of name: StaticString) -> [UInt8]? {
    let name = name.withUTF8Buffer { Array($0) }
    for start in variables.reversed() where bytes[start...].starts(with: name) {
      return Array(bytes[(start + name.count)...].prefix { $0 != 0 })
    }
    return nil
  }
}

/// Memory of one launch. The new process runs in it, beside this thread, from clone(2) to
/// execve(2); nobody says when that is over, but it is when the process was reaped. Only then may
/// the space be filled again.
final class LaunchSpace {
  let request = UnsafeMutablePointer<clinux_spawn>.allocate(capacity: 1)
  private let stack = UnsafeMutableRawPointer.allocate(
    byteCount: Int(CLINUX_STACK_SIZE), alignment: 16)
  private var text = UnsafeMutableBufferPointer<CChar>(start: nil, count: 0)
  private var pointers = UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>(
    start: nil, count: 0)
  private var cpus = UnsafeMutableBufferPointer<UInt64>(start: nil, count: 0)

  init() {
    request.initialize(to: clinux_spawn())
    request.pointee.stack = stack
  }

  deinit {
    request.deallocate()
    stack.deallocate()
    text.deallocate()
    pointers.deallocate()
    cpus.deallocate()
  }

  /// Why the program did not start, an errno; 0: it did. Known once the process was reaped.
  var failure: Int32 { request.pointee.failure }

  /// Copies `source`; the environment is `base`, whose texts outlive the process, with the
  /// variables of `source` in place of those of the same name.
  func fill(_ source: borrowing LaunchText, base: [UnsafeMutablePointer<CChar>]) {
    let bytes = source.bytes
    Self.grow(&text, to: bytes.count)
    bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(text).copyMemory(from: $0) }
    Self.grow(
      &pointers,
      to: source.programs.count + source.arguments.count + base.count + source.variables.count + 4)
    guard let start = text.baseAddress, let programs = pointers.baseAddress else { return }
    var next = programs
    func put(_ pointer: UnsafeMutablePointer<CChar>?) {
      next.initialize(to: pointer)
      next += 1
    }
    for offset in source.programs { put(start + offset) }
    put(nil)
    request.pointee.programs = UnsafeRawPointer(programs).assumingMemoryBound(
      to: UnsafePointer<CChar>?.self)
    request.pointee.argv = next
    put(nil)
    for offset in source.arguments { put(start + offset) }
    put(nil)
    let environment = next
    for entry in base { put(entry) }
    for offset in source.variables {
      let entry = start + offset
      if let place = Self.place(ofNameOf: entry, in: environment, to: next) {
        place.pointee = entry
      } else {
        put(entry)
      }
    }
    put(nil)
    request.pointee.envp = UnsafePointer(environment)
  }

  private static func place(
    ofNameOf entry: UnsafeMutablePointer<CChar>,
    in environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
    to end: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  ) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? {
    var length = 0
    while entry[length] != 0 && entry[length] != 61 { length += 1 }
    var place = environment
    while place < end {
      // Most names differ in their first or in their last byte already.
      if let other = place.pointee, other[0] == entry[0], strncmp(other, entry, length + 1) == 0 {
        return place
      }
      place += 1
    }
    return nil
  }

  /// Binds the process to these processing units; to what this thread may use if there are none.
  func bind(to units: [UInt32]) {
    let count = Int(units.max().map { $0 / 64 + 1 } ?? 0)
    Self.grow(&cpus, to: count)
    cpus.update(repeating: 0)
    for unit in units { cpus[Int(unit / 64)] |= 1 << UInt64(unit % 64) }
    request.pointee.cpus = UnsafePointer(cpus.baseAddress)
    request.pointee.cpu_words = count
  }

  private static func grow<Element: BitwiseCopyable>(
    _ buffer: inout UnsafeMutableBufferPointer<Element>, to count: Int
  ) {
    if buffer.count >= count { return }
    buffer.deallocate()
    buffer = .allocate(capacity: count * 2)
  }
}
