// `vine-mpi untar`: what an `untar` file of a workflow runs on a node.

import ArgumentParser
import Glibc
import VineRuntime

struct UntarCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "untar",
    abstract: "Unpack an archive as an `untar` file of a workflow does.",
    discussion: """
      Takes .tar, also compressed by gzip, bzip2, xz or zstd. A member that would lie or point \
      outside of DIRECTORY, a device or a pipe is refused, with its name. Exit status: 0, or 1.
      """,
    shouldDisplay: false)

  @Argument(help: "The archive.")
  var archive: String
  @Argument(help: "The directory to make; it must not exist.")
  var directory: String

  func run() throws {
    do throws(RuntimeError) { try unpackArchive(archive, to: directory) } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
  }
}

struct PackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack", abstract: "Pack what tasks of a workflow made, as its \"pack\" says.",
    shouldDisplay: false)

  @Argument(help: "A file with the names of the members, each ended by NUL.")
  var names: String
  @Argument(help: "The directory of the members, called 0, 1 and so on.")
  var directory: String
  @Argument(help: "The archive to make; it must not exist.")
  var archive: String

  func run() throws {
    do throws(RuntimeError) {
      try packArchive(names: names, directory: directory, to: archive)
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
  }
}
