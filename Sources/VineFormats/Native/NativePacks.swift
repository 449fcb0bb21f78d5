// Packed outputs: small files of many tasks that end up in one archive, and members of archives as
// inputs. Both are said with what the tables have already: each member is a temporary file, one more
// task packs them all, and an archive is unpacked once on a node that reads members of it.

import FoundationEssentials
import VineCore

/// What tasks put into one archive, in the order of the description.
struct PackDraft {
  var members: [(file: FileID, name: String)] = []
}

extension NativeReader {
  /// The temporary file behind an output of the current task that goes into an archive.
  mutating func packMember(
    of pack: FileID, _ id: String, as name: String?, member: String?, usesSandbox: Bool,
    place: @autoclosure () -> String
  ) -> BindingDraft? {
    let inSandbox = name ?? taskID
    let inArchive = member ?? name.map { "\(taskID)/\($0)" } ?? taskID
    if !usesSandbox {
      problems.add(place(), "a task without sandbox cannot put files into an archive")
      return nil
    }
    for text in [inSandbox, inArchive] {
      if let wrong = sandboxNameProblem(text) {
        problems.add(place(), "\(wrong); `as` is what the task writes, `member` its name in \(id)")
        return nil
      }
    }
    guard let file = try? workflow.appendFile(id: "\(id)//\(inArchive)", kind: .temp) else {
      problems.add(place(), "the archive \(quoted(id)) has a member \(quoted(inArchive)) already")
      return nil
    }
    hasSpecialNames = true
    packs[pack, default: PackDraft()].members.append((file, inArchive))
    return BindingDraft(file, name: inSandbox)
  }

  /// The tree of an archive, of which a task reads a member.
  mutating func unpacked(
    _ pack: FileID, _ id: String, place: @autoclosure () -> String
  ) -> FileID? {
    guard packFiles.contains(pack) else {
      problems.add(
        place(), "`member` is for a file with \"pack\": true, and \(quoted(id)) has none")
      return nil
    }
    let name = "\(id)//"
    if let known = workflow.fileID(named: name) { return known }
    guard
      let file = try? workflow.appendFile(
        id: name, kind: .derived, lifetime: workflow.files[pack].lifetime, isDirectory: true)
    else { return nil }
    var draft = DerivationDraft(.untar)
    draft.outputName = "tree"
    draft.commandKind = .shell
    draft.command = [id]
    draft.inputs = [BindingDraft(pack, name: "archive")]
    workflow.setDerivation(of: file, draft)
    return file
  }

  /// One task per archive that packs what others made.
  mutating func appendPackTasks() {
    for pack in packs.keys.sorted() {
      guard let members = packs[pack]?.members else { continue }
      let id = workflow.name(of: pack)
      var names: [UInt8] = []
      for member in members { names += Array(member.name.utf8) + [0] }
      guard names.count < Limits.textByteCountMax,
        let list = try? workflow.appendFile(
          id: "\(id)//names", kind: .buffer, content: names, isInternal: true)
      else {
        problems.add(place("files", id), "the names of its members have \(names.count) bytes")
        continue
      }
      var draft = TaskDraft(id: "pack \(id)")
      draft.commandKind = .argv
      draft.command = ["/proc/self/exe", "pack", "names", "members", "archive"]
      draft.inputs = [BindingDraft(list, name: "names")]
      for (index, member) in members.enumerated() {
        draft.inputs.append(BindingDraft(member.file, name: "members/\(index)"))
      }
      draft.outputs = [BindingDraft(pack, name: "archive")]
      draft.isDeterministic = true
      if (try? workflow.appendTask(draft)) == nil {
        problems.add(
          "tasks", "the id \(quoted(draft.id)) is that of the task that packs files.\(id)")
      }
    }
    packs = [:]
  }
}
