// Frames survive the way through bytes, and damaged ones are refused, never trusted.

import Testing
import VineCore

@testable import VineRuntime

private let order = AttemptOrder(
  attempt: AttemptID(TaskID(index: 7), 3), allocation: AllocationID(index: 9),
  timeoutMilliseconds: 1500, hashesFirst: false, taskName: "größer\nals", commandKind: .argv,
  command: Array("cp\0a b\0\0".utf8), environment: Array("A=1\0".utf8), usesSandbox: true,
  coreCount: 2, memoryMB: 512, processingUnits: [0, 1, 64],
  inputs: [
    FileOrder(
      value: FileValue(FileID(index: 4), attempt: 0), name: "in", isCopy: true, isDirectory: false)
  ],
  outputs: [
    FileOrder(
      value: FileValue(FileID(index: 5), attempt: 0), name: "out", isCopy: false, isDirectory: true)
  ])

private let registration = Registration(
  build: "1", hostName: "node", nodeKey: 4,
  topology: Topology(
    cores: [Core(processingUnits: [0, 8], numaNode: 1)], memoryMB: 1000, gpuCount: 2),
  processID: 77, bootID: "x", processNamespace: 5)

private func read<Value>(
  _ bytes: some Collection<UInt8>, _ body: (inout WireReader) throws -> Value
) throws -> Value {
  try Array(bytes).withUnsafeBytes { buffer in
    var reader = WireReader(buffer)
    _ = try reader.take(UInt8.self)
    return try body(&reader)
  }
}

struct FramesTests {
  @Test func anAttemptOrderArrivesAsItWasSent() throws {
    #expect(try read(WireWriter(order).bytes) { try $0.takeAttemptOrder() } == order)
  }

  @Test func aRegistrationArrivesAsItWasSent() throws {
    #expect(try read(WireWriter(registration).bytes) { try $0.takeRegistration() } == registration)
  }

  @Test func wordsAboutLossesArriveAsTheyWereSent() throws {
    let order = SiblingOrder(rank: 7, processID: 1234)
    #expect(try read(WireWriter(order, kind: .fence).bytes) { try $0.takeSiblingOrder() } == order)
    for flag in [true, false] {
      let loss = SiblingLoss(rank: 3, isCertain: flag)
      #expect(try read(WireWriter(loss).bytes) { try $0.takeSiblingLoss() } == loss)
      let word = Farewell(status: 3, isWithoutFinalize: flag)
      #expect(try read(WireWriter(word).bytes) { try $0.takeFarewell() } == word)
    }
  }

  @Test func everyEndingArrivesAsItWasSent() throws {
    let file = FileID(index: 3)
    let endings: [Ending] = [
      .succeeded, .exited(-1), .signaled(11), .timedOut, .missingOutput(2), .wrongOutputKind(1),
      .changedInput(4), .notStarted(2), .sandboxFailed(28), .inputUnavailable(file, 2),
      .outputNotWritten(file, 28), .fitsNoNode, .killed,
    ]
    for ending in endings {
      let message = WorkerMessage.taskFinished(
        AttemptID(TaskID(index: 1), 2), Completion(ending, cpuMicroseconds: 5, maxResidentKB: 6))
      let bytes = WireWriter(message).bytes
      #expect(try read(bytes) { try $0.takeWorkerMessage(.taskFinished) } == message)
    }
  }

  @Test func everyPrefixOfAFrameIsRefused() {
    let whole = WireWriter(order).bytes
    for count in 1..<whole.count {
      #expect(throws: WireError.self) {
        try read(whole.prefix(count)) { try $0.takeAttemptOrder() }
      }
    }
  }

  @Test func flippedBytesNeverTrap() {
    let frames = [WireWriter(order).bytes, WireWriter(registration).bytes]
    for (index, frame) in frames.enumerated() {
      for place in 1..<frame.count {
        for bit in 0..<8 {
          var damaged = frame
          damaged[place] ^= 1 << UInt8(bit)
          if index == 0 {
            _ = try? read(damaged) { try $0.takeAttemptOrder() }
          } else {
            _ = try? read(damaged) { try $0.takeRegistration() }
          }
        }
      }
    }
    // Whatever was decoded, the undamaged frame still reads.
    #expect((try? read(frames[0]) { try $0.takeAttemptOrder() }) == order)
  }

  @Test func aCountLargerThanTheFrameIsRefused() {
    var frame = WireWriter(1)
    frame.put(UInt32.max)
    #expect(throws: WireError.self) { try read(frame.bytes) { try $0.takeTexts() } }
  }
}
