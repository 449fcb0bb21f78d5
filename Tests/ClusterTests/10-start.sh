# The quickstart example under each way to start, and what a run leaves.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

quickstart() { # HOW
    example quickstart
    vine "$1" 0 example/workflow.json
    assert_same example/expected.txt example/results/words.txt
}

test_quickstart_embedded() {
    quickstart 0
}
test_quickstart_1_rank() {
    quickstart 1
}
test_quickstart_2_ranks() {
    quickstart 2
}
test_quickstart_4_ranks() {
    quickstart 4
}
test_quickstart_7_ranks() {
    quickstart 7
}
test_run_subcommand_is_the_default() {
    example quickstart
    vine 0 0 run example/workflow.json
    assert_same example/expected.txt example/results/words.txt
}

test_twice_in_one_directory() {
    quickstart 0
    rm example/results/words.txt
    vine 4 0 example/workflow.json --run-dir run2
    assert_same example/expected.txt example/results/words.txt
}

test_run_directory() {
    example quickstart
    cd example
    "$VINE_MPI" workflow.json --scratch "$work" >../said 2>&1 || fail "status $?"
    [[ -L vine-runs/latest ]] || fail "no link vine-runs/latest"
    local run
    run=$(readlink -f vine-runs/latest)
    assert_equal "$(realpath vine-runs)" "${run%/*}"
    [[ ${run##*/} == quickstart-* ]] || fail "the run directory is called ${run##*/}"
    assert_equal 0 "$(outcome "$run")" "outcome"
    assert_equal 700 "$(stat -c %a "$run")" "mode of the run directory"
    [[ -d $run/journal ]] || fail "no journal"
    python3 -m json.tool "$run/summary.json" >/dev/null
    python3 -m json.tool "$run/outcome" >/dev/null
}

test_nothing_stays_in_scratch() {
    quickstart 4
    assert_equal "" "$(find scratch -type f | head -n 3)" "files in scratch"
}

test_two_runs_at_once() {
    # The same workflow in the same directory with the same scratch.
    example quickstart
    cd example
    mkdir ../scratch
    "$VINE_MPI" workflow.json --fresh --scratch "$work/scratch" >../said1 2>&1 &
    local first=$! second status=0
    "$VINE_MPI" workflow.json --fresh --scratch "$work/scratch" >../said2 2>&1 &
    second=$!
    wait "$first" || status=1
    wait "$second" || status=1
    ((status == 0)) || { tail ../said1 ../said2; fail "one of the runs failed"; }
    assert_equal 2 "$(find vine-runs -mindepth 1 -maxdepth 1 -type d | wc -l)" "run directories"
    assert_same expected.txt results/words.txt
}

test_log_shows_output_of_a_task() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "speaks", "command": "echo to stdout; echo to stderr >&2"},
  {"id": "a b", "command": "echo spaced"}]}
END
    vine 2 0 w.json
    vine 0 0 log run speaks
    assert_says "to stdout"
    assert_says "to stderr"
    vine 0 0 log run "a b"
    assert_says "spaced"
    local status=0
    "$VINE_MPI" log run nobody >said 2>&1 || status=$?
    ((status)) || fail "log of an unknown task succeeds"
    assert_says "nobody"
}

test_trace_has_a_row_per_task() {
    example quickstart
    vine 3 0 example/workflow.json --trace trace.tsv
    assert_equal 6 "$(grep -vc '^#' trace.tsv)" "rows"
    [[ $(head -n 1 trace.tsv) == \#* ]] || fail "no header line"
    awk -F '\t' '!/^#/ && (NF < 5 || $4 < $3 || $5 < 1) { print "bad row: " $0; bad = 1 } END { exit bad }' trace.tsv
}

test_many_ranks() {
    {
        echo '{"schema": "vine-workflow/1", "tasks": ['
        for i in {1..200}; do echo "{\"id\": \"t$i\", \"argv\": [\"/bin/true\"]},"; done
        echo '{"id": "last", "command": "true"}]}'
    } >w.json
    vine 16 0 w.json --trace trace.tsv
    assert_equal 201 "$(grep -vc '^#' trace.tsv)" "tasks run"
}

test_no_tasks_is_refused_or_empty() {
    echo '{"schema": "vine-workflow/1", "tasks": []}' >w.json
    local status=0
    launch 0 w.json --run-dir run >said 2>&1 || status=$?
    [[ $status == 0 || $status == 2 ]] || fail "status $status"
}
