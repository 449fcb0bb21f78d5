// The small parts of a native description: schema, defaults, categories, policy.

import FoundationEssentials
import VineCore

/// What a task, a category and the defaults may all say; nil is "not said here".
struct Resources {
  var cores: Int?
  var memory: Int?
  var disk: Int?
  var gpus: Int?
  var retries: Int?
  var timeoutMilliseconds: Int?
  var isDeterministic: Bool?
  var environment: [String: String] = [:]

  static let keys = [
    "cores", "memory", "disk", "gpus", "retries", "timeout", "env", "determinism", "effect",
    "checkpoint",
  ]

  /// These, and where they say nothing, the outer ones.
  func filled(from outer: Resources) -> Resources {
    var result = self
    result.cores = cores ?? outer.cores
    result.memory = memory ?? outer.memory
    result.disk = disk ?? outer.disk
    result.gpus = gpus ?? outer.gpus
    result.retries = retries ?? outer.retries
    result.isDeterministic = isDeterministic ?? outer.isDeterministic
    result.timeoutMilliseconds = timeoutMilliseconds ?? outer.timeoutMilliseconds
    if !outer.environment.isEmpty {
      result.environment = outer.environment.merging(environment) { _, inner in inner }
    }
    return result
  }

  /// All numbers were checked against these ranges when they were read.
  var request: Request {
    Request(
      cores: UInt16(cores ?? 1), gpus: UInt16(gpus ?? 0), memoryMB: memory.map { UInt32($0) },
      diskMB: UInt32(disk ?? 0))
  }
}

extension NativeReader {
  static let schema = "vine-workflow/1"

  /// Reads all but files and tasks.
  mutating func readHeader(_ object: JSONObject, extraKeys: [String]) throws {
    if !object.contains("schema") && !object.contains("tasks") && !object.contains("files") {
      throw ReadFailure(
        "",
        "this is not a workflow description: it has neither `schema` (the native format) nor "
          + "`workflow` (WfFormat)", isUnreadable: true)
    }
    checkKeys(
      of: object,
      known: ["schema", "name", "defaults", "categories", "libraries", "policy"] + extraKeys,
      kind: extraKeys.contains("tasks") ? "a workflow" : "the header line")
    if let schema = try text(object, "schema") {
      if schema != Self.schema {
        problems.add(
          at(object, "schema"),
          "\(quoted(schema)) is not read; this version reads "
            + quoted(Self.schema))
      }
    } else {
      problems.add(at(object), "the key `schema` is missing; it should be \(quoted(Self.schema))")
    }
    if let name = try text(object, "name") { workflow.name = name }
    if object.contains("defaults") {
      let values = try object.object("defaults")
      checkKeys(of: values, known: Resources.keys, kind: "defaults")
      defaults = try resources(values)
    }
    try readCategories(object)
    try readPolicy(object)
    try readLibraries(object)
  }

  private mutating func readCategories(_ object: JSONObject) throws {
    guard object.contains("categories") else { return }
    let members = try object.object("categories")
    for key in members.allKeys.sorted(by: { $0.stringValue < $1.stringValue }) {
      let values = try members.object(key)
      checkKeys(of: values, known: Resources.keys, kind: "a category")
      categories[key.stringValue] = try resources(values)
    }
    declaresCategories = !categories.isEmpty
  }

  /// The values of a task, a category or the defaults; what is not run yet is noted here.
  mutating func resources(_ object: JSONObject) throws -> Resources {
    var values = Resources()
    values.cores = try integer(object, "cores", in: 1...Int(UInt16.max))
    values.memory = try integer(object, "memory", in: 0...Int(UInt32.max))
    values.disk = try integer(object, "disk", in: 0...Int(UInt32.max))
    values.gpus = try integer(object, "gpus", in: 0...Int(UInt16.max))
    values.retries = try integer(object, "retries", in: 0...Int(UInt16.max))
    if object.contains("timeout") { values.timeoutMilliseconds = try timeout(object) }
    values.environment = try environment(object, "env")
    if let gpus = values.gpus, gpus > 0 { notYet(at(object, "gpus"), "`gpus`") }
    let kinds = ["nondeterministic", "deterministic"]
    if let kind = try word(object, "determinism", among: kinds) {
      values.isDeterministic = kind == "deterministic"
    }
    if let effect = try word(object, "effect", among: ["none", "idempotent", "keyed", "once"]),
      effect != "none"
    {
      notYet(at(object, "effect"), "`effect` \(quoted(effect))")
    }
    if let way = try word(object, "checkpoint", among: ["auto", "none", "async", "sync"]),
      way != "auto" && way != "none"
    {
      notYet(at(object, "checkpoint"), "`checkpoint` \(quoted(way))")
    }
    return values
  }

  mutating func timeout(_ object: JSONObject, _ key: String = "timeout") throws -> Int? {
    let seconds = try object.decode(Double.self, forKey: AnyKey(key))
    guard seconds >= 0, seconds <= 4_294_967 else {
      problems.add(
        at(object, key), "\(shown(seconds)) is not a number of seconds from 0 to 4294967")
      return nil
    }
    return Int((seconds * 1000).rounded(.up))
  }

  private mutating func readPolicy(_ object: JSONObject) throws {
    guard object.contains("policy") else { return }
    let policy = try object.object("policy")
    checkKeys(
      of: policy,
      known: [
        "on_failure", "max_failures", "order", "placement", "temp_replicas",
        "transfers_per_source", "sources_per_transfer", "straggler_multiplier", "result_cache",
        "strict_files",
      ], kind: "policy")
    if let word = try word(policy, "on_failure", among: ["stop", "continue"]) {
      workflow.policy.onFailure = word == "stop" ? .stop : .continueOthers
    }
    workflow.policy.failuresMax = try integer(policy, "max_failures", in: 1...Int(UInt32.max))
    if let word = try word(policy, "order", among: TaskOrder.allCases.map(\.rawValue)) {
      workflow.policy.order = TaskOrder(rawValue: word) ?? .heft
    }
    if let word = try word(policy, "placement", among: NodeChoice.allCases.map(\.rawValue)) {
      workflow.policy.placement = NodeChoice(rawValue: word) ?? .files
    }
    strictFiles = try flag(policy, "strict_files") ?? false
    if let count = try integer(policy, "temp_replicas", in: 1...Int(UInt16.max)) {
      workflow.policy.tempReplicas = UInt16(count)
    }
    if let count = try integer(policy, "transfers_per_source", in: 1...Int(UInt16.max)) {
      workflow.policy.transfersPerSource = UInt16(count)
    }
    if let count = try integer(policy, "sources_per_transfer", in: 1...64) {
      workflow.policy.sourcesPerTransfer = UInt16(count)
    }
    if try nonEmptyText(policy, "result_cache", "the path") != nil {
      notYet(at(policy, "result_cache"), "`result_cache`")
    }
    guard policy.contains("straggler_multiplier") else { return }
    let multiplier = try policy.decode(Double.self, forKey: "straggler_multiplier")
    if multiplier != 0 && !(1...1e6).contains(multiplier) {
      problems.add(
        at(policy, "straggler_multiplier"), "\(shown(multiplier)) is neither 0 (off) nor 1 or more")
    } else if multiplier != 0 {
      notYet(at(policy, "straggler_multiplier"), "`straggler_multiplier` above 0")
    }
  }
}
