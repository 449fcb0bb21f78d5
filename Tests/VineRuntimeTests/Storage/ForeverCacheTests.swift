// What nodes keep beyond runs.

import Glibc
import Testing
import VineCore

@testable import VineRuntime

struct ForeverCacheTests {
  private let key = ContentHash(words: (1, 2, 3, 4))

  private func entry(isDirectory: Bool = false) -> ForeverEntry {
    ForeverEntry(
      content: "", byteCount: 0, isDirectory: isDirectory, kind: "path", name: "/shared/x",
      run: "run")
  }

  private func isFound(_ recall: ForeverCache.Recall) -> Bool {
    if case .found = recall { return true }
    return false
  }

  @Test func whatIsKeptComesBackWithItsModeAndSurvivesRemoval() throws {
    let directory = try TemporaryDirectory()
    let cache = try ForeverCache.open(below: directory.path)
    try directory.write("#!", to: "source", mode: 0o755)
    #expect(cache.store("\(directory.path)/source", as: key, entry()) == 0)
    // Once more is no error.
    #expect(cache.store("\(directory.path)/source", as: key, entry()) == 0)
    #expect(isFound(cache.recall(key, to: "\(directory.path)/out")))
    FileTree.remove(cache.path)
    #expect(try directory.read("out") == "#!")
    var info = stat()
    stat("\(directory.path)/out", &info)
    #expect(info.st_mode & 0o777 == 0o755)
  }

  @Test func aChangedByteIsNeverGivenOut() throws {
    let directory = try TemporaryDirectory()
    let cache = try ForeverCache.open(below: directory.path)
    try directory.write("right", to: "source")
    #expect(cache.store("\(directory.path)/source", as: key, entry()) == 0)
    // The same inode: as a task would change it.
    try directory.write("wrong", to: "source")
    guard case .damaged(let found) = cache.recall(key, to: "\(directory.path)/out") else {
      Issue.record("damage is not noticed")
      return
    }
    #expect(found.name == "/shared/x")
    #expect(access("\(directory.path)/out", F_OK) != 0)
    guard case .missing = cache.recall(key, to: "\(directory.path)/out") else {
      Issue.record("what is damaged stays")
      return
    }
  }

  @Test func treesAreComparedInAllTheirParts() throws {
    for change in ["content", "mode", "name", "link", "more"] {
      let directory = try TemporaryDirectory()
      let cache = try ForeverCache.open(below: directory.path)
      let tree = "\(directory.path)/tree"
      #expect(FileTree.makeDirectories("\(tree)/sub") == 0)
      try directory.write("1", to: "tree/sub/one")
      symlink("sub/one", "\(tree)/link")
      #expect(cache.store(tree, as: key, entry(isDirectory: true)) == 0)
      #expect(isFound(cache.recall(key, to: "\(directory.path)/good")))
      let content = try #require(FileTree.entries(of: cache.data).entries.first?.name)
      let kept = "\(cache.data)/\(content)"
      switch change {
      case "content": try directory.write("2", to: "forever/data/\(content)/sub/one")
      case "mode": chmod("\(kept)/sub/one", 0o600)
      case "name": rename("\(kept)/sub/one", "\(kept)/sub/two")
      case "link":
        unlink("\(kept)/link")
        symlink("sub/two", "\(kept)/link")
      default: mkdir("\(kept)/empty", 0o755)
      }
      #expect(!isFound(cache.recall(key, to: "\(directory.path)/bad")), "\(change)")
      #expect(access("\(directory.path)/bad", F_OK) != 0)
    }
  }

  @Test func anEntryThatIsNotOursIsNone() throws {
    let directory = try TemporaryDirectory()
    let cache = try ForeverCache.open(below: directory.path)
    #expect(access(cache.path, F_OK) != 0, "nothing is kept, so nothing is made")
    #expect(FileTree.makeDirectories(cache.keys) == 0)
    let text =
      #"{"byteCount": 1, "content": "../../etc/passwd", "isDirectory": false, "kind": "", "#
      + #""name": "", "run": ""}"#
    try directory.write(text, to: "forever/keys/\(key.text)")
    #expect(cache.entry(key.text) == nil)
  }

  @Test func theLastAnswerOfAServerCounts() {
    let headers =
      "HTTP/1.1 302 Found\r\nETag: \"a\"\r\n\r\nHTTP/1.1 200 OK\r\nlast-modified: Mon\r\n\r\n"
    let answer = Download.parse(headers: Array(headers.utf8))
    #expect(answer.status == 200)
    #expect(answer.validators == Download.Validators(etag: nil, lastModified: "Mon"))
    #expect(Download.parse(headers: []).status == 0)
  }
}
