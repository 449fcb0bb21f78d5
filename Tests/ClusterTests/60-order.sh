# The order of tasks: after, priority, policy.order.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

test_after() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "tasks": [
  {"id": "third", "command": "echo 3 >> $work/order", "after": ["second"]},
  {"id": "second", "command": "sleep 0.2; echo 2 >> $work/order", "after": ["first"]},
  {"id": "first", "command": "sleep 0.3; echo 1 >> $work/order"}]}
END
    vine 4 0 w.json
    assert_file order $'1\n2\n3'
}

test_after_a_failure_does_not_start() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "tasks": [
  {"id": "bad", "command": "false"},
  {"id": "next", "command": "touch $work/ran", "after": ["bad"]}]}
END
    vine 3 1 w.json
    assert_absent ran
}

# Every task takes all cores, so that they run one after the other.
one_by_one() { # HOW POLICY EXPECTED TASK...
    local how=$1 policy=$2 expected=$3
    shift 3
    {
        echo "{\"schema\": \"vine-workflow/1\", \"defaults\": {\"cores\": $cores}, \"policy\": $policy, \"tasks\": ["
        local separator=''
        for task; do
            echo "$separator{\"id\": \"${task%%:*}\", \"command\": \"echo ${task%%:*} >> $work/order\"${task#*:}}"
            separator=,
        done
        echo ']}'
    } >w.json
    vine "$how" 0 w.json
    assert_equal "$expected" "$(tr '\n' ' ' <order)" order
}

test_priority_embedded() {
    one_by_one 0 '{}' 'high mid low none ' \
        'none:' 'low:, "priority": 1' 'high:, "priority": 9' 'mid:, "priority": 5'
}
test_priority_4_ranks() {
    one_by_one 4 '{}' 'high mid low none ' \
        'none:' 'low:, "priority": 1' 'high:, "priority": 9' 'mid:, "priority": 5'
}
test_order_file() {
    one_by_one 3 '{"order": "file"}' 'd c a b ' d: c: a: b:
}
test_heft_starts_the_longest_chain_first() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "defaults": {"cores": $cores}, "tasks": [
  {"id": "short", "command": "echo short >> $work/order"},
  {"id": "head", "command": "echo head >> $work/order"},
  {"id": "tail1", "command": "echo tail1 >> $work/order", "after": ["head"]},
  {"id": "tail2", "command": "echo tail2 >> $work/order", "after": ["tail1"]}]}
END
    vine 2 0 w.json
    assert_equal head "$(head -n 1 order)" "first task"
}

test_small_tasks_pass_one_that_does_not_fit() {
    ((cores >= 2)) || skip "needs 2 cores"
    cat >w.json <<END
{"schema": "vine-workflow/1", "tasks": [
  {"id": "long", "command": "sleep 2", "priority": 9},
  {"id": "wide", "cores": $cores, "command": "true", "priority": 5},
  {"id": "small", "command": "true"}]}
END
    vine 3 0 w.json --trace trace.tsv
    awk -F '\t' '$1 == "long" {e = $4} $1 == "small" {s = $3} END {exit !(s < e)}' trace.tsv ||
        fail "a core stood idle beside a task that did not fit"
}
