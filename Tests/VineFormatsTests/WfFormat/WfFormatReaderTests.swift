import FoundationEssentials
import Testing
import VineCore

@testable import VineFormats

struct WfFormatReaderTests {
  private struct Verdict: Decodable {
    var verdict: String
  }

  @Test(.enabled(if: sharedWorkflows != nil, needsSharedWorkflows))
  func everyMalformedInputGetsItsVerdict() throws {
    let expected = try JSONDecoder().decode(
      [String: Verdict].self, from: sharedFile("bad/expected.json"))
    #expect(expected.count == 44)
    for (name, verdict) in expected.sorted(by: { $0.key < $1.key }) {
      #expect(try self.verdict(of: "bad/\(name)") == verdict.verdict, "\(name)")
    }
  }

  private func verdict(of name: String) throws -> String {
    do throws(WorkflowError) {
      var options = LoadOptions()
      options.mode = .check
      let path = "\(sharedWorkflows ?? "")/\(name)"
      return try loadWorkflow(path: path, options: options).warnings.isEmpty ? "accept" : "warn"
    } catch {
      #expect(!error.problems.isEmpty && !error.problems[0].message.isEmpty)
      return error.unreadable ? "unreadable" : "reject"
    }
  }

  private struct Figures: Decodable {
    struct Edges: Decodable {
      var scheduled: Int
    }
    struct Data: Decodable {
      var files: Int
      var source_files: Int
      var final_files: Int
      var bytes: Double
    }
    var tasks: Int
    var edges: Edges
    var data: Data
    var critical_path_s: Double
    var work_core_s: Double
  }

  @Test(.enabled(if: sharedWorkflows != nil, needsSharedWorkflows))
  func recordedInstancesHaveTheKnownFigures() throws {
    let expected = try JSONDecoder().decode(
      [String: Figures].self, from: sharedFile("dev/expected.json"))
    for (name, figures) in expected.sorted(by: { $0.key < $1.key }) {
      let loaded = try loadWorkflow(
        path: "\(sharedWorkflows ?? "")/dev/\(name)", options: LoadOptions())
      let recorded = try #require(loaded.recorded)
      #expect(recorded.tasks.count == figures.tasks, "\(name)")
      #expect(recorded.edges.count == figures.edges.scheduled, "\(name)")
      #expect(recorded.files.count == figures.data.files, "\(name)")
      let used = recorded.files.filter { !$0.producers.isEmpty || !$0.consumers.isEmpty }
      #expect(used.count { $0.isSource } == figures.data.source_files, "\(name)")
      #expect(used.count { $0.isFinal } == figures.data.final_files, "\(name)")
      #expect(
        recorded.files.reduce(0) { $0 + ($1.byteCount ?? 0) } == figures.data.bytes, "\(name)")
      let workflow = recorded.simulationWorkflow(ideal: true)
      let levels = try #require(workflow.bottomLevels(defaultMicroseconds: 0))
      #expect(Double(levels.max() ?? 0) / 1e6 == figures.critical_path_s, "\(name)")
      let work = workflow.tasks.ids.reduce(0) { $0 + workflow.tasks[$1].estimateMicroseconds }
      #expect(Double(work) / 1e6 == figures.work_core_s, "\(name)")
    }
  }
}
