# Ranks and nodes that die, freeze or are cut off: the others notice, nobody
# hangs, nothing is left behind.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

timeout=5

need_recovery() {
    [[ $(mpirun --version 2>&1) == *"Open MPI) 4"* ]] || skip "only Open MPI 4 goes on after a loss (mpirun --enable-recovery)"
}

# tasks COUNT SECONDS: independent tasks that say on which rank they run
tasks() {
    echo '{"schema": "vine-workflow/1", "tasks": ['
    for ((i = 0; i < $1; i++)); do
        # The parent of a task is its rank.
        # shellcheck disable=SC2016
        printf '{"id": "t%d", "command": "echo $PPID >> %s/parents; touch %s/ran-%d; sleep %s"},' "$i" "$work" "$work" "$i" "$2"
    done
    echo '{"id": "last", "command": "true"}]}'
}

# begin HOW OPTION...: starts w.json in the background, under a launcher that
# goes on after losses; its process in $pid
begin() {
    local how=$1
    shift
    mkdir -p scratch
    set -m
    case $how in
        hosts:*)
            local shape=${how#hosts:}
            "$tests/TestBed/hosts" run "${shape#*:}" --enable-recovery -- "$VINE_MPI" w.json --run-dir run --node-timeout "$timeout" "$@" >said 2>&1 & ;;
        *)
            mpirun --enable-recovery -n "$how" "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" --node-timeout "$timeout" "$@" >said 2>&1 & ;;
    esac
    pid=$!
    set +m
}

# ended SECONDS: the run ends within them, of itself; its status in $status
ended() {
    wait_for "$1" gone
    wait "$pid" || true
    [[ -e run/outcome ]] || fail "no outcome"
    status=$(outcome run)
}
gone() { ! kill -0 "$pid" 2>/dev/null; }

# On emulated hosts rank 0's parent is a daemon, and mpirun waits for the lost for
# ever: what the job scripts do is done here.
ended_on_hosts() { # SECONDS
    wait_for "$1" test -e run/outcome
    sleep 1
    stop_all
    ended 5
}

nothing_left() {
    wait_for 20 none_left sleep
    wait_for 20 none_left vine-mpi
}

# ranks: the processes of the ranks, in the order of their ranks
ranks() {
    local process
    for process in $(named vine-mpi); do
        echo "$(tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p') $process"
    done | sort -n | cut -d' ' -f2
}
rank() { ranks | sed -n "$(($1 + 1))p"; }
idle_worker() { # a worker rank without a task
    local process
    for process in $(ranks | tail -n +2); do
        grep -qx "$process" parents || { echo "$process"; return; }
    done
    fail "every rank has a task"
}
busy_worker() { tail -n 1 parents; }
says() { grep -qE -- "$1" said; }

test_a_killed_rank_is_noticed_at_once() {
    need_recovery
    tasks 1 4 >w.json
    begin 4
    wait_for 30 test -s parents
    kill -KILL "$(idle_worker)"
    # Long before the time for silence is over: its siblings see it.
    wait_for 4 says "rank [123] on .* is lost: its process has ended"
    ended 60
    assert_equal 0 "$status" status
    nothing_left
}

test_a_killed_agent_is_noticed_at_once() {
    need_recovery
    tasks 1 4 >w.json
    timeout=60
    begin 4
    wait_for 30 test -s parents
    kill -KILL "$(rank 1)"
    wait_for 10 says "rank 1 on .* is lost: its process has ended"
    ended 60
    assert_equal 0 "$status" status
    nothing_left
}

test_a_stopped_rank_is_lost_and_killed() {
    need_recovery
    tasks 1 15 >w.json
    begin 4
    wait_for 30 test -s parents
    local victim
    victim=$(idle_worker)
    kill -STOP "$victim"
    wait_for 40 says "rank [123] on .* is lost: nothing was heard of it"
    # Rank 0 sees its process and ends it, stopped as it is.
    wait_for 5 not_there "$victim"
    ended 60
    assert_equal 0 "$status" status
    nothing_left
}
not_there() { ! kill -0 "$1" 2>/dev/null; }

