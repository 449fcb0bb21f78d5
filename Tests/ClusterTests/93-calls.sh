# Libraries: functions called inside processes that keep their context.

# shellcheck shell=bash source=lib.sh disable=SC2016
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A module whose set-ups and calls leave lines in files of $work.
module() {
    cat >lib.py <<'END'
import os, time
WORK = os.environ.get("WORK", ".")
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

# --- faults -----------------------------------------------------------------

has_lines() { [[ -e $1 && $(wc -l <"$1") -ge $2 ]]; } # FILE COUNT

# case 41: the instance is killed under four calls
instance_killed() { # MODE SLOTS CORES
    module
    local tasks="" index
    for index in 1 2 3 4; do
        tasks+=',{"id": "t'$index'", "call": {"library": "l", "function": "slow", "args": [2, '$index']},
          "result": "r'$index'"}'
    done
    flow "$(library "$1" ', "slots": '"$2"', "cores": '"$3")" "${tasks:1}"
    begin 2 w.json
    wait_for 20 has_lines calls 4
    local instance
    instance=$(head -n 1 setups)
    kill -KILL "$instance"
    wait "$pid" || true
    assert_equal 0 "$(outcome run)" status
    for index in 1 2 3 4; do assert_file "r$index" "$index"; done
    assert_equal 2 "$(setups)" set-ups
    assert_equal 8 "$(wc -l <calls)" "begun calls"
}
test_case_41_an_instance_is_killed_under_four_calls() {
    instance_killed fork 4 "$cores"
}

# case 42
test_case_42_a_set_up_that_always_fails() {
    cat >broken.py <<'END'
import os
def setup():
    with open(os.path.join(os.environ["WORK"], "setups"), "a") as file: file.write("x\n")
    raise RuntimeError("no weights here")
def f(x): return x
END
    flow '{"b": {"language": "python", "module": "broken.py", "functions": ["f"],
      "context": {"function": "setup"}, "env": {"WORK": "'"$work"'"}, "cores": '"$cores"'}}' '
      {"id": "x", "call": {"library": "b", "function": "f", "args": [1]}},
      {"id": "y", "call": {"library": "b", "function": "f", "args": [{"$ref": "x"}]}},
      {"id": "z", "command": "echo fine > z", "outputs": ["z"]}'
    vine 2 1 w.json
    assert_file z fine
    assert_equal 3 "$(setups)" set-ups
    assert_says "task x failed: the library b cannot be set up"
    assert_says "no weights here"
}

test_a_set_up_that_hangs_has_failed() {
    cat >stuck.py <<'END'
import os, signal
def setup():
    with open(os.path.join(os.environ["WORK"], "setups"), "a") as file: file.write("x\n")
    while True: signal.pause()
def f(x): return x
END
    flow '{"b": {"language": "python", "module": "stuck.py", "functions": ["f"], "setup_timeout": 0.5,
      "context": {"function": "setup"}, "env": {"WORK": "'"$work"'"}, "cores": '"$cores"'}}' '
      {"id": "x", "call": {"library": "b", "function": "f", "args": [1]}},
      {"id": "z", "command": "echo fine > z", "outputs": ["z"]}'
    vine 2 1 w.json
    assert_file z fine
    assert_equal 3 "$(setups)" set-ups
    assert_says "task x failed: the library b cannot be set up"
    assert_says "longer than its .setup_timeout. allows"
}

# case 43
poisoned() { # MODE EXPECTED
    module
    local tasks="" index
    for index in 1 2 3; do
        tasks+=',{"id": "t'$index'", "call": {"library": "l", "function": "poison", "args": [0]},
          "result": "r'$index'"}'
    done
    flow "$(library "$1" ', "cores": '"$cores")" "${tasks:1}"
    vine 0 0 w.json
    assert_equal "$2" "$(cat r1 r2 r3 | fold -w1 | sort | tr -d '\n')" results
}
test_case_43_fork_keeps_calls_apart() {
    poisoned fork 111
}
test_case_43_direct_does_not() {
    poisoned direct 123
}

