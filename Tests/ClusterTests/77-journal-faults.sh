# Faults under the journal, the durable copies and the renames (VINE_FAULT): nothing wrong is
# ever published, and the next start completes the run.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# pairs COUNT: as many temps, each with a published reader, and the sum of all
pairs() {
    COUNT=$1 flow <<'END'
count = int(os.environ["COUNT"])
for i in range(count):
    task(f"a{i}", f"seq {i} {i + 9} > temp{i}", [], [f"temp{i}"])
    task(f"b{i}", f"cksum < temp{i} > out{i}", [f"temp{i}"], [f"out{i}"])
task("sum", "cat out* > sum", [f"out{i}" for i in range(count)], ["sum"])
END
    good=$(for ((i = 0; i < $1; i++)); do seq "$i" $((i + 9)) | cksum; done)
    count=$1
}
assert_pairs() {
    local i
    for ((i = 0; i < count; i++)); do assert_file "out$i" "$(seq "$i" $((i + 9)) | cksum)"; done
    assert_equal "$(sort <<<"$good")" "$(sort sum)" sum
}
# with_fault FAULT COMMAND...
with_fault() {
    local fault=$1
    shift
    VINE_FAULT=$fault "$@"
}
# crash FAULT: an embedded run of w.json that dies of it
crash() {
    mkdir -p scratch
    local status=0
    VINE_FAULT=$1 "$VINE_MPI" w.json --run-dir run --scratch scratch >said 2>&1 || status=$?
    wait_for 20 no_rank_left
    [[ $status == 137 ]] || { tail -n 20 said; fail "status $status after $1"; }
}
segments() { find run/journal -name '[0-9]*.vj' | sort -V; }
last_segment() { segments | tail -n 1; }
flip() { # FILE OFFSET
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); byte = f.read(1)[0]; f.seek(int(sys.argv[2])); f.write(bytes([byte ^ 16]))' "$1" "$2"
}

# ---- Tasks and workers

test_killed_halfway_through_its_output() {
    # Case 4.
    flow <<'END'
task("t", "echo half > out; test $VINE_ATTEMPT = 1 && kill -KILL $$; echo whole >> out", [], ["out"], retries=1)
END
    vine 0 0 w.json
    assert_file out $'half\nwhole'
    assert_ran 2 t
}

test_no_space_for_a_sandbox() {
    # Case 6: not the task's fault, so tried again though it has no retries.
    flow <<'END'
task("t", "echo x > out", [], ["out"])
END
    with_fault "stage@t#1:enospc" vine 2 0 w.json
    assert_says "No space left"
    assert_file out x
    assert_ran 1 t
}

test_a_finish_that_comes_twice() {
    # Case 21.
    pairs 20
    with_fault "message.taskFinished:dup" vine 3 0 w.json
    assert_pairs
    assert_equal 41 "$(executions)" executions
    assert_equal 41 "$(entries DONE)" "DONE entries"
}

need_recovery() {
    [[ $(mpirun --version 2>&1) == *"Open MPI) 4"* ]] || skip "only Open MPI 4 goes on after a loss (mpirun --enable-recovery)"
}

test_worker_lost_halfway() { # 60 s
    # Case 7.
    need_recovery
    flow <<'END'
for i in range(200):
    task(f"t{i}", f"sleep 0.05; echo {i} > out{i}", [], [f"out{i}"], determinism="deterministic")
END
    mkdir -p scratch
    mpirun --enable-recovery -n 4 "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" --node-timeout 5 >said 2>&1 &
    wait_for 30 test -e run/journal/1-0.vj
    wait_for 30 many_done 60
    local process
    for process in $(named vine-mpi); do
        if tr '\0' '\n' <"/proc/$process/environ" | grep -qx OMPI_COMM_WORLD_RANK=2; then kill -KILL "$process"; fi
    done
    wait_for 40 test -e run/outcome
    wait_for 20 no_rank_left
    wait || true
    assert_equal 0 "$(outcome run)" outcome
    local i
    for i in {0..199}; do assert_file "out$i" "$i"; done
    assert_equal 200 "$(entries DONE)" "DONE entries"
    assert_equal 1 "$(done_counts | cut -d' ' -f2 | sort -u)" "DONE entries per task"
}
many_done() { [[ $(entries DONE) -ge $1 ]]; }

