// MPI as this process finds it: started once, left once.

internal import CMPI
internal import Glibc

/// What is known of a launch before MPI is started.
package enum Launch: Equatable {
  /// No launcher, or one of a single rank: manager and worker in one process.
  case embedded
  /// A launcher that says how many ranks it started; 0 when it does not say.
  case ranks(Int)

  /// Reads the variables by which launchers announce themselves: Open MPI, PMI (MPICH, Hydra, Slurm
  /// with PMI), PMIx and Slurm's steps.
  package static func detect() -> Launch {
    for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"] {
      if let text = getenv(name), let count = Int(String(cString: text)) {
        // An interactive Slurm shell is a step of one task, without any MPI around it.
        if name == "SLURM_STEP_NUM_TASKS" && count == 1 { continue }
        return count == 1 ? .embedded : .ranks(count)
      }
    }
    if getenv("PMIX_RANK") != nil { return .ranks(0) }
    return .embedded
  }
}

/// MPI between `start` and `finish`. Only the thread that started it may use it, and the function
/// thread where MPI was started for both.
package final class MPIEnvironment {
  package let rank: Int
  package let size: Int
  /// Ranks that share this rank's memory, ascending, this one among them.
  package let ranksOfNode: [Int]
  let control: cmpi_comm
  /// Bulk data travels here, so that it never holds up a message.
  let bulk: cmpi_comm
  let bulkTagMax: Int32
  /// Whether functions may use MPI beside the loop.
  let hasFunctionThread: Bool

  /// Starts MPI. Throws when the launcher started more ranks than this MPI sees: then it belongs
  /// to another MPI, and each rank would run the whole workflow by itself; and when functions are
  /// to use MPI beside the loop, which not every MPI allows.
  package init(expecting launched: Int, hasFunctionThread: Bool = false) throws(RuntimeError) {
    self.hasFunctionThread = hasFunctionThread
    var areThreadsMany: Int32 = hasFunctionThread ? 1 : 0
    let code = cmpi_init(&areThreadsMany)
    if code != cmpi_success() { throw RuntimeError("start MPI", detail: mpiErrorText(code)) }
    if hasFunctionThread && areThreadsMany == 0 {
      throw RuntimeError(
        "run functions inside ranks (--in-rank)",
        detail: "\(mpiLibraryVersion()) was built without MPI_THREAD_MULTIPLE. Run without "
          + "--in-rank: native libraries in mode process need no such MPI, gangs do.")
    }
    control = cmpi_world()
    _ = cmpi_return_errors(control)
    rank = Int(cmpi_rank(control))
    size = Int(cmpi_size(control))
    if launched > 1 && size == 1 {
      throw RuntimeError(
        "run as one job of \(launched) ranks",
        detail: "the launcher started \(launched) ranks, but \(mpiLibraryVersion()) sees one. "
          + "Use the mpirun of the MPI that vine-mpi was built with.")
    }
    var copy = cmpi_comm(handle: control.handle)
    let duplicated = cmpi_dup(control, &copy)
    if duplicated != cmpi_success() {
      throw RuntimeError("start MPI", detail: mpiErrorText(duplicated))
    }
    bulk = copy
    _ = cmpi_return_errors(bulk)
    bulkTagMax = cmpi_tag_max(bulk)
    var ranks = [Int32](repeating: 0, count: size)
    var count: Int32 = 0
    let split = cmpi_ranks_of_node(control, &ranks, Int32(size), &count)
    if split != cmpi_success() {
      throw RuntimeError("group ranks by node", detail: mpiErrorText(split))
    }
    ranksOfNode = ranks.prefix(Int(count)).map(Int.init).sorted()
  }

  /// Leaves MPI. Only when no rank was lost: MPI_Finalize is collective (MPI 3.1, 8.7).
  package func finish() { _ = cmpi_finalize() }
}

func mpiErrorText(_ code: Int32) -> String {
  var text = [CChar](repeating: 0, count: Int(cmpi_error_room()) + 1)
  cmpi_error_text(code, &text)
  return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// One line that names the MPI library, for messages and versions.
package func mpiLibraryVersion() -> String {
  var text = [CChar](repeating: 0, count: Int(cmpi_library_room()) + 1)
  cmpi_library_version(&text)
  let bytes = text.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
  let line = String(decoding: bytes, as: UTF8.self)
  let first = line.split(separator: ",").first.map(String.init) ?? line
  return first.replacing("\t", with: " ")
}
