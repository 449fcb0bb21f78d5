# shellcheck shell=bash
# Helpers of the whole-run tests; sourced by each test file.
#
# A test is a function. It fails by `fail`, by an assert_*, or by any command
# that fails (set -e), and is skipped by `skip`.
set -Eeuo pipefail
trap 'echo "failed: $BASH_COMMAND (${BASH_SOURCE[0]##*/}:$LINENO)" >&2' ERR
umask 022

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034  # for the test files
root=$(cd "$tests/../.." && pwd)
work=${TEST_WORK:?lib.sh is sourced by run}
# shellcheck disable=SC2034  # likewise
cores=$(nproc)

fail() { echo "FAILED: $*"; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }
need() { # PROGRAM...: or the test is skipped
    local program
    for program; do command -v "$program" >/dev/null || skip "no $program here"; done
}
need_root() { [[ $(id -u) == 0 ]] || skip "needs root"; }

assert_equal() { # EXPECTED ACTUAL [WHAT]
    [[ $1 == "$2" ]] || fail "${3:-value}: expected '$1', found '$2'"
}
assert_file() { # FILE CONTENTS (without the last newline)
    [[ -f $1 ]] || fail "no file $1"
    assert_equal "$2" "$(<"$1")" "$1"
}
assert_same() { cmp -- "$1" "$2" || fail "$1 and $2 differ"; }
assert_absent() { [[ ! -e $1 && ! -L $1 ]] || fail "$1 is there"; }
# What the last run said (both streams), as an extended regular expression.
assert_says() { grep -qE -- "$1" said || { tail -n 40 said; fail "the output does not say: $1"; }; }
assert_silent_about() { ! grep -qE -- "$1" said || { grep -E -- "$1" said | head; fail "the output says: $1"; }; }

# vine HOW STATUS ARGUMENT...: runs vine-mpi with them and compares the status.
# HOW is 0 for embedded (no mpirun), a number of ranks, or hosts:H:K for K ranks
# on each of H emulated hosts ("hosts" of this test, see up_hosts). Unless given,
# --run-dir is ./run and --scratch ./scratch. The output goes to ./said. The status
# is that of RUN/outcome where there is one: mpirun's own is not reliable.
vine() {
    local how=$1 expected=$2 status=0 dir=run first=$3 last=()
    shift 2
    case $first in
        check | simulate | log | cache) dir= ;;
        *)
            if [[ " $* " == *" --run-dir "* ]]; then
                dir=$(printf '%s\n' "$@" | sed -n '/^--run-dir$/{n;p;}')
            else
                last+=(--run-dir run)
            fi
            if [[ " $* " != *" --scratch "* && $how != hosts* ]]; then
                mkdir -p scratch
                last+=(--scratch "$PWD/scratch")
            fi ;;
    esac
    echo "+ ($how) vine-mpi $* ${last[*]}"
    launch "$how" "$@" "${last[@]}" >said 2>&1 || status=$?
    if [[ -n $dir && -e $dir/outcome && -z ${own_status:-} ]]; then status=$(outcome "$dir"); fi
    [[ $status == "$expected" ]] || { tail -n 40 said; fail "exit status $status, expected $expected"; }
}

# vine_exits: vine with the program's own exit status. Refusals to go on (4, 6, 9) leave
# RUN/outcome as it was.
vine_exits() { own_status=1 vine "$@"; }

launch() { # HOW ARGUMENT...
    local how=$1
    shift
    case $how in
        0) "$VINE_MPI" "$@" ;;
        hosts:*)
            local shape=${how#hosts:}
            "$tests/TestBed/hosts" run "${shape#*:}" -- "$VINE_MPI" "$@" ;;
        *) mpirun -n "$how" "$VINE_MPI" "$@" ;;
    esac
}

outcome() { sed -n 's/.*"status"[^0-9]*\([0-9][0-9]*\).*/\1/p' "$1/outcome"; }

example() { # NAME: a fresh copy of Examples/NAME as ./example
    cp -r "$root/Examples/$1" example
    rm -rf example/vine-runs
    find example/results -type f ! -name .gitignore -delete
}

up_hosts() { # COUNT: emulated hosts that share $work, or the test is skipped
    export TESTBED_NAME="t${RUN_TEST_MARK%%-*}"
    local why
    if ! why=$("$tests/TestBed/hosts" check 2>&1); then skip "$why"; fi
    "$tests/TestBed/hosts" down
    "$tests/TestBed/hosts" up "$1" --share "$work" --share "$root" \
        --share "$(dirname "$VINE_MPI")" --share "${VINE_SHARED:-$root}"
    trap '"$tests/TestBed/hosts" down' EXIT
}

wait_for() { # SECONDS CONDITION...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "not within time: $*"
        sleep 0.05
    done
}

# The processes of this test; some may be gone when the caller looks at them.
own_processes() {
    grep -slFz "RUN_TEST_MARK=$RUN_TEST_MARK" /proc/[0-9]*/environ | cut -d/ -f3 || true
}

# processes TEXT: how many processes of this test have TEXT in their command line.
processes() {
    local pid line count=0
    while read -r pid; do
        line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" || true) 2>/dev/null
        [[ $line != *"$1"* ]] || count=$((count + 1))
    done < <(own_processes)
    echo "$count"
}
none_left() { [[ $(processes "$1") == 0 ]]; }