# ---- The journal's disk

test_an_error_of_fsync_is_survived() {
    # Case 30, once: a new segment takes its place.
    pairs 20
    with_fault "journal.fsync#2:eio" vine 0 0 w.json
    assert_pairs
    [[ -e run/journal/1-1.vj ]] || fail "no second segment"
    "$VINE_MPI" journal verify run
    local before
    before=$(executions)
    vine 0 0 w.json
    assert_equal "$before" "$(executions)" executions
}

broken_disk() { # FAULT STATUS-TEXT
    pairs 20
    with_fault "$1" vine 0 7 w.json
    assert_says "$2"
    assert_says "cannot write the journal"
    vine 0 0 w.json
    assert_pairs
    vine 0 0 w.json
}
test_fsync_always_fails() { broken_disk "journal.fsync:eio" "Input/output error"; }
test_fsync_fails_later() { broken_disk "journal.fsync#3:eio,journal.fsync#4:eio" "Input/output error"; }
test_no_space_for_the_journal() { broken_disk "journal.write:enospc" "free space"; }
test_no_space_for_the_journal_3_ranks() {
    pairs 20
    with_fault "journal.write:enospc" vine 3 7 w.json
    assert_says "free space"
    vine 3 0 w.json
    assert_pairs
}

test_short_writes() {
    pairs 10
    with_fault "journal.write:short=7" vine 0 0 w.json
    assert_pairs
    "$VINE_MPI" journal verify run
}

test_killed_at_every_write_of_the_journal() { # 100 s
    # Each next kill is one write or sync later, until a run needs none.
    pairs 6
    local point n status
    for point in journal.write journal.fsync; do
        for ((n = 1; n < 40; n++)); do
            rm -rf run ran out* sum .out* .sum*
            mkdir -p ran scratch
            status=0
            VINE_FAULT="$point#$n:kill" "$VINE_MPI" w.json --run-dir run --scratch scratch --quiet >said 2>&1 || status=$?
            wait_for 10 no_rank_left
            [[ $status != 0 ]] || break
            assert_equal 137 "$status" "status at $point $n"
            durable_tasks >durable
            vine 0 0 w.json
            assert_pairs
            while read -r task; do assert_ran 1 "$task"; done <durable
        done
        ((n > 2)) || fail "only $n turns at $point"
    done
}

# ---- Damage

test_cut_off_anywhere_near_the_end() { # 60 s
    # Case 23: some places; every byte in JournalReaderTests.
    pairs 10
    vine 0 0 w.json
    cp -r run whole
    local size cut
    size=$(stat -c %s run/journal/1-0.vj)
    for cut in 1 9 17 30 61 150 400 900 $((size - 60)); do
        rm -rf run
        cp -r whole run
        truncate -s "-$cut" run/journal/1-0.vj
        vine 0 0 w.json
        assert_pairs
    done
}

test_damage_in_the_middle() {
    # Case 24.
    pairs 20
    vine 0 0 w.json
    flip run/journal/1-0.vj 400
    cp run/outcome outcome-before
    rm -rf ran
    mkdir ran
    vine_exits 0 6 w.json
    assert_says "1-0.vj, byte [0-9]+"
    assert_equal 0 "$(executions)" executions
    local status=0
    "$VINE_MPI" journal verify run >said 2>&1 || status=$?
    assert_equal 6 "$status" "status of verify"
    vine 0 0 w.json --salvage
    assert_says "skipped [0-9]+ damaged bytes"
    assert_pairs
    # Where it was skipped over it is not met again.
    vine 0 0 w.json
    assert_pairs
}

test_damage_in_the_last_frame() {
    # Case 25.
    pairs 10
    vine 0 0 w.json
    flip run/journal/1-0.vj $(($(stat -c %s run/journal/1-0.vj) - 6))
    local before
    before=$(executions)
    vine 0 0 w.json
    assert_says "ends at 1-0.vj"
    assert_equal "$before" "$(executions)" executions
    assert_pairs
}

