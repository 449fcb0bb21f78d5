#!/usr/bin/env bash
# usage: Tests/run.sh [--only PATTERN] [--list]
#
# Every test: format check, build, unit tests (swift test), release build, and
# whole runs of the release binary (ClusterTests). Prints what passed, failed and
# was skipped, and exits with 1 when something failed. Ends every process that it
# started. Installs or names what is missing (.ci/setup.sh).
#
#   --only PATTERN   the whole runs whose "file:test" matches PATTERN (an extended
#                    regular expression); without one, swift test --filter PATTERN
#   --list           names the whole runs
#
#   VINE_MPI=PROGRAM   whole runs with this vine-mpi, no release build
#   VINE_SHARED=DIR    recorded workflows and their oracle (default ../shared)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
runs=Tests/ClusterTests/run
only=''
case ${1:-} in
    --only) only=${2:?--only needs a pattern} ;;
    --list) exec "$runs" --list ;;
    '') ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
# shellcheck source=../.ci/setup.sh
. .ci/setup.sh

report=$(mktemp -d)
# All that this script starts carries the mark.
export VINE_TESTS_SESSION="${report##*/}"
child=''
finish() {
    local pid _
    # The whole runs take down their hosts and processes when they are asked to.
    if [[ -n $child ]] && kill -TERM "$child" 2>/dev/null; then
        for _ in {1..100}; do
            kill -0 "$child" 2>/dev/null || break
            sleep 0.1
        done
    fi
    while read -r pid; do
        [[ $pid == "$$" ]] || kill -KILL "$pid" 2>/dev/null || true
    done < <(grep -slFz "VINE_TESTS_SESSION=$VINE_TESTS_SESSION" /proc/[0-9]*/environ | cut -d/ -f3)
    rm -rf "$report"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

passed=0 failed=0 skipped=0
deadline=$((SECONDS + 2400))
summary=()

# The job control of a script: wait is what a signal interrupts, so that the
# traps run at once.
within() { # COMMAND...: until the deadline of all tests
    local status=0
    timeout -k 10 $((deadline > SECONDS ? deadline - SECONDS : 1)) "$@" &
    child=$!
    wait "$child" || status=$?
    child=''
    return "$status"
}
step() { # NAME COMMAND...
    local name=$1 begin=$SECONDS
    shift
    echo "== $name"
    if within "$@"; then
        summary+=("ok    $name ($((SECONDS - begin)) s)")
    else
        summary+=("FAIL  $name ($((SECONDS - begin)) s)")
        failed=$((failed + 1))
        return 1
    fi
}
# Lines of Swift Testing: a sign, then: Test "name" passed after 0.001 seconds.
lines() { grep -cE -- "$1" "$report/unit" || true; }
count() {
    passed=$((passed + $(lines "^[^ ]+ +Test .* passed after") - $(lines "^[^ ]+ +Test run with .* passed after")))
    failed=$((failed + $(lines "^[^ ]+ +Test .* failed after") - $(lines "^[^ ]+ +Test run with .* failed after")))
    skipped=$((skipped + $(lines "^[^ ]+ +Test .* skipped")))
}
unit_tests() { # [OPTION...]
    local begin=$SECONDS status=0
    echo "== unit tests"
    within swift test "$@" >"$report/unit" 2>&1 || status=$?
    # The names of what passed are many; what did not is shown.
    grep -vE '^(✔|◇) ' "$report/unit" | tail -n 200 || true
    count
    if ((passed + failed + skipped == 0)); then
        echo "no test ran"
        status=1
    fi
    if ((status)); then
        summary+=("FAIL  unit tests ($((SECONDS - begin)) s, status $status)")
        ((failed)) || failed=1
    else
        summary+=("ok    unit tests ($((SECONDS - begin)) s)")
    fi
}
release_build() {
    [[ -z ${VINE_MPI:-} ]] || return 0
    step "release build" swift build -c release --static-swift-stdlib || return 1
    VINE_MPI=$(swift build -c release --static-swift-stdlib --show-bin-path)/vine-mpi
}
whole_runs() { # [PATTERN]
    local begin=$SECONDS status=0 p=0 f=0 s=0
    release_build || return 0
    echo "== whole runs"
    setup_tests
    export VINE_MPI
    # No pipe: the shell must stay in `wait`.
    export VINE_COUNTS=$report/counts
    within "$runs" "${1:-.}" > >(tee "$report/runs") 2>&1 || status=1
    [[ ! -e $report/counts ]] || read -r p f s <"$report/counts"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if ((status && !f)); then failed=$((failed + 1)); fi
    summary+=("$( ((status)) && echo 'FAIL ' || echo 'ok   ') whole runs ($((SECONDS - begin)) s)")
    mapfile -t -O "${#summary[@]}" summary < <(grep -E '^(FAIL|skip) ' "$report/runs" | sed 's/^/      /')
}

setup_build
if [[ -z $only ]]; then
    step "format check" swift format lint -s -r Sources Tests Package.swift || true
    if step build swift build --build-tests; then unit_tests --skip-build; fi
    whole_runs
elif [[ -n $("$runs" --list "$only") ]]; then
    whole_runs "$only"
else
    unit_tests --filter "$only"
fi

echo "== summary"
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed, $skipped skipped in $SECONDS s"
((failed == 0))
