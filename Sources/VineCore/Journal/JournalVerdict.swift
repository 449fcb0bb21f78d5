// What a reading of the journal came to.

/// A place where the journal does not read on.
package struct JournalDamage: Equatable, Sendable {
  package var segment: SegmentName
  /// Bytes before it in the segment.
  package var offset: UInt64
  /// The record expected there.
  package var record: UInt64
  /// Bytes from there on, in all segments, that are not read.
  package var byteCount: UInt64
  /// Whole frames among them.
  package var frameCount: UInt64
  /// A record up to which all is known to have been durable: 0 when nobody says so.
  package var syncedRecord: UInt64

  /// Bytes that had been durable are gone: not the work of a crash.
  package var isCorruption: Bool { syncedRecord >= record }
}

/// How the journal ends.
package enum JournalVerdict: Equatable, Sendable {
  case clean
  /// A crash cut off what nobody was told to be durable.
  case tornTail(JournalDamage)
  /// What had been durable does not read any more.
  case corrupt(JournalDamage)
  /// A segment belongs to another run.
  case foreign(SegmentName, run: RunIdentity, expected: RunIdentity)
  /// A segment is of another version of the format.
  case otherFormat(SegmentName, format: UInt32)
}

/// Where the log that was read ends: the next session goes on from there.
package struct JournalTail: Equatable, Sendable {
  package var segment = SegmentName(epoch: 0, number: 0)
  package var byteCount: UInt64 = 0
  package var record: UInt64 = 0
  package var checksum: UInt32 = 0
  package init() {}
}

/// A finished reading.
package struct JournalReading: Equatable, Sendable {
  package var verdict: JournalVerdict
  package var tail: JournalTail
  /// Damage that was skipped over, when that was asked for.
  package var salvaged: [JournalDamage]
  /// False when the reading began at a snapshot that turned out to lack its end.
  package var isStartWhole: Bool
  package var entryCount: Int
  /// Of them, those that are not part of a snapshot.
  package var laterEntryCount: Int
}
