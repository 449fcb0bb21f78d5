# Task lists and the simulator.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tasklist() { # HOW
    # shellcheck disable=SC2016
    printf '%s\n' 'echo "$LAUNCHER_JID $LAUNCHER_NJOBS" > "jid.$LAUNCHER_JID"' '' '# a comment' \
        'test "$LAUNCHER_TSK_ID" -ge 0 && test "$LAUNCHER_TSK_ID" -lt "$LAUNCHER_NPROCS" && echo fine > slot' \
        'echo "$LAUNCHER_PPN $LAUNCHER_NHOSTS" > shape' 'a=(x y); echo "${a[1]}" > isbash' >list
    printf 'pwd > last; echo "no newline" >> last' >>list
    vine "$1" 0 list --format "$format"
    assert_equal 1 "$(cut -d' ' -f1 jid.1)" LAUNCHER_JID
    assert_file slot fine
    assert_file isbash y
    assert_file last "$work"$'\nno newline'
    [[ $(cut -d' ' -f2 shape) == 1 ]] || fail "LAUNCHER_NHOSTS: $(<shape)"
}
format=tasklist
test_task_list_embedded() {
    tasklist 0
}
test_task_list_4_ranks() {
    tasklist 4
}

test_task_list_by_its_looks() {
    # shellcheck disable=SC2016
    for i in {1..30}; do printf 'echo %d >> out-$LAUNCHER_JID\n' "$i"; done >commands.txt
    vine 3 0 commands.txt
    local i
    for i in 1 15 30; do assert_file "out-$i" "$i"; done
}

test_task_list_with_failures_and_options() {
    printf '%s\n' 'false' "echo x >> $work/tries; test \$(wc -l < $work/tries) = 2" 'sleep 641' 'touch good' >list
    vine 3 1 list --format "$format" --retries 1 --timeout 2
    [[ -e good ]] || fail "the good line did not run"
    assert_equal 2 "$(wc -l <tries)" tries
    wait_for 3 none_left "sleep 641"
}

test_task_list_with_crlf() {
    printf 'echo a > "x"\r\necho b > y\r\n' >list
    vine 0 0 list --format "$format"
    assert_file x a
    assert_file y b
}

test_task_list_cores() {
    ((cores >= 2)) || skip "needs 2 cores"
    # shellcheck disable=SC2016
    printf 'echo $VINE_CORES $OMP_NUM_THREADS > c\n' >list
    vine 2 0 list --format "$format" --cores 2
    assert_file c "2 2"
}

test_recorded_task_lists() {
    [[ -d $VINE_SHARED/workflows/formats/tasklist ]] || skip "no recorded workflows (VINE_SHARED)"
    vine 3 0 "$VINE_SHARED/workflows/formats/tasklist/helloworld_multi_output.first20" --format "$format"
    assert_equal 20 "$(cat output-* | wc -l)" "lines"
}

test_a_recorded_instance_without_replay_is_refused() {
    [[ -d $VINE_SHARED/workflows/dev ]] || skip "no recorded workflows (VINE_SHARED)"
    vine 0 2 "$VINE_SHARED/workflows/dev/helloworld-forkjoin-10-chameleon.json"
    assert_says "replay"
}

test_ideal_simulation_equals_the_oracle() { # 300 s
    [[ -d $VINE_SHARED/workflows/dev ]] || skip "no recorded workflows (VINE_SHARED)"
    need python3
    local name shape order expected found wrong=0
    while IFS=$'\t' read -r name shape order expected; do
        found=$("$VINE_MPI" simulate "$VINE_SHARED/workflows/dev/$name" --nodes "${shape#*/}" \
            --cores-per-node $((${shape%/*} / ${shape#*/})) --order "$order" --ideal 2>said | sed -n 's/^makespan //p') || true
        awk -v a="$expected" -v b="${found:-none}" 'BEGIN { exit !(b != "none" && sprintf("%.6f", a) == sprintf("%.6f", b)) }' ||
            { echo "$name on $shape, $order: expected $expected, found '$found'"; wrong=$((wrong + 1)); }
    done < <(python3 -c '
import json, sys
for name, entry in json.load(open(sys.argv[1])).items():
    for shape, on in entry["on"].items():
        for order, seconds in on["makespan_s"].items():
            print(name, shape, order, seconds, sep="\t")' "$VINE_SHARED/workflows/dev/expected.json")
    ((wrong == 0)) || fail "$wrong makespans differ"
}
