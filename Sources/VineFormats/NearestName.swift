// Finds the known name that a misspelt one was probably meant to be.

/// The candidate with the fewest edits (insertions, deletions, substitutions, swaps of neighbours)
/// to `name`, if they are few for its length; the first of several equal ones.
func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
  let wanted = Array(name.utf8.prefix(200))
  let editsMax = max(1, min(3, wanted.count / 3))
  var best: (name: String, edits: Int)?
  for candidate in candidates {
    let limit = best.map { $0.edits - 1 } ?? editsMax
    guard limit >= 0, abs(candidate.utf8.count - wanted.count) <= limit else { continue }
    let edits = editCount(wanted, Array(candidate.utf8))
    if edits <= limit && edits < candidate.utf8.count { best = (candidate, edits) }
  }
  return best?.name
}

/// The optimal string alignment distance.
private func editCount(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var beforeLast: [Int] = []
  var last = Array(0...right.count)
  for (row, byte) in left.enumerated() {
    var current = [row + 1]
    current.reserveCapacity(right.count + 1)
    for (column, other) in right.enumerated() {
      var edits = min(
        last[column + 1] + 1, current[column] + 1, last[column] + (byte == other ? 0 : 1))
      if row > 0 && column > 0 && byte == right[column - 1] && left[row - 1] == other {
        edits = min(edits, beforeLast[column - 1] + 1)
      }
      current.append(edits)
    }
    beforeLast = last
    last = current
  }
  return last[right.count]
}
