// What a run's directory on a node says of itself, in `SCRATCH/vine-mpi-UID/TOKEN/record`: by this, and
// not by ranks or the names of hosts, a later session of the run knows it again.

internal import Crypto
internal import FoundationEssentials
internal import Glibc
internal import VineCore

struct CacheRecord: Codable, Equatable, Sendable {
  static let fileName = "record"
  /// A directory that is kept for a session that never came is removed after a day.
  static let keptSeconds = 86_400

  /// The run's identity, as in its journal.
  var run: String
  /// The last part of the run's directory, for people.
  var name: String
  /// Which session of the run.
  var epoch: UInt32
  /// Of the files of the description: the names in the cache count them.
  var files: String
  /// Whether the directory outlives a session that dies.
  var isKept: Bool

  /// What the directory at `path` says; nil when it says nothing that can be understood.
  static func read(in path: String) -> CacheRecord? {
    guard let bytes = try? readFile("\(path)/\(fileName)") else { return nil }
    return try? JSONDecoder().decode(CacheRecord.self, from: Data(bytes))
  }

  func write(in path: String) throws(RuntimeError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let text = try? encoder.encode(self) else { return }
    try replaceFile(
      "\(path)/\(Self.fileName)", with: String(decoding: text, as: UTF8.self) + "\n")
  }

  /// Whether the directory at `path` waits for a session that may still come, `now` in seconds since
  /// 1970.
  static func isWaiting(_ path: String, at now: Int) -> Bool {
    guard let record = read(in: path), record.isKept else { return false }
    var info = stat()
    guard lstat("\(path)/\(fileName)", &info) == 0 else { return false }
    return now - info.st_mtim.tv_sec < keptSeconds
  }

  /// A digest of the ids of all files in their order: two descriptions with the same one call the same
  /// file by the same number.
  static func digest(ofFilesOf workflow: borrowing Workflow) -> String {
    var hash = SHA256()
    var bytes = WireWriter()
    for row in workflow.files.rows {
      bytes.put(bytes: workflow.text.slice(row.id))
      if bytes.count > 1 << 16 { hash.update(data: bytes.takeBytes()) }
    }
    hash.update(data: bytes.takeBytes())
    return (ContentHash(Array(hash.finalize())) ?? .unknown).text
  }
}
