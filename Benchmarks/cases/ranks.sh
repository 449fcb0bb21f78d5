# shellcheck shell=bash disable=SC2034,SC2154
# 64 ranks on this machine, as 4 emulated hosts of 16 where that is possible.

prepare_ranks() {
    local i
    {
        echo '{"schema": "vine-workflow/1", "name": "ranks"}'
        echo '{"file": {"id": "end", "path": "end"}}'
        for ((i = 0; i < 999; i++)); do
            echo "{\"file\": {\"id\": \"f$i\", \"temp\": true}}"
            echo "{\"task\": {\"id\": \"t$i\", \"command\": \"echo $i > f$i\", \"outputs\": [\"f$i\"]}}"
        done
        printf '{"task": {"id": "sum", "command": "%s", "outputs": ["end"], "inputs": ["f0"' \
            "cat f* | awk '{ sum += \$1 } END { print sum }' > end"
        for ((i = 1; i < 999; i++)); do printf ', "f%d"' "$i"; done
        echo ']}}'
    } >ranks.jsonl
}

ranks_one() { # CONTENDER HOW
    local limit=300
    rm -f end
    if run_vine "$2" ranks.jsonl --quiet && [[ $(cat end 2>/dev/null) == 498501 ]]; then
        record "failed runs" "$1" 0
        record s "$1" "$wall"
        record "s of tasks" "$1" "$span"
    else
        record "failed runs" "$1" 1
        failed "$1"
    fi
}

round_ranks() {
    local reason=''
    if up_hosts 4; then
        ranks_one "4 hosts x 16" hosts:16
        "$hosts" down
        absent "64 on one node" "measured as 4 hosts"
    else
        absent "4 hosts x 16" "$reason"
        ranks_one "64 on one node" 64
    fi
}
