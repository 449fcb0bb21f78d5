# Files between nodes: read once, passed on while they come, whole or not at all.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

test_vine_each_byte_is_read_once() {
    up_hosts 8
    # Not a whole number of chunks.
    head -c 50000001 /dev/urandom >big
    one_for_all 8
    vine hosts:8:1 0 w.json --transfers transfers.tsv
    assert_sums 8
    assert_equal 50000001 "$(summed 'f["sharedFileSystemBytes"]')" "bytes read from the shared file system"
    assert_equal 1 "$(summed 'f["sharedFileSystemReads"]')" "reads"
    assert_equal $((7 * 50000001)) "$(summed 'f["nodeToNodeBytes"]')" "bytes between nodes"
    # Orders and reports pass through the manager, and no part of the 400 MB that moved.
    assert_equal True "$(summed '0 < s["bytes"]["throughManager"] < 1000000')" "bytes of the manager's messages"
    assert_equal 50000001 "$(summed 's["bytes"]["sharedFileSystemToNode"]')" "all bytes read"
    # All seven were ordered to read along before the first had it.
    assert_equal 7 "$(grep -c $'\t+host' transfers.tsv)" "files passed on while they came"
}

test_vine_odd_files_travel() {
    up_hosts 3
    python3 - "$cores" >w.json <<'END'
import json, os, sys
names = ["empty", "with space", "line\nbreak", "sparse", "one chunk", "chunk and one"]
sizes = [0, 100, 100, 5 << 20, 1 << 20, (1 << 20) + 1]
files, tasks = {}, []
for i, (name, size) in enumerate(zip(names, sizes)):
    with open(name, "wb") as file:
        if name == "sparse":
            file.truncate(size)
            file.seek(3 << 20)
            file.write(b"here")
        else:
            file.write(os.urandom(size))
    os.chmod(name, 0o740)
    files[f"f{i}"] = {"path": name}
for i in range(3):
    files[f"sums{i}"] = {"path": f"sums{i}"}
    tasks.append({"id": f"t{i}", "command": f"stat -L -c %a f? > s; sha256sum f? >> s; mv s sums{i}; sleep 0.5",
                  "inputs": [f"f{j}" for j in range(len(names))], "outputs": [f"sums{i}"], "cores": int(sys.argv[1])})
json.dump({"schema": "vine-workflow/1", "files": files, "tasks": tasks}, sys.stdout)
END
    vine hosts:3:1 0 w.json
    for i in 0 1 2; do
        for name in empty "with space" $'line\nbreak' sparse "one chunk" "chunk and one"; do
            grep -q "^$(sha256sum <"$name" | cut -d' ' -f1)" "sums$i" || fail "sums$i lacks $name"
        done
        assert_equal 6 "$(grep -cx 740 "sums$i")" "modes"
    done
}

test_vine_damaged_chunks_are_asked_for_again() {
    up_hosts 3
    head -c 9000000 /dev/urandom >big
    one_for_all 3
    VINE_FAULT='bulk.send#3:flip' vine hosts:3:1 0 w.json
    assert_sums 3
    # The chunk itself, and at most the window behind it, a second time.
    (($(summed 'f["sharedFileSystemBytes"]') == 9000000)) || fail "read again"
}

# The chunk that rank 1 sends is always damaged: nobody takes it, and the file comes another way.
test_vine_a_source_of_damage_is_avoided() {
    up_hosts 3
    head -c 3000000 /dev/urandom >big
    one_for_all 3
    VINE_FAULT='bulk.send@1:flip' vine hosts:3:1 0 w.json
    assert_sums 3
}

test_vine_a_file_that_changes_is_read_again() {
    up_hosts 3
    head -c 20000000 /dev/urandom >big
    one_for_all 3
    VINE_FAULT='shared.read:delay=150' begin hosts:3:1 w.json
    wait_for 40 has_part host3
    # In place: same inode, same size. What was passed on by now is thrown away on all hosts.
    printf changed | dd of=big conv=notrunc status=none
    wait "$pid" || true
    assert_equal 0 "$(outcome run)" status
    assert_sums 3
    assert_equal 2 "$(summed 'f["sharedFileSystemReads"]')" "reads"
}
reading() { compgen -G "scratch/*/*/part-*" >/dev/null; }

test_vine_a_file_that_keeps_shrinking_fails_its_tasks() {
    head -c 6000000 /dev/urandom >big
    one_for_all 1
    VINE_FAULT='shared.read:delay=200' begin 3 w.json
    wait_for 20 reading
    for _ in {1..40}; do
        truncate -s -1000 big
        sleep 0.1
    done
    wait "$pid" || true
    # Once it rests it is read, or every try has failed.
    if [[ $(outcome run) == 0 ]]; then assert_sums 1; else grep -q "big.*busy" said || fail "no reason given"; fi
    if reading; then fail "a part is left"; fi
}

