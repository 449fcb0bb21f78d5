# Caches of dead sessions: the next session of the same run takes out of them what it needs, compared
# with the journal, and leaves nothing.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# chain: w.json, in which each of four tasks makes a temporary file out of the one before; "waits", which
# reads the last one, waits for the file "gate"
chain() {
    flow <<'END'
for i in range(4):
    reads = [f"temp{i - 1}"] if i else []
    task(f"t{i}", f"{{ cat {' '.join(reads)} < /dev/null; echo {i}; }} > temp{i}", reads, [f"temp{i}"])
task("side", "seq 100000 > tempside; chmod 700 tempside", [], ["tempside"])
task("waits", hold + "cat temp3 > temp4", ["temp3"], ["temp4"])
task("end", "cat temp4 > end", ["temp4"], ["end"])
task("sum", "sha256sum < tempside > sum; stat -c %a tempside >> sum", ["tempside"], ["sum"], after=["waits"])
END
}
assert_chain() {
    assert_file end "$(seq 0 3)"
    assert_file sum "$(seq 100000 | sha256sum)
700"
}

# until_waits: all before "waits" is done, and the journal knows the contents that will be read
has_hashes() { (($(entries HASHED) >= $1)); }
until_waits() {
    wait_for 60 test -e ran/waits
    wait_for 60 test -e ran/side
    wait_for 60 has_hashes 5
}

