# Runs that are ended at some point and gone on with: what is durable is not done again, what
# comes out is what a run without faults makes.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# layers: 12 sources of lines, a temp of each, sums of temps; the second half waits for the gate
layers() {
    flow <<'END'
for i in range(12):
    wait = hold if i >= 6 else ""
    task(f"make{i}", f"{wait}seq {i} {i + 50} > made{i}", [], [f"made{i}"])
    task(f"mid{i}", f"tac made{i} > temp{i}", [f"made{i}"], [f"temp{i}"])
    task(f"sum{i}", f"cksum < temp{i} > sum{i}", [f"temp{i}"], [f"sum{i}"])
task("all", "cat sum* > all", [f"sum{i}" for i in range(12)], ["all"])
END
}

# fault_free HOW: the outputs of w.json of a run without faults, in good/
fault_free() {
    local part
    touch gate
    vine "$1" 0 w.json --run-dir run-good
    mkdir good
    for part in $(outputs); do mv "$part" good/; done
    rm -rf gate ran run-good
    mkdir ran
}
outputs() { python3 -c 'import json; print(*[f["path"] for f in json.load(open("w.json"))["files"].values() if "path" in f])'; }
assert_good() {
    local part
    for part in $(outputs); do
        [[ -e $part ]] || fail "no $part"
        diff -r "$part" "good/$part" || fail "$part is not what a run without faults makes"
    done
    [[ -z $(find . -name '.*.vine-*') ]] || fail "temporary names are left"
}

# Each task that was durable when the session before ended was executed once.
assert_durable_kept() { # (reads the file "durable")
    local task
    [[ -s durable ]] || fail "nothing was durable"
    while read -r task; do assert_ran 1 "$task"; done <durable
}
half_done() { [[ $(entries PUBLISHED) -ge ${1:-6} ]]; }

# interrupted HOW-BEFORE HOW-AFTER SIGNAL: a run that is killed in its middle, and gone on with
interrupted() {
    layers
    fault_free 0
    begin "$1" w.json
    wait_for 30 test -e run/journal/1-0.vj
    wait_for 30 half_done
    kill_run "$3"
    durable_tasks >durable
    touch gate
    vine "$2" 0 w.json
    assert_says "going on with .*run"
    assert_durable_kept
    assert_good
    "$VINE_MPI" journal verify run
    # A third start has nothing to do.
    local before
    before=$(executions)
    vine "$2" 0 w.json
    assert_equal "$before" "$(executions)" executions
}
test_killed_embedded_goes_on() { interrupted 0 0 KILL; }
test_terminated_embedded_goes_on() { interrupted 0 0 TERM; }
test_interrupted_embedded_goes_on() { interrupted 0 0 INT; }
test_killed_embedded_goes_on_with_3_ranks() { interrupted 0 3 KILL; }
test_killed_3_ranks_go_on_embedded() { interrupted 3 0 KILL; }
test_terminated_4_ranks_go_on_with_2() { interrupted 4 2 TERM; }

test_killed_worker_of_a_plain_launcher() {
    # Case 8: the launcher ends the job; the next start completes it.
    layers
    fault_free 0
    begin 3 w.json
    wait_for 30 test -e run/journal/1-0.vj
    wait_for 30 half_done
    local process
    for process in $(named vine-mpi); do
        if tr '\0' '\n' <"/proc/$process/environ" | grep -qx OMPI_COMM_WORLD_RANK=1; then
            kill -KILL "$process"
        fi
    done
    local status=0
    wait "$pid" || status=$?
    [[ $status != 0 ]] || fail "status 0"
    wait_for 20 no_rank_left
    durable_tasks >durable
    touch gate
    vine 3 0 w.json
    assert_durable_kept
    assert_good
}

