# shellcheck shell=bash disable=SC2034,SC2154
# A million tasks: memory of the manager, time to read them, time to simulate them.

memory_tasks=1000000
memory_queued=200000

prepare_memory() {
    memory_tasks_as_json "$memory_tasks" >load.json
    memory_tasks_as_lines "$memory_tasks" >load.jsonl
    local files
    for files in 0 2; do
        memory_waiting "$memory_queued" "$files" >"queued$files.jsonl"
    done
    memory_waiting 1 0 >queued.jsonl
}

memory_tasks_as_json() { # COUNT
    awk -v count="$1" 'BEGIN {
        print "{\"schema\": \"vine-workflow/1\", \"tasks\": ["
        for (i = 0; i < count; i++)
            printf "{\"id\": \"task%d\", \"argv\": [\"./model\", \"%d\"]}%s\n", i, i, i + 1 < count ? "," : "]}"
    }'
}
memory_tasks_as_lines() { # COUNT
    awk -v count="$1" 'BEGIN {
        print "{\"schema\": \"vine-workflow/1\"}"
        for (i = 0; i < count; i++)
            printf "{\"task\": {\"id\": \"task%d\", \"argv\": [\"./model\", \"%d\"]}}\n", i, i
    }'
}
# Tasks that wait for one that sleeps, each with FILES files: the sleeper's output, and its own.
memory_waiting() { # COUNT FILES
    awk -v count="$1" -v files="$2" -v here="$PWD" 'BEGIN {
        print "{\"schema\": \"vine-workflow/1\", \"name\": \"queued\"}"
        printf "{\"task\": {\"id\": \"first\", \"command\": \"touch %s/started; exec sleep 600\"%s}}\n",
            here, files ? ", \"outputs\": [\"table\"]" : ""
        if (files) print "{\"file\": {\"id\": \"table\", \"temp\": true}}"
        for (i = 0; i < count; i++) {
            if (files) {
                printf "{\"file\": {\"id\": \"out%d\", \"temp\": true}}\n", i
                printf "{\"task\": {\"id\": \"task%d\", \"argv\": [\"./model\", \"%d\"], \"inputs\": [\"table\"], \"outputs\": [\"out%d\"]}}\n", i, i, i
            } else
                printf "{\"task\": {\"id\": \"task%d\", \"argv\": [\"./model\", \"%d\"], \"after\": [\"first\"]}}\n", i, i
        }
    }'
}

# resident WORKFLOW: sets `bytes` to what the process holds while the first task runs.
memory_resident() {
    rm -rf started run scratch
    mkdir scratch
    "$vine" "$1" --quiet --run-dir run --scratch "$PWD/scratch" >said 2>&1 &
    child=$!
    until [[ -e started ]]; do
        kill -0 "$child" 2>/dev/null || { status=0; wait "$child" || status=$?; child=''; return 1; }
        sleep 0.05
    done
    bytes=$(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$child/status")
    kill -TERM "$child"
    wait "$child" || true
    child=''
}

memory_load() { # FILE
    if measured "$vine" check "$1"; then
        record s "read ${1##*.}" "$wall"
        record MB "read ${1##*.}" "$(calculate "$rss / 1024")"
    else
        failed "read ${1##*.}"
    fi
}

round_memory() {
    local bytes empty files few many
    if memory_resident queued.jsonl; then empty=$bytes; else failed "queued"; return; fi
    for files in 0 2; do
        if memory_resident "queued$files.jsonl"; then
            record "bytes/task" "queued, $files files" "$(calculate "($bytes - $empty) / $memory_queued")"
        else
            failed "queued, $files files"
        fi
    done
    # In the simulator the tasks share their command, so this is the scheduler's part alone.
    for files in 0 2; do
        few='' many=''
        if measured "$vine" simulate --synthetic 1000 --synthetic-files "$files" --nodes 1; then few=$rss; fi
        if measured "$vine" simulate --synthetic "$memory_tasks" --synthetic-files "$files" --nodes 1; then many=$rss; fi
        if [[ -z $few || -z $many ]]; then failed "simulated, $files files"; continue; fi
        record "bytes/task" "simulated, $files files" "$(calculate "($many - $few) * 1024 / ($memory_tasks - 1000)")"
    done
    if measured "$vine" simulate --synthetic "$memory_tasks" --nodes 10000 --cores-per-node 2; then
        record s "simulate" "$wall"
        record MB "simulate" "$(calculate "$rss / 1024")"
    else
        failed "simulate"
    fi
    in_turn memory_load load.json load.jsonl
}
