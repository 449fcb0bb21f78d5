# Nodes without room: small file systems in memory as scratch, full of bytes or of names.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# small_hosts OPTIONS...: a host for each, with a tmpfs of these mount options as ./room; or the test is
# skipped. `vine_small` lets nodes believe that each has room for 200 MB.
small_hosts() {
    local host=0 options
    up_hosts $#
    mkdir room
    for options; do
        host=$((host + 1))
        "$tests/TestBed/hosts" exec "host$host" mount -t tmpfs -o "$options" room "$work/room" 2>why ||
            skip "no tmpfs with $options can be mounted here: $(<why)"
    done
}
vine_small() { # HOSTS STATUS ARGUMENT...
    local count=$1 status=$2
    shift 2
    vine "hosts:$count:1" "$status" "$@" --scratch "$work/room" --cache-limit 200
}


# ---- Bytes

# Each host gets a task at once; host1 has no room for what both read.
test_room_a_fetch_without_room_goes_elsewhere() {
    small_hosts size=8m size=200m
    head -c 20000000 /dev/urandom >big
    flow <<'END'
for i in range(4):
    task(f"t{i}", f"sha256sum < big > sum{i}; touch /tmp/ran", ["big"], [f"sum{i}"], cores=os.cpu_count())
END
    vine_small 2 0 w.json
    for i in 0 1 2 3; do assert_equal "$(sha256sum <big)" "$(<"sum$i")" "sum of task $i"; done
    "$tests/TestBed/hosts" exec host1 test ! -e /tmp/ran || fail "a task ran where its input found no room"
}

# It declares what it writes, so that the full disk is not its fault; nothing is charged to it.
test_room_an_output_without_room_goes_elsewhere() {
    small_hosts size=8m size=200m
    flow <<'END'
for i in range(4):
    task(f"t{i}", f"head -c 20000000 /dev/zero > temp{i}", [], [f"temp{i}"], disk=30, cores=os.cpu_count())
    task(f"s{i}", f"sha256sum < temp{i} > sum{i}", [f"temp{i}"], [f"sum{i}"])
END
    vine_small 2 0 w.json
    for i in 0 1 2 3; do
        assert_equal "$(head -c 20000000 /dev/zero | sha256sum)" "$(<"sum$i")" "sum of what task $i wrote"
    done
}

# One host, where one of the two inputs has room at a time: one task waits for the other.
test_room_a_task_waits_for_room() {
    small_hosts size=30m
    head -c 20000000 /dev/urandom >big0
    head -c 20000000 /dev/urandom >big1
    flow <<'END'
for i in range(2):
    task(f"t{i}", f"sleep 0.5; sha256sum < big{i} > sum{i}", [f"big{i}"], [f"sum{i}"])
END
    vine_small 1 0 w.json
    for i in 0 1; do assert_equal "$(sha256sum <big$i)" "$(<"sum$i")" "sum of task $i"; done
    assert_ran 1 t0 t1
}

# What was made earlier fills the only host, and may not be made again.
test_room_what_fills_the_disk_is_named() {
    small_hosts size=30m
    head -c 20000000 /dev/urandom >big
    flow <<'END'
task("make", "head -c 18000000 /dev/zero > temp-kept", [], ["temp-kept"])
task("reads", "cat big > sum", ["big"], ["sum"], after=["make"])
task("last", "wc -c < temp-kept > size", ["temp-kept"], ["size"], after=["reads"])
task("other", "echo fine > word", [], ["word"], after=["make"])
END
    vine_small 1 1 w.json
    assert_file word fine
    assert_absent sum
    assert_ran 0 reads last
    assert_says "temp-kept"
    assert_says "disk"
}

# ---- Names

test_room_a_directory_without_inodes_goes_elsewhere() {
    small_hosts size=100m,nr_inodes=120 size=100m,nr_inodes=100000
    mkdir tree
    for i in {1..300}; do echo "$i" >"tree/$i"; done
    flow <<'END'
file("tree", directory=True)
for i in range(4):
    task(f"t{i}", f"cat tree/* | sort -n | sha256sum > sum{i}; touch /tmp/ran", ["tree"], [f"sum{i}"], cores=os.cpu_count())
END
    vine_small 2 0 w.json
    (($(grep -c "trying again" said) <= 2)) || fail "the full host was tried again and again"
    for i in 0 1 2 3; do assert_equal "$(seq 300 | sha256sum)" "$(<"sum$i")" "sum of task $i"; done
    "$tests/TestBed/hosts" exec host1 test ! -e /tmp/ran || fail "a task ran where its input found no room"
}

test_room_an_output_without_inodes_goes_elsewhere() {
    small_hosts size=100m,nr_inodes=120 size=100m,nr_inodes=100000
    flow <<'END'
for i in range(4):
    file(f"temp{i}", directory=True)
    task(f"t{i}", f"mkdir temp{i} && cd temp{i} && for n in $(seq 300); do echo $n > $n || exit 1; done", [], [f"temp{i}"],
         disk=20, cores=os.cpu_count())
    task(f"s{i}", f"cat temp{i}/* | sort -n | sha256sum > sum{i}", [f"temp{i}"], [f"sum{i}"])
END
    vine_small 2 0 w.json
    for i in 0 1 2 3; do assert_equal "$(seq 300 | sha256sum)" "$(<"sum$i")" "sum of what task $i wrote"; done
}

test_room_no_host_with_inodes_is_said() {
    small_hosts size=100m,nr_inodes=120
    mkdir tree
    for i in {1..300}; do echo "$i" >"tree/$i"; done
    flow <<'END'
file("tree", directory=True)
task("reads", "cat tree/* > sum", ["tree"], ["sum"])
END
    vine_small 1 1 w.json
    assert_absent sum
    assert_says "[Nn]o space|ENOSPC|no room|disk"
}

# ---- Chains

# Twelve chains, of which the disk holds four files at once: begun breadth first, none would end.
test_room_chains_end_one_after_the_other() {
    # What is given up leaves the disk a moment later: room for that, too.
    small_hosts size=160m
    flow <<'END'
for i in range(12):
    for name in (f"temp-a{i}", f"temp-b{i}"): file(name, size=20000000)
    task(f"a{i}", f"head -c 20000000 /dev/zero > temp-a{i}", [], [f"temp-a{i}"])
    task(f"b{i}", f"tr '\\0' x < temp-a{i} > temp-b{i}", [f"temp-a{i}"], [f"temp-b{i}"])
    task(f"c{i}", f"sha256sum < temp-b{i} > sum{i}", [f"temp-b{i}"], [f"sum{i}"])
END
    vine hosts:1:1 0 w.json --scratch "$work/room" --cache-limit 90
    for i in {0..11}; do
        assert_equal "$(head -c 20000000 /dev/zero | tr '\0' x | sha256sum)" "$(<"sum$i")" "sum of chain $i"
    done
    assert_equal 36 "$(executions)" "executions"
}