adopted() { # PYTHON-EXPRESSION: of a, what summary.json says of caches
    python3 -c 'import json, sys; a = json.load(open("run/summary.json")).get("adopted"); print(eval(sys.argv[1]))' "$1"
}
caches() { # the directories of runs on this host
    find scratch/vine-mpi-"$(id -u)" -mindepth 1 -maxdepth 1 ! -name forever 2>/dev/null || true
}
cached() { # CONTENTS: the path of the cached file that has them
    local path
    for path in scratch/vine-mpi-*/*/cache/f*; do
        if [[ $(tr -d '\0' <"$path") == "$1" ]]; then echo "$path"; fi
    done
}
assert_nothing_left() { assert_equal "" "$(caches)" "directories in scratch"; }
no_watcher() { [[ -z $(named vine-watch) ]]; }
kill_all() {
    kill_run KILL
    wait_for 20 no_watcher
}
waited() { [[ $(ran waits) == "$1" ]]; } # TIMES

test_adoption_after_a_kill() {
    chain
    begin 0 w.json --keep-caches
    until_waits
    kill_all
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 1 t0 t1 t2 t3 side end sum
    assert_ran 2 waits
    assert_equal 2 "$(adopted 'a["values"]')" "values that were taken over"
    assert_equal True "$(adopted 'a["bytes"] > 500000')" bytes
    assert_says "taken from caches of the session before: 2 values"
    assert_nothing_left
}

test_adoption_by_other_ranks() { # 240 s
    local how
    for how in "0 3" "3 0" "3 2" "2 4"; do
        rm -rf run ran gate end sum
        chain
        begin "${how% *}" w.json --keep-caches
        until_waits
        kill_all
        touch gate
        vine "${how#* }" 0 w.json --keep-caches
        assert_chain
        assert_ran 1 t0 t1 t2 t3 side
        assert_nothing_left
    done
}

test_adoption_after_a_lost_rank() {
    # The launcher ends the job.
    chain
    begin 3 w.json --keep-caches
    until_waits
    local process
    for process in $(named vine-mpi); do
        if tr '\0' '\n' <"/proc/$process/environ" | grep -qx OMPI_COMM_WORLD_RANK=1; then kill -KILL "$process"; fi
    done
    wait "$pid" || true
    wait_for 20 no_rank_left
    wait_for 20 no_watcher
    touch gate
    vine 3 0 w.json
    assert_chain
    assert_ran 1 t0 t1 t2 t3 side
    assert_nothing_left
}

test_adoption_after_a_signal() {
    chain
    begin 0 w.json --keep-caches
    until_waits
    kill_run TERM
    wait_for 20 no_watcher
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 1 t0 t1 t2 t3 side
    assert_nothing_left
}

test_adoption_through_many_sessions() {
    # Each one dies before it has done anything; what it took over goes on to the next.
    chain
    local session
    for session in 1 2 3; do
        begin 0 w.json --keep-caches
        wait_for 60 waited "$session"
        if ((session == 1)); then until_waits; fi
        kill_all
    done
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 1 t0 t1 t2 t3 side
    assert_nothing_left
}

test_adoption_is_not_the_default() {
    chain
    begin 0 w.json
    until_waits
    kill_all
    assert_nothing_left
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 2 t0 t3 side
    assert_equal None "$(adopted a)" "caches that were found"
}

test_adoption_ended_sessions_leave_nothing() {
    # In order, though not with status 0: what is needed was saved, and nothing is kept.
    flow <<'END'
task("a", "echo a > tempa", [], ["tempa"])
task("b", f"cat tempa; test -e {work}/ok && cp tempa b", ["tempa"], ["b"])
END
    vine 0 1 w.json --keep-caches
    assert_nothing_left
    touch ok
    vine 0 0 w.json --keep-caches
    assert_ran 1 a
    assert_nothing_left
}

test_adoption_of_damaged_files() { # 240 s
    local damage path
    for damage in flip cut grow remove link directory names; do
        rm -rf run ran gate end sum
        chain
        begin 0 w.json --keep-caches
        until_waits
        kill_all
        path=$(cached "$(seq 0 3)")
        [[ -f $path ]] || fail "no cached file"
        case $damage in
            flip) printf 9 | dd of="$path" bs=1 seek=2 conv=notrunc status=none ;;
            cut) truncate -s 3 "$path" ;;
            grow) echo >>"$path" ;;
            remove) rm "$path" ;;
            link) mv "$path" there && ln -s "$PWD/there" "$path" ;;
            directory) rm "$path" && mkdir "$path" && touch "$path/x" ;;
            names) ln "$path" "$path.too" ;;
        esac
        touch gate
        vine 0 0 w.json
        assert_chain
        # It is made again, and what else was there is not.
        assert_ran 2 t3
        assert_ran 1 side
        case $damage in
            flip) assert_equal 1 "$(adopted 'a["refused"]["damaged"]')" damaged ;;
            names) assert_equal 1 "$(adopted 'a["refused"]["unreadable"]')" unreadable ;;
            remove) ;;
            *) assert_equal 1 "$(adopted 'a["refused"]["otherSize"]')" "of another size" ;;
        esac
        [[ $damage == remove ]] || assert_says "temp3 is not used: "
        assert_nothing_left
    done
}

test_adoption_removes_what_it_does_not_know() {
    chain
    begin 0 w.json --keep-caches
    until_waits
    kill_all
    local directory
    directory=$(caches)
    touch "$directory/part-7" "$directory/cache/f1-1.part" "$directory/cache/stranger"
    mkdir "$directory/cache/f999999-1" "$directory/more"
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 1 t3 side
    assert_equal 3 "$(adopted 'a["refused"]["foreign"]')" foreign
    assert_nothing_left
}

test_adoption_needs_the_same_files() {
    # Names in a cache count the files of the description.
    chain
    begin 0 w.json --keep-caches
    until_waits
    kill_all
    python3 - <<'END'
import json
w = json.load(open("w.json"))
w["files"] = {"new": {"path": "new"}} | w["files"]
w["tasks"].append({"id": "new", "command": "echo new > new", "outputs": ["new"]})
json.dump(w, open("w.json", "w"))
END
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 2 t0 t3 side
    assert_nothing_left
}

test_adoption_spares_other_runs() {
    chain
    begin 0 w.json --keep-caches
    until_waits
    kill_all
    local kept
    kept=$(caches)
    # Another run on the node, which looks for what runs have left there.
    touch -d '1 hour ago' "$kept"
    mkdir other
    echo '{"schema": "vine-workflow/1", "tasks": [{"id": "x", "command": "sleep 1"}]}' >other/w.json
    vine 0 0 other/w.json --run-dir other/run --keep-caches
    assert_equal "$kept" "$(caches)" "directory that is kept"
    touch gate
    vine 0 0 w.json
    assert_chain
    assert_ran 1 t0 t3 side
    assert_nothing_left
}

# in_run RUN COMMAND...: in its directory, as if it were the test's
in_run() {
    cd "$work/$1" || return
    shift
    work=$PWD TEST_WORK=$PWD "$@"
}
test_adoption_by_two_runs_at_once() {
    # Both runs died on the node, and go on at the same time.
    mkdir one two scratch
    local run
    for run in one two; do
        (in_run "$run" chain)
        "$VINE_MPI" "$run/w.json" --run-dir "$run/run" --scratch "$work/scratch" --keep-caches >"$run/said" 2>&1 &
    done
    for run in one two; do (in_run "$run" until_waits); done
    # shellcheck disable=SC2046
    kill -KILL $(named vine-mpi)
    wait || true
    wait_for 20 no_watcher
    assert_equal 2 "$(caches | wc -l)" "directories that are kept"
    touch one/gate two/gate
    for run in one two; do
        "$VINE_MPI" "$run/w.json" --run-dir "$run/run" --scratch "$work/scratch" >"$run/said" 2>&1 &
    done
    wait
    for run in one two; do
        assert_equal 0 "$(outcome "$run/run")" "outcome of $run"
        (in_run "$run" assert_ran 1 t0 t3 side)
        assert_equal 2 "$(in_run "$run" adopted 'a["values"]')" "values that $run took over"
    done
    assert_nothing_left
}

test_adoption_collecting_what_was_kept() {
    chain
    begin 0 w.json --keep-caches
    until_waits
    kill_all
    local kept
    kept=$(caches)
    vine 0 0 cache ls --scratch scratch
    assert_says "^kept.*${kept##*/}"
    vine 0 0 cache gc --scratch scratch
    [[ -d $kept ]] || fail "gc has removed what is kept for the next session"
    mkdir other
    echo '{"schema": "vine-workflow/1", "tasks": [{"id": "x", "command": "true"}]}' >other/w.json
    vine 0 0 other/w.json --run-dir other/run
    vine 0 0 cache gc --scratch scratch --run-dir other/run
    [[ -d $kept ]] || fail "gc has removed what another run has kept"
    vine 0 0 cache gc --scratch scratch --run-dir run
    assert_says "had left: .*${kept##*/}"
    assert_nothing_left
    # What nobody came for in a day is left over.
    (umask 077 && mkdir -p "$kept/cache")
    touch "$kept/lock"
    echo '{"epoch": 1, "files": "x", "isKept": true, "name": "n", "run": "r"}' >"$kept/record"
    vine 0 0 cache gc --scratch scratch
    [[ -d $kept ]] || fail "gc has removed what is kept for the next session"
    touch -d '25 hours ago' "$kept/record"
    vine 0 0 cache gc --scratch scratch
    assert_nothing_left
}

