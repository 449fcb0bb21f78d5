// Many flags in little room.

/// A fixed number of bits, all off at first.
package struct BitArray: Sendable {
  private var words: [UInt64]

  package init(count: Int) { words = Array(repeating: 0, count: (count + 63) / 64) }

  package subscript(place: Int) -> Bool {
    get { words[place >> 6] & (1 << UInt64(place & 63)) != 0 }
    set {
      if newValue {
        words[place >> 6] |= 1 << UInt64(place & 63)
      } else {
        words[place >> 6] &= ~(1 << UInt64(place & 63))
      }
    }
  }
}
