# Signals to the runtime: it ends what it started, says so, and leaves nothing.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hold="sleep 631"

# start HOW: a run in the background (its process in $pid) whose first tasks
# run when this returns.
start() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "files": {"done": {"path": "first"}}, "tasks": [
  {"id": "first", "priority": 9, "command": "echo 1 > done", "outputs": ["done"]},
  {"id": "short", "command": "touch $work/started; sleep 2; touch $work/short-ended", "after": ["first"]}
$(for i in {1..40}; do printf ',{"id": "t%d", "command": "echo %d >> %s/ran; %s",  "after": ["short"]}' "$i" "$i" "$work" "$hold"; done)
]}
END
    mkdir -p scratch
    # Job control: without it a background process ignores SIGINT.
    set -m
    launch "$1" w.json --run-dir run --scratch "$work/scratch" >said 2>&1 &
    pid=$!
    set +m
    wait_for 20 test -e started
}

# ended SECONDS: the run ends within them; its status in $status
ended() {
    local end=$((SECONDS + $1))
    while kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < end)) || fail "still there after $1 s"
        sleep 0.05
    done
    status=0
    wait "$pid" || status=$?
    [[ ! -e run/outcome ]] || status=$(outcome run)
}

drain() { # HOW
    start "$1"
    # The shell function's child is bash for mpirun, or vine-mpi itself.
    kill -USR1 "$(program)"
    ended 20
    assert_equal 3 "$status" status
    assert_file first 1
    [[ -e short-ended ]] || fail "the running task was not waited for"
    assert_absent ran
}
# program: the process that gets the signal, mpirun or vine-mpi
program() {
    local child=$pid name
    for _ in 1 2 3; do
        name=$(<"/proc/$child/comm")
        [[ $name == bash ]] || break
        child=$(cut -d' ' -f1 <"/proc/$child/task/$child/children")
    done
    echo "$child"
}

test_usr1_drains_embedded() {
    drain 0
}
test_usr1_drains_3_ranks() {
    drain 3
}

test_stop_file_drains() {
    start 3
    touch run/stop
    ended 20
    assert_equal 3 "$status" status
    assert_absent ran
}

interrupted() { # HOW SIGNAL
    start "$1"
    wait_for 20 test -e ran
    kill "-$2" "$(program)"
    ended 15
    [[ $status != 0 ]] || fail "status 0"
    wait_for 5 none_left "sleep 631"
    wait_for 5 none_left vine-mpi
    assert_file first 1
}
test_term_embedded() {
    interrupted 0 TERM
}
test_term_4_ranks() {
    interrupted 4 TERM
}
test_ctrl_c_embedded() {
    interrupted 0 INT
}
test_ctrl_c_4_ranks() {
    interrupted 4 INT
}

test_killed_mpirun_leaves_nothing() {
    start 4
    wait_for 20 test -e ran
    kill -KILL "$(program)"
    wait_for 20 none_left "sleep 631"
    wait_for 20 none_left vine-mpi
}

test_killed_embedded_manager_leaves_nothing() {
    # Nobody is left to look for children of children.
    hold="exec sleep 631"
    start 0
    wait_for 20 test -e ran
    kill -KILL "$(program)"
    wait_for 10 none_left "sleep 631"
}

test_nohup_is_honoured() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "touch here; sleep 2"}]}
END
    sed -i "s#touch here#touch $work/here#" w.json
    mkdir -p scratch
    (trap '' HUP; exec "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch") >said 2>&1 &
    wait_for 20 test -e here
    kill -HUP $!
    wait $! || fail "status $?"
}

detached() { # HOW SIGNAL: what left its session ends all the same, and scratch is empty
    hold="setsid sh -c '(setsid sleep 632 &); exec sleep 633' & exec sleep 631"
    start "$1"
    wait_for 20 test -e ran
    kill -"$2" "$(program)"
    wait_for 20 none_left "sleep 631"
    wait_for 20 none_left "sleep 632"
    wait_for 20 none_left "sleep 633"
    wait_for 20 none_left vine-mpi
    wait_for 20 scratch_is_empty
}
scratch_is_empty() { [[ -z $(ls scratch/vine-mpi-*/) ]]; }
test_detached_processes_end_with_killed_embedded() { detached 0 KILL; }
test_detached_processes_end_with_killed_mpirun() { detached 3 KILL; }
test_detached_processes_end_with_terminated_mpirun() { detached 3 TERM; }
test_detached_processes_end_with_interrupted_mpirun() { detached 3 INT; }

test_idle_ranks_do_not_burn_cores() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "sleeps", "command": "sleep 5"}]}
END
    mkdir -p scratch
    launch 4 w.json --run-dir run --scratch "$work/scratch" >said 2>&1 &
    sleep 2.5
    local before after
    before=$(rank_ticks)
    sleep 2
    after=$(rank_ticks)
    wait
    # 4 ranks for 2 s: a tenth of a core for all of them is ten times the goal.
    ((after - before <= 20)) || fail "$((after - before)) ticks of 10 ms in 2 s"
}
rank_ticks() { # user and system time of all vine-mpi processes of this test
    local pid ticks total=0
    for pid in $(named vine-mpi); do
        ticks=$(cut -d' ' -f14,15 <"/proc/$pid/stat")
        total=$((total + ${ticks% *} + ${ticks#* }))
    done
    echo "$total"
}

test_singletons_of_another_mpirun_are_refused() {
    # What N ranks of a foreign launcher look like: each alone, the variables
    # of a job of four set.
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true"}]}
END
    local status=0
    PMI_RANK=1 PMI_SIZE=4 PMI_FD=99 timeout 20 "$VINE_MPI" w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ $status != 0 ]] || fail "one rank of four ran the workflow alone"
    assert_says "mpirun|MPI|launch"
}
