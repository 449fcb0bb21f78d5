# Libraries: functions called inside processes that keep their context.

# shellcheck shell=bash source=lib.sh disable=SC2016
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A module whose set-ups and calls leave lines in files of $work.
module() {
    cat >lib.py <<'END'
import os, time
WORK = os.environ["WORK"]
base = 0
seen = []
def note(name):
    with open(os.path.join(WORK, name), "a") as file:
        file.write("%d\n" % os.getpid())
def setup(number):
    global base
    base = number
    note("setups")
def add(a, b=0): return a + b + base
def mean(values): return sum(values) / len(values)
def total(values): return sum(values)
def length(path): return os.path.getsize(path)
def fail(text): raise ValueError("cannot do " + text)
def text(count): return "x" * count
def poison(value):
    seen.append(value)
    return len(seen)
def slow(seconds, value=None):
    note("calls")
    time.sleep(seconds)
    return value
def read(path):
    with open(path) as file: return file.read()
def write(): 
    with open("made", "w") as file: file.write("made")
END
}

# library MODE [MORE]: a python library of that module, named l
library() {
    local functions='["add","mean","total","length","fail","text","poison","slow","read","write"]'
    echo '{"l": {"language": "python", "module": "lib.py", "functions": '"$functions"',
      "exec_mode": "'"$1"'", "context": {"function": "setup", "args": [100]},
      "env": {"WORK": "'"$work"'"}'"${2:-}"'}}'
}

# flow LIBRARIES TASKS [MORE]: w.json
flow() {
    echo '{"schema": "vine-workflow/1", "libraries": '"$1"', "tasks": ['"$2"']'"${3:-}"'}' >w.json
}

setups() { wc -l <setups; }
summary() { python3 -c 'import json,sys; print(eval("json.load(open(\"run/summary.json\"))"+sys.argv[1]))' "$1"; }

# results go into arguments and files, files into calls, commands between them
mixed() { # HOW MODE
    module
    flow "$(library "$2")" '
      {"id": "file", "command": "printf hello > t", "outputs": ["t"]},
      {"id": "a", "call": {"library": "l", "function": "add", "args": [1.5]}},
      {"id": "b", "call": {"library": "l", "function": "add", "args": [{"$ref": "a"}],
        "kwargs": {"b": {"$ref": "n"}}}, "result": "b.json"},
      {"id": "n", "call": {"library": "l", "function": "length", "args": [{"$file": "t"}]}},
      {"id": "list", "call": {"library": "l", "function": "total",
        "args": [[{"$ref": "a"}, {"$ref": "n"}, 1]]}, "result": "list.json"},
      {"id": "both", "command": "cat b.json list.json > both", "inputs": ["b.json", "list.json"],
        "outputs": ["both"]},
      {"id": "made", "call": {"library": "l", "function": "write"},
        "outputs": [{"file": "m", "as": "made"}]}' \
      ', "files": {"t": {"temp": true}, "b.json": {"path": "b.json"}}'
    vine "$1" 0 w.json
    assert_file b.json 206.5
    assert_file both 206.5107.5
    assert_file m made
    [[ $(setups) -le 2 ]] || fail "$(setups) set-ups"
}
test_python_fork_embedded() {
    mixed 0 fork
}
test_python_fork_3_ranks() {
    mixed 3 fork
}
test_python_direct_embedded() {
    mixed 0 direct
}
test_python_direct_3_ranks() {
    mixed 3 direct
}

test_a_large_result_and_parts_of_results() {
    module
    flow "$(library fork)" '
      {"id": "big", "call": {"library": "l", "function": "text", "args": [200000]}},
      {"id": "pass", "call": {"library": "l", "function": "slow",
        "args": [0], "kwargs": {"value": {"k": [{"$ref": "big"}, {"$json": {"$ref": 1}}]}}},
        "result": "pass.json"},
      {"id": "part", "call": {"library": "l", "function": "slow", "args": [0],
        "kwargs": {"value": {"$ref": "pass", "path": "/k/1"}}}, "result": "part.json"},
      {"id": "none", "call": {"library": "l", "function": "slow", "args": [0],
        "kwargs": {"value": {"$ref": "pass", "path": "/k/7"}}}}'
    vine 3 1 w.json
    assert_equal 200000 "$(tr -dc x <pass.json | wc -c)"
    assert_file part.json '{"$ref":1}'
    assert_says "no part /k/7"
}

test_a_context_is_set_up_once_for_many_calls() {
    module
    local tasks="" index
    for ((index = 0; index < 40; index++)); do
        tasks+=',{"id": "t'$index'", "call": {"library": "l", "function": "add", "args": ['$index']}}'
    done
    flow "$(library direct ', "cores": '"$cores")" "${tasks:1}"
    vine 2 0 w.json
    assert_equal 1 "$(setups)" set-ups
    assert_equal 1 "$(summary '["libraries"]["l"]["setups"]')" "set-ups in the summary"
}

test_errors_have_a_traceback() {
    module
    flow "$(library fork)" '
      {"id": "bad", "call": {"library": "l", "function": "fail", "args": ["that"]}, "retries": 1},
      {"id": "after", "call": {"library": "l", "function": "add", "args": [{"$ref": "bad"}]}},
      {"id": "good", "call": {"library": "l", "function": "add", "args": [1]}, "result": "good.json"}'
    vine 2 1 w.json
    assert_file good.json 101
    assert_says "task bad failed: the function raised an error"
    assert_says "ValueError: cannot do that"
    assert_says "lib.py.*in fail"
    "$VINE_MPI" log run bad >errors 2>&1
    grep -q "cannot do that" errors || fail "the log has no error"
}

map_of() { # HOW MODE
    module
    printf 'one\ntwo\nthree\n' >lines
    flow "$(library "$2")" '
      {"id": "list", "map": {"library": "l", "function": "add", "over": [1, 2.5, 3], "chunk": 2},
        "result": "list.json"},
      {"id": "range", "map": {"library": "l", "function": "add",
        "over": {"range": [0, 1000]}, "args": [{"$item": true}, {"$ref": "one"}], "reduce": "total",
        "chunk": 7}, "result": "range.json"},
      {"id": "one", "call": {"library": "l", "function": "add", "args": [-99]}},
      {"id": "lines", "map": {"library": "l", "function": "slow", "over": {"lines": "lines"},
        "args": [0], "kwargs": {"value": [{"$item": true}]}}, "result": "lines.json"},
      {"id": "empty", "map": {"library": "l", "function": "add", "over": []}, "result": "empty.json"},
      {"id": "use", "call": {"library": "l", "function": "total", "args": [{"$ref": "list"}]},
        "result": "use.json"}'
    vine "$1" 0 w.json
    assert_file list.json "[101,102.5,103]"
    assert_file use.json 306.5
    # 0 to 999, each with 100 from the context and 1 from the other call; 100 more for none.
    assert_file range.json 600500
    assert_equal '[["one"],["two"],["three"]]' "$(tr -d ' ' <lines.json)" lines
    assert_file empty.json "[]"
}
test_maps_fork_3_ranks() {
    map_of 3 fork
}
test_maps_direct_embedded() {
    map_of 0 direct
}

test_an_item_that_fails_is_named() {
    module
    flow "$(library direct)" '
      {"id": "m", "map": {"library": "l", "function": "mean", "over": [[1], [2], [], [3]]}}'
    vine 0 1 w.json
    assert_says "ZeroDivisionError"
    assert_says "[Ii]tem.* 2|\[2\]"
}
