// Orders and lengths in the graph of a workflow.

extension Workflow {
  /// Tasks so that each comes after all it needs, or the tasks of one cycle, in its order.
  package func topologicalOrder() -> TopologicalOrder {
    var waiting = tasks.rows.indices.map { UInt32(edgeCount(into: TaskID(index: $0))) }
    var order: [TaskID] = []
    order.reserveCapacity(tasks.count)
    for task in tasks.ids where waiting[task.index] == 0 { order.append(task) }
    var next = 0
    while next < order.count {
      forEachSuccessor(of: order[next]) { successor in
        waiting[successor.index] -= 1
        if waiting[successor.index] == 0 { order.append(successor) }
      }
      next += 1
    }
    if order.count == tasks.count { return .order(order) }
    return .cycle(findCycle(among: waiting))
  }

  /// A task that still waits has a predecessor that still waits, so walking backwards must come
  /// round to a task seen before.
  private func findCycle(among waiting: [UInt32]) -> [TaskID] {
    var predecessor = Array(repeating: TaskID.none, count: tasks.count)
    for task in tasks.ids where waiting[task.index] > 0 {
      forEachSuccessor(of: task) { successor in
        if predecessor[successor.index] == .none { predecessor[successor.index] = task }
      }
    }
    guard let start = tasks.ids.first(where: { waiting[$0.index] > 0 }) else { return [] }
    var step = Array(repeating: -1, count: tasks.count)
    var path: [TaskID] = []
    var task = start
    while step[task.index] < 0 {
      step[task.index] = path.count
      path.append(task)
      task = predecessor[task.index]
    }
    return path[step[task.index]...].reversed()
  }

  /// For each task, its own estimate plus the heaviest chain below it, in microseconds; a task
  /// without an estimate counts as `defaultMicroseconds`. Nil when there is a cycle.
  package func bottomLevels(defaultMicroseconds: Int64) -> [Int64]? {
    guard case .order(let order) = topologicalOrder() else { return nil }
    var levels = Array(repeating: Int64(0), count: tasks.count)
    for task in order.reversed() {
      var below: Int64 = 0
      forEachSuccessor(of: task) { below = max(below, levels[$0.index]) }
      let own = tasks[task].estimateMicroseconds
      levels[task.index] = (own < 0 ? defaultMicroseconds : own) + below
    }
    return levels
  }

  /// For each task, how many others at most stand in a chain before it. Nil when there is a cycle.
  package func depths() -> [Int32]? {
    guard case .order(let order) = topologicalOrder() else { return nil }
    var depths = Array(repeating: Int32(0), count: tasks.count)
    for task in order {
      let next = depths[task.index] + 1
      forEachSuccessor(of: task) { depths[$0.index] = max(depths[$0.index], next) }
    }
    return depths
  }
}

package enum TopologicalOrder: Equatable {
  case order([TaskID])
  case cycle([TaskID])
}
