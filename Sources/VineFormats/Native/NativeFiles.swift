// `files` of a native description.

import FoundationEssentials
import VineCore

extension NativeReader {
  private static let sourceKeys = [
    "path", "url", "buffer", "buffer64", "temp", "mini_task", "untar",
  ]
  private static let fileKeys =
    sourceKeys + ["directory", "cache", "size", "sha256", "pack"]

  mutating func readFiles(of object: JSONObject) throws {
    guard object.contains("files") else { return }
    let members = try object.object("files")
    let keys = members.allKeys.map(\.stringValue).sorted()
    workflow.reserveCapacity(tasks: 0, files: keys.count)
    for key in keys { try readFile(key, members.object(AnyKey(key)), extraKeys: []) }
  }

  mutating func readFile(_ id: String, _ object: JSONObject, extraKeys: [String]) throws {
    checkKeys(
      of: object, known: extraKeys.isEmpty ? Self.fileKeys : Self.fileKeys + extraKeys,
      kind: "a file")
    guard !id.isEmpty, isUsable(id) else {
      problems.add(at(object), id.isEmpty ? "the id of a file is empty" : problem(with: id))
      return
    }
    let sources = Self.sourceKeys.filter { object.contains(AnyKey($0)) }
    guard sources.count == 1 else {
      problems.add(
        at(object),
        sources.isEmpty
          ? "a file needs one of \(Self.sourceKeys.joined(separator: ", "))"
          : "a file has only one of \(sources.joined(separator: " and "))")
      return
    }
    var isDirectory = try flag(object, "directory") ?? false
    let size = try integer(object, "size", in: 0...(1 << 53))
    let lifetime = try lifetime(object)
    try checkDigest(object)
    let content = try content(object, source: sources[0])
    if isDirectory && sources[0].hasPrefix("buffer") {
      problems.add(at(object, "directory"), "a buffer is a file, not a directory")
    }
    var isPack = false
    if try flag(object, "pack") ?? false {
      let isArchive = content.bytes.suffix(4).elementsEqual(".tar".utf8)
      if sources[0] != "path" || !isArchive {
        problems.add(at(object, "pack"), "only a `path` that ends in .tar can be packed")
      }
      isPack = true
    }
    if sources[0] == "url" && isDirectory {
      problems.add(
        at(object, "directory"), "a URL gives a file; `untar` another file to get a directory")
    }
    if sources[0] == "untar" {
      if object.contains("directory") && !isDirectory {
        problems.add(at(object, "directory"), "an archive becomes a directory")
      }
      isDirectory = true
    }
    append(
      id, content: content, isDirectory: isDirectory, size: size, lifetime: lifetime,
      object: object)
    if isPack, let file = workflow.fileID(named: id) { packFiles.insert(file) }
    if ["url", "untar", "mini_task"].contains(sources[0]) {
      try readDerivation(of: id, object, kind: sources[0])
    }
  }

  private mutating func append(
    _ id: String, content: FileContent, isDirectory: Bool, size: Int?, lifetime: CacheLifetime,
    object: JSONObject
  ) {
    do throws(WorkflowConflict) {
      try workflow.appendFile(
        id: id, kind: content.kind, content: content.bytes, lifetime: lifetime,
        isDirectory: isDirectory, byteCountHint: Int64(size ?? content.byteCount))
    } catch {
      let isImplied = workflow.fileID(named: id).map { impliedFiles.contains($0) } ?? false
      problems.add(
        at(object),
        isImplied
          ? "the file \(quoted(id)) is declared after a task that uses it; put it before the tasks"
          : "the file \(quoted(id)) is declared twice")
    }
  }

  private struct FileContent {
    var kind: FileKind
    var bytes: [UInt8] = []
    /// The size as far as the description tells; -1 when it does not.
    var byteCount = -1
  }

  private mutating func content(_ object: JSONObject, source: String) throws -> FileContent {
    switch source {
    case "path":
      let path = try nonEmptyText(object, "path", "the path") ?? ""
      return FileContent(kind: .path, bytes: Array(absolutePath(path, base: base).utf8))
    case "buffer":
      let text = try object.decode(String.self, forKey: "buffer")
      return buffer(Array(text.utf8), place: at(object, "buffer"))
    case "buffer64":
      let text = try object.decode(String.self, forKey: "buffer64")
      guard let data = Data(base64Encoded: text) else {
        problems.add(at(object, "buffer64"), "this is not base64 text")
        return FileContent(kind: .buffer)
      }
      return buffer(Array(data), place: at(object, "buffer64"))
    case "url":
      let url = try text(object, "url") ?? ""
      let scheme = url.utf8.prefix { $0 != UInt8(ascii: ":") }
      if !["http", "https", "ftp", "file"].contains(String(scheme) ?? "")
        || !url.utf8.dropFirst(scheme.count).starts(with: "://".utf8)
      {
        problems.add(
          at(object, "url"), "\(quoted(url)) is not an http, https, ftp or file URL")
      }
      return FileContent(kind: .derived)
    case "temp":
      if try !object.decode(Bool.self, forKey: "temp") {
        problems.add(at(object, "temp"), "`temp` is true or absent")
      }
      return FileContent(kind: .temp)
    default:
      return FileContent(kind: .derived)
    }
  }

  private mutating func buffer(_ bytes: [UInt8], place: String) -> FileContent {
    guard bytes.count < Limits.textByteCountMax else {
      problems.add(
        place,
        "the buffer has \(bytes.count) bytes; at most \(Limits.textByteCountMax - 1) are "
          + "allowed: put it into a file and give its `path`")
      return FileContent(kind: .buffer)
    }
    return FileContent(kind: .buffer, bytes: bytes, byteCount: bytes.count)
  }

  private mutating func lifetime(_ object: JSONObject) throws -> CacheLifetime {
    switch try word(object, "cache", among: ["task", "workflow", "worker", "forever"]) {
    case "task": return .task
    case "worker": return .worker
    case "forever": return .forever
    default: return .workflow
    }
  }

  private mutating func checkDigest(_ object: JSONObject) throws {
    guard let digest = try text(object, "sha256") else { return }
    let isHex = digest.utf8.allSatisfy { byte in
      UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || UInt8(ascii: "a")...UInt8(ascii: "f") ~= byte
    }
    if digest.utf8.count != 64 || !isHex {
      problems.add(at(object, "sha256"), "a SHA-256 digest has 64 digits from 0-9 and a-f")
    }
    if !object.contains("url") {
      problems.add(at(object, "sha256"), "only a `url` file has a digest to compare with")
    }
  }

  /// The file of an id; one that nobody declared is a path relative to the description.
  mutating func file(named id: String, place: @autoclosure () -> String) -> FileID? {
    if let known = workflow.fileID(named: id) { return known }
    guard !id.isEmpty, isUsable(id) else {
      problems.add(place(), id.isEmpty ? "the id of a file is empty" : problem(with: id))
      return nil
    }
    if strictFiles {
      problems.add(
        place(), "the file \(quoted(id)) is not declared in `files` (policy.strict_files)",
        suggestion: suggestion(
          for: id, among: workflow.files.ids.lazy.map { [workflow] in workflow.name(of: $0) }))
      return nil
    }
    guard
      let file = try? workflow.appendFile(
        id: id, kind: .path, location: absolutePath(id, base: base))
    else { return nil }
    impliedFiles.append(file)
    return file
  }
}