test_journal_of_a_later_version() {
    # Case 46.
    pairs 4
    vine 0 0 w.json
    cp -r run later
    python3 - <<'END'
# The header's fields and their CRC-32C as a version of format 255 would write them.
name = "later/journal/1-0.vj"
data = bytearray(open(name, "rb").read())
data[8] = 255
crc = 0xffffffff
for byte in data[:48]:
    crc ^= byte
    for _ in range(8): crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
data[48:52] = (crc ^ 0xffffffff).to_bytes(4, "little")
open(name, "wb").write(data)
END
    vine_exits 0 9 w.json --run-dir later
    assert_says "format 255.*format [0-9]+"
    # A segment of another run.
    rm -rf out* sum
    vine 0 0 w.json --run-dir other
    vine 0 0 w.json --run-dir other
    cp other/journal/2-0.vj run/journal/
    vine_exits 0 9 w.json
    assert_says "belongs to the run [0-9a-f-]+, not to this one"
}

# objects DETERMINISM: a run that failed, with what a task made in run/objects
objects() {
    DETERMINISM=$1 flow <<'END'
make = "cat /proc/sys/kernel/random/uuid" if os.environ["DETERMINISM"] == "nondeterministic" else "echo same"
task("make", f"{make} > temp", [], ["temp"], determinism=os.environ["DETERMINISM"])
task("seen", "cat temp > seen", ["temp"], ["seen"])
task("fails", f"test -e {work}/ok && cat temp > late", ["temp"], ["late"])
END
    vine 0 1 w.json
    object=$(find run/objects -type f | head -n 1)
    [[ -n $object ]] || fail "no object"
    touch ok
}
test_objects_are_used() {
    objects nondeterministic
    vine 0 0 w.json
    assert_ran 1 make seen
    assert_same seen late
}
damaged_object() { # DETERMINISM
    # Case 28.
    local how
    for how in delete truncate flip; do
        rm -rf run ran ok seen late
        objects "$1"
        case $how in
            delete) rm "$object" ;;
            truncate) truncate -s -1 "$object" ;;
            flip) chmod u+w "$object"; flip "$object" 2 ;;
        esac
        cp seen before
        if [[ $1 == deterministic ]]; then
            vine 0 0 w.json
            assert_same seen late
            assert_ran 1 seen
        else
            # What was shown cannot be had again, and nothing else may take its place.
            vine 0 8 w.json
            assert_says "task make made two different values"
            assert_absent late
        fi
        assert_says "is not what was written there"
        assert_ran 2 make
        assert_same seen before
    done
}
test_damaged_object_deterministic() { damaged_object deterministic; }
test_damaged_object_nondeterministic() { damaged_object nondeterministic; }

test_false_determinism() {
    # Case 12: the first value was seen outside when the second is made.
    flow <<'END'
task("liar", "cat /proc/sys/kernel/random/uuid > temp", [], ["temp"], determinism="deterministic")
task("seen", "cat temp > seen", ["temp"], ["seen"])
task("held", hold + "cat temp > late", ["temp"], ["late"])
END
    begin 0 w.json
    wait_for 20 test -e seen
    # The lie can be told only once the first value's hash is known.
    wait_for 20 published_and_hashed
    kill_run KILL
    cp seen before
    touch gate
    vine 0 8 w.json
    assert_says "task liar made two different values"
    assert_same seen before
    [[ ! -e late ]] || assert_same late before
}
published_and_hashed() { [[ $(entries PUBLISHED) -ge 1 && $(entries HASHED) -ge 2 ]]; }

# ---- Publishing

publishing() { # POINT KIND
    # Case 29.
    KIND=$2 flow <<'END'
if os.environ["KIND"] == "file":
    task("t", "head -c 10000000 /dev/zero | tr '\\0' x > out", [], ["out"])
else:
    file("out", directory=True)
    task("t", "mkdir -p out/sub; for i in 1 2 3 4 5 6 7 8 9; do echo $i > out/sub/$i; done", [], ["out"])
END
    case $2 in
        replaced-directory)
            mkdir -p out/old
            echo old >out/old/old ;;
        replaced-file) echo old >out ;;
    esac
    crash "$1:kill"
    if [[ $2 == file && -e out ]]; then assert_equal 10000000 "$(stat -c %s out)" size; fi
    vine 0 0 w.json
    if [[ $2 == file ]]; then
        assert_equal 10000000 "$(stat -c %s out)" size
        assert_ran 1 t
    else
        assert_equal "1 2 3 4 5 6 7 8 9" "$(cat out/sub/* | paste -sd ' ')" contents
        assert_absent out/old
    fi
    # Nor does it change later.
    local before
    before=$(executions)
    vine 0 0 w.json
    assert_equal "$before" "$(executions)" executions
    [[ -z $(find . -maxdepth 1 -name '.*.vine-*') ]] || fail "a temporary name is left"
}
test_killed_before_a_rename() { publishing publish.before file; }
test_killed_after_a_rename() { publishing publish.after file; }
test_killed_before_a_tree_appears() { publishing publish.before directory; }
test_killed_after_a_tree_appears() { publishing publish.after directory; }
test_killed_before_a_tree_is_replaced() { publishing publish.before replaced-directory; }
test_killed_between_trees() { publishing publish.exchanged replaced-directory; }
test_killed_after_a_tree_is_replaced() { publishing publish.after replaced-directory; }