named() { # NAME: the processes of this test that have this name
    local pid name
    while read -r pid; do
        name=$(cat "/proc/$pid/comm" 2>/dev/null || true)
        [[ $name != "$1" ]] || echo "$pid"
    done < <(own_processes)
}

# ---- Workflows that count

# flow: writes w.json as the Python on standard input says by calls of task(...). A
# file named temp* is an intermediate, any other has its name as path. Each execution
# of a task adds a line to ran/ID, with the number of its attempt. `hold` in a command
# waits for the file "gate".
flow() {
    mkdir -p ran
    {
        cat <<'END'
import json, os
work = os.environ["TEST_WORK"]
hold = f"until test -e {work}/gate; do sleep 0.05; done; "
files, tasks, more = {}, [], {}
def file(name, **fields):
    files[name] = {"temp": True} if name.startswith("temp") else {"path": name}
    files[name] |= fields
def task(id, command, inputs=(), outputs=(), **fields):
    for name in (*inputs, *outputs):
        if name not in files: file(name)
    command = f"echo $VINE_ATTEMPT >> {work}/ran/{id}; {command}"
    tasks.append({"id": id, "command": command, "inputs": list(inputs), "outputs": list(outputs)} | fields)
END
        cat
        echo 'json.dump({"schema": "vine-workflow/1", "files": files, "tasks": tasks} | more, open("w.json", "w"), indent=1)'
    } | python3 -
}

# ---- One large file that moves

# one_for_all COUNT [COMMAND]: w.json, in which COUNT tasks of a whole host each read "big" at once
# and write its sum; COMMAND runs before that.
one_for_all() {
    python3 - "$1" "${2:-}" "$cores" >w.json <<'END'
import json, sys
count, command, cores = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
files, tasks = {"big": {"path": "big"}}, []
for i in range(count):
    files[f"sum{i}"] = {"path": f"sum{i}"}
    tasks.append({"id": f"t{i}", "command": f"{command} sha256sum < big > sum{i}; hostname > host",
                  "inputs": ["big"], "outputs": [f"sum{i}"], "cores": cores})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
}
assert_sums() { # COUNT
    local i sum
    sum=$(sha256sum <big)
    for ((i = 0; i < $1; i++)); do assert_equal "$sum" "$(<"sum$i")" "sum of task $i"; done
}
summed() { # PYTHON-EXPRESSION: of the summary s and its row f of the file "big"
    python3 -c '
import json, sys
s = json.load(open("run/summary.json"))
f = next(row for row in s["files"] if row["file"] == "big")
print(eval(sys.argv[1]))' "$1"
}
# has_part HOST: a file is on its way there
has_part() { "$tests/TestBed/hosts" exec "$1" sh -c 'ls /tmp/vine-mpi-*/*/part-*' >/dev/null 2>&1; }

# ---- Executions and records of a run

ran() { # ID: how often it was executed
    if [[ -e ran/$1 ]]; then wc -l <"ran/$1"; else echo 0; fi
}
assert_ran() { # COUNT ID...
    local count=$1 id
    shift
    for id; do assert_equal "$count" "$(ran "$id")" "executions of $id"; done
}
executions() { cat ran/* 2>/dev/null | wc -l; }

# begin HOW ARGUMENT...: vine-mpi with them in the background, in ./run; its process
# is $pid
begin() {
    local how=$1
    shift
    mkdir -p scratch
    # Job control: without it a background process ignores SIGINT.
    set -m
    case $how in
        0) "$VINE_MPI" "$@" --run-dir run --scratch "$work/scratch" >said 2>&1 & ;;
        hosts:*) launch "$how" "$@" --run-dir run >said 2>&1 & ;;
        *) mpirun -n "$how" "$VINE_MPI" "$@" --run-dir run --scratch "$work/scratch" >said 2>&1 & ;;
    esac
    # shellcheck disable=SC2034  # for the test files
    pid=$!
    set +m
}

# kill_run SIGNAL: kills what `begin` began and waits until all of it is gone
kill_run() {
    local process
    # On emulated hosts $pid is a script.
    process=$(named mpirun)
    # shellcheck disable=SC2086
    kill "-$1" ${process:-$pid}
    wait "$pid" || true
    wait_for 20 no_rank_left
}
no_rank_left() { [[ -z $(named vine-mpi) ]]; }

journal() { "$VINE_MPI" journal dump run --json; }
entries() { journal | grep -c "\"type\":\"$1\"" || true; } # TYPE

# done_counts: name and number of accepted attempts (DONE) of each task in the journal
done_counts() {
    journal | python3 -c '
import json, sys
names, counts = {}, {}
for line in sys.stdin:
    row = json.loads(line)
    if row["type"] == "TASK_DEF": names[row["task"]] = row["name"]
    if row["type"] == "DONE": counts[row["task"]] = counts.get(row["task"], 0) + 1
for task, count in counts.items(): print(names[task], count)'
}

# durable_tasks: tasks that another session has no reason to execute again: done,
# and each output committed
durable_tasks() {
    journal | python3 -c '
import json, sys
names, outputs = {}, {}
for line in sys.stdin:
    row = json.loads(line)
    if row["type"] == "TASK_DEF": names[row["task"]] = row["name"]
    if row["type"] == "DONE": outputs[row["task"]] = set(range(len(row["outputs"])))
    if row["type"] == "COMMIT": outputs[row["task"]].discard(row["output"])
    if row["type"] == "INVALIDATE": outputs.pop(row["task"], None)
for task, left in outputs.items():
    if not left: print(names[task])'
}
