// Names for what is kept beyond the end of a run: they say what a file is, so that the next run finds it
// whatever its id is there. A file on the shared file system is known by its state, so that it need not
// be read again to be known.

internal import Crypto
internal import Glibc
internal import VineCore

/// How a file is found in the caches of nodes.
struct ForeverKey {
  let hash: ContentHash
  /// path, buffer, url, untar or mini_task; and the path, the URL or the id.
  let kind: String
  let name: String
  /// A download without a digest: only the server knows whether it is still the same.
  var isConditional = false
}

struct ForeverKeys {
  private(set) var rows: [FileID: ForeverKey] = [:]

  /// Of all files with that lifetime that a task reads and none makes.
  init(_ workflow: borrowing Workflow) {
    for file in workflow.files.ids {
      let row = workflow.files[file]
      guard row.lifetime == .forever, row.producer == .none, row.firstConsumer != .max,
        let hash = Self.hash(of: file, in: workflow)
      else { continue }
      var key = ForeverKey(hash: hash, kind: "path", name: workflow.locationText(file))
      if row.kind == .buffer { key = ForeverKey(hash: hash, kind: "buffer", name: key.name) }
      if let derivation = workflow.derivation(of: file) {
        let kinds: [DerivationKind: String] = [
          .url: "url", .untar: "untar", .miniTask: "mini_task",
        ]
        let name =
          derivation.kind == .url ? workflow.text.string(derivation.command) : key.name
        key = ForeverKey(
          hash: hash, kind: kinds[derivation.kind] ?? "", name: name,
          isConditional: derivation.kind == .url && derivation.digest.isEmpty)
      }
      rows[file] = key
    }
  }

  /// What a file is; nil where that cannot be said before it is there: what a task makes, and what is
  /// made of that or of a download without a digest.
  private static func hash(
    of file: FileID, in workflow: borrowing Workflow, isInput: Bool = false
  ) -> ContentHash? {
    let row = workflow.files[file]
    var writer = WireWriter()
    writer.put("vine-forever-1")
    switch row.kind {
    case .temp: return nil
    case .buffer:
      writer.put("buffer")
      writer.put(bytes: workflow.text.slice(row.location))
    case .path:
      if row.producer != .none { return nil }
      writer.put("path")
      guard put(stateOf: workflow.text.string(row.location), to: &writer) else { return nil }
    case .derived:
      guard let derivation = workflow.derivation(of: file) else { return nil }
      if derivation.kind == .url {
        if isInput && derivation.digest.isEmpty { return nil }
        writer.put("url")
        writer.put(
          bytes: workflow.text.slice(
            derivation.digest.isEmpty ? derivation.command : derivation.digest))
        break
      }
      writer.put("derived")
      put(derivation, of: row, in: workflow, to: &writer)
      for input in derivation.inputs {
        guard let hash = hash(of: input.file, in: workflow, isInput: true) else { return nil }
        writer.put(bytes: workflow.text.slice(input.name))
        writer.put(bytes: hash.bytes)
      }
    }
    return SHA256.hash(data: writer.bytes).withUnsafeBytes { ContentHash($0) }
  }

  private static func put(
    _ derivation: DerivationSpec, of row: FileSpec, in workflow: borrowing Workflow,
    to writer: inout WireWriter
  ) {
    writer.put(derivation.kind.rawValue)
    writer.put(derivation.commandKind.rawValue)
    writer.put(row.isDirectory)
    let command = derivation.kind == .untar ? TextRef.empty : derivation.command
    for text in [command, derivation.environment, derivation.version, derivation.outputName] {
      writer.put(bytes: workflow.text.slice(text))
    }
  }

  /// Path, size, time and inode of a file, or of all in a tree; false when nothing is there.
  private static func put(stateOf path: String, to writer: inout WireWriter) -> Bool {
    var info = stat()
    guard stat(path, &info) == 0 else { return false }
    writer.put(path)
    writer.put(UInt64(info.st_ino))
    writer.put(UInt32(info.st_mode))
    if info.st_mode & S_IFMT == S_IFDIR {
      for entry in FileTree.entries(of: path).entries {
        let inner = "\(path)/\(entry.name)"
        var link = stat()
        guard lstat(inner, &link) == 0 else { return false }
        if link.st_mode & S_IFMT == S_IFLNK {
          writer.put(inner)
          writer.put(UInt64(link.st_ino))
        } else if !put(stateOf: inner, to: &writer) {
          return false
        }
      }
      return true
    }
    writer.put(Int64(info.st_size))
    writer.put(Int64(info.st_mtim.tv_sec))
    writer.put(Int64(info.st_mtim.tv_nsec))
    return true
  }
}
