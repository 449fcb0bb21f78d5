// What belongs to orders about calls, looked up while they are encoded.

internal import VineCore

/// The results of calls that travel with messages: the manager has them at hand, for consumers of
/// this session, and the journal has them for the next one.
final class ResultStore {
  /// Came with an attempt that has not been accepted.
  private var pending: [FileID: (attempt: UInt32, bytes: [UInt8])] = [:]
  private var accepted: [FileID: [UInt8]]

  init(_ restored: [FileID: [UInt8]]) { accepted = restored }

  func keep(_ value: FileValue, _ bytes: [UInt8]) {
    pending[value.file] = (value.attempt, bytes)
  }

  /// The result of an accepted attempt.
  func accept(_ value: FileValue) {
    guard let row = pending[value.file], row.attempt == value.attempt else { return }
    accepted[value.file] = row.bytes
    pending[value.file] = nil
  }

  /// The result that counts; null when there is none, which no order asks for.
  func bytes(of file: FileID) -> [UInt8] { accepted[file] ?? Array("null".utf8) }
}

extension CallOrder {
  init(
    _ attempt: AttemptID, _ allocation: AllocationID, timeoutMilliseconds: UInt32,
    hashesFirst: Bool, of core: borrowing Manager, results: ResultStore
  ) {
    let workflow = core.workflow
    let task = attempt.task
    let row = workflow.tasks[task]
    let node = core.node(of: allocation)
    self.init(
      attempt: AttemptOrder(
        attempt: attempt, allocation: allocation, timeoutMilliseconds: timeoutMilliseconds,
        hashesFirst: hashesFirst, taskName: workflow.name(of: task), commandKind: row.commandKind,
        command: Array(workflow.text.slice(row.command)), environment: [], usesSandbox: true,
        coreCount: 0, memoryMB: 0, processingUnits: [], inputs: [], outputs: []),
      function: row.function, template: Array(workflow.text.slice(row.template)), result: .none,
      hasResultFile: row.hasResultFile, sandboxPlaces: [], references: [], values: [])
    let ranks = core.gangRanks(of: allocation)
    if !ranks.isEmpty {
      gang = ranks.map(\.rawValue)
      gangNumber = (task.rawValue &* 31 &+ attempt.number) & 0x3FFF
      isParallel = workflow.request(of: task).isParallel
      isMember = core.isMember(allocation)
    }
    for (place, input) in workflow.stagedInputs(of: task).enumerated() {
      switch input.use {
      case .library: break
      case .sandbox:
        sandboxPlaces.append(UInt32(place))
        self.attempt.inputs.append(
          FileOrder(input, core.value(of: input.file, on: node), in: workflow))
      case .reference where core.standing(of: input.file) == .journaled:
        values.append(InlineValue(place: UInt32(place), bytes: results.bytes(of: input.file)))
      case .reference:
        references.append(
          Reference(place: UInt32(place), value: core.value(of: input.file, on: node)))
      }
    }
    if isMember { hasResultFile = false }
    for output in workflow.outputs(of: task) where !isMember || output.use == .reference {
      if output.use == .reference {
        result = output.file
      } else {
        let value = FileValue(output.file, attempt: attempt.number)
        self.attempt.outputs.append(FileOrder(output, value, in: workflow))
      }
    }
  }
}

extension InstanceOrder {
  init(
    _ allocation: AllocationID, _ library: LibraryID, of core: borrowing Manager
  ) {
    let spec = core.workflow.libraries[library]
    let grant = core.grant(of: allocation)
    let node = core.node(of: allocation)
    let topology = core.topology(of: node)
    self.init(
      allocation: allocation, library: library, name: core.workflow.name(of: library),
      language: spec.language, mode: spec.mode, slots: spec.slots,
      timeoutMilliseconds: spec.setupTimeoutMilliseconds, functions: spec.functions,
      contextFunction: spec.contextFunction, contextArguments: spec.contextArguments,
      environment: spec.environment, coreCount: spec.request.cores, memoryMB: grant.memoryMB,
      processingUnits: grant.cpuset.cores.flatMap { topology.cores[$0].processingUnits },
      files: [], uses: [])
    for file in spec.files {
      files.append(
        FileOrder(
          value: core.value(of: file.file, on: node), name: file.name, isCopy: false,
          isDirectory: core.workflow.files[file.file].isDirectory))
      uses.append(file.use)
    }
  }
}

extension Workflow {
  /// A call for people: its library, its function and the start of its arguments.
  func callText(of task: TaskID) -> String {
    let row = tasks[task]
    if row.commandKind == .gather { return "the lists of all parts, put together" }
    let id = library(of: task)
    guard id != .none else { return "?" }
    let functions = libraries[id].functions
    let function =
      functions.indices.contains(Int(row.function)) ? functions[Int(row.function)] : "?"
    let over = row.commandKind == .chunk ? " over " : " "
    return "\(name(of: id)).\(function)\(over)\(argumentsText(of: task))"
  }

  /// The start of a call's arguments as its description has them.
  private func argumentsText(of task: TaskID) -> String {
    let inputs = stagedInputs(of: task)
    var shown: [UInt8] = []
    for part in text.slice(tasks[task].command).split(
      separator: ArgumentMark.end, omittingEmptySubsequences: false)
    where shown.count < 400 {
      let mark = part.firstIndex { $0 == ArgumentMark.result || $0 == ArgumentMark.path }
      shown += part[..<(mark ?? part.firstIndex(of: ArgumentMark.list) ?? part.endIndex)]
      guard let mark else {
        if part.contains(ArgumentMark.list) { shown += Array("[...]".utf8) }
        continue
      }
      let digits = part[(mark + 1)...].prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
      guard let place = Int(String(decoding: digits, as: UTF8.self)), place < inputs.count
      else { continue }
      let file = inputs[inputs.startIndex + place].file
      if part[mark] == ArgumentMark.path {
        shown += Array("{\"$file\": \"\(name(of: file))\"}".utf8)
      } else {
        let producer = files[file].producer
        let task = producer == .none ? name(of: file) : name(of: producer)
        shown += Array("{\"$ref\": \"\(task)\"}".utf8)
      }
    }
    let line = String(decoding: shown.prefix(400), as: UTF8.self)
    return line.replacing("\n", with: " ")
  }
}
