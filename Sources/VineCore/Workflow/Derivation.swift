// Files that no task makes and that do not lie anywhere yet: downloads, and what a transformation
// makes of other files. They are made on a node when somebody there needs them.

/// How a derived file comes about.
package enum DerivationKind: UInt8, Sendable {
  /// Read from a URL, once in the whole run.
  case url
  /// The tree in an archive.
  case untar
  /// The output of a command.
  case miniTask
}

/// How one derived file is made. It counts as deterministic: any node may make it, at any time.
package struct DerivationSpec: Sendable {
  package var kind: DerivationKind
  package var file: FileID
  /// What it is made of; their `task` is none.
  package fileprivate(set) var inputs: [Binding] = []
  /// `inputs`, and what those are derived from, each once.
  package fileprivate(set) var sources: [FileID] = []
  package var commandKind = CommandKind.argv
  /// A URL, the id of the archive, or a command as in `TaskSpec`.
  package var command: TextRef = .empty
  /// `KEY=VALUE` texts, NUL-ended.
  package var environment: TextRef = .empty
  /// A text of the user's, part of the key.
  package var version: TextRef = .empty
  /// What the command leaves in its sandbox.
  package var outputName: TextRef = .empty
  /// The SHA-256 that a download must have, in hexadecimal; empty: none is known.
  package var digest: TextRef = .empty
  /// 0 is no limit.
  package var timeoutMilliseconds: UInt32 = 0
}

/// A derivation as readers hand it over.
package struct DerivationDraft {
  package var kind: DerivationKind
  package var inputs: [BindingDraft] = []
  package var commandKind = CommandKind.argv
  /// A URL, the id of an archive (for messages), one text for a shell, or an argument list.
  package var command: [String] = []
  package var environment: [String] = []
  package var version = ""
  package var outputName = ""
  package var digest = ""
  package var timeoutMilliseconds: UInt32 = 0
  package init(_ kind: DerivationKind) { self.kind = kind }
}

extension Workflow {
  /// Says how a file of kind `derived` is made. Its inputs must be there, and their derivations: so
  /// no cycle can come about. To be called before tasks use the file.
  package mutating func setDerivation(of file: FileID, _ draft: DerivationDraft) {
    var row = DerivationSpec(kind: draft.kind, file: file)
    row.commandKind = draft.commandKind
    row.command =
      draft.kind == .url || draft.commandKind != .argv
      ? text.append(draft.command.first ?? "") : text.append(list: draft.command)
    row.environment = text.append(list: draft.environment)
    row.version = text.append(draft.version)
    row.outputName = text.append(draft.outputName)
    row.digest = text.append(draft.digest)
    row.timeoutMilliseconds = draft.timeoutMilliseconds
    for input in draft.inputs {
      let name = input.name.map { text.append($0) } ?? files[input.file].id
      row.inputs.append(
        Binding(name: name, file: input.file, task: .none, isCopy: input.isCopy))
      add(input.file, toSources: &row.sources)
    }
    appendDerivation(row)
  }

  private func add(_ file: FileID, toSources sources: inout [FileID]) {
    if !sources.contains(file) { sources.append(file) }
    for source in derivation(of: file)?.sources ?? [] where !sources.contains(source) {
      sources.append(source)
    }
  }

  /// How `file` is derived; nil for one that is not.
  package func derivation(of file: FileID) -> DerivationSpec? {
    let index = files[file].derivation
    return index == .max ? nil : derivations[Int(index)]
  }

  /// What the inputs of a task are derived from: it depends on all of that, though it does not see
  /// it.
  func impliedInputs(of inputs: [BindingDraft]) -> [FileID] {
    if derivations.isEmpty { return [] }
    var implied: [FileID] = []
    for input in inputs {
      for source in derivation(of: input.file)?.sources ?? []
      where !implied.contains(source) && !inputs.contains(where: { $0.file == source }) {
        implied.append(source)
      }
    }
    return implied
  }

  /// The inputs that are put into a task's sandbox: all but the implied ones, which come last.
  package func stagedInputs(of task: TaskID) -> ArraySlice<Binding> {
    inputs(of: task).dropLast(Int(tasks[task].impliedInputCount))
  }
}
