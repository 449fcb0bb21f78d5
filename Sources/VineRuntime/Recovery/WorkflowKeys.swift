// The keys of tasks: hashes of everything that makes a task what it is, and of nothing else, so that
// they are known before anything runs and do not depend on ids, places in the file, resources,
// priorities, ranks or nodes. What has the same key need not be done twice.

internal import Crypto
internal import Glibc
package import VineCore

/// A file that no task makes, as it is now.
struct SourceState: Hashable, Sendable {
  var byteCount: Int64
  /// Nanoseconds since 1970; of a directory, the latest of anything in it.
  var modificationTime: Int64
}

/// The keys of all tasks of a workflow.
package struct WorkflowKeys: Sendable {
  /// Of the task alone: command, declared environment, names in the sandbox, inline contents, target
  /// paths, and its place among equal ones.
  package private(set) var definitions: [ContentHash] = []
  /// Of the task and all that is upstream of it.
  package private(set) var keys: [ContentHash] = []
  /// Files on the shared file system that no task makes.
  private(set) var sources: [FileID: SourceState] = [:]

  /// Looks at every source once. `workflow` must have no cycle.
  package init(_ workflow: borrowing Workflow) {
    let taskCount = workflow.tasks.count
    definitions = Array(repeating: .unknown, count: taskCount)
    keys = definitions
    for file in workflow.files.ids {
      let row = workflow.files[file]
      guard row.kind == .path, row.producer == .none, row.firstConsumer != .max else { continue }
      sources[file] = SourceState.read(
        workflow.text.string(row.location), isDirectory: row.isDirectory)
    }
    guard case .order(let order) = workflow.topologicalOrder() else { return }
    var ordinals: [ContentHash: UInt32] = [:]
    ordinals.reserveCapacity(taskCount)
    var bytes: [UInt8] = []
    for task in order {
      bytes.removeAll(keepingCapacity: true)
      appendDefinition(of: task, in: workflow, to: &bytes)
      let definition = digest(bytes)
      definitions[task.index] = definition
      bytes.removeAll(keepingCapacity: true)
      append(definition, to: &bytes)
      appendInputs(of: task, in: workflow, to: &bytes)
      let key = digest(bytes)
      // Equal tasks stay as many as they are.
      let ordinal = ordinals[key, default: 0]
      ordinals[key] = ordinal + 1
      if ordinal == 0 {
        keys[task.index] = key
      } else {
        append(ordinal, to: &bytes)
        keys[task.index] = digest(bytes)
      }
    }
  }

  /// The kind of definition and its version, as `append` writes a text.
  private static let prefix: [UInt8] = [11, 0, 0, 0] + Array("vine-task-1".utf8)

  /// All of a derivation but what it reads.
  func appendDefinition(
    of derivation: DerivationSpec, in workflow: borrowing Workflow, to bytes: inout [UInt8]
  ) {
    let text = workflow.text
    append("vine-derivation-1".utf8, to: &bytes)
    bytes.append(derivation.kind.rawValue)
    bytes.append(derivation.commandKind.rawValue)
    bytes.append(workflow.files[derivation.file].isDirectory ? 1 : 0)
    // The name of an archive says nothing of what is in it.
    let command = derivation.kind == .untar ? TextRef.empty : derivation.command
    for part in [
      command, derivation.environment, derivation.version, derivation.outputName,
      derivation.digest,
    ] {
      append(text.slice(part), to: &bytes)
    }
    for input in derivation.inputs {
      append(text.slice(input.name), to: &bytes)
      bytes.append(input.isCopy ? 1 : 0)
    }
  }

  private func digest(_ bytes: [UInt8]) -> ContentHash {
    SHA256.hash(data: bytes).withUnsafeBytes { ContentHash($0) } ?? .unknown
  }

  private func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private func append(_ hash: ContentHash, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: hash.words) { bytes.append(contentsOf: $0) }
  }

  /// Length first, so that no two lists of texts look alike.
  private func append(_ text: some Collection<UInt8>, to bytes: inout [UInt8]) {
    append(UInt32(text.count), to: &bytes)
    bytes.append(contentsOf: text)
  }

  private func appendDefinition(
    of task: TaskID, in workflow: borrowing Workflow, to bytes: inout [UInt8]
  ) {
    let row = workflow.tasks[task]
    bytes.append(contentsOf: Self.prefix)
    bytes.append(row.commandKind.rawValue)
    append(workflow.text.slice(row.command), to: &bytes)
    append(workflow.text.slice(row.environment), to: &bytes)
    bytes.append(row.usesSandbox ? 1 : 0)
    append(row.inputCount, to: &bytes)
    for input in workflow.inputs(of: task) {
      append(workflow.text.slice(input.name), to: &bytes)
      bytes.append(input.isCopy ? 1 : 0)
      if input.use != .sandbox { bytes.append(2 + input.use.rawValue) }
      let file = workflow.files[input.file]
      if file.kind == .buffer { append(workflow.text.slice(file.location), to: &bytes) }
      appendDerivation(of: input.file, for: task, in: workflow, to: &bytes)
    }
    for output in workflow.outputs(of: task) {
      append(workflow.text.slice(output.name), to: &bytes)
      let file = workflow.files[output.file]
      bytes.append(file.kind.rawValue)
      bytes.append(file.isDirectory ? 1 : 0)
      if file.kind == .path { append(workflow.text.slice(file.location), to: &bytes) }
    }
    if row.commandKind.isCall { appendLibrary(of: task, in: workflow, to: &bytes) }
  }

  /// What a library is, but for its files: those are inputs of the call.
  private func appendLibrary(
    of task: TaskID, in workflow: borrowing Workflow, to bytes: inout [UInt8]
  ) {
    let spec = workflow.libraries[workflow.library(of: task)]
    let row = workflow.tasks[task]
    bytes.append(spec.language.rawValue)
    bytes.append(spec.mode.rawValue)
    append(spec.slots, to: &bytes)
    append(spec.functions[Int(row.function)].utf8, to: &bytes)
    append(spec.contextFunction.utf8, to: &bytes)
    append(spec.contextArguments, to: &bytes)
    for variable in spec.environment { append(variable.utf8, to: &bytes) }
    append(spec.version.utf8, to: &bytes)
    for file in spec.files {
      append(file.name.utf8, to: &bytes)
      bytes.append(file.use.rawValue)
    }
  }

  /// How an input is derived. What that is made of is an input of the task, too: it is named by its
  /// place among them.
  private func appendDerivation(
    of file: FileID, for task: TaskID, in workflow: borrowing Workflow, to bytes: inout [UInt8]
  ) {
    guard let derivation = workflow.derivation(of: file) else { return }
    let inputs = workflow.inputs(of: task)
    appendDefinition(of: derivation, in: workflow, to: &bytes)
    for input in derivation.inputs {
      let place = inputs.firstIndex { $0.file == input.file } ?? inputs.startIndex
      append(UInt32(place - inputs.startIndex), to: &bytes)
    }
  }

  private func appendInputs(
    of task: TaskID, in workflow: borrowing Workflow, to bytes: inout [UInt8]
  ) {
    for input in workflow.inputs(of: task) {
      let file = workflow.files[input.file]
      if file.producer != .none {
        bytes.append(1)
        append(keys[file.producer.index], to: &bytes)
        append(workflow.outputOrdinal(of: input.file), to: &bytes)
      } else if let source = sources[input.file] {
        bytes.append(2)
        append(workflow.text.slice(file.location), to: &bytes)
        append(source.byteCount, to: &bytes)
        append(source.modificationTime, to: &bytes)
      } else {
        bytes.append(3)
      }
    }
  }
}

