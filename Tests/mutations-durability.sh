#!/usr/bin/env bash
# usage: Tests/mutations-durability.sh [NAME...]
#
# Do the tests notice when durability is broken? As Tests/mutations.sh for the rules that the
# simulator does not play: breaks one at a time in a copy of the tree, and runs the test that must
# fail. A minute or two each; with names, only those. Exits with 1 when one survives.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$root"/{Package.swift,Sources,Tests,.ci} "$work"
# What was built names its place; what was fetched does not.
mkdir "$work/.build"
for part in checkouts repositories workspace-state.json; do
    [[ ! -e $root/.build/$part ]] || cp -a "$root/.build/$part" "$work/.build"
done
survivors=0

# NAME, FILE, SED-SCRIPT and TEST, with tabs between; the test is a pattern of whole runs, or
# unit:FILTER.
mutations() {
    printf '%s\t%s\t%s\t%s\n' \
        object-sync Storage/DurableCopies.swift 's/to: part, isSynced: true/to: part/' ^79- \
        object-directory Storage/DurableCopies.swift '/FileTree.syncDirectory/d' ^79- \
        publish-directory Storage/Publishing.swift 's/return FileTree.syncDirectory(\(.*\))$/_ = \1; return 0/' ^79- \
        session-names Storage/CopyNames.swift 's/\\(mark)\\(epoch)-/\\(mark)0-/' unit:CopyNamesTests \
        strangers Storage/Publishing.swift 's/FileTime.change(info).isAfter(beganAt)/false/' somebody_else_changes \
        doubt Recovery/Continuation.swift 's/ \&\& !isDoubtful(.change(info))//' published_files_that_were \
        group-end ../VineCore/Journal/JournalReader.swift \
        's/if frame.type == .groupBegin {/if frame.type == .groupBegin, offset < 0 {/' \
        unit:JournalReaderTests
}

row() { printf '%-18s %s\n' "$1" "$2"; }
survived() {
    row "$1" "$2"
    survivors=$((survivors + 1))
}

try() { # NAME FILE SED TEST
    local file=$work/Sources/VineRuntime/$2 status=0
    cp "$file" "$work/original"
    sed "$3" "$work/original" >"$file"
    if cmp -s "$work/original" "$file"; then
        survived "$1" 'STALE: the rule to break is not there any more'
    elif ! swift build --package-path "$work" >"$work/log" 2>&1; then
        survived "$1" 'STALE: does not build'
        grep -m 3 error: "$work/log" || true
    else
        case $4 in
            unit:*) swift test --package-path "$work" --filter "${4#unit:}" >"$work/log" 2>&1 || status=$? ;;
            *) VINE_MPI=$work/.build/debug/vine-mpi "$work/Tests/ClusterTests/run" "$4" >"$work/log" 2>&1 || status=$? ;;
        esac
        if ((status)); then
            row "$1" "caught by ${4#unit:}"
        else
            survived "$1" 'SURVIVED'
        fi
    fi
    cp "$work/original" "$file"
}

while IFS=$'\t' read -r name file script test; do
    if (($#)) && [[ " $* " != *" $name "* ]]; then continue; fi
    try "$name" "$file" "$script" "$test"
done < <(mutations)
((survivors == 0))
