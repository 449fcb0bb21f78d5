# The job scripts, outside of a batch system: their mpirun, arguments and signals.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare() {
    mkdir bin
    ln -s "$VINE_MPI" bin/vine-mpi
    export PATH="$work/bin:$PATH"
    cat >w.json <<END
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}}, "tasks": [
  {"id": "x", "command": "echo x > x; touch $work/started; sleep 2", "outputs": ["x"]},
  {"id": "later", "command": "touch $work/later", "after": ["x"]}]}
END
}

test_slurm_script() {
    prepare
    bash "$root/jobscripts/slurm.sh" w.json --run-dir run --scratch "$work" >said 2>&1 || fail "status $?: $(<said)"
    assert_file x x
    [[ -e later ]] || fail "the second task did not run"
}

test_slurm_script_passes_the_warning_on() {
    prepare
    local status=0
    bash "$root/jobscripts/slurm.sh" w.json --run-dir run --scratch "$work" >said 2>&1 &
    local script=$!
    wait_for 20 test -e started
    kill -USR1 "$script"
    wait "$script" || status=$?
    [[ $status != 0 ]] || fail "status 0"
    assert_equal 3 "$(outcome run)" "outcome"
    assert_file x x
    assert_absent later
}

test_pbs_script() {
    prepare
    printf 'localhost\nlocalhost\n' >nodes
    cd /
    PBS_O_WORKDIR=$work PBS_NODEFILE=$work/nodes VINE_ARGUMENTS="w.json --run-dir run --scratch $work" \
        bash "$root/jobscripts/pbs.sh" >"$work/said" 2>&1 || fail "status $?: $(<"$work/said")"
    assert_file "$work/x" x
}

# ---- run-rounds.sh, with stand-ins for mpirun and vine-mpi

# stand_ins: a launcher that knows its hosts (those in ./dead do not answer), and a
# program whose Nth session runs the Nth line of ./script
stand_ins() {
    cat >launcher <<'END'
#!/bin/bash
[[ $1 != --version ]] || { echo "mpirun (Open MPI) 4.1.4"; exit; }
echo "$*" >>launches
while [[ $1 == -* ]]; do
    case $1 in
        -n | --hostfile) shift 2 ;;
        --host) for host in $(tr , ' ' <<<"$2"); do ! grep -qx "${host%%:*}" dead 2>/dev/null || exit 1; done; shift 2 ;;
        *) shift ;;
    esac
done
"$@"
END
    cat >program <<'END'
#!/bin/bash
[[ $1 != cache ]] || { echo "$*" >>cleanings; exit; }
echo "$*" >>sessions
mkdir -p run/journal
outcome() { echo "{\"epoch\": 1, \"status\": $1}" >run/outcome; }
progress() { head -c 5000 /dev/zero >>run/journal/1-0.vj; }
eval "$(sed -n "$(wc -l <sessions)p" script)"
END
    chmod +x launcher program
    touch dead
    export VINE_MPIRUN=$work/launcher VINE_PROGRAM=$work/program
    unset PBS_NODEFILE SLURM_JOB_NODELIST SLURM_JOB_ID
}
rounds() { # STATUS SESSIONS
    local status=0
    "$root/jobscripts/run-rounds.sh" --run-dir run w.json >said 2>&1 || status=$?
    assert_equal "$1" "$status" status
    assert_equal "$2" "$(wc -l <sessions)" sessions
}