test_a_short_stop_loses_nothing() {
    need_recovery
    tasks 8 2 >w.json
    timeout=10
    begin 4
    wait_for 30 test -s parents
    local victim
    victim=$(rank 2)
    kill -STOP "$victim"
    sleep 3
    kill -CONT "$victim"
    ended 60
    assert_equal 0 "$status" status
    assert_silent_about "is lost"
    nothing_left
}

test_a_stopped_manager_loses_nobody() {
    need_recovery
    tasks 8 2 >w.json
    begin 4
    wait_for 30 test -s parents
    # Longer than a worker's patience would be if the whole job were not stopped.
    # shellcheck disable=SC2046
    kill -STOP $(ranks)
    sleep 8
    # shellcheck disable=SC2046
    kill -CONT $(ranks)
    ended 60
    assert_equal 0 "$status" status
    assert_silent_about "is lost|nothing heard"
    nothing_left
}

test_all_workers_lost() {
    need_recovery
    tasks 4 30 >w.json
    begin 3
    wait_for 30 test -s parents
    # shellcheck disable=SC2046
    kill -KILL $(ranks | tail -n +2)
    ended 40
    assert_equal 3 "$status" status
    assert_says "all workers are lost"
    nothing_left
}

test_a_killed_manager_ends_its_workers() {
    need_recovery
    tasks 4 60 >w.json
    timeout=60
    begin 3
    wait_for 30 test -s parents
    wait_for 20 processes_of "sleep 60"
    kill -KILL "$(rank 0)"
    wait_for 20 none_left sleep
    wait_for 20 no_rank_left
    stop_all
    nothing_left
}
# stop_all: ends mpirun, which may wait for its lost rank
stop_all() {
    local signal
    for signal in TERM KILL; do
        kill "-$signal" "$pid" 2>/dev/null || return 0
        for _ in {1..100}; do
            ! gone || return 0
            sleep 0.1
        done
    done
    wait_for 10 gone
}
no_rank_left() { [[ -z $(named vine-mpi) ]]; }

test_a_silent_manager_is_left() {
    need_recovery
    tasks 4 60 >w.json
    begin 3
    wait_for 30 test -s parents
    wait_for 20 processes_of "sleep 60"
    local manager
    manager=$(rank 0)
    kill -STOP "$manager"
    wait_for 40 none_left "sleep 60"
    kill -KILL "$manager"
    wait_for 20 no_rank_left
    assert_says "nothing heard of the manager"
    stop_all
    nothing_left
}
processes_of() { ! none_left "$1"; }

test_a_refusal_ends_a_recovering_launcher() {
    need_recovery
    echo '{"schema": "vine-workflow/1", "tasks": [{"id": 3}]}' >w.json
    begin 3
    wait_for 40 gone
    nothing_left
}

test_a_run_without_losses_ends_as_ever() {
    need_recovery
    tasks 4 0.2 >w.json
    begin 4
    wait_for 60 gone
    local status=0
    wait "$pid" || status=$?
    assert_equal 0 "$status" "status of mpirun"
    assert_equal 0 "$(outcome run)" outcome
    nothing_left
}

# ---- Emulated hosts

# begin_on_hosts COUNT RANKS-EACH
begin_on_hosts() {
    need_recovery
    up_hosts "$1"
    begin "hosts:$1:$2"
    wait_for 60 test -s ran-0
}

on_hosts() { # TASKS SECONDS: tasks that name their host
    echo '{"schema": "vine-workflow/1", "tasks": ['
    for ((i = 0; i < $1; i++)); do
        printf '{"id": "t%d", "command": "hostname > %s/ran-%d; sleep %s"},' "$i" "$work" "$i" "$2"
    done
    echo '{"id": "last", "command": "true"}]}'
}

