// What is read back from a journal, whole, cut, damaged, fenced.

import Testing

@testable import VineCore

struct JournalReaderTests {
  /// An epoch of flushes: definitions, then single tasks done, then a group, then one more.
  private func small() -> JournalImage {
    var image = JournalImage()
    for task in 0..<4 as Range<UInt32> { image.append(definition(task)) }
    image.flush()
    for task in 0..<2 as Range<UInt32> {
      image.append(done(task))
      image.flush()
    }
    image.encoder.beginGroup()
    image.append(done(2))
    image.append(.hashed(place(2), byteCount: 10, hash: hash(2)))
    image.append(.commit(place(2), byteCount: 10, mode: 0o644, hash: hash(2), at: .objects))
    image.encoder.endGroup()
    image.flush()
    image.append(done(3))
    image.flush()
    return image
  }

  @Test func everyEntryComesBackAsItWas() {
    var image = JournalImage()
    for entry in oneOfEach { image.append(entry) }
    image.flush()
    let (entries, reading) = image.read()
    #expect(Array(entries.dropFirst()) == oneOfEach)
    #expect(reading.verdict == .clean)
    #expect(reading.tail.record == image.encoder.lastRecord)
  }

  @Test func namesOfSegmentsAreReadAsTheyAreWritten() {
    #expect(SegmentName(fileName: "12-3.vj") == SegmentName(epoch: 12, number: 3))
    for other in ["1-2", "a-1.vj", "1-.vj", "01-1.vj", "1-1-1.vj", "-1-1.vj", ".vj"] {
      #expect(SegmentName(fileName: other) == nil, "\(other)")
    }
    #expect(JournalImage.run.description == "01234567-89ab-cdef-fedc-ba9876543210")
  }

  @Test func everyPrefixGivesABeginningOfTheEntriesAndNoHalfGroup() {
    let image = small()
    let (all, _) = image.read()
    let frames = image.frames(of: 0)
    for count in 0..<image.segments[0].bytes.count {
      var cut = image
      cut.segments[0].bytes.removeLast(cut.segments[0].bytes.count - count)
      let (entries, reading) = cut.read()
      #expect(Array(all.prefix(entries.count)) == entries)
      let hasGroup = [entries.count == 1 + 4 + 2 + 1, entries.count == 1 + 4 + 2 + 2]
      #expect(!hasGroup.contains(true), "half a group at \(count)")
      if frames.contains(count), case .tornTail(let damage) = reading.verdict {
        // Between frames only a group can be cut.
        #expect(damage.frameCount <= 3)
      } else if !frames.contains(count) {
        guard case .tornTail(let damage) = reading.verdict else {
          Issue.record("\(count): \(reading.verdict)")
          continue
        }
        #expect(damage.offset + damage.byteCount == UInt64(count))
        #expect(reading.tail.byteCount == damage.offset || damage.offset == 0)
      }
    }
  }

  @Test func aFlippedBitNeverGivesAWrongEntry() {
    let image = small()
    let (all, _) = image.read()
    for offset in image.segments[0].bytes.indices {
      for bit in [0, 3, 7] {
        var flipped = image
        flipped.segments[0].bytes[offset] ^= 1 << UInt8(bit)
        let (entries, reading) = flipped.read()
        #expect(Array(all.prefix(entries.count)) == entries)
        #expect(reading.verdict != .clean, "byte \(offset)")
      }
    }
  }

  @Test func aDamagedDurableRecordIsCorruptionWithItsPlace() throws {
    let image = small()
    let frames = image.frames(of: 0)
    // The first flush has 2 frames, the second 5: this is the third definition.
    var flipped = image
    flipped.segments[0].bytes[frames[5] + 20] ^= 1
    let (_, reading) = flipped.read()
    guard case .corrupt(let damage) = reading.verdict else {
      Issue.record("\(reading.verdict)")
      return
    }
    #expect(damage.segment == SegmentName(epoch: 1, number: 0))
    #expect(damage.offset == UInt64(frames[5]))
    #expect(damage.record == 6)
    #expect(damage.syncedRecord >= 6)
  }

  @Test func damageInTheLastFlushIsATornTail() {
    var image = small()
    image.segments[0].bytes[image.segments[0].bytes.count - 3] ^= 1
    let (entries, reading) = image.read()
    guard case .tornTail(let damage) = reading.verdict else {
      Issue.record("\(reading.verdict)")
      return
    }
    #expect(entries.count == 1 + 4 + 2 + 3)
    #expect(damage.frameCount == 0)
  }

  @Test func validFramesBehindALostOneThatNobodyCallsDurableAreDropped() {
    var image = small()
    // The frame that begins the last flush; the record behind it is valid.
    let frames = image.frames(of: 0)
    image.segments[0].bytes[frames[frames.count - 3] + 20] ^= 1
    let (entries, reading) = image.read()
    guard case .tornTail(let damage) = reading.verdict else {
      Issue.record("\(reading.verdict)")
      return
    }
    #expect(entries.count == 1 + 4 + 2 + 3)
    #expect(damage.frameCount == 1)
  }

  @Test func salvagingGoesOnBehindTheDamage() {
    var image = small()
    let (all, _) = image.read()
    let frames = image.frames(of: 0)
    image.segments[0].bytes[frames[8] + 20] ^= 1
    let (entries, reading) = image.read(salvages: true)
    #expect(reading.verdict == .clean)
    #expect(reading.salvaged.count == 1)
    #expect(entries == Array(all[..<5] + all[6...]))
  }

