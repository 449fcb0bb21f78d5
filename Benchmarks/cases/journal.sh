# shellcheck shell=bash disable=SC2034,SC2154
# What the journal costs: the rate of null tasks with a disk that takes 20 ms for each sync, beside the
# rate with the disk as it is and with nothing written at all; and how long a start takes that finds
# all tasks done; and how many small records a second become durable, with no tasks around them.

journal_tasks=6000
journal_calls=50000
# A million with --long: the first run of them takes minutes.
journal_resumed=100000

prepare_journal() {
    ((idle_seconds < 10)) || journal_resumed=1000000
    journal_null "$journal_tasks" >null.jsonl
    journal_null "$journal_resumed" >many.jsonl
    # Calls, since starting processes would be what is measured.
    printf '#include <vine_function.h>\nint f(vine_call *call) { (void)call; return 0; }\n' |
        gcc -O2 -shared -fPIC -I"$root/Sources/CVineHost/include" -o nothing.so -x c -
    {
        printf '{"schema": "vine-workflow/1", "name": "calls", "libraries": {"l": {"language": "native", '
        printf '"shared_object": "nothing.so", "functions": ["f"], "exec_mode": "process", "cores": %d}}}\n' "$(nproc)"
        awk -v count="$journal_calls" 'BEGIN { for (i = 0; i < count; i++)
            printf "{\"task\": {\"id\": \"c%d\", \"call\": {\"library\": \"l\", \"function\": \"f\", \"args\": [%d]}}}\n", i, i }'
    } >calls.jsonl
    rm -rf many
    measured "$vine" many.jsonl --quiet --run-dir many --scratch "$PWD" || failed "first run"
    # The first start after it folds what was written, and leaves a snapshot if that is long.
    cp -r many/journal folded
}

journal_null() { # COUNT
    awk -v count="$1" 'BEGIN {
        print "{\"schema\": \"vine-workflow/1\", \"name\": \"null\"}"
        for (i = 0; i < count; i++)
            printf "{\"task\": {\"id\": \"task%d\", \"argv\": [\"/bin/true\", \"%d\"]}}\n", i, i
    }'
}

# journal_rate CONTENDER [FIGURE COUNT WORKFLOW]
journal_rate() {
    local figure=${2-tasks/s} count=${3-$journal_tasks} workflow=${4-null.jsonl}
    rm -rf run
    case $1 in
        'sync of 20 ms') export VINE_FAULT=journal.fsync:delay=20 ;;
        'nothing written') export VINE_FAULT=journal.write:drop,journal.fsync:drop ;;
    esac
    if measured "$vine" "$workflow" --quiet --run-dir run --scratch "$PWD"; then
        record "$figure" "$1" "$(calculate "$count / $wall")"
    else
        failed "$1"
    fi
    unset VINE_FAULT
}

journal_resume() { # CONTENDER
    local begun
    if [[ $1 == 'resume, log' ]]; then
        rm -rf many/journal
        cp -r folded many/journal
    fi
    if measured "$vine" check many.jsonl; then begun=$wall; else failed "$1"; return; fi
    if measured "$vine" many.jsonl --quiet --run-dir many --scratch "$PWD"; then
        record "s/million" "$1" "$(calculate "($wall - $begun) * 1000000 / $journal_resumed")"
        record "MB" "$1" "$(calculate "$rss / 1024")"
    else
        failed "$1"
    fi
}

journal_records() { # CONTENDER
    local rate
    rm -rf records
    mkdir records
    if [[ $1 == 'sync of 20 ms' ]]; then export VINE_FAULT=journal.fsync:delay=20; fi
    if rate=$("$vine" journal measure records); then record records/s "$1" "$rate"; else failed "$1"; fi
    unset VINE_FAULT
    rm -rf records
}

round_journal() {
    journal_rate 'sync of 20 ms' calls/s "$journal_calls" calls.jsonl
    in_turn journal_records 'sync as it is' 'sync of 20 ms'
    in_turn journal_rate 'sync as it is' 'sync of 20 ms' 'nothing written'
    journal_resume 'resume, log'
    journal_resume 'resume, snapshot'
}