test_stop_file_then_on() {
    layers
    fault_free 0
    begin 0 w.json
    wait_for 30 test -e run/journal/1-0.vj
    wait_for 30 half_done
    touch run/stop
    wait_for 5 says "no further task is started"
    touch gate
    wait "$pid" || true
    assert_equal 3 "$(outcome run)" outcome
    durable_tasks >durable
    rm run/stop
    vine 0 0 w.json
    assert_durable_kept
    # Temps are saved when a session ends in order: nothing at all is executed twice.
    assert_equal 37 "$(executions)" executions
    assert_good
}
says() { grep -qE -- "$1" said; }

test_stop_file_that_is_still_there() {
    flow <<'END'
task("a", "echo a > a", [], ["a"])
END
    mkdir run
    touch run/stop
    vine 0 3 w.json
    vine 0 3 w.json
    assert_says "run/stop exists"
    rm run/stop
    vine 0 0 w.json
    assert_ran 1 a
}

test_latest_unfinished_run_of_the_file() {
    # Two files in one directory: each goes on with its own run; after outcome 0 a start is new.
    mkdir scratch ran
    local name
    for name in one two; do
        cat >"$name.json" <<END
{"schema": "vine-workflow/1", "name": "same", "files": {"$name-a": {"path": "$name-a"}}, "tasks": [
 {"id": "a", "command": "echo >> $work/ran/$name-a; echo $name > $name-a", "outputs": ["$name-a"]},
 {"id": "b", "command": "echo >> $work/ran/$name-b; test -e $work/ok-$name"}]}
END
        "$VINE_MPI" "$name.json" --scratch scratch >said 2>&1 && fail "$name did not fail"
    done
    touch ok-one ok-two
    for name in one two; do
        "$VINE_MPI" "$name.json" --scratch scratch >said 2>&1 || fail "$name failed"
        assert_says "going on with .*: 1 of 2"
        assert_ran 1 "$name-a"
        assert_ran 2 "$name-b"
    done
    assert_equal 2 "$(find vine-runs -mindepth 1 -maxdepth 1 -type d | wc -l)" runs
    "$VINE_MPI" one.json --scratch scratch >said 2>&1
    assert_silent_about "going on"
    assert_ran 2 one-a
    assert_equal 3 "$(find vine-runs -mindepth 1 -maxdepth 1 -type d | wc -l)" runs
}

test_fresh() {
    mkdir scratch
    flow <<'END'
task("a", "echo a > a", [], ["a"])
task("b", f"test -e {work}/ok", [], [], after=["a"])
END
    "$VINE_MPI" w.json --scratch scratch >said 2>&1 && fail "did not fail"
    touch ok
    "$VINE_MPI" w.json --scratch scratch --fresh >said 2>&1
    assert_silent_about "going on"
    assert_ran 2 a b
    vine 0 0 w.json
    vine_exits 0 2 w.json --fresh
    assert_says "holds an earlier run"
    assert_ran 3 a b
}

# ---- Failures

test_retried_once() {
    # Case 1.
    flow <<'END'
for i in range(100):
    first = "test $VINE_ATTEMPT != 1 && " if i == 50 else ""
    task(f"t{i}", f"{first}echo {i} > out{i}", [], [f"out{i}"], determinism="deterministic", retries=1 if i == 50 else 0)
END
    vine 3 0 w.json
    local i
    for i in {0..99}; do
        assert_file "out$i" "$i"
        assert_ran $((i == 50 ? 2 : 1)) "t$i"
    done
    assert_equal 100 "$(entries DONE)" "DONE entries"
}

failing_again() { # HOW
    # Case 2.
    flow <<'END'
for i in range(40):
    check = f"test -e {work}/ok && " if i == 20 else ""
    task(f"t{i}", f"{check}echo {i} > temp{i}", [], [f"temp{i}"])
    task(f"u{i}", f"cat temp{i} > out{i}", [f"temp{i}"], [f"out{i}"])
END
    vine "$1" 1 w.json
    assert_says "task t20 failed"
    assert_ran 1 t20
    assert_ran 0 u20
    assert_equal 79 "$(executions)" executions
    vine "$1" 1 w.json
    assert_ran 2 t20
    assert_equal 80 "$(executions)" executions
    touch ok
    vine "$1" 0 w.json
    assert_equal 82 "$(executions)" executions
    assert_file ran/t20 $'1\n2\n3'
    assert_file out20 20
    assert_equal 1 "$(done_counts | cut -d' ' -f2 | sort -u)" "DONE entries per task"
}
test_failing_again_embedded() { failing_again 0; }
test_failing_again_3_ranks() { failing_again 3; }

