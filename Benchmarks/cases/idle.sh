# shellcheck shell=bash disable=SC2154
# What ranks without work cost, while one task sleeps somewhere.

idle_window=10

prepare_idle() {
    echo "{\"schema\": \"vine-workflow/1\", \"tasks\": [{\"id\": \"sleep\", \"command\": \"touch $PWD/started; exec sleep $((idle_window + 4))\"}]}" \
        >sleep.json
}

# Nanoseconds on a processor so far, all threads: a line "rank pid nanoseconds" each.
idle_times() {
    local rank pid
    while read -r rank pid; do
        echo "$rank $pid $(cat "/proc/$pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d", sum }')"
    done
}

idle_one() { # CONTENDER HOW
    local words limit=60 ranks value kind
    rm -rf started run scratch
    mkdir scratch
    launch "$2"
    [[ $2 == hosts:* ]] || words+=(--scratch "$PWD/scratch")
    VINE_BENCH_MARK=$VINE_BENCH_MARK-$round$2 timeout -k 10 "$limit" "${words[@]}" sleep.json --quiet --run-dir run \
        >said 2>&1 &
    child=$!
    until [[ -e started ]] || ! kill -0 "$child" 2>/dev/null; do sleep 0.05; done
    sleep 2
    ranks=$(ranks_of "$VINE_BENCH_MARK-$round$2")
    idle_times <<<"$ranks" >before
    sleep "$idle_window"
    idle_times <<<"$ranks" >after
    status=0
    wait "$child" || status=$?
    child=''
    if ((status)) || ! grep -q '^0 ' before; then failed "$1"; return; fi
    for kind in manager worker; do
        value=$(paste -d' ' before after | awk -v kind="$kind" -v window="$idle_window" '
            (kind == "manager") == ($1 == 0) {
                percent = ($6 - $3) / window / 1e7
                if (percent > most) most = percent
            }
            END { print most + 0 }')
        record "% of a core" "$kind, $1" "$value"
    done
}

round_idle() {
    local reason=''
    idle_one "4 ranks of one node" 4
    if up_hosts 2; then
        idle_one "2 hosts, TCP" hosts:1
        "$hosts" down
    else
        absent "manager, 2 hosts, TCP" "$reason"
        absent "worker, 2 hosts, TCP" "$reason"
    fi
}
