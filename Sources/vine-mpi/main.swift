// vine-mpi: runs workflows inside an MPI job. Parses options, calls one function, returns its exit
// status.

import ArgumentParser
import Glibc
import VineRuntime

struct VineMPI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vine-mpi",
    abstract: "Run workflows of tasks and files inside an MPI job.",
    usage: "mpirun -n 256 vine-mpi WORKFLOW",
    version: BuildIdentity.version,
    subcommands: [
      RunCommand.self, CheckCommand.self, SimulateCommand.self, LogCommand.self,
      JournalCommand.self, PlanCommand.self, CacheCommand.self, UntarCommand.self, PackCommand.self,
    ],
    defaultSubcommand: RunCommand.self)
}

/// Usage that is wrong ends with 2, as workflow.md's table says; only rank 0 complains.
func refuse(_ error: any Error) -> Never {
  let code = VineMPI.exitCode(for: error)
  let ranks: [String] = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"]
  let isFirst = ranks.allSatisfy { name in
    guard let value = getenv(name) else { return true }
    return String(cString: value) == "0"
  }
  if isFirst {
    let text = VineMPI.fullMessage(for: error)
    if !text.isEmpty { code == .success ? tell(text) : complain(text) }
  }
  exit(code == .validationFailure ? 2 : code.rawValue)
}

do {
  var command = try VineMPI.parseAsRoot()
  try command.run()
} catch {
  refuse(error)
}
