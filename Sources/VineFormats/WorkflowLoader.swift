// The one door: a file in, a `Workflow` or its problems out.

package import FoundationEssentials
import VineCore

/// Reads the description at `path`, as messages will call it.
package func loadWorkflow(
  path: String, options: LoadOptions
) throws(WorkflowError) -> LoadedWorkflow {
  let bytes: Data
  do {
    bytes = try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe)
  } catch {
    throw WorkflowError(
      path: path, problems: [WorkflowProblem("", reason(for: error))], unreadable: true)
  }
  return try loadWorkflow(path: path, bytes: bytes, options: options)
}

/// The same with the content at hand; `path` gives the extension, the directory and the name in
/// messages.
package func loadWorkflow(
  path: String, bytes: Data, options: LoadOptions
) throws(WorkflowError) -> LoadedWorkflow {
  let format = options.format ?? guessFormat(path: path, bytes: bytes)
  let slash = path.lastIndex(of: "/")
  let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  let base =
    options.baseDirectory ?? absolutePath(directory, base: options.submitDirectory)
  do {
    switch format {
    case .native: return try loaded(NativeReader.read(document: bytes, base: base), format, options)
    case .jsonl: return try loaded(NativeReader.read(lines: bytes, base: base), format, options)
    case .wfformat: return try loadRecorded(bytes, path: path, base: base, options)
    case .tasklist: return try loadTaskList(bytes, path: path, options)
    }
  } catch let error as WorkflowError {
    throw error
  } catch let failure as ReadFailure {
    throw failure.error(path: path)
  } catch {
    throw WorkflowError(path: path, problems: [WorkflowProblem("", "\(error)")], unreadable: true)
  }
}

/// What a description probably is, by its extension and its first bytes. Text that begins as JSON
/// is JSON, so that a broken workflow.json is not taken for a list of shell commands.
package func guessFormat(path: String, bytes: Data) -> WorkflowFormat {
  if path.hasSuffix(".jsonl") { return .jsonl }
  var rest = bytes[...]
  if rest.starts(with: [0xEF, 0xBB, 0xBF]) { rest = rest.dropFirst(3) }
  let first = rest.first { !isBlank($0) }
  let isJSON =
    path.hasSuffix(".json") || first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
  if !isJSON { return .tasklist }
  return hasTopLevelKey("schema", in: rest)
    ? .native : hasTopLevelKey("workflow", in: rest) ? .wfformat : .native
}

private func loaded(
  _ reader: consuming NativeReader, _ format: WorkflowFormat, _ options: LoadOptions
) throws(ReadFailure) -> LoadedWorkflow {
  try refuseReplay(options)
  var reader = reader
  if options.mode == .check || options.mode == .run { reader.warnOfMissingFiles() }
  var result = LoadedWorkflow(workflow: reader.workflow, format: format)
  result.warnings = reader.warnings.problems
  result.unsupported = reader.unsupported.problems
  return result
}

private func reason(for error: any Error) -> String {
  guard let error = error as? CocoaError else { return "cannot be read: \(error)" }
  switch error.code {
  case .fileReadNoSuchFile, .fileNoSuchFile: return "there is no such file"
  case .fileReadNoPermission: return "permission to read it is denied"
  default: return "cannot be read (is it a directory?)"
  }
}

/// A recorded instance cannot be run, only replayed; a WfBench specification can.
private func loadRecorded(
  _ bytes: Data, path: String, base: String, _ options: LoadOptions
) throws -> LoadedWorkflow {
  let reader = try WfFormatReader.read(document: bytes)
  let recorded = reader.recorded
  let workflow =
    options.mode == .run
    ? try recorded.executableWorkflow(path: path, baseDirectory: base)
    : recorded.simulationWorkflow(ideal: false)
  var result = LoadedWorkflow(workflow: workflow, format: .wfformat)
  result.warnings = reader.warnings.problems
  result.recorded = recorded
  return result
}

private func loadTaskList(
  _ bytes: Data, path: String, _ options: LoadOptions
) throws(ReadFailure) -> LoadedWorkflow {
  try refuseReplay(options)
  let reader = try TaskListReader.read(list: bytes, path: path, options: options)
  return LoadedWorkflow(workflow: reader.workflow, format: .tasklist)
}

private func refuseReplay(_ options: LoadOptions) throws(ReadFailure) {
  guard options.mode == .replay else { return }
  throw ReadFailure(
    "", "only a recorded WfFormat instance can be replayed; run this workflow without --replay")
}