too_long() { # MODE SET-UPS
    module
    flow "$(library "$1" ', "cores": '"$cores")" '
      {"id": "long", "call": {"library": "l", "function": "slow", "args": [60]}, "timeout": 1},
      {"id": "next", "call": {"library": "l", "function": "add", "args": [1]}, "after": [],
        "result": "next"}'
    vine 2 1 w.json
    assert_file next 101
    assert_says "task long failed: over its time limit"
    assert_equal "$2" "$(setups)" set-ups
}
test_a_call_over_its_time_limit_fork() {
    too_long fork 1
}
test_a_call_over_its_time_limit_direct() {
    too_long direct 2
}

test_results_outlive_a_killed_job() {
    module
    flow "$(library direct ', "cores": '"$cores")" '
      {"id": "a", "call": {"library": "l", "function": "slow", "args": [0, 5]}},
      {"id": "m", "map": {"library": "l", "function": "slow", "over": [0, 0, 0, 0], "chunk": 1}},
      {"id": "wait", "command": "while [ ! -e '"$work"'/go ]; do sleep 0.1; done", "after": ["a", "m"]},
      {"id": "b", "call": {"library": "l", "function": "add", "args": [{"$ref": "a"}]},
        "after": ["wait"], "result": "b.json"}'
    begin 2 w.json
    wait_for 20 has_lines calls 5
    wait_for 20 eval '[[ $(entries RESULT) == 6 ]]'
    kill_run KILL
    touch go
    vine 2 0 w.json
    assert_file b.json 105
    assert_equal 5 "$(wc -l <calls)" "calls in both sessions"
    assert_says "going on with"
}

test_an_edited_function_is_called_again_and_an_equal_result_ends_it() {
    module
    flow "$(library fork)" '
      {"id": "a", "call": {"library": "l", "function": "slow", "args": [0, 7]}},
      {"id": "b", "call": {"library": "l", "function": "slow", "args": [0, {"$ref": "a"}]},
        "result": "b.json"},
      {"id": "stop", "command": "exit $(cat '"$work"'/status)"}'
    echo 1 >status
    vine 0 1 w.json
    assert_equal 2 "$(wc -l <calls)" calls
    echo "# a remark" >>lib.py
    echo 0 >status
    vine 0 0 w.json
    # The code of both is another one.
    assert_equal 4 "$(wc -l <calls)" calls
}

test_a_rank_is_killed_under_its_instance() {
    module
    flow "$(library direct)" '
      {"id": "m", "map": {"library": "l", "function": "slow", "over": [1, 1, 1, 1], "chunk": 1,
        "args": [{"$item": true}, 3]}, "result": "m.json"}'
    mkdir -p scratch
    mpirun --enable-recovery -n 3 "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" \
        --node-timeout 4 >said 2>&1 &
    pid=$!
    wait_for 20 has_lines calls 2
    local instance rank
    instance=$(head -n 1 setups)
    rank=$(awk '/^PPid:/ {print $2}' "/proc/$instance/status")
    kill -KILL "$rank"
    wait "$pid" || true
    assert_equal 0 "$(outcome run)" status
    assert_file m.json "[3,3,3,3]"
}

# --- other kinds ------------------------------------------------------------

native() { # HOW
    need gcc
    cat >native.c <<'END'
#include <stdlib.h>
#include <vine_function.h>
static long base;
int prepare(vine_call *call) { base = atol(call->arguments + 1); return 0; }
int add(vine_call *call) { return vine_printf(call, "%ld", base + atol(call->arguments + 1)); }
int crash(vine_call *call) { (void)call; abort(); }
int refuse(vine_call *call) { return vine_fail(call, "not with me"); }
END
    gcc -shared -fPIC -I "$root/Sources/CVineHost/include" -o native.so native.c
    flow '{"n": {"language": "native", "shared_object": "native.so",
      "functions": ["add", "crash", "refuse"], "context": {"function": "prepare", "args": [40]}}}' '
      {"id": "a", "call": {"library": "n", "function": "add", "args": [2]}},
      {"id": "m", "map": {"library": "n", "function": "add", "over": {"range": [0, 100]},
        "args": [{"$item": true}], "chunk": 30}},
      {"id": "b", "call": {"library": "n", "function": "add", "args": [{"$ref": "m", "path": "/99"}]},
        "result": "b.json"},
      {"id": "refused", "call": {"library": "n", "function": "refuse"}},
      {"id": "crashed", "call": {"library": "n", "function": "crash"}}'
    vine "$1" 1 w.json
    assert_file b.json 179
    assert_says "not with me"
    assert_says "task crashed failed: its library died under it"
    assert_equal 7 "$(summary '["tasks"]["done"]')" "done tasks"
}
test_native_embedded() {
    native 0
}
test_native_3_ranks() {
    native 3
}

