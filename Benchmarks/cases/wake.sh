# shellcheck shell=bash disable=SC2034,SC2154
# How soon a task starts when everything was quiet before.

# Three ways to be quiet (`wake_way`):
# - 3 ranks of one node, a chain of sleeps: at each link the manager's rank had been
#   idle, and the worker's is woken by the end of its child.
# - 2 hosts x 2 ranks: the host that has the file runs a task that sleeps all the
#   time and, one after the other, short sleeps; at the end of each, a task that
#   needs a whole host goes to the other one. The manager's rank and that host's had
#   both been idle.
# - 2 hosts x 1 rank: a chain of sleeps on the host without the manager, while a task
#   holds all cores of the manager's.
wake_links=20

prepare_wake() {
    local i cores
    cores=$(nproc)
    ((wake_links = idle_seconds > 1 ? 6 : 20))
    {
        echo '{"schema": "vine-workflow/1", "name": "wake"}'
        wake_chain ""
    } >chain.jsonl
    {
        echo '{"schema": "vine-workflow/1", "name": "wake"}'
        echo "{\"task\": {\"id\": \"hold\", \"argv\": [\"/bin/sleep\", \"$((idle_seconds * (wake_links + 1) + 1))\"], \"cores\": $cores, \"priority\": 9}}"
        echo "{\"task\": {\"id\": \"fill\", \"argv\": [\"/bin/sleep\", \"0.2\"], \"cores\": $cores, \"priority\": 8}}"
        wake_chain fill
    } >far.jsonl
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

wake_chain() { # AFTER
    local i before=$1
    for ((i = 0; i <= wake_links; i++)); do
        echo "{\"task\": {\"id\": \"t$i\", \"argv\": [\"/bin/sleep\", \"$idle_seconds\"], \"after\": [${before:+\"$before\"}]}}"
        before=t$i
    done
}

# wake_way CONTENDER HOW WORKFLOW FROM TO SHIFT NODES: samples from the end of FROM<i>
# to the start of TO<i + SHIFT>, where they ran on the
# "same" node, on the "other" one, or both "far" from the manager.
wake_way() {
    local gap
    run_vine "$2" "$3" --quiet --trace trace.tsv || { failed "$1"; return; }
    awk -F '\t' -v from="$4" -v to="$5" -v shift="$6" -v nodes="$7" -v links="$wake_links" '
        { start[$1] = $3; end[$1] = $4; node[$1] = $2 }
        END {
            for (i = 0; i < links; i++) {
                a = from i; b = to (i + shift)
                if (!(a in end) || !(b in start)) continue
                if (nodes == "same" && node[a] != node[b]) continue
                if (nodes == "other" && node[a] == node[b]) continue
                if (nodes == "far" && (node[a] == "host1" || node[b] == "host1")) continue
                print (start[b] - end[a]) * 1e3
            }
        }' trace.tsv >gaps
    [[ -s gaps ]] || { status="tasks on other nodes than planned"; failed "$1"; }
    while read -r gap; do record "ms to wake" "$1" "$gap"; done <gaps
}

round_wake() {
    local reason=''
    wake_way "3 ranks of one node" 3 chain.jsonl t t 1 same
    if (($(nproc) < 2)); then
        reason="needs 2 cores"
    elif up_hosts 2; then
        wake_way "2 hosts x 2 ranks" hosts:2 hosts.jsonl s t 0 other
        wake_way "2 hosts x 1 rank" hosts:1 far.jsonl t t 1 far
        "$hosts" down
        return
    fi
    absent "2 hosts x 2 ranks" "$reason"
    absent "2 hosts x 1 rank" "$reason"
}