test_rounds_go_on_after_a_dead_session() {
    stand_ins
    printf '%s\n' 'progress; kill -9 $$' 'progress; outcome 3' 'outcome 0' >script
    rounds 0 3
    grep -q -- --enable-recovery launches || fail "mpirun was not asked to go on after losses"
    # What the dead sessions had on the nodes was kept for the next ones, and is not left behind.
    assert_equal 3 "$(grep -c -- --keep-caches sessions)" "sessions that keep caches"
    assert_equal "cache gc --run-dir run" "$(<cleanings)" "removal of caches"
}
test_rounds_end_without_progress() {
    stand_ins
    printf '%s\n' 'progress; exit 1' 'exit 1' 'exit 1' 'outcome 0' >script
    rounds 3 3
}
test_rounds_end_with_a_final_status() {
    stand_ins
    echo 'progress; outcome 8; exit 1' >script
    rounds 8 1
    [[ -e cleanings ]] || fail "caches of a session that died are left"
}
test_rounds_leave_ended_sessions_alone() {
    stand_ins
    echo 'progress; outcome 1; exit 1' >script
    rounds 1 1
    assert_absent cleanings
}
test_rounds_remove_caches_where_they_are() {
    stand_ins
    printf '%s\n' a a b >nodes
    export PBS_NODEFILE=$work/nodes
    printf '%s\n' 'progress; exit 1' 'outcome 1; exit 1' >script
    local status=0
    "$root/jobscripts/run-rounds.sh" --run-dir run --scratch /disk w.json >said 2>&1 || status=$?
    assert_equal 1 "$status" status
    assert_equal "cache gc --run-dir run --scratch /disk" "$(<cleanings)" "removal of caches"
    tail -n 1 launches | grep -q -- "-n 2 --host a:1,b:1 " || fail "$(cat launches)"
}
test_rounds_end_with_a_refusal() {
    stand_ins
    echo 'rmdir run/journal; exit 2' >script
    rounds 2 1
}
test_rounds_end_when_asked_to() {
    stand_ins
    # shellcheck disable=SC2016
    echo 'progress; trap "outcome 3; exit 3" USR1; touch started; while :; do sleep 0.1; done' >script
    sed -i 's/^"$@"$/exec "$@"/' launcher
    "$root/jobscripts/run-rounds.sh" --run-dir run w.json >said 2>&1 &
    local script=$! status=0
    wait_for 10 test -e started
    kill -USR1 "$script"
    wait "$script" || status=$?
    assert_equal 3 "$status" status
    assert_equal 1 "$(wc -l <sessions)" sessions
}
test_rounds_leave_dead_hosts_out() {
    stand_ins
    printf '%s\n' a a b >nodes
    export PBS_NODEFILE=$work/nodes
    printf '%s\n' 'progress; echo b >dead; exit 1' 'outcome 1' >script
    rounds 1 2
    assert_says "b does not answer"
    grep -q -- "-n 2 --host a:2 " launches || fail "$(cat launches)"
}
test_rounds_end_a_launcher_that_hangs() {
    stand_ins
    sed -i 's/^"$@"$/"$@"; [[ $* != *"cache gc"* ]] || exit 0; trap "" TERM; for i in {1..600}; do sleep 0.1; done/' launcher
    echo 'outcome 0' >script
    rounds 0 1
    assert_says "SIGKILL"
}

# ends_in SECONDS: each session was told that the job ends so long after the script's start
ends_in() {
    local told
    while read -r told; do
        ((told >= begun + $1 && told <= begun + $1 + 60)) || fail "told $told, begun at $begun"
    done < <(sed -n 's/.*--end-time \([0-9]*\).*/\1/p' sessions)
    assert_equal "$(wc -l <sessions)" "$(grep -c -- --end-time sessions)" "sessions that were told"
    assert_equal 1 "$(sed 's/.*--end-time \([0-9]*\).*/\1/' sessions | sort -u | wc -l)" "ends that were told"
}

test_rounds_share_the_walltime() {
    # The second session has what the first one left, not as much again.
    stand_ins
    printf '%s\n' 'progress; sleep 1.2; exit 1' 'outcome 0' >script
    local begun
    begun=$(date +%s)
    "$root/jobscripts/run-rounds.sh" --run-dir run --walltime 1:30:00 w.json >said 2>&1
    assert_equal 2 "$(wc -l <sessions)" sessions
    ends_in 5400
    ! grep -q -- --walltime sessions || fail "$(cat sessions)"
    local status=0
    "$root/jobscripts/run-rounds.sh" --run-dir run --walltime soon w.json >said 2>&1 || status=$?
    assert_equal 2 "$status" status
}
test_rounds_ask_pbs_for_its_walltime() {
    stand_ins
    echo 'outcome 0' >script
    mkdir bin
    cat >bin/qstat <<'END'
#!/bin/bash
[[ $* == "-f 7.server" ]] || exit 1
printf 'Job Id: 7.server\n    Job_Name = x\n    resources_used.walltime = 00:00:40\n'
printf '    Resource_List.nodect = 1\n    Resource_List.walltime = 02:00:00\n    substate = 42\n'
END
    chmod +x bin/qstat
    local begun
    begun=$(date +%s)
    PATH=$work/bin:$PATH PBS_JOBID=7.server "$root/jobscripts/run-rounds.sh" --run-dir run w.json >said 2>&1
    ends_in 7160
    # Torque says it in a variable.
    rm sessions bin/qstat
    begun=$(date +%s)
    PBS_JOBID=7.server PBS_WALLTIME=600 "$root/jobscripts/run-rounds.sh" --run-dir run w.json >said 2>&1
    ends_in 600
    rm sessions
    PBS_JOBID=7.server "$root/jobscripts/run-rounds.sh" --run-dir run w.json >said 2>&1
    ! grep -q -- --end-time sessions || fail "$(cat sessions)"
}