test_hosts_a_killed_host_is_lost() {
    # Long enough for the silence to be noticed while tasks run elsewhere.
    on_hosts 6 12 >w.json
    begin_on_hosts 3 2
    wait_for 20 grep -qx host3 ran-*
    "$tests/TestBed/hosts" kill host3
    # mpirun passes no output on any more once it has lost a daemon.
    ended_on_hosts 90
    assert_equal 0 "$status" status
    assert_lost host3 2
    nothing_left
}
test_hosts_a_replay_outlives_a_host() { # 300 s
    # A recorded workflow on 4 hosts, of which one dies halfway: each task still saw the right bytes.
    local name=epigenomics-chameleon-ilmn-6seq-50k-001 oracle=$VINE_SHARED/tools/wf_oracle.py
    [[ -d $VINE_SHARED/workflows/dev ]] || skip "no recorded workflows (VINE_SHARED)"
    need python3
    need_recovery
    up_hosts 4
    cp "$VINE_SHARED/workflows/dev/$name.json" w.json
    begin hosts:4:2 --replay --time-scale 0.01 --bytes-scale 0.0001 --digests digests --trace trace
    wait_for 60 begun_tasks 400
    "$tests/TestBed/hosts" kill host3
    ended_on_hosts 200
    assert_equal 0 "$status" status
    assert_equal 2 "$(lost_ranks)" "lost ranks"
    python3 "$oracle" w.json -P $((4 * cores)) -M 4 --digests expected --bytes-scale 0.0001 >oracle.out
    grep -v '^#' digests | LC_ALL=C sort >found
    LC_ALL=C sort expected | LC_ALL=C comm -23 found - >unexpected
    [[ -s found && ! -s unexpected ]] || fail "digests that are not the oracle's"
    assert_equal 1695 "$(grep -v '^#' trace | cut -f 1 | sort -u | wc -l)" "accepted attempts"
}
begun_tasks() { (($("$VINE_MPI" journal dump run 2>/dev/null | grep -c DONE) >= $1)); }
# assert_lost HOST COUNT: so many ranks were lost, and no task ended there
assert_lost() {
    assert_equal "$2" "$(lost_ranks)" "lost ranks"
    ! grep -qx "$1" ran-* || fail "a task is done on $1"
}
lost_ranks() { sed -n '/"lostRanks"/,/]/p' run/summary.json | grep -c '^ *[0-9]'; }

test_hosts_a_crashed_host_is_lost() {
    on_hosts 6 12 >w.json
    begin_on_hosts 3 2
    wait_for 20 grep -qx host3 ran-*
    "$tests/TestBed/hosts" crash host3
    wait_for 40 says "rank [0-9] on host3 is lost: nothing was heard of it"
    ended_on_hosts 90
    assert_equal 0 "$status" status
    assert_lost host3 2
    nothing_left
}

test_hosts_a_cut_host_ends_its_tasks() {
    on_hosts 6 15 >w.json
    begin_on_hosts 2 2
    wait_for 20 grep -qx host2 ran-*
    "$tests/TestBed/hosts" cut host2
    wait_for 40 says "rank [0-9] on host2 is lost"
    # Its ranks have left before anybody else could run their tasks.
    wait_for 20 no_task_on host2
    "$tests/TestBed/hosts" heal host2
    ended_on_hosts 90
    assert_equal 0 "$status" status
    assert_lost host2 2
    nothing_left
}
no_task_on() { ! "$tests/TestBed/hosts" exec "$1" ps -e -o args | grep -q "^sleep 15"; }

test_hosts_a_short_cut_loses_nothing() {
    timeout=12
    on_hosts 8 2 >w.json
    begin_on_hosts 3 1
    "$tests/TestBed/hosts" cut host3
    sleep 3
    "$tests/TestBed/hosts" heal host3
    ended_on_hosts 90
    assert_equal 0 "$status" status
    assert_silent_about "is lost"
    nothing_left
}