test_an_environment_is_unpacked_once_per_node() {
    module
    mkdir -p env/lib
    echo 'def number(): return 7' >env/extra.py
    tar -C env -cf env.tar .
    cat >uses.py <<'END'
import extra
def f(x): return x + extra.number()
END
    flow '{"e": {"language": "python", "module": "uses.py", "functions": ["f"],
      "environment": "env.tar"}}' '
      {"id": "m", "map": {"library": "e", "function": "f", "over": [1, 2, 3]}, "result": "m.json"}'
    vine 3 0 w.json
    assert_file m.json "[8,9,10]"
}

test_the_table_of_calls_adds_up() {
    module
    flow "$(library direct ', "cores": '"$cores")" '
      {"id": "m", "map": {"library": "l", "function": "add", "over": {"range": [0, 20]}, "chunk": 2}}'
    vine 2 0 w.json --calls calls.tsv
    python3 - <<'END'
rows = [line.split("\t") for line in open("calls.tsv").read().splitlines()]
assert rows[0][0] == "# id" and len(rows) == 11, rows
assert sum(row[2] == "cold" for row in rows[1:]) >= 1
for row in rows[1:]:
    parts = [float(x) for x in row[3:]]
    assert abs(sum(parts[:-1]) - parts[-1]) < 1e-6 and min(parts) >= 0, row
END
    assert_equal 10 "$(summary '["libraries"]["l"]["calls"]')" calls
}

test_a_library_larger_than_any_node_is_refused() {
    module
    flow "$(library fork ', "cores": 60000')" '
      {"id": "x", "call": {"library": "l", "function": "add", "args": [1]}},
      {"id": "y", "command": "true"}'
    vine 2 1 w.json
    assert_says "task x failed: asks for 60000 cores"
}

# two libraries that each need all cores take turns, and commands get theirs
test_instances_give_their_room_to_others() {
    module
    cp lib.py lib2.py
    local all="\"cores\": $cores"
    flow '{"p": {"language": "python", "module": "lib.py", "functions": ["add"], '"$all"'},
      "q": {"language": "python", "module": "lib2.py", "functions": ["add"], '"$all"'}}' '
      {"id": "a", "call": {"library": "p", "function": "add", "args": [1]}},
      {"id": "b", "call": {"library": "q", "function": "add", "args": [{"$ref": "a"}]}},
      {"id": "c", "command": "echo c > c", "outputs": ["c"], '"$all"', "after": ["b"]},
      {"id": "d", "call": {"library": "p", "function": "add", "args": [{"$ref": "b"}]},
        "after": ["c"], "result": "d.json"}'
    vine 2 0 w.json
    assert_file d.json 1
    assert_equal 2 "$(summary '["libraries"]["p"]["setups"]')" "set-ups of p"
}

test_check_names_imports_that_are_missing() {
    mkdir env
    echo 'x = 1' >env/there.py
    tar -C env -cf env.tar .
    printf 'import os, there\nimport not_there\ndef f(x): return x\n' >uses.py
    flow '{"e": {"language": "python", "module": "uses.py", "functions": ["f"],
      "environment": "env.tar"}}' '
      {"id": "x", "call": {"library": "e", "function": "f", "args": [1]}}'
    vine 0 0 check w.json
    assert_says "library e: .*not_there"
}

# --- inside ranks -----------------------------------------------------------