  @Test func aMissingSegmentIsCorruption() {
    var image = small()
    for number in 1...2 as ClosedRange<UInt32> {
      image.begin(SegmentName(epoch: 1, number: number))
      image.append(
        .failed(FailedEntry(task: TaskNumber(1), attempt: 1, ending: .lost, failureCount: 0)))
      image.flush()
    }
    #expect(image.read().reading.verdict == .clean)
    var gap = image
    gap.segments.remove(at: 1)
    guard case .corrupt(let damage) = gap.read().reading.verdict else {
      Issue.record("\(gap.read().reading.verdict)")
      return
    }
    #expect(damage.segment == SegmentName(epoch: 1, number: 0))
    #expect(damage.offset == UInt64(image.segments[0].bytes.count))
    var headless = image
    headless.segments.removeFirst()
    guard case .corrupt = headless.read().reading.verdict else {
      Issue.record("a journal without its beginning was read")
      return
    }
  }

  @Test func aPoisonedSegmentEndsWhereTheNextOneBegins() {
    var image = small()
    let (all, _) = image.read()
    // The flush gets into the file, but its sync fails: it is written again elsewhere.
    let before = (image.synced, image.checksum)
    image.append(.invalidate(TaskNumber(1), attempt: 1, cause: .none))
    image.flush()
    let flush = image.segments[0].bytes.suffix(from: small().segments[0].bytes.count)
    (image.synced, image.checksum) = before
    image.begin(SegmentName(epoch: 1, number: 1))
    image.segments[1].bytes += flush
    image.segments[0].bytes.removeLast(3)
    let (entries, reading) = image.read()
    #expect(reading.verdict == .clean)
    #expect(entries.count == all.count + 1)
  }

  @Test func aSegmentInWhichNothingBecameDurableIsPassedOver() {
    var image = small()
    image.begin(SegmentName(epoch: 1, number: 1))
    image.segments[1].bytes.removeLast(9)
    image.begin(SegmentName(epoch: 1, number: 2))
    for _ in 0..<3 {
      image.append(.invalidate(TaskNumber(1), attempt: 1, cause: .none))
      image.flush()
    }
    #expect(image.read().reading.verdict == .clean)
    #expect(image.read().entries.count == 11 + 3)
  }

  @Test func whatAReplacedSessionWroteTooLateIsNotRead() {
    var image = small()
    let tail = image.read().reading.tail
    let old = image
    image.begin(epoch: 2, tail: tail)
    image.append(.published(place(2)))
    image.flush()
    let (entries, _) = image.read()
    // The old one goes on, in its segment and in a new one.
    var late = old
    late.append(.invalidate(TaskNumber(2), attempt: 1, cause: .none))
    late.flush()
    image.segments[0] = late.segments[0]
    late.begin(SegmentName(epoch: 1, number: 1))
    late.append(.invalidate(TaskNumber(3), attempt: 1, cause: .none))
    late.flush()
    image.segments.append(late.segments[1])
    let (after, reading) = image.read()
    #expect(after == entries)
    #expect(reading.verdict == .clean)
  }

  @Test func aSessionGoesOnBehindATornTail() {
    var image = small()
    image.segments[0].bytes.removeLast(2)
    let (entries, reading) = image.read()
    image.begin(epoch: 2, tail: reading.tail)
    image.append(done(3))
    image.flush()
    let (after, again) = image.read()
    #expect(again.verdict == .clean)
    #expect(Array(after.prefix(entries.count)) == entries)
    #expect(after.count == entries.count + 2)
  }

  @Test func otherRunsAndOtherFormatsAreToldApartFromDamage() {
    var image = small()
    let name = SegmentName(epoch: 1, number: 1)
    var other = image
    let header = SegmentHeader(
      run: RunIdentity(high: 1, low: 2), name: name, previousRecord: image.synced,
      previousChecksum: image.checksum)
    other.segments.append((name, header.bytes))
    #expect(
      other.read().reading.verdict
        == .foreign(name, run: RunIdentity(high: 1, low: 2), expected: JournalImage.run))
    // A format of the future keeps the layout of the header.
    var bytes = Array(image.segments[0].bytes)
    bytes[8] = 7
    let checksum = bytes[..<48].withUnsafeBytes { crc32c($0) }
    for place in 0..<4 { bytes[48 + place] = UInt8(truncatingIfNeeded: checksum >> (8 * place)) }
    image.segments[0].bytes = bytes
    #expect(
      image.read().reading.verdict
        == .otherFormat(SegmentName(epoch: 1, number: 0), format: 7))
  }

  @Test func readingBeginsAtTheNewestWholeSnapshot() {
    var image = small()
    var prior = PriorRun()
    for entry in image.read().entries { prior.apply(entry) }
    image.begin(epoch: 2, tail: image.read().reading.tail)
    prior.apply(image.read().entries[10 + 1])
    image.encoder.beginSnapshot()
    var count = 0
    prior.snapshotEntries { entry in
      image.append(entry)
      count += 1
    }
    image.flush()
    let cut = image
    image.encoder.endSnapshot()
    image.append(.published(place(1)))
    image.flush()
    let (entries, reading) = image.read()
    #expect(reading.verdict == .clean)
    #expect(entries.count == 1 + count + 1)
    // From the beginning a snapshot says nothing new.
    let (all, _) = image.read(fromBeginning: true)
    #expect(all.count == 11 + 1 + 1)
    // Without its end it counts for nothing.
    let (old, again) = cut.read()
    #expect(old.count == 11 + 1)
    #expect(again.verdict == .clean)
    // The segments before it may be gone.
    image.segments.removeFirst()
    #expect(image.read().entries == entries)
  }
}