test_adoption_by_run_rounds() {
    chain
    mkdir scratch bin
    ln -s "$VINE_MPI" bin/vine-mpi
    unset PBS_NODEFILE SLURM_JOB_NODELIST SLURM_JOB_ID
    PATH="$work/bin:$PATH" VINE_MPIRUN="mpirun -n 3" "$root/jobscripts/run-rounds.sh" --run-dir run \
        --scratch "$work/scratch" w.json >said 2>&1 &
    local script=$! status=0
    until_waits
    # shellcheck disable=SC2046
    kill -KILL $(named vine-mpi)
    wait_for 60 waited 2
    touch gate
    wait "$script" || status=$?
    assert_equal 0 "$status" status
    assert_chain
    assert_ran 1 t0 t1 t2 t3 side
    wait_for 20 no_watcher
    assert_nothing_left
}

test_adoption_last_round_leaves_nothing() {
    # Somebody asks the script to end while a session's caches are kept.
    chain
    mkdir scratch bin
    ln -s "$VINE_MPI" bin/vine-mpi
    unset PBS_NODEFILE SLURM_JOB_NODELIST SLURM_JOB_ID
    PATH="$work/bin:$PATH" VINE_ROUNDS=1 "$root/jobscripts/run-rounds.sh" --run-dir run \
        --scratch "$work/scratch" w.json >said 2>&1 &
    local script=$! status=0
    until_waits
    # shellcheck disable=SC2046
    kill -KILL $(named vine-mpi)
    wait "$script" || status=$?
    assert_equal 3 "$status" status
    wait_for 20 no_watcher
    assert_nothing_left
}

# ---- Several nodes

# fan: w.json, in which all hosts make temporary files, which all are read in the end
fan() {
    cores=$cores flow <<'END'
c = int(os.environ["cores"])
for i in range(12):
    task(f"t{i}", f"hostname >> {work}/host-of-{i}; seq {i} 20000 > temp{i}; sleep 0.5", [], [f"temp{i}"], cores=c)
task("waits", hold + "true", after=[f"t{i}" for i in range(12)])
task("end", "cat " + " ".join(f"temp{i}" for i in range(12)) + " | sha256sum > end",
     [f"temp{i}" for i in range(12)], ["end"], after=["waits"])
END
}
until_fan_waits() {
    wait_for 90 test -e ran/waits
    wait_for 60 has_hashes 12
}
assert_fan() {
    assert_file end "$(for i in {0..11}; do seq "$i" 20000; done | sha256sum)"
}
assert_hosts_empty() { # HOST...
    local host left
    for host; do
        left=$("$tests/TestBed/hosts" exec "$host" sh -c 'ls -d /tmp/vine-mpi-*/* 2>/dev/null' || true)
        assert_equal "" "$left" "directories on $host"
    done
}

test_adoption_hosts_that_come_again() { # 240 s
    up_hosts 3
    fan
    begin hosts:3:1 w.json --keep-caches
    until_fan_waits
    kill_run KILL
    wait_for 20 no_watcher
    touch gate
    # With other ranks, so other numbers.
    vine hosts:3:2 0 w.json
    assert_fan
    local i
    for i in {0..11}; do assert_ran 1 "t$i"; done
    assert_equal 12 "$(adopted 'a["values"]')" "values that were taken over"
    assert_hosts_empty host1 host2 host3
}

test_adoption_hosts_one_fewer() { # 240 s
    up_hosts 3
    fan
    begin hosts:3:1 w.json --keep-caches
    until_fan_waits
    kill_run KILL
    wait_for 20 no_watcher
    # The first one: all others have other places in the list of hosts now.
    "$tests/TestBed/hosts" crash host1
    touch gate
    vine hosts:2:1 0 w.json
    assert_fan
    local i kept=0
    for i in {0..11}; do
        if [[ $(head -n 1 "host-of-$i") == host1 ]]; then
            assert_ran 2 "t$i"
        else
            assert_ran 1 "t$i"
            kept=$((kept + 1))
        fi
    done
    ((kept > 0)) || fail "all was made on the host that is gone"
    assert_equal "$kept" "$(adopted 'a["values"]')" "values that were taken over"
    assert_hosts_empty host2 host3
}