test_half_of_a_thousand_fail() { # 60 s
    flow <<'END'
for i in range(1000):
    check = f"test -e {work}/ok && " if i % 2 else ""
    task(f"t{i}", f"{check}echo {i} > out")
END
    vine 3 1 w.json --quiet
    assert_equal 1000 "$(executions)" executions
    assert_equal 500 "$(entries DONE)" "DONE entries"
    touch ok
    vine 3 0 w.json
    assert_equal 1500 "$(executions)" executions
    assert_equal 1 "$(done_counts | cut -d' ' -f2 | sort -u)" "DONE entries per task"
}

test_numbers_of_attempts_go_on() {
    flow <<'END'
task("fails", f"test -e {work}/ok && echo 1 > temp", [], ["temp"], retries=1)
task("uses", "cat temp > out", ["temp"], ["out"])
END
    vine 0 1 w.json
    touch ok
    vine 0 0 w.json
    assert_file ran/fails $'1\n2\n3'
    # Edited: another task of the same name, whose attempts must not be taken for the other's.
    sed -i 's/cat temp/cat temp temp/' w.json
    vine 0 0 w.json
    assert_file out $'1\n1'
    sed -i 's/cat temp temp/cat temp/' w.json
    vine 0 0 w.json
    assert_file out 1
}

test_edited_tasks_do_not_share_copies() {
    # A tree that is written and not yet published, then one of an edited task, then the first
    # command again: its tree must not be the other's.
    flow <<'END'
file("tree", directory=True)
task("root", "echo same > temp", [], ["temp"])
task("tree", "mkdir tree; cp temp tree/first", ["temp"], ["tree"])
task("held", hold + "cat temp > late", ["temp"], ["late"])
END
    local turn
    for turn in 1 2; do
        begin 0 w.json
        wait_for 20 committed "$turn"
        assert_absent tree
        kill_run KILL
        rm -f ran/held
        sed -i 's#tree/first#tree/second#' w.json
    done
    assert_file ran/tree $'1\n2'
    sed -i 's#tree/second#tree/first#' w.json
    touch gate
    vine 0 0 w.json
    assert_file tree/first same
    assert_absent tree/second
}
committed() { [[ $(entries COMMIT) == "$1" ]]; }

# ---- Values that are gone

test_temps_lost_and_needed_again() {
    # A chain of temps with its end not done: a kill loses the temps, and only what the rest
    # needs is made again.
    flow <<'END'
for i in range(8):
    reads = [f"temp{i - 1}"] if i else []
    task(f"t{i}", f"{{ cat {' '.join(reads)} < /dev/null; echo {i}; }} > temp{i}", reads, [f"temp{i}"])
task("side", "cat temp3 > side", ["temp3"], ["side"])
task("last", hold + "cat temp7 > last", ["temp7"], ["last"])
END
    begin 0 w.json
    wait_for 20 test -e ran/last
    wait_for 20 test -e run/journal/1-0.vj
    sleep 0.2
    kill_run KILL
    touch gate
    vine 0 0 w.json
    assert_file last "$(seq 0 7)"
    assert_file side "$(seq 0 3)"
    assert_ran 2 t0 t7 last
}