extension SourceState {
  /// What lies at `path`; nothing there is a state like any other: the task will say so.
  static func read(_ path: String, isDirectory: Bool) -> SourceState {
    var info = stat()
    guard stat(path, &info) == 0 else { return SourceState(byteCount: -1, modificationTime: 0) }
    var state = SourceState(
      byteCount: Int64(info.st_size), modificationTime: nanoseconds(info.st_mtim))
    if isDirectory { add(path, to: &state) }
    return state
  }

  private static func add(_ directory: String, to state: inout SourceState) {
    for entry in FileTree.entries(of: directory).entries {
      var info = stat()
      let path = "\(directory)/\(entry.name)"
      guard lstat(path, &info) == 0 else { continue }
      state.byteCount += Int64(info.st_size)
      state.modificationTime = max(state.modificationTime, nanoseconds(info.st_mtim))
      if entry.isDirectory { add(path, to: &state) }
    }
  }

  private static func nanoseconds(_ time: timespec) -> Int64 {
    Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}

extension Workflow {
  /// The place of `file` among the outputs of the task that makes it.
  func outputOrdinal(of file: FileID) -> UInt16 {
    let outputs = outputs(of: files[file].producer)
    let place = outputs.firstIndex { $0.file == file } ?? outputs.startIndex
    return UInt16(clamping: place - outputs.startIndex)
  }
}
