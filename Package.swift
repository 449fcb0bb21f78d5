// swift-tools-version: 6.2
import PackageDescription

// MPI differs from site to site. `VINE_MPI_PKGCONFIG` names the pkg-config module that describes
// the MPI to build against: Debian's Open MPI by default, any other one through CMakeLists.txt.
let mpiModule = Context.environment["VINE_MPI_PKGCONFIG"] ?? "ompi-c"

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
  // The compiler proves most accesses exclusive; the checks of the others as the program runs cost a
  // twentieth of what a rank does for a task. Debug builds, and so all unit tests and seeds of the
  // simulator, have them.
  .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")

let package = Package(
  name: "vine-mpi",
  products: [
    .executable(name: "vine-mpi", targets: ["vine-mpi"]),
    .executable(name: "vine-host", targets: ["vine-host"]),
    .executable(name: "vine-replay", targets: ["vine-replay"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
  ],
  targets: [
    .systemLibrary(
      name: "CMPI", pkgConfig: mpiModule, providers: [.apt(["libopenmpi-dev", "openmpi-bin"])]),
    .systemLibrary(name: "CHwloc", pkgConfig: "hwloc", providers: [.apt(["libhwloc-dev"])]),
    .target(name: "CLinux"),
    .target(name: "CChecksum"),
    .target(
      name: "CVineHost", exclude: ["vine_function.f90"],
      linkerSettings: [.linkedLibrary("dl"), .linkedLibrary("pthread")]),
    .target(name: "VineCore", dependencies: ["CChecksum", heap, deque], swiftSettings: strict),
    .target(name: "VineReplayContent", dependencies: [crypto], swiftSettings: strict),
    .target(
      name: "VineFormats", dependencies: ["VineCore", "VineReplayContent"], swiftSettings: strict),
    .target(
      name: "VineRuntime",
      dependencies: [
        "VineCore", deque, "CMPI", "CHwloc", "CLinux", "CVineHost", "CChecksum", crypto,
      ],
      resources: [.embedInCode("Functions/python_host.py")], swiftSettings: strict),
    .target(name: "VineSimulator", dependencies: ["VineCore", heap], swiftSettings: strict),
    .executableTarget(
      name: "vine-mpi",
      dependencies: ["VineFormats", "VineRuntime", "VineSimulator", "VineCore", arguments],
      swiftSettings: strict),
    // No Swift in it: a Swift library brings its own runtime, and two do not share a process.
    .executableTarget(
      name: "vine-host", dependencies: ["CVineHost"],
      linkerSettings: [.unsafeFlags(["-static-stdlib", "-nostartfiles"])]),
    .executableTarget(
      name: "vine-replay", dependencies: ["VineReplayContent"], swiftSettings: strict),
    .testTarget(name: "VineCoreTests", dependencies: ["VineCore"], swiftSettings: strict),
    .testTarget(
      name: "VineFormatsTests",
      dependencies: ["VineFormats", "VineCore", "VineReplayContent", crypto],
      exclude: ["Fixtures"], swiftSettings: strict),
    .testTarget(
      name: "VineRuntimeTests", dependencies: ["VineRuntime", "VineCore", "CLinux", "CVineHost"],
      swiftSettings: strict),
    .testTarget(
      name: "VineSimulatorTests", dependencies: ["VineSimulator", "VineFormats", "VineCore"],
      swiftSettings: strict),
  ]
)
