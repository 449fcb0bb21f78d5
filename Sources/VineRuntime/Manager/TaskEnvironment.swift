// The environment that tasks get from the call of vine-mpi.

internal import Glibc

/// This process's environment without the launcher's variables: a task that is an MPI program
/// itself must start cleanly.
func taskEnvironment() -> [String] {
  let prefixes = [
    "OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_", "MPIR_", "MPI_LOCAL", "SLURM_STEP_NUM_TASKS=",
    "VINE_",
  ]
  var found: [String] = []
  var entry = environ
  while let text = entry.pointee {
    let variable = String(cString: text)
    if !prefixes.contains(where: variable.hasPrefix) { found.append(variable) }
    entry += 1
  }
  return found
}
