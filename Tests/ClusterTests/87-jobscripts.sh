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