test_vine_shared_reads_that_fail_are_tried_again() {
    head -c 3000000 /dev/urandom >big
    one_for_all 1
    VINE_FAULT='shared.open#1:eio,shared.read#2:eio' vine 3 0 w.json
    assert_sums 1
    # Only what was missing.
    assert_equal 3000000 "$(summed 'f["sharedFileSystemBytes"]')" "bytes read"
}

# As if the caches of a network file system lagged: only rank 0's host sees the file.
test_vine_what_one_host_sees_reaches_all() {
    up_hosts 3
    head -c 3000000 /dev/urandom >big
    "$tests/TestBed/hosts" exec host1 sh -c "mkdir /tmp/mine && cp big /tmp/mine/big"
    one_for_all 3
    sed -i 's|"path": "big"|"path": "/tmp/mine/big"|' w.json
    vine hosts:3:1 0 w.json
    assert_sums 3
}

test_vine_an_unreadable_file_fails_its_tasks() {
    mkdir big
    one_for_all 2
    vine 3 1 w.json
    assert_says "input .*big: Is a directory"
}

# killed_in_the_middle ACTION HOST: 5 hosts pass a file on, slowly, and HOST is lost on the way
killed_in_the_middle() {
    [[ $(mpirun --version 2>&1) == *"Open MPI) 4"* ]] || skip "only Open MPI 4 goes on after a loss (mpirun --enable-recovery)"
    up_hosts 5
    head -c 60000000 /dev/urandom >big
    one_for_all 5
    VINE_FAULT='chunk.write:delay=60' "$tests/TestBed/hosts" run 1 --enable-recovery -- \
        "$VINE_MPI" w.json --run-dir run --node-timeout 4 --transfers transfers.tsv >said 2>&1 &
    wait_for 40 has_part "$2"
    sleep 0.7
    has_part "$2" || fail "$2 has it already"
    "$tests/TestBed/hosts" "$1" "$2"
    wait_for 100 test -e run/outcome
    assert_equal 0 "$(outcome run)" status
    assert_sums 5
    # Unless it was the last of the chain, which is up to the order in which hosts came.
    if grep -q "+$2" transfers.tsv; then
        grep -qE $'\t'"104$" transfers.tsv || fail "no transfer was cut"
    fi
    # What had come was kept: less moved than if anything had begun anew.
    (($(summed 'f["nodeToNodeBytes"]') + $(summed 'f["sharedFileSystemBytes"]') < 5 * 60000000)) ||
        fail "begun anew: $(summed f)"
    # shellcheck disable=SC2046
    kill -KILL $(named mpirun) $(named vine-mpi) 2>/dev/null || true
    wait || true
}

test_vine_a_killed_host_in_a_chain() { # 200 s
    killed_in_the_middle kill host3
}

test_vine_a_cut_host_in_a_chain() { # 200 s
    killed_in_the_middle cut host4
}

# The host that made a large file is busy for a moment when a small task wants to read it, and the other
# host is idle: the task waits, and next to nothing moves. Moving it would take 8.6 s at 1 Gbit/s.
test_vine_a_task_waits_for_the_host_that_has_its_input() {
    up_hosts 2
    python3 - "$cores" "$work" >w.json <<'END'
import json, sys
cores, work = int(sys.argv[1]), sys.argv[2]
def until(file): return f"until test -e {work}/{file}; do sleep 0.05; done"
print(json.dumps({"schema": "vine-workflow/1",
  "files": {"large": {"temp": True}, "summary": {"path": "summary"}},
  "tasks": [
    {"id": "make", "command": "truncate -s 1G large; touch /tmp/here", "outputs": ["large"], "cores": cores},
    {"id": "busy", "command": f"touch {work}/began; {until('passed')}", "inputs": ["large"],
     "priority": 9, "cores": cores, "category": "busy"},
    {"id": "passes", "command": f"{until('began')}; touch {work}/passed", "after": ["make"],
     "cores": cores, "category": "passes"},
    {"id": "sum", "command": "test -e /tmp/here && stat -c %s -L large > summary", "inputs": ["large"],
     "outputs": ["summary"], "priority": 5}]}))
END
    vine hosts:2:1 0 w.json
    assert_file summary 1073741824
    assert_equal True "$(python3 -c 'import json
s = json.load(open("run/summary.json"))
print(s["bytes"]["nodeToNode"] < 10000 and s["bytes"]["sharedFileSystemToNode"] < 10000)')" "next to no bytes moved"
    assert_equal 1 "$(python3 -c 'import json; print(json.load(open("run/summary.json"))["tasksThatWaited"])')" "tasks that waited"
}
