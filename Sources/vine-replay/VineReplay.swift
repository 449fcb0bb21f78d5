// A synthetic task: plays what a manifest says about one task of a recorded workflow.

import Glibc
import VineReplayContent

@main
enum VineReplay {
  static func main() {
    guard CommandLine.arguments.count == 2 else {
      report(
        "usage: vine-replay MANIFEST\nPlays one task of a recorded workflow; "
          + "`vine-mpi run --replay` writes the manifests.")
      exit(2)
    }
    do throws(ReplayFailure) {
      try readReplayManifest(CommandLine.arguments[1]).run()
    } catch {
      report("vine-replay: \(error)")
      exit(1)
    }
  }

  private static func report(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(STDERR_FILENO, line, line.count)
  }
}
