#!/usr/bin/env bash
# usage: Examples/quickstart.sh [RANKS]
#
# Installs or names what is missing, builds vine-mpi, runs Examples/quickstart
# with mpirun on this machine (4 ranks) and shows where the results are.
# VINE_MPI=PROGRAM uses a vine-mpi that is built already.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ranks=${1:-4}
# shellcheck source=../.ci/setup.sh
. "$root/.ci/setup.sh"
setup_build
setup_launch

if [[ -z ${VINE_MPI:-} ]]; then
    echo "building (the first build takes some minutes) ..."
    swift build --package-path "$root" -c release --static-swift-stdlib
    VINE_MPI=$(swift build --package-path "$root" -c release --static-swift-stdlib --show-bin-path)/vine-mpi
fi

example=$root/Examples/quickstart
result=$example/results/words.txt
rm -f "$result"
cd "$example"
echo "running: mpirun -n $ranks vine-mpi Examples/quickstart/workflow.json"
mpirun -n "$ranks" "$VINE_MPI" workflow.json
cmp -s "$result" expected.txt || { echo "quickstart: $result is not as expected" >&2; exit 1; }

echo
echo "vine-mpi:       $VINE_MPI"
echo "the result:     $result"
echo "the run's log:  $(readlink -f vine-runs/latest)"
echo "the most frequent words of story.txt:"
head -n 5 "$result"
