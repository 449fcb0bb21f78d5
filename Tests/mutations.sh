#!/usr/bin/env bash
# usage: Tests/mutations.sh [NAME...]
#
# Does the simulator notice when the recovery is broken? Breaks one rule of the core at a time, in a
# copy, and plays seeds against it: each mutation must be caught. Prints a table and exits with 1 when
# one survives. About half a minute each; with names, only those.
#
#   SEEDS=COUNT   random runs per mutation (default 30000)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
seeds=${SEEDS:-30000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A package of core and simulator alone builds in a fraction of the time.
mkdir -p "$work/Sources/soak"
cp -r "$root"/Sources/{CChecksum,VineCore,VineSimulator} "$work/Sources"
# The tree may change meanwhile.
cp -r "$root/Sources/VineCore" "$work/original"
collections='.package(url: "https://github.com/apple/swift-collections", from: "1.6.0")'
if [[ -d $root/.build/checkouts/swift-collections ]]; then
    cp -r "$root/.build/checkouts/swift-collections" "$work/swift-collections"
    collections='.package(path: "swift-collections")'
fi
cat >"$work/Package.swift" <<EOF
// swift-tools-version: 6.2
import PackageDescription
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let package = Package(
  name: "mutations", dependencies: [$collections],
  targets: [
    .target(name: "CChecksum"),
    .target(name: "VineCore", dependencies: ["CChecksum", heap, deque], swiftSettings: strict),
    .target(name: "VineSimulator", dependencies: ["VineCore", heap], swiftSettings: strict),
    .executableTarget(name: "soak", dependencies: ["VineSimulator"], swiftSettings: strict),
  ])
EOF
cat >"$work/Sources/soak/main.swift" <<'EOF'
import VineSimulator
for seed in 0..<(UInt64(CommandLine.arguments[1]) ?? 1) {
  let run = simulateSeed(seed)
  guard let violation = run.result.violation else { continue }
  print("seed \(seed): \(violation)")
  break
}
EOF

# NAME FILE SED-SCRIPT, one a line; the script must change the file.
mutations() {
    cat <<'EOF'
none            Manager.swift       s/^$//
stale-attempt   Manager.swift       s/guard slot != .max, attempts\[slot\].attempt == attempt else/guard slot != .max else/
incarnation     Manager.swift       s/guard !isLost(worker) else { return }//
known-replica   Manager.swift       s/if isKnown(value, on: node) .*{ return }//
barrier         Settling.swift      s/if doubts\[.*mayChange.rawValue != 0 {/if doubts.isEmpty {/
doubt-siblings  Settling.swift      s/doubt(binding.task, .mayChange, &spread)//
doubt-upstream  Settling.swift      s/if !isSafe \&\& .*doubt(producer.*}//
doubt-remade    Settling.swift      s/if values.accepted\[task.index\] == 0 { return }/if tasks[task.index].state != .done { return }/
unsynced-intent Settling.swift      s/while let intent = publishIntents.first, intent.record <= record/while let intent = publishIntents.first/
stale-commit    Settling.swift      s/return row.standing == .committing \&\& .*/return row.standing == .committing/
double-commit   Settling.swift      s/if error == 0 \&\& !counts/if error == 0/
void-running    Replacement.swift   s/attempts\[slot\].isVoid = true//
remade-consumer Replacement.swift   s/guard values.accepted\[consumer.index\] != 0 else/guard tasks[consumer.index].state == .done else/
same-value      Replacement.swift   s/if fresh != old { return false }//
no-invalidation Replacement.swift   s/if !isSame \&\& old != 0 { invalidateConsumers.*//
orphans         Recovery.swift      s/for file in orphans {/for file in orphans where file == .none {/
agent-work      Recovery.swift      s/restartAgentWork(on: node, of: worker, effects: \&effects)//
agent-commits   Recovery.swift      s/for commit in commitsOfNode { .*//
heirs           Replacement.swift   s/values.heirs\[replica\] = heir//
no-more-nodes   Recovery.swift      s/for request in isBlocked.indices .*//
dead-node       NodeTable.swift     s/!rows\[node\].isDead \&\& rows\[node\].pool.fits/rows[node].pool.fits/
restored-count  Restore.swift       s/restored.attemptCounts\[task.index\], restored.accepted\[task.index\])/0, 0)/
restored-needs  Restore.swift       s/replaceValueIfNeeded(of: output.file.*//
late-result     Replacement.swift   s/^    adoptResult(of: attempt, effects: \&effects)//
sought-remade   Recovery.swift      s/ \&\& !isSought(file)//;s/!isSought(file)/true/
sought-kept     Adoption.swift      s/replaceValueIfNeeded(of: file.*//
gang-blocked    Gangs.swift         s/isBlocked\[request\] = !isRegistrationClosed/isBlocked[request] = true/
evict-pinned    Eviction.swift      s/guard row.pinCount == 0, row.isUsable/guard row.isUsable/
evict-last      Eviction.swift      s/return !isUnwritten .. mayBeRemade(producer) ? .remade : nil/return .remade/
unreserved      Capacity.swift      s/nodes\[row.node\].disk.attemptByteCount .+= byteCount//
half-group      ../Journal/JournalReader.swift s/if frame.type == .groupBegin {/if frame.type == .groupBegin, offset < 0 {/
torn-frame      ../Journal/SegmentFormat.swift s/guard crc32c(UnsafeRawBufferPointer(rebasing: bytes\[start.*== checksum$/guard start > 0/
fence           ../Journal/JournalPlan.swift s/if name > fence.segment {/if name > fence.segment, place < 0 {/;s/= Int(clamping: fence.byteCount)/= .max/;s/if let nextRecord { .*}//
EOF
}

survivors=0
row() { printf '%-16s %s\n' "$1" "$2"; }
try() { # NAME FILE SED
    local file="$work/Sources/VineCore/Manager/$2" original found=''
    original="$work/original/Manager/$2"
    if [[ $1 != none ]]; then
        sed "$3" "$original" >"$file"
        if cmp -s "$original" "$file"; then
            row "$1" 'STALE: the rule to break is not there any more'
            survivors=$((survivors + 1))
            return
        fi
    fi
    if ! swift build --package-path "$work" -c release >"$work/log" 2>&1; then
        row "$1" 'STALE: does not build'
        grep -m 3 error: "$work/log" || true
        survivors=$((survivors + 1))
    else
        # An invariant that ends the process is a catch, too; so is a run that never ends.
        found=$(SWIFT_BACKTRACE=enable=no timeout 120 "$work/.build/release/soak" "$seeds" 2>&1) ||
            found="${found:-stopped with status $?}"
        found=$(head -n 1 <<<"$found")
        if [[ $1 == none && -z $found ]]; then
            row "$1" 'ok: the unbroken core keeps every promise'
        elif [[ $1 == none || -z $found ]]; then
            row "$1" "SURVIVED ${found:-$seeds seeds}"
            survivors=$((survivors + 1))
        else
            row "$1" "caught: $found"
        fi
    fi
    cp "$original" "$file"
}

while read -r name file script; do
    if (($#)) && [[ " $* " != *" $name "* ]]; then continue; fi
    try "$name" "$file" "$script"
done < <(mutations)
((survivors == 0))
