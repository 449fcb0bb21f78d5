import ArgumentParser

SimulateCommand.main(Array(CommandLine.arguments.dropFirst(2)))
