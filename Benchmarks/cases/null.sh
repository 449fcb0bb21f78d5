# shellcheck shell=bash disable=SC2016,SC2154
# Tasks that do nothing: the rate of starting processes.

prepare_null() {
    local i
    null_few=$((null_tasks < 2000 ? null_tasks : 2000)) # for the slow ones
    {
        echo '{"schema": "vine-workflow/1", "name": "null"}'
        for ((i = 0; i < null_tasks; i++)); do
            echo "{\"task\": {\"id\": \"t$i\", \"argv\": [\"/bin/true\"]}}"
        done
    } >null.jsonl
    {
        echo "tasks := \$(shell seq $null_tasks)"
        echo ".PHONY: all \$(tasks)"
        echo "all: \$(tasks)"
        printf '$(tasks):\n\t@/bin/true\n'
    } >Makefile
    {
        printf 'rule null\n  command = /bin/true\n'
        for ((i = 0; i < null_few; i++)); do echo "build t$i: null"; done
    } >build.ninja
}

# CPU per task counts everything: tool, ranks, mpirun, tasks.
null_result() { # CONTENDER TASKS SECONDS
    record tasks/s "$1" "$(calculate "$2 / $3")"
    record "CPU us/task" "$1" "$(calculate "$cpu * 1e6 / $2")"
}

null_one() { # CONTENDER
    case $1 in
        vine-mpi*)
            local how=embedded
            [[ $1 != *ranks ]] || how=3
            if run_vine "$how" null.jsonl --quiet; then
                null_result "$1" "$null_tasks" "$span"
            else
                failed "$1"
            fi ;;
        "C loop")
            measured "$work/bin/spawnloop" "$null_tasks" 2 /bin/true || { failed "$1"; return; }
            null_result "$1" "$null_tasks" "$(<said)" ;;
        "xargs -P2") null_tool xargs "$1" "$null_tasks" sh -c "seq $null_tasks | xargs -P2 -n1 /bin/true" ;;
        "make -j2") null_tool make "$1" "$null_tasks" make -s -j2 ;;
        "ninja -j2")
            rm -f .ninja_log .ninja_deps
            null_tool ninja "$1" "$null_few" ninja -j2 ;;
        "parallel -j2")
            null_tool parallel "$1" "$null_few" \
                sh -c "seq $null_few | PARALLEL_HOME=$PWD parallel --will-cite -j2 /bin/true" ;;
    esac
}

null_tool() { # PROGRAM CONTENDER TASKS COMMAND...
    local contender=$2 count=$3
    has "$1" || { absent "$2" "no $1 here"; return; }
    shift 3
    if measured "$@"; then null_result "$contender" "$count" "$wall"; else failed "$contender"; fi
}

round_null() {
    in_turn null_one "vine-mpi, 3 ranks" "C loop" "vine-mpi embedded" \
        "xargs -P2" "make -j2" "ninja -j2" "parallel -j2"
}