test_an_output_that_cannot_be_written() {
    pairs 4
    with_fault "commit.output:enospc" vine 0 1 w.json
    assert_says "No space left"
    assert_absent out0
    vine 0 0 w.json
    assert_pairs
}
test_an_output_that_is_written_at_the_second_try() {
    pairs 4
    with_fault "commit.output#1:eio" vine 0 0 w.json
    assert_pairs
}

an_output_that_somebody_else_changes() { # HOW
    flow <<'END'
task("t", hold + "echo made > out", [], ["out"])
task("a", "echo a > a", [], ["a"])
END
    echo before >out
    begin "$1" w.json
    wait_for 20 test -e ran/t
    echo theirs >out
    touch gate
    wait "$pid" || true
    assert_equal 1 "$(outcome run)" outcome
    assert_says "out: somebody else has changed it"
    assert_says "what task t made is .*/\.out\.vine-"
    assert_file out theirs
    assert_file a a
    # What was there before the start is replaced: nothing has to run for that.
    vine "$1" 0 w.json
    assert_file out made
    assert_ran 1 t a
    [[ -z $(find . -maxdepth 1 -name '.*.vine-*') ]] || fail "a temporary name is left"
}
test_an_output_that_somebody_else_changes() { an_output_that_somebody_else_changes 0; }
test_an_output_that_somebody_else_changes_3_ranks() { an_output_that_somebody_else_changes 3; }

test_many_outputs_that_wait_appear() {
    # A hundred and one of them wait for what a task still reads: it is saved, and they are there.
    flow <<'END'
task("root", "cat /proc/sys/kernel/random/uuid > temp", [], ["temp"])
for i in range(101): task(f"t{i}", f"cat temp > out{i}", ["temp"], [f"out{i}"])
task("held", hold + "cat temp > late", ["temp"], ["late"], priority=1)
END
    begin 3 w.json
    wait_for 60 published 101
    assert_absent late
    kill_run KILL
    touch gate
    vine 3 0 w.json
    assert_ran 1 root t0 t100
    assert_equal 1 "$(cat out* late | sort -u | wc -l)" "different values"
}
published() { [[ $(find . -maxdepth 1 -name 'out*' | wc -l) == "$1" ]]; }

# ---- Two managers

test_one_of_many_managers() { # 60 s
    # Case 35.
    flow <<'END'
task("t", hold + "echo x > out", [], ["out"])
END
    mkdir -p scratch
    local count i others
    for count in 6 6 50; do
        rm -rf run gate out ran
        mkdir ran
        for ((i = 1; i <= count; i++)); do
            (
                status=0
                "$VINE_MPI" w.json --run-dir run --scratch scratch >"said-$i" 2>&1 || status=$?
                echo "$status" >"status-$i"
            ) &
        done
        wait_for 30 statuses "$((count - 1))"
        touch gate
        wait
        others=$(printf '4 %.0s' $(seq 2 "$count"))
        assert_equal "0 ${others% }" "$(cat status-* | sort | paste -sd ' ')" "statuses of $count"
        assert_ran 1 t
        assert_equal 1 "$(entries SESSION_OPEN)" sessions
        rm status-*
    done
}
statuses() { [[ $(find . -name 'status-*' -size +0 | wc -l) == "$1" ]]; }

