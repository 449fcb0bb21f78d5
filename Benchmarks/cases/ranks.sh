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

ranks_one() { # HOW
    local limit=300
    rm -f end
    if run_vine "$1" ranks.jsonl --quiet && [[ $(cat end 2>/dev/null) == 498501 ]]; then
        record "failed runs" "64 ranks" 0
        record s "64 ranks" "$wall"
        record "s of tasks" "64 ranks" "$span"
    else
        record "failed runs" "64 ranks" 1
        failed "64 ranks"
    fi
}

round_ranks() {
    local reason=''
    if up_hosts 4; then
        note "64 ranks: 4 emulated hosts of 16"
        ranks_one hosts:16
        "$hosts" down
    else
        note "64 ranks: all on this machine ($reason)"
        ranks_one 64
    fi
}
