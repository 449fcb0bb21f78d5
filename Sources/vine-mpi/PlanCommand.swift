// `vine-mpi plan`: what `run` would do.

import ArgumentParser
import VineCore
import VineFormats
import VineRuntime

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Say which tasks the next run would reuse, repeat and run; changes nothing.",
    discussion: """
      One line per task: what becomes of it and its id, tab-separated. `reuse`: done by an earlier \
      session. `again`: done, but its value was lost and is needed. `run?`: runs, unless its inputs \
      come out with their earlier contents. `run`: runs. `orphan`: done once, and no longer in the \
      description. The last line sums up. Exit status as of `run`: 2 refused, 6 journal corrupt, \
      9 run directory of another version.
      """)

  @Argument(help: "The description.")
  var workflow: String
  @Option(help: "native, jsonl, wfformat or tasklist, where the guess is wrong.")
  var format: String?
  @Option(help: "The run to go on with; default: as for run.")
  var runDir: String?
  @Flag(help: "Only the sum.")
  var summary = false

  func run() throws {
    var options = LoadOptions()
    options.format = format.flatMap(WorkflowFormat.init)
    options.mode = .run
    options.submitDirectory = absolutePath(".")
    let loaded: LoadedWorkflow
    do throws(WorkflowError) {
      loaded = try loadWorkflow(path: workflow, options: options)
    } catch {
      complain("\(error)")
      throw ExitCode(2)
    }
    do throws(RuntimeError) {
      let plan = try RunPlan.make(
        loaded.workflow, workflowPath: absolutePath(workflow), chosen: runDir)
      show(plan, of: loaded.workflow)
    } catch {
      complain("vine-mpi: \(error)")
      throw ExitCode(error.exitStatus ?? 2)
    }
  }

  private func show(_ plan: RunPlan, of workflow: Workflow) {
    for notice in plan.notices { complain("vine-mpi: \(notice)") }
    if !summary {
      for task in workflow.tasks.ids {
        tell("\(plan.uses[task.index].rawValue)\t\(workflow.name(of: task))")
      }
      for orphan in plan.orphans { tell("orphan\t\(orphan)") }
    }
    var counts: [String] = []
    for use in PlannedUse.allCases {
      counts.append("\(use.rawValue) \(plan.uses.count { $0 == use })")
    }
    let place = plan.runPath.map { "going on with \($0)" } ?? "a new run"
    tell("# \(place): \(counts.joined(separator: ", ")), orphan \(plan.orphans.count)")
  }
}
