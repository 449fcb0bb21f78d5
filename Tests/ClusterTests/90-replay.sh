# Replays of recorded workflows: each task saw the right bytes (digests), after
# its predecessors and on cores of its own (trace).

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# replay_all HOW P M: every instance in HOW, on P cores of M nodes
replay_all() {
    local how=$1 cores=$2 nodes=$3 file name finals wrong=0 begin
    local dev=$VINE_SHARED/workflows/dev oracle=$VINE_SHARED/tools/wf_oracle.py
    for file in "$dev"/*.json "$dev"/old-versions/*.json; do
        name=$(basename "$file" .json)
        [[ $name != expected ]] || continue
        begin=$SECONDS
        rm -rf trace digests expected run
        # A subshell, so that the next instance is tried after a failure too. There
        # set -e does not hold: each step says what its failure means.
        (
            vine "$how" 0 run --replay "$file" --time-scale 0.001 --bytes-scale 0.0001 \
                --trace trace --digests digests
            python3 "$oracle" "$file" -P "$cores" -M "$nodes" --check trace --tolerance 0.002 \
                --digests expected --bytes-scale 0.0001 || fail "the oracle refuses the trace"
            finals=$(python3 "$oracle" "$file" --json |
                python3 -c 'import json, sys; print(json.load(sys.stdin)["data"]["final_files"])')
            grep -v '^#' digests | LC_ALL=C sort >found
            LC_ALL=C sort expected | LC_ALL=C comm -23 found - >unexpected
            [[ ! -s unexpected ]] || { head -n 5 unexpected; fail "digests that are not the oracle's"; }
            (($(wc -l <found) >= finals)) || fail "$(wc -l <found) digests for $finals final files"
        ) || { echo "WRONG: $name"; wrong=$((wrong + 1)); }
        echo "$name: $((SECONDS - begin)) s"
    done
    ((wrong == 0)) || fail "$wrong instances"
}
recorded() {
    [[ -d $VINE_SHARED/workflows/dev ]] || skip "no recorded workflows (VINE_SHARED)"
    need python3
}

test_replay_embedded() { # 500 s
    recorded
    replay_all 0 "$cores" 1
}
test_replay_4_ranks() { # 500 s
    recorded
    replay_all 4 "$cores" 1
}
test_replay_7_ranks() { # 500 s
    recorded
    replay_all 7 "$cores" 1
}
test_replay_4_hosts() { # 500 s
    recorded
    up_hosts 4
    replay_all hosts:4:2 $((4 * cores)) 4
}