test_outputs_of_many_kinds() {
    # A directory, an output that was there before, tasks outside of a sandbox, order alone.
    flow <<'END'
file("tree", directory=True)
file("temptree", directory=True)
task("dir", "mkdir -p tree/a/b && echo x > tree/a/b/c && ln -s a tree/l", [], ["tree"])
task("tdir", "mkdir temptree && cp -r tree/a temptree/", ["tree"], ["temptree"])
task("old", "echo new > old", [], ["old"])
task("free", f"cat old > {work}/free; cp free copy", ["old"], ["free"], sandbox=False)
task("after-free", f"test -s {work}/free", [], [], after=["free"])
task("hold", hold + "true", [], [], after=["after-free", "dir"])
task("reads", "cat temptree/a/b/c old > read", ["temptree", "old"], ["read"], after=["hold"])
END
    echo before >old
    begin 0 w.json
    wait_for 20 test -e ran/hold
    wait_for 10 test -e tree
    sleep 0.3
    kill_run KILL
    durable_tasks >durable
    grep -qx old durable || fail "old is not durable"
    touch gate
    vine 0 0 w.json
    assert_file tree/a/b/c x
    assert_file old new
    assert_file read $'x\nnew'
    assert_ran 1 dir old free after-free
    # Removed by somebody: made again only where it is missing.
    rm -rf tree
    echo other >>old
    vine 0 0 w.json
    assert_file tree/a/b/c x
    assert_file old new
}

test_published_files_that_were_changed() {
    # Of the same size: not seen by a look at it. What was only touched is not made again.
    flow <<'END'
task("a", "echo 1 > a", [], ["a"])
task("b", "echo 2 > b", [], ["b"])
task("c", "cat a b > c; echo 3 >> c", ["a", "b"], ["c"])
END
    vine 0 0 w.json
    sleep 0.05
    printf '9\n' >a
    touch -d 2001-01-01 a
    chmod 600 b
    "$VINE_MPI" plan w.json --run-dir run >planned
    grep -qx $'again\ta' planned || fail "a is not planned"
    vine 0 0 w.json
    assert_says "a, made by task a, is not what was written there"
    assert_file a 1
    assert_file c $'1\n2\n3'
    assert_ran 2 a
    assert_ran 1 b
}

# ---- Edited workflows

chain_of_10() {
    flow <<'END'
for i in range(1, 11):
    name = f"part{i}" if i % 3 == 0 or i == 10 else f"temp{i}"
    last = f"part{i - 1}" if (i - 1) % 3 == 0 and i > 1 else f"temp{i - 1}"
    reads = [last] if i > 1 else []
    task(f"t{i}", f"cat {' '.join(reads)} < /dev/null > {name}; echo {i} >> {name}", reads, [name])
END
}

edited() { # HOW
    # Case 37.
    chain_of_10
    vine "$1" 0 w.json
    assert_file part10 "$(seq 1 10)"
    sed -i 's/echo 5 >>/echo five >>/' w.json
    "$VINE_MPI" plan w.json --run-dir run >planned
    # What t4 made was not kept, and t5 needs it.
    assert_equal 3 "$(grep -c '^reuse' planned)" "tasks to reuse"
    grep -qx $'again\tt4' planned || fail "t4 is not planned"
    grep -qx $'run\tt5' planned || fail "t5 is not planned"
    grep -qx $'run?\tt6' planned || fail "t6 is not planned"
    assert_ran 1 t5
    vine "$1" 0 w.json
    assert_file part10 "$(seq 1 10 | sed 's/^5$/five/')"
    assert_ran 2 t5 t6 t7 t8 t9 t10
    assert_ran 1 t1 t2 t3
}
test_edited_task_embedded() { edited 0; }
test_edited_task_3_ranks() { edited 3; }

test_edit_without_effect_is_cut_off() {
    chain_of_10
    vine 0 0 w.json
    # t9's output comes out as it was: what follows is not executed.
    sed -i 's/echo 9 >>/echo 9  >>/' w.json
    vine 0 0 w.json
    assert_ran 2 t9
    assert_ran 1 t10
    assert_file part10 "$(seq 1 10)"
}

test_touched_source_is_cut_off() {
    echo 1 >source
    flow <<'END'
task("a", "grep -c . source > count", ["source"], ["count"])
task("b", "cat count > copy", ["count"], ["copy"])
END
    vine 0 0 w.json
    echo 2 >source
    vine 0 0 w.json
    assert_ran 2 a
    assert_ran 1 b
    echo 3 >>source
    vine 0 0 w.json
    assert_ran 3 a
    assert_ran 2 b
    assert_file copy 2
}