test_a_second_manager_of_a_running_job() {
    flow <<'END'
task("t", hold + "echo x > out", [], ["out"])
END
    begin 3 w.json
    wait_for 20 test -e ran/t
    vine_exits 0 4 w.json
    assert_says "another vine-mpi runs it: host .*, process [0-9]+"
    touch gate
    wait "$pid"
    assert_equal 0 "$(outcome run)" outcome
    assert_ran 1 t
}

test_hosts_a_dead_sessions_rank_writes_on() { # 60 s
    # A rank on another host is about to write an output when its manager dies, and does so only when
    # the next session has written its own. Of the first attempt nothing is in the journal, so both
    # have one number.
    need_recovery
    up_hosts 2
    cat >tasks.py <<'END'
task("root", "cat /proc/sys/kernel/random/uuid > temp", [], ["temp"])
task("out", "cat temp > out", ["temp"], ["out"])
task("held", hold + "cat temp > late", ["temp"], ["late"])
END
    # The manager's host is to be busy with something else.
    { echo "task('busy', hold + 'true', priority=9, cores=$cores)"; cat tasks.py; } | flow
    "$tests/TestBed/hosts" run 1 --enable-recovery \
        -x VINE_FAULT="commit.output:delay=12000,journal.write:delay=120000" -- \
        "$VINE_MPI" w.json --run-dir run --node-timeout 120 >said 2>&1 &
    local launcher=$! process
    wait_for 60 test -e ran/held
    wait_for 20 test -e ran/out
    sleep 1
    for process in $(named vine-mpi); do
        if tr '\0' '\n' <"/proc/$process/environ" | grep -qx OMPI_COMM_WORLD_RANK=0; then kill -KILL "$process"; fi
    done
    assert_equal 0 "$(entries DONE)" "DONE entries"
    flow <tasks.py
    "$tests/TestBed/hosts" exec host1 "$VINE_MPI" "$work/w.json" --run-dir "$work/run" --lease-timeout 1 >again 2>&1 &
    local session=$!
    wait_for 10 committed 1
    assert_absent out
    # The dead session's rank has written, too.
    wait_for 40 temporaries 2
    touch gate
    wait "$session" || fail "$(tail -n 20 again)"
    kill -KILL "$launcher" 2>/dev/null || true
    assert_same out late
    [[ -z $(find . -maxdepth 1 -name '.*.vine-*') ]] || fail "a temporary name is left"
}
committed() { [[ $(entries COMMIT) == "$1" ]]; }
temporaries() { [[ $(find . -maxdepth 1 -name '.out.vine-*' | wc -l) == "$1" ]]; }

# ---- Lost nodes

# chain_on_a_host: a run of w.json, in which six temps are made one of the other, and whatever the Python
# on standard input adds; up to when task "waits" has begun. Sets host to the one that made the chain; or the
# test is skipped.
chain_on_a_host() {
    need_recovery
    up_hosts 3
    # The manager's host is to be busy with something else.
    {
        cat <<'END'
task("busy", hold + "true", priority=9, cores=int(os.environ["cores"]))
for i in range(6):
    reads = [f"temp{i - 1}"] if i else []
    task(f"t{i}", f"{{ cat {' '.join(reads)} < /dev/null; echo {i}; }} > temp{i}; hostname > {work}/last-host", reads, [f"temp{i}"])
END
        cat
    } | cores=$cores flow
    mkdir -p scratch
    "$tests/TestBed/hosts" run 1 --enable-recovery -- "$VINE_MPI" w.json --run-dir run --node-timeout 5 >said 2>&1 &
    wait_for 60 test -e ran/waits
    sleep 0.5
    host=$(<last-host)
    if [[ $host == host1 ]]; then
        touch gate
        wait || true
        skip "the chain was made on the manager's host"
    fi
}
# lose_the_chain: its host crashes, and the run ends well without it
lose_the_chain() {
    "$tests/TestBed/hosts" crash "$host"
    touch gate
    wait_for 60 test -e run/outcome
    sleep 1
    # mpirun waits for its lost daemon for ever.
    # shellcheck disable=SC2046
    kill -KILL $(named mpirun) || true
    wait || true
    assert_equal 0 "$(outcome run)" outcome
}

