# shellcheck shell=bash disable=SC2154
# How soon a task starts when everything was quiet before.

# On one node, a chain of sleeps: at each link the manager had been idle, while
# the worker's rank is woken by the end of its child. On two hosts, the one that has
# the file runs a task that sleeps all the time and, one after the other, short
# sleeps; at the end of each, a task that needs a whole host goes to the other one.
# There the manager and the rank of that host had both been idle.
wake_links=20

prepare_wake() {
    local i cores
    cores=$(nproc)
    ((wake_links = idle_seconds > 1 ? 6 : 20))
    {
        echo '{"schema": "vine-workflow/1", "name": "wake"}'
        echo "{\"task\": {\"id\": \"t0\", \"argv\": [\"/bin/sleep\", \"$idle_seconds\"]}}"
        for ((i = 1; i <= wake_links; i++)); do
            echo "{\"task\": {\"id\": \"t$i\", \"argv\": [\"/bin/sleep\", \"$idle_seconds\"], \"after\": [\"t$((i - 1))\"]}}"
        done
    } >chain.jsonl
    {
        echo '{"schema": "vine-workflow/1", "name": "wake"}'
        echo '{"file": {"id": "here", "temp": true}}'
        echo '{"task": {"id": "make", "command": "head -c 10000000 /dev/zero > here", "outputs": ["here"]}}'
        wake_sleep hold "$((idle_seconds * (wake_links + 2) + 1))" 1 make
        wake_sleep s0 "$idle_seconds" "$((cores - 1))" make
        for ((i = 0; i < wake_links; i++)); do
            echo "{\"task\": {\"id\": \"t$i\", \"argv\": [\"/bin/true\"], \"cores\": $cores, \"after\": [\"s$i\"]}}"
            wake_sleep "s$((i + 1))" "$idle_seconds" "$((cores - 1))" "t$i"
        done
    } >hosts.jsonl
}

wake_sleep() { # ID SECONDS CORES AFTER: where the file is
    echo "{\"task\": {\"id\": \"$1\", \"argv\": [\"/bin/sleep\", \"$2\"], \"cores\": $3, \"after\": [\"$4\"], \"inputs\": [\"here\"]}}"
}

wake_samples() { # CONTENDER FROM TO SHIFT: of the trace, from the end of FROM+i to the start of TO+i+SHIFT
    awk -F '\t' -v from="$2" -v to="$3" -v shift="$4" -v links="$wake_links" '
        { start[$1] = $3; end[$1] = $4; node[$1] = $2 }
        END {
            for (i = 0; i < links; i++) {
                a = from i; b = to (i + shift)
                if ((a in end) && (b in start) && (from == to || node[a] != node[b]))
                    print (start[b] - end[a]) * 1e3
            }
        }' trace.tsv >gaps
    while read -r gap; do record "ms to wake" "$1" "$gap"; done <gaps
}

round_wake() {
    local reason='' gap
    if run_vine 3 chain.jsonl --quiet --trace trace.tsv; then
        wake_samples "manager of one node" t t 1
    else
        failed "manager of one node"
    fi
    if (($(nproc) < 2)); then
        absent "manager and worker, 2 hosts" "needs 2 cores"
    elif up_hosts 2; then
        if run_vine hosts:2 hosts.jsonl --quiet --trace trace.tsv; then
            wake_samples "manager and worker, 2 hosts" s t 0
        else
            failed "manager and worker, 2 hosts"
        fi
        "$hosts" down
    else
        absent "manager and worker, 2 hosts" "$reason"
    fi
}
