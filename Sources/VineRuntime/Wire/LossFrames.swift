// Frames about ranks that are lost, and about how the others leave.

internal import VineCore

/// A process on the node of the rank that gets this: to be watched, or to be killed.
struct SiblingOrder: Equatable {
  var rank: UInt32
  var processID: Int32
}

/// A worker's word about another rank.
struct SiblingLoss: Equatable {
  var rank: UInt32
  /// Its process has ended; otherwise MPI cannot reach it, which the manager has to look into.
  var isCertain: Bool
}

/// The manager's last word to a rank.
struct Farewell: Equatable {
  /// The exit status of the rank.
  var status: Int32
  /// MPI_Finalize waits for all ranks (MPI 3.1, 8.7), so that it must not be called when one is
  /// lost.
  var isWithoutFinalize: Bool

  /// To a rank that was given up, and shows that it lives after all.
  static let expulsion = Farewell(status: 3, isWithoutFinalize: true)
  var isExpulsion: Bool { self == Self.expulsion }
}

extension WireWriter {
  init(_ order: SiblingOrder, kind: FrameKind) {
    self.init(kind)
    put(order.rank)
    put(order.processID)
  }

  init(_ loss: SiblingLoss) {
    self.init(.siblingLost)
    put(loss.rank)
    put(loss.isCertain)
  }

  init(_ farewell: Farewell) {
    self.init(.farewell)
    put(farewell.status)
    put(farewell.isWithoutFinalize)
  }

  /// The rank is lost: nothing comes from it and nothing goes to it any more.
  init(peerLost rank: Int) {
    self.init(.peerLost)
    put(UInt32(rank))
  }
}

extension WireReader {
  mutating func takeSiblingOrder() throws(WireError) -> SiblingOrder {
    SiblingOrder(rank: try take(), processID: try take())
  }

  mutating func takeSiblingLoss() throws(WireError) -> SiblingLoss {
    SiblingLoss(rank: try take(), isCertain: try takeBool())
  }

  mutating func takeFarewell() throws(WireError) -> Farewell {
    Farewell(status: try take(), isWithoutFinalize: try takeBool())
  }
}