test_hosts_temps_lost_with_their_node() { # 90 s
    # Case 9: a chain of temps on a host that dies; only what is needed is made again.
    chain_on_a_host <<'END'
task("side", "cat temp2 > side", ["temp2"], ["side"])
task("waits", hold + "true", ["temp5"])
task("end", "cat temp5 > end", ["temp5"], ["end"], after=["waits"])
END
    lose_the_chain
    assert_file end "$(seq 0 5)"
    assert_file side "$(seq 0 2)"
    assert_ran 1 side
}

test_hosts_temps_with_copies_outlive_their_node() { # 90 s
    # Case 10: the same chain with two copies of everything; nothing is made again.
    chain_on_a_host <<'END'
more["policy"] = {"temp_replicas": 2}
task("waits", hold + "true", [f"temp{i}" for i in range(6)])
task("end", "cat temp0 temp5 > end", [f"temp{i}" for i in range(6)], ["end"], after=["waits"])
END
    wait_for 30 has_six_elsewhere "$host"
    lose_the_chain
    assert_file end "$(echo 0; seq 0 5)"
    assert_ran 1 t0 t1 t2 t3 t4 t5
}
# has_six_elsewhere HOST: each of six temps is in a cache of another host than HOST
has_six_elsewhere() {
    local host count=0
    for host in host1 host2 host3; do
        [[ $host != "$1" ]] || continue
        count=$((count + $("$tests/TestBed/hosts" exec "$host" find /tmp -xdev -path '*/cache/*-1' -type f 2>/dev/null | wc -l)))
    done
    ((count >= 6))
}

test_hosts_the_end_does_not_wait_for_copies() { # 60 s
    up_hosts 3
    flow <<'END'
more["policy"] = {"temp_replicas": 3}
for i in range(3):
    task(f"big{i}", f"head -c 300000000 /dev/zero > temp{i}", [], [f"temp{i}"])
    task(f"end{i}", f"stat -L -c %s temp{i} > end{i}", [f"temp{i}"], [f"end{i}"])
END
    "$tests/TestBed/hosts" run 1 -- "$VINE_MPI" w.json --run-dir run >said 2>&1 || fail "status $?"
    assert_equal 0 "$(outcome run)" outcome
    assert_file end0 300000000
    assert_file end2 300000000
    assert_ran 1 big0 big1 big2
}

# ---- Many crashes

# Values that differ each time they are made, crash after crash: whatever was published once stays
# as it is, and all that is published tells of one value per task.
many_crashes() { # HOW POINT
    flow <<'END'
for i in range(6):
    task(f"root{i}", f"cat /proc/sys/kernel/random/uuid > temp{i}", [], [f"temp{i}"])
    for j in range(3):
        task(f"mid{i}-{j}", f"sleep 0.0{j}; cat temp{i} > tempmid{i}-{j}", [f"temp{i}"], [f"tempmid{i}-{j}"])
        task(f"out{i}-{j}", f"cat tempmid{i}-{j} > out{i}-{j}", [f"tempmid{i}-{j}"], [f"out{i}-{j}"])
END
    mkdir -p scratch seen
    local turn status part
    for ((turn = 0; turn < 12; turn++)); do
        status=0
        VINE_FAULT="$2#$((turn % 5 + 2)):kill" launch "$1" w.json --run-dir run --scratch scratch --quiet >said 2>&1 || status=$?
        wait_for 20 no_rank_left
        for part in out?-?; do
            [[ -e $part ]] || continue
            if [[ -e seen/$part ]]; then assert_same "$part" "seen/$part"; else cp "$part" seen/; fi
        done
        [[ $status != 0 ]] || break
    done
    vine "$1" 0 w.json
    local i
    for i in {0..5}; do
        for part in "out$i-1" "out$i-2"; do assert_same "out$i-0" "$part"; done
    done
    for part in out?-?; do [[ ! -e seen/$part ]] || assert_same "$part" "seen/$part"; done
    "$VINE_MPI" journal verify run
    echo "$turn crashes, $(executions) executions"
}
test_values_never_mix_after_writes() { many_crashes 0 journal.write; }
test_values_never_mix_after_syncs() { many_crashes 0 journal.fsync; }
test_values_never_mix_before_renames() { many_crashes 0 publish.before; }
test_values_never_mix_after_renames() { many_crashes 0 publish.after; }
test_values_never_mix_with_3_ranks() {
    many_crashes 3 journal.fsync
}
test_values_never_mix_after_commits() { many_crashes 0 commit.output; }
