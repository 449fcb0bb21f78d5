# Descriptions that are refused: exit 2, a message with the place, nothing run.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# refused PATTERN: w.json (from standard input) is refused by check, by an
# embedded run and by a run of 3 ranks, which say PATTERN and run nothing.
refused() {
    cat >w.json
    local how
    vine 0 2 check w.json
    assert_says "$1"
    for how in 0 3; do
        vine "$how" 2 w.json --run-dir "run$how"
        assert_says "$1"
        assert_absent ran
    done
}

test_cycle() {
    refused "cycle|each other" <<END
{"schema": "vine-workflow/1", "files": {"a": {"temp": true}, "b": {"temp": true}}, "tasks": [
  {"id": "zero", "command": "touch $work/ran"},
  {"id": "one", "command": "cp a b", "inputs": ["a"], "outputs": ["b"]},
  {"id": "two", "command": "cp b a", "inputs": ["b"], "outputs": ["a"]}]}
END
}
test_cycle_by_after() {
    refused "cycle|each other" <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "one", "command": "true", "after": ["two"]}, {"id": "two", "command": "true", "after": ["one"]}]}
END
}
test_two_producers() {
    refused "tasks\[1\]|two" <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "one", "command": "echo > x", "outputs": ["x"]}, {"id": "two", "command": "echo > x", "outputs": ["x"]}]}
END
}
test_parent_directory_in_a_sandbox_name() {
    refused "tasks\[0\]\.outputs\[0\]" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "outputs": [{"file": "x", "as": "../x"}]}]}
END
}
test_absolute_sandbox_name() {
    refused "tasks\[0\]\.inputs\[0\]" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "inputs": [{"file": "x", "as": "/etc/x"}]}]}
END
}
test_same_sandbox_name_twice() {
    refused "tasks\[0\]" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "inputs": ["x", {"file": "y", "as": "x"}]}]}
END
}
test_unknown_key_names_the_nearest() {
    refused "retries" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "retrys": 3}]}
END
}
test_unknown_after_names_the_nearest() {
    refused "prepare" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "prepare", "command": "true"}, {"id": "t", "command": "true", "after": ["prepair"]}]}
END
}
test_duplicate_task() {
    refused "tasks\[1\]|twice|duplicate" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true"}, {"id": "t", "command": "true"}]}
END
}
test_no_schema() {
    refused "schema" <<'END'
{"tasks": [{"id": "t", "command": "true"}]}
END
}
test_command_and_argv() {
    refused "tasks\[0\]" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "argv": ["true"]}]}
END
}
test_wrong_type() {
    refused "tasks\[1\]\.cores" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "s", "command": "true"}, {"id": "t", "command": "true", "cores": "2"}]}
END
}
test_negative_numbers() {
    refused "tasks\[0\]\.timeout" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "timeout": -1}]}
END
}
test_broken_json() {
    refused "w.json" <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true"}
END
}
test_every_semantic_error_is_named() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "a", "command": "true", "after": ["nobody"]},
  {"id": "b", "command": "true", "outputs": [{"file": "x", "as": "../x"}]},
  {"id": "b", "command": "true"}]}
END
    vine 0 2 check w.json
    assert_says "tasks\[0\]"
    assert_says "tasks\[1\]"
    assert_says "tasks\[2\]"
}
test_keys_starting_with_x_are_free() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "x-author": "someone", "tasks": [{"id": "t", "command": "true", "x-note": {"any": ["thing"]}}]}
END
    vine 0 0 check w.json
    vine 2 0 w.json --trace trace
    assert_equal 1 "$(grep -vc '^#' trace)" "tasks run"
}
test_later_features_are_refused_by_name() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true", "effect": "once"}]}
END
    local status=0
    timeout 20 "$VINE_MPI" w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ $status == 2 || $status == 1 ]] || fail "status $status"
    assert_says "effect"
}
test_no_such_workflow() {
    vine 0 2 absent.json
    assert_says "absent.json"
    vine 3 2 absent.json
    assert_says "absent.json"
}
test_usage() {
    local status=0
    "$VINE_MPI" --no-such-option >said 2>&1 || status=$?
    assert_equal 2 "$status" "status of a wrong option"
    status=0
    "$VINE_MPI" >said 2>&1 || status=$?
    [[ $status == 2 || $status == 0 ]] || fail "status without arguments: $status"
    "$VINE_MPI" --help >said
    assert_says "WORKFLOW|workflow"
}

argument() { # BYTES: a workflow with an argument of that size
    python3 - "$1" >w.json <<'END'
import json, sys
big = "x" * int(sys.argv[1])
print(json.dumps({"schema": "vine-workflow/1", "files": {"n": {"path": "n"}, "y": {"path": "y"}}, "tasks": [
    {"id": "long", "argv": ["sh", "-c", "printf %s \"$1\" | wc -c > n", "sh", big], "outputs": ["n"]},
    {"id": "good", "command": "echo y > y", "outputs": ["y"]}]}))
END
}
test_an_argument_of_just_under_128_kib() {
    argument 131071
    vine 2 0 w.json
    assert_file n 131071
}
test_an_argument_of_128_kib() {
    argument 131072
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ ! -e run/outcome ]] || status=$(outcome run)
    case $status in
        0) assert_file n 131072 ;;
        1) assert_file y y ;;
        2) assert_absent y ;;
        *) fail "status $status" ;;
    esac
    [[ $status == 0 ]] || { assert_says "long|tasks\[0\]"; assert_says "E2BIG|[Aa]rgument|128|131"; }
}
test_a_command_of_200_kib() {
    python3 - >w.json <<'END'
import json
print(json.dumps({"schema": "vine-workflow/1", "tasks": [{"id": "long", "command": ": " + "x" * 200000}]}))
END
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ $status == 0 ]] || { assert_says "long|tasks\[0\]"; assert_says "E2BIG|[Aa]rgument|[Cc]ommand|128|131"; }
}
test_many_arguments() {
    python3 - >w.json <<'END'
import json
print(json.dumps({"schema": "vine-workflow/1", "tasks": [
    {"id": "many", "argv": ["sh", "-c", "echo $# > n", "sh"] + [f"argument-{i}" for i in range(10000)], "outputs": ["n"]}]}))
END
    vine 3 0 w.json
    assert_file n 10000
}

# The 44 irregular WfFormat inputs: accepted, accepted with a warning, or refused.
test_verdicts_on_irregular_wfformat() {
    [[ -d $VINE_SHARED/workflows/bad ]] || skip "no recorded workflows (VINE_SHARED)"
    need python3
    local name verdict status wrong=0 count=0
    while read -r name verdict; do
        count=$((count + 1))
        status=0
        timeout 60 "$VINE_MPI" check "$VINE_SHARED/workflows/bad/$name" >said 2>&1 || status=$?
        case $verdict:$status in
            accept:0 | reject:2 | unreadable:2) ;;
            warn:0) grep -qi 'warning' said || { echo "$name: no warning"; wrong=$((wrong + 1)); } ;;
            *) echo "$name: $verdict, but status $status: $(head -n 3 said)"; wrong=$((wrong + 1)) ;;
        esac
        [[ $status != 2 || -s said ]] || { echo "$name: refused without a word"; wrong=$((wrong + 1)); }
    done < <(python3 -c '
import json, sys
for name, entry in json.load(open(sys.argv[1])).items():
    print(name, entry["verdict"])' "$VINE_SHARED/workflows/bad/expected.json")
    assert_equal 44 "$count" "number of inputs"
    ((wrong == 0)) || fail "$wrong of $count verdicts are wrong"
}
