// The contents of replayed files. They are chained: a file's bytes follow from its task, its name
// and the digests of all the task's inputs, so the digests of the final files prove that every
// task saw the right bytes.
//
//   content(file) = the first byteCount bytes of B0 B1 B2 ...
//   Bk            = SHA-256(seed || k as 8 bytes, little endian)
//   seed(file)    = SHA-256 of UTF-8 lines, each ended by a newline:
//     a source file: "source", its id
//     a made file:   the task's id, the file's id, then for every input in byte order of its id:
//                    the input's id, its digest in hexadecimal

package import Crypto

/// Makes the bytes of one file, block after block.
package struct ReplayContent {
  private let seed: SHA256.Digest
  private var block: UInt64 = 0
  private var remaining: Int

  /// The content of a file nobody makes.
  package init(sourceID: String, byteCount: Int) {
    self.init(lines: ["source", sourceID], byteCount: byteCount)
  }

  /// The content of a file made by a task from inputs with these digests.
  package init(
    taskID: String, fileID: String, inputs: [(id: String, digest: String)], byteCount: Int
  ) {
    let sorted = inputs.sorted { $0.id.utf8.lexicographicallyPrecedes($1.id.utf8) }
    self.init(
      lines: [taskID, fileID] + sorted.flatMap { [$0.id, $0.digest] }, byteCount: byteCount)
  }

  private init(lines: [String], byteCount: Int) {
    var hash = SHA256()
    for line in lines {
      hash.update(data: Array(line.utf8))
      hash.update(data: [0x0A])
    }
    seed = hash.finalize()
    remaining = byteCount
  }

  /// The next part, at most `byteCountMax` bytes (at least 32); empty at the end.
  package mutating func next(byteCountMax: Int) -> [UInt8] {
    let wanted = min(remaining, max(32, byteCountMax - byteCountMax % 32))
    var part: [UInt8] = []
    part.reserveCapacity(wanted + 32)
    var input = seed.withUnsafeBytes { Array($0) } + Array(repeating: 0, count: 8)
    while part.count < wanted {
      for byte in 0..<8 { input[32 + byte] = UInt8(truncatingIfNeeded: block >> (8 * byte)) }
      SHA256.hash(data: input).withUnsafeBytes { part.append(contentsOf: $0) }
      block += 1
    }
    part.removeLast(part.count - wanted)
    remaining -= wanted
    return part
  }
}

/// 64 digits.
package func hexadecimal(_ digest: SHA256.Digest) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = []
  for byte in digest {
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}
