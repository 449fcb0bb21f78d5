// Which ranks can see which others as processes, and who watches whom.

internal import VineCore

/// Ranks in groups that share a kernel and its process numbers. In each group the two lowest ranks
/// watch all others, and so each other; rank 0 alone watches its own group.
struct SiblingGroups {
  /// What ranks have in common that can signal each other.
  struct Key: Hashable {
    let bootID: String
    let processNamespace: UInt64
  }

  /// `watcher` is to watch the process of `rank`.
  struct Order: Equatable {
    let watcher: Int
    let rank: Int
    let processID: Int32
  }

  private let managerKey: Key
  private var processIDs: [Key: [Int: Int32]] = [:]
  private var keys: [Int: Key] = [:]
  private var watched: [Int: Set<Int>] = [:]

  init(manager: Key) { managerKey = manager }

  /// Enters a rank; returns who has to watch whom from now on.
  mutating func add(_ rank: Int, processID: Int32, key: Key) -> [Order] {
    keys[rank] = key
    processIDs[key, default: [:]][rank] = processID
    return orders(in: key)
  }

  /// Takes a rank out; the next one watches in its place.
  mutating func remove(_ rank: Int) -> [Order] {
    guard let key = keys.removeValue(forKey: rank) else { return [] }
    processIDs[key]?[rank] = nil
    watched[rank] = nil
    return orders(in: key)
  }

  /// Whether one rank can know of the other's process.
  func areSiblings(_ one: Int, _ other: Int) -> Bool {
    guard let key = keys[one] else { return false }
    return keys[other] == key
  }

  /// Who can kill the process of `rank`: a rank that watches it.
  func fence(for rank: Int) -> Order? {
    guard let key = keys[rank], let processID = processIDs[key]?[rank] else { return nil }
    let watchers = watchers(of: key).filter { watched[$0]?.contains(rank) ?? false }
    return watchers.first.map { Order(watcher: $0, rank: rank, processID: processID) }
  }

  private func watchers(of key: Key) -> [Int] {
    key == managerKey ? [0] : Array((processIDs[key] ?? [:]).keys.sorted().prefix(2))
  }

  private mutating func orders(in key: Key) -> [Order] {
    var orders: [Order] = []
    for watcher in watchers(of: key) {
      for (rank, processID) in (processIDs[key] ?? [:]).sorted(by: { $0.key < $1.key })
      where rank != watcher && watched[watcher, default: []].insert(rank).inserted {
        orders.append(Order(watcher: watcher, rank: rank, processID: processID))
      }
    }
    return orders
  }
}
