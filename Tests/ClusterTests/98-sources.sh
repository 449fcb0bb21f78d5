# Large files from several sources at once: ranges of the shared file system read by several hosts,
# ranges of one file sent by several hosts.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

size=100000001 # not a whole number of chunks, nor of stripes

# big_for_all COUNT: "big", and w.json, in which COUNT tasks of a whole host each read it at once
big_for_all() {
    head -c "$size" /dev/urandom >big
    one_for_all "$1"
}
# one_from_two: w.json, in which two hosts get "big" and keep it, and then the third needs it
one_from_two() {
    head -c "$size" /dev/urandom >big
    python3 - "$cores" "$work" >w.json <<'END'
import json, sys
cores, work = int(sys.argv[1]), sys.argv[2]
def until(*marks): return "; ".join(f"until test -e {work}/{mark}; do sleep 0.05; done" for mark in marks)
files = {"big": {"path": "big", "cache": "worker"}, "sum2": {"path": "sum2"}}
tasks = [{"id": "wait", "command": until("held0", "held1"), "cores": cores, "priority": 9},
         {"id": "use", "command": f"sha256sum < big > sum2; touch {work}/over", "inputs": ["big"],
          "outputs": ["sum2"], "cores": cores, "after": ["wait"]}]
for i in range(2):
    files[f"sum{i}"] = {"path": f"sum{i}"}
    tasks.append({"id": f"have{i}", "inputs": ["big"], "outputs": [f"sum{i}"], "cores": cores, "priority": 9,
                  "command": f"sha256sum < big > sum{i}; touch {work}/held{i}; {until('over')}"})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
}

test_sources_read_disjoint_ranges_of_the_shared_file_system() {
    up_hosts 5
    big_for_all 5
    # Else one host might have read all before another has begun.
    VINE_FAULT='shared.read:delay=20' vine hosts:5:1 0 w.json
    assert_sums 5
    assert_equal "$size" "$(summed 'f["sharedFileSystemBytes"]')" "bytes read from the shared file system"
    assert_equal 4 "$(summed 'f["sharedFileSystemReads"]')" "hosts that read some"
    assert_equal $((4 * size)) "$(summed 'f["nodeToNodeBytes"]')" "bytes between nodes"
    (($(summed 'f["helperBytes"]') > size / 4)) || fail "the first host has read most of it: $(summed f)"
}

test_sources_of_a_policy_of_one() {
    up_hosts 3
    big_for_all 3
    sed -i 's|"files":|"policy": {"sources_per_transfer": 1}, "files":|' w.json
    vine hosts:3:1 0 w.json
    assert_sums 3
    assert_equal "1 0" "$(summed '"%d %d" % (f["sharedFileSystemReads"], f["helperBytes"])')" "reads, and bytes of helpers"
}

test_sources_send_ranges_to_one_receiver() {
    up_hosts 3
    one_from_two
    vine hosts:3:1 0 w.json
    assert_sums 3
    assert_equal "$size" "$(summed 'f["sharedFileSystemBytes"]')" "bytes read from the shared file system"
    (($(summed 'f["helperBytes"]') > 20000000)) || fail "one host has sent nearly all: $(summed f)"
}

# Some chunks that each host sends are damaged: nobody takes one, and each is asked for again.
test_sources_that_send_damage() {
    up_hosts 3
    one_from_two
    VINE_FAULT='bulk.send#3:flip,bulk.send#20:flip,bulk.send#110:flip' vine hosts:3:1 0 w.json
    assert_sums 3
    assert_equal "$size" "$(summed 'f["sharedFileSystemBytes"]')" "bytes read from the shared file system"
}

test_sources_of_ranges_that_cannot_be_read() {
    up_hosts 4
    big_for_all 4
    # The ninth read of each rank fails.
    VINE_FAULT='shared.read#9:eio' vine hosts:4:1 0 w.json
    assert_sums 4
}

test_sources_of_a_file_that_changes() {
    up_hosts 3
    big_for_all 3
    VINE_FAULT='shared.read:delay=60' "$tests/TestBed/hosts" run 1 -- "$VINE_MPI" w.json --run-dir run >said 2>&1 &
    wait_for 40 has_part host2
    sleep 0.3
    printf changed | dd of=big conv=notrunc status=none
    wait
    assert_equal 0 "$(outcome run)" status
    assert_sums 3
}

# lost ACTION HOST: a host is lost while it reads and sends ranges
lost() {
    [[ $(mpirun --version 2>&1) == *"Open MPI) 4"* ]] || skip "only Open MPI 4 goes on after a loss (mpirun --enable-recovery)"
    up_hosts 5
    big_for_all 5
    VINE_FAULT='chunk.write:delay=60' "$tests/TestBed/hosts" run 1 --enable-recovery -- \
        "$VINE_MPI" w.json --run-dir run --node-timeout 4 >said 2>&1 &
    wait_for 40 has_part "$2"
    sleep 0.7
    has_part "$2" || fail "$2 has it already"
    "$tests/TestBed/hosts" "$1" "$2"
    wait_for 100 test -e run/outcome
    assert_equal 0 "$(outcome run)" status
    assert_sums 5
    # shellcheck disable=SC2046
    kill -KILL $(named mpirun) $(named vine-mpi) 2>/dev/null || true
    wait || true
}

test_sources_a_killed_reader_of_ranges() { # 200 s
    lost kill host3
}

test_sources_a_cut_reader_of_ranges() { # 200 s
    lost cut host2
}

# One host has room for half of the file: its task goes elsewhere, and what it should have read is read
# by others.
test_sources_a_full_disk_of_a_reader() {
    up_hosts 3
    big_for_all 3
    for host in host1 host2 host3; do "$tests/TestBed/hosts" exec "$host" mkdir -p /tmp/small; done
    "$tests/TestBed/hosts" exec host2 mount -t tmpfs -o size=50M none /tmp/small
    vine hosts:3:1 0 w.json --scratch /tmp/small
    assert_sums 3
}