test_reordered_and_reformatted() {
    # Case 38.
    layers
    touch gate
    vine 0 0 w.json
    local before
    before=$(executions)
    python3 - <<'END'
import json
flow = json.load(open("w.json"))
flow["tasks"].reverse()
flow["files"] = dict(reversed(flow["files"].items()))
for task in flow["tasks"]:
    task["priority"] = 3
json.dump(flow, open("w.json", "w"))
END
    vine 0 0 w.json
    assert_says "37 of 37"
    assert_equal "$before" "$(executions)" executions
}

test_equal_tasks_stay_as_many() {
    flow <<'END'
for i in range(20): task(f"t{i}", "true")
for row in tasks: row["command"] = f"echo >> {work}/ran/all"
END
    vine 0 0 w.json
    assert_equal 20 "$(ran all)" executions
    vine 0 0 w.json
    assert_equal 20 "$(ran all)" executions
    python3 - <<'END'
import json
flow = json.load(open("w.json"))
flow["tasks"] += [flow["tasks"][0] | {"id": "more"}]
json.dump(flow, open("w.json", "w"))
END
    vine 0 0 w.json
    assert_equal 21 "$(ran all)" executions
}

test_request_that_fits_nowhere() {
    # Case 34.
    flow <<'END'
task("a", "echo a > a", [], ["a"])
task("big", "cat a > b", ["a"], ["b"], cores=1)
task("c", f"test -e {work}/ok && echo c > c", [], ["c"])
END
    vine 0 1 w.json
    rm b
    touch ok
    sed -i 's/"cores": 1/"cores": 4096/' w.json
    vine 0 1 w.json
    assert_says "big"
    assert_ran 1 a
    assert_file c c
}

# ---- Other descriptions

test_task_list_goes_on() {
    mkdir -p ran
    {
        for i in {1..9}; do echo "echo >> $work/ran/t$i; echo $i"; done
        echo "echo >> $work/ran/t10; test -e $work/ok"
        # Equal lines stay as many.
        echo "echo >> $work/ran/equal"
        echo "echo >> $work/ran/equal"
    } >list.txt
    vine 0 1 list.txt --format tasklist
    touch ok
    vine 2 0 list.txt --format tasklist
    assert_ran 1 t1 t9
    assert_ran 2 t10 equal
}

test_replay_goes_on() {
    need python3
    local instance
    instance=$(find "${VINE_SHARED:-/nonexistent}/workflows/dev" -maxdepth 1 -name '*.json' ! -name expected.json -size -200k 2>/dev/null | sort | head -n 1) || true
    [[ -n $instance ]] || skip "no recorded workflows (VINE_SHARED)"
    vine 0 0 "$instance" --replay --time-scale 0 --bytes-scale 0.001 --run-dir good --digests good.tsv
    # Stopped after a while, wherever that is; then to the end.
    begin 0 "$instance" --replay --time-scale 0.001 --bytes-scale 0.001
    wait_for 20 test -e run/journal/1-0.vj
    kill_run KILL
    vine 2 0 "$instance" --replay --time-scale 0 --bytes-scale 0.001 --digests resumed.tsv
    assert_same good.tsv resumed.tsv
}

# ---- Emulated hosts

test_hosts_go_on() {
    layers
    fault_free 0
    up_hosts 3
    begin hosts:3:1 w.json
    wait_for 30 test -e run/journal/1-0.vj
    wait_for 30 half_done
    kill_run TERM
    durable_tasks >durable
    touch gate
    # Whether the earlier manager lives cannot be seen from here: its lease has to run out.
    vine 0 0 w.json --lease-timeout 3
    assert_durable_kept
    assert_good
    vine hosts:2:2 0 w.json --run-dir run --lease-timeout 3
    assert_good
}
