// A recorded workflow as one that can run: every task becomes a vine-replay process with a
// manifest. File ids of recordings are any text, absolute paths and URLs among them, so no id is
// ever used as a path; files are numbered instead.

package import VineCore
package import VineReplayContent

/// How a recorded workflow is played.
package struct ReplayOptions: Sendable {
  package var timeScale = 1.0
  package var bytesScale = 1.0
  package var byteCountMax = 1 << 40
  /// The absolute path of vine-replay.
  package var replayProgram = "vine-replay"
  /// Absolute directories for files nobody makes and for files nobody needs.
  package var sourceDirectory: String
  package var finalDirectory: String
  /// Burn the processor instead of sleeping.
  package var spins = false
  /// Ask for the recorded cores; otherwise for one.
  package var usesCores = false

  package init(sourceDirectory: String, finalDirectory: String) {
    self.sourceDirectory = sourceDirectory
    self.finalDirectory = finalDirectory
  }
}

extension RecordedWorkflow {
  private static let manifestName = "manifest"

  /// The workflow to run. A file's id stays the recorded one; where it is on disk is its location.
  /// Refuses, under the name `path`, what has no one content: files updated in place.
  package func replayWorkflow(
    path: String, _ options: ReplayOptions
  ) throws(WorkflowError) -> Workflow {
    var problems = ProblemList()
    if !(options.timeScale >= 0 && options.timeScale <= 1e6) {
      problems.add("", "the time scale is not a number from 0 to 1000000")
    }
    if !(options.bytesScale >= 0 && options.bytesScale <= 1e6) {
      problems.add("", "the bytes scale is not a number from 0 to 1000000")
    }
    for file in files where file.isUpdatedInPlace {
      let names = file.producers.map { quoted(tasks[$0].id) }.joined(separator: ", ")
      problems.add(
        place("workflow.files", file.id),
        "is written by several tasks (\(names)), so it has no one content to replay; "
          + "`simulate` can play this workflow")
    }
    let manifests = tasks.indices.map { manifest(of: $0, options).encoded() }
    for (index, text) in manifests.enumerated() where text.count >= Limits.textByteCountMax {
      problems.add(
        place("workflow.tasks", tasks[index].id),
        "the task has too many inputs and outputs to replay (\(text.count) bytes of names)")
    }
    if !problems.isEmpty { throw problems.error(path: path) }
    var plan = Plan()
    plan.usesCores = options.usesCores
    plan.timeScale = options.timeScale
    plan.byteCount = { self.byteCount(of: $0, options) }
    plan.location = { self.location(of: $0, options) }
    plan.bindingName = { self.sandboxName(of: $0) }
    plan.command = { index, task, draft, workflow in
      draft.commandKind = .argv
      draft.command = [options.replayProgram, Self.manifestName]
      var id = "manifest of \(task.id)"
      while workflow.fileID(named: id) != nil { id += "'" }
      let manifest = try? workflow.appendFile(
        id: id, kind: .buffer, content: manifests[index], lifetime: .task,
        byteCountHint: Int64(manifests[index].count), isInternal: true)
      if let manifest {
        draft.inputs.append(BindingDraft(manifest, name: Self.manifestName))
      }
    }
    return workflow(by: plan)
  }

  /// A file that has to exist before a replay starts.
  package struct ReplaySource: Sendable {
    package var path: String
    package var byteCount: Int
    fileprivate var id: String
  }

  /// Files that nobody makes, and the first versions of those that their only producer also reads.
  package func replaySources(_ options: ReplayOptions) -> [ReplaySource] {
    files.indices.compactMap { index in
      let file = files[index]
      let number: Int
      if file.isSource {
        number = index
      } else if file.producers.count == 1, file.consumers.contains(file.producers[0]) {
        number = files.count + index
      } else {
        return nil
      }
      return ReplaySource(
        path: location(of: number, options), byteCount: byteCount(of: file, options), id: file.id)
    }
  }

  /// Creates the sources below `options.sourceDirectory`, which must exist.
  package func writeSources(_ options: ReplayOptions) throws(ReplayFailure) {
    for source in replaySources(options) {
      try writeReplayFile(
        ReplayContent(sourceID: source.id, byteCount: source.byteCount), to: source.path)
    }
  }

  /// What the replay of a task reads and writes.
  private func manifest(of index: Int, _ options: ReplayOptions) -> ReplayManifest {
    let task = tasks[index]
    var manifest = ReplayManifest(
      taskID: task.id, microseconds: microseconds(of: task, timeScale: options.timeScale),
      spins: options.spins)
    func entry(_ file: Int, number: Int) -> ReplayManifest.File {
      ReplayManifest.File(
        id: files[file].id, sandboxName: sandboxName(of: number),
        byteCount: byteCount(of: files[file], options))
    }
    manifest.inputs = task.inputs.map { file in
      entry(file, number: files[file].producers == [index] ? files.count + file : file)
    }
    manifest.outputs = task.outputs.map { entry($0, number: $0) }
    return manifest
  }

  private func byteCount(of file: File, _ options: ReplayOptions) -> Int {
    byteCount(of: file, bytesScale: options.bytesScale, byteCountMax: options.byteCountMax)
  }

  /// `number` is the index of a file, or that plus the number of files for its version before.
  private func sandboxName(of number: Int) -> String { "f\(number)" }

  /// The number makes the name unique; what follows is for people.
  private func location(of number: Int, _ options: ReplayOptions) -> String {
    let file = files[number % files.count]
    let directory =
      number >= files.count || file.isSource ? options.sourceDirectory : options.finalDirectory
    let last = file.id.split(separator: "/").last ?? ""
    let readable = last.unicodeScalars.map { scalar in
      let isPlain =
        scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
      return isPlain || scalar == "." || scalar == "-" ? Character(scalar) : "_"
    }
    return "\(directory)/\(number)-\(String(readable.suffix(60)))"
  }
}
