// All text of a workflow in one allocation. A million tasks would otherwise be millions of
// `String`s; here a name costs its bytes and an eight-byte reference.

/// Where a text lies in its arena: 40 bits of offset, 24 bits of length.
package struct TextRef: Hashable, Sendable {
  package let bits: UInt64
  package init(offset: Int, byteCount: Int) {
    bits = UInt64(offset) << 24 | UInt64(byteCount)
  }
  package var offset: Int { Int(bits >> 24) }
  package var byteCount: Int { Int(bits & 0xFF_FFFF) }
  package var isEmpty: Bool { byteCount == 0 }
  package static let empty = TextRef(offset: 0, byteCount: 0)
}

/// Append-only bytes with references into them.
package struct TextArena: Sendable {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  /// Appends UTF-8 text. `text` must be shorter than `Limits.textByteCountMax`; readers check.
  package mutating func append(_ text: String) -> TextRef {
    let start = bytes.count
    bytes.append(contentsOf: text.utf8)
    return reference(from: start)
  }

  package mutating func append(bytes more: some Collection<UInt8>) -> TextRef {
    let start = bytes.count
    bytes.append(contentsOf: more)
    return reference(from: start)
  }

  /// Appends texts one after another, each ended by a NUL byte (which none may contain).
  package mutating func append(list: [String]) -> TextRef {
    let start = bytes.count
    for item in list {
      bytes.append(contentsOf: item.utf8)
      bytes.append(0)
    }
    return reference(from: start)
  }

  package func slice(_ ref: TextRef) -> ArraySlice<UInt8> {
    bytes[ref.offset..<ref.offset + ref.byteCount]
  }

  package func string(_ ref: TextRef) -> String { String(decoding: slice(ref), as: UTF8.self) }

  /// The texts of a reference made by `append(list:)`.
  package func list(_ ref: TextRef) -> [String] {
    var items: [String] = []
    var start = ref.offset
    let end = ref.offset + ref.byteCount
    for index in start..<end where bytes[index] == 0 {
      items.append(String(decoding: bytes[start..<index], as: UTF8.self))
      start = index + 1
    }
    return items
  }

  private func reference(from start: Int) -> TextRef {
    invariant(bytes.count - start <= Limits.textByteCountMax, "a text longer than its limit")
    return bytes.count == start
      ? .empty : TextRef(offset: start, byteCount: bytes.count - start)
  }
}

/// Finds rows by the text of their name: open addressing over row numbers, 8 bytes a row, where a
/// dictionary of `String` takes ten times that.
package struct TextIndex: Sendable {
  private var slots: [UInt32] = Array(repeating: .max, count: 16)
  private var count = 0

  package init() {}

  /// The row named `text`, where `name` gives the text of a row.
  package func find(_ text: String, in arena: TextArena, name: (Int) -> TextRef) -> Int? {
    let slot = locate(Array(text.utf8)[...], in: arena, name: name)
    return slots[slot] == .max ? nil : Int(slots[slot])
  }

  /// Enters `row` under its name; false when another row has that name already.
  package mutating func insert(_ row: Int, in arena: TextArena, name: (Int) -> TextRef) -> Bool {
    if (count + 1) * 4 > slots.count * 3 { grow(in: arena, name: name) }
    let slot = locate(arena.slice(name(row)), in: arena, name: name)
    guard slots[slot] == .max else { return false }
    slots[slot] = UInt32(row)
    count += 1
    return true
  }

  private func locate(
    _ text: ArraySlice<UInt8>, in arena: TextArena, name: (Int) -> TextRef
  ) -> Int {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: Self.hash(text)) & mask
    while slots[slot] != .max {
      let other = name(Int(slots[slot]))
      if other.byteCount == text.count && arena.slice(other).elementsEqual(text) { return slot }
      slot = (slot + 1) & mask
    }
    return slot
  }

  private mutating func grow(in arena: TextArena, name: (Int) -> TextRef) {
    let old = slots
    slots = Array(repeating: .max, count: old.count * 2)
    let mask = slots.count - 1
    for row in old where row != .max {
      var slot = Int(truncatingIfNeeded: Self.hash(arena.slice(name(Int(row))))) & mask
      while slots[slot] != .max { slot = (slot + 1) & mask }
      slots[slot] = row
    }
  }

  /// FNV-1a with a final mix: the same in every process, unlike `Hasher`.
  private static func hash(_ text: ArraySlice<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    hash ^= hash >> 32
    return hash &* 0x9e37_79b9_7f4a_7c15 >> 16
  }
}
