// Made-up workflows of any size, to measure with.

package import VineCore

/// `taskCount` independent tasks of one second, each reading `inputCount` files: its own, or the
/// same for all.
package func syntheticWorkflow(
  taskCount: Int, inputCount: Int, sharesInputs: Bool = false
) -> Workflow {
  var workflow = Workflow()
  workflow.reserveCapacity(tasks: taskCount, files: taskCount * inputCount)
  for index in 0..<taskCount {
    var draft = TaskDraft(id: "task-\(index)")
    draft.estimateMicroseconds = 1_000_000
    draft.commandKind = .argv
    draft.command = ["/bin/true"]
    do {
      for input in 0..<inputCount {
        if sharesInputs && index > 0 {
          draft.inputs.append(BindingDraft(FileID(index: input)))
          continue
        }
        draft.inputs.append(
          BindingDraft(
            try workflow.appendFile(
              id: "file-\(index)-\(input)", kind: .path, byteCountHint: 1_000)))
      }
      try workflow.appendTask(draft)
    } catch {
      invariant(false, "names are numbered")
    }
  }
  return workflow
}
