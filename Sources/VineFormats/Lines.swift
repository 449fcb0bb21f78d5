// Lines of a large text, found without copies of them.

import FoundationEssentials

/// Where the lines are, counted from the first byte, without their newlines; a last line without
/// newline counts, an empty rest does not.
func lineRanges(of text: Data) -> [Range<Int>] {
  text.withUnsafeBytes { bytes in
    var ranges: [Range<Int>] = []
    var start = 0
    for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") {
      ranges.append(start..<index)
      start = index + 1
    }
    if start < bytes.count { ranges.append(start..<bytes.count) }
    return ranges
  }
}