parallel() { # TASKS: w.json with a library of functions inside ranks
    need mpicc
    cat >parallel.c <<'END'
#include <mpi.h>
#include <stdlib.h>
#include <unistd.h>
#include <vine_function.h>
/* [place, size, sum of argument + place over all] */
int sum(MPI_Comm communicator, vine_call *call) {
  int rank, size, mine, all = 0;
  MPI_Comm_rank(communicator, &rank);
  MPI_Comm_size(communicator, &size);
  mine = atoi(call->arguments + 1) + rank;
  MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, communicator);
  return vine_printf(call, "[%d,%d,%d]", rank, size, all);
}
int odd(MPI_Comm communicator, vine_call *call) {
  int rank;
  MPI_Comm_rank(communicator, &rank);
  MPI_Barrier(communicator);
  if (rank == 1) return vine_fail(call, "rank %d has had enough", rank);
  return vine_printf(call, "%d", rank);
}
/* The second rank fails before the others come out of the barrier. */
int stuck(MPI_Comm communicator, vine_call *call) {
  int rank;
  MPI_Comm_rank(communicator, &rank);
  if (rank == 1) return vine_fail(call, "not me");
  MPI_Barrier(communicator);
  return vine_printf(call, "0");
}
int alone(vine_call *call) { return vine_printf(call, "%d", atoi(call->arguments + 1) + 1); }
END
    mpicc -shared -fPIC -I "$root/Sources/CVineHost/include" -o parallel.so parallel.c
    flow '{"p": {"language": "native", "shared_object": "parallel.so", "exec_mode": "rank",
      "functions": ["sum", "odd", "stuck", "alone"], "memory": 10}}' "$1"
}

test_a_gang_is_opt_in() {
    parallel '{"id": "g", "call": {"library": "p", "function": "sum", "args": [1]}, "gang": {"ranks": 2}}'
    own_status=1 vine 3 2 w.json
    assert_says "library p has exec_mode .rank.: start vine-mpi with --in-rank"
}

test_gangs_of_2_and_4_ranks() {
    local tasks="" index
    for ((index = 0; index < 6; index++)); do
        tasks+='{"id": "two'$index'", "call": {"library": "p", "function": "sum", "args": ['$index']},
          "gang": {"ranks": 2}, "result": "two'$index'"},
          {"id": "c'$index'", "command": "true"},'
    done
    parallel "$tasks"'
      {"id": "four", "call": {"library": "p", "function": "sum", "args": [{"$ref": "two0", "path": "/2"}]},
        "gang": {"ranks": 4}, "result": "four"},
      {"id": "one", "call": {"library": "p", "function": "alone", "args": [{"$ref": "four", "path": "/1"}]},
        "result": "one"},
      {"id": "m", "map": {"library": "p", "function": "alone", "over": [1, 2, 3]}, "result": "m"}'
    # Four ranks hold a core each.
    sed -i 's/"memory": 10/"memory": 10, "cores": 1/' w.json
    hwloc_cores 4
    vine 5 0 w.json --in-rank
    for ((index = 0; index < 6; index++)); do assert_file "two$index" "[0,2,$((2 * index + 1))]"; done
    assert_file four "[0,4,10]"
    assert_file one 5
    assert_file m "[2,3,4]"
}
# hwloc_cores N: every node has so many cores
hwloc_cores() { export HWLOC_SYNTHETIC="core:$1 pu:1" HWLOC_THISSYSTEM=1; }

test_a_gang_of_which_one_rank_fails() {
    parallel '
      {"id": "g", "call": {"library": "p", "function": "odd"}, "gang": {"ranks": 2}},
      {"id": "h", "call": {"library": "p", "function": "sum", "args": [5]}, "gang": {"ranks": 2},
        "result": "h"}'
    hwloc_cores 2
    vine 3 1 w.json --in-rank
    assert_says "rank 1 has had enough"
    assert_file h "[0,2,11]"
}

test_a_gang_larger_than_the_run_is_refused() {
    parallel '
      {"id": "g", "call": {"library": "p", "function": "sum", "args": [1]}, "gang": {"ranks": 30}},
      {"id": "c", "command": "true"}'
    vine 3 1 w.json --in-rank
    assert_says "task g failed: asks for 30 ranks"
}

# the second rank fails, the first stays in a barrier: it is given up when the run ends
test_a_rank_that_does_not_come_back_from_a_gang() {
    parallel '
      {"id": "g", "call": {"library": "p", "function": "stuck"}, "gang": {"ranks": 2}},
      {"id": "h", "call": {"library": "p", "function": "sum", "args": [5]}, "gang": {"ranks": 3},
        "result": "h"}'
    hwloc_cores 4
    mkdir -p scratch
    mpirun --enable-recovery -n 5 "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" \
        --in-rank >said 2>&1 || true
    assert_equal 1 "$(outcome run)" status
    assert_says "task g failed: the function raised an error"
    assert_says "rank .* is lost: it does not come back|does not return; leaving"
    assert_file h "[0,3,18]"
}
