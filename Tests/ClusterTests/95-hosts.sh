# Several nodes: emulated hosts with a network, a process table and a /tmp each.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

test_hosts_quickstart() {
    example quickstart
    up_hosts 3
    vine hosts:3:2 0 example/workflow.json
    assert_same example/expected.txt example/results/words.txt
}

test_hosts_all_take_part() {
    up_hosts 3
    {
        echo '{"schema": "vine-workflow/1", "tasks": ['
        for i in {1..30}; do echo "{\"id\": \"t$i\", \"command\": \"hostname >> $work/names; sleep 0.3\"},"; done
        echo '{"id": "last", "command": "true"}]}'
    } >w.json
    vine hosts:3:1 0 w.json --trace trace.tsv
    assert_equal 3 "$(sort -u names | wc -l)" "hosts that ran tasks"
    assert_equal 3 "$(grep -v '^#' trace.tsv | cut -f2 | sort -u | wc -l)" "nodes in the trace"
}

test_hosts_files_travel() {
    up_hosts 3
    head -c 3000000 /dev/urandom >big
    python3 - >w.json <<'END'
import json
files, tasks = {"big": {"path": "big"}, "mid": {"temp": True}, "sums": {"path": "sums"}}, []
tasks.append({"id": "make", "argv": ["cp", "big", "mid"], "inputs": ["big"], "outputs": ["mid"]})
for i in range(24):
    files[f"s{i}"] = {"temp": True}
    tasks.append({"id": f"sum{i}", "command": "sleep 0.2; { hostname; sha256sum < mid; } > out",
                  "inputs": ["mid"], "outputs": [{"file": f"s{i}", "as": "out"}]})
tasks.append({"id": "all", "command": "cat s* > sums", "inputs": [f"s{i}" for i in range(24)], "outputs": ["sums"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine hosts:3:2 0 w.json
    assert_equal "$(sha256sum <big)" "$(grep -v host sums | sort -u)" "sums"
    (($(grep host sums | sort -u | wc -l) > 1)) || fail "only one host took part"
}

test_hosts_directories_travel() {
    up_hosts 2
    mkdir -p "tree/sub dir"
    echo 1 >"tree/sub dir/one"
    ln -s "sub dir/one" tree/link
    python3 - >w.json <<'END'
import json
files = {"tree": {"path": "tree", "directory": True}, "mid": {"temp": True, "directory": True}}
files |= {f"saw{i}": {"path": f"saw{i}"} for i in range(12)}
tasks = [{"id": "make", "command": "cp -a tree mid", "inputs": ["tree"], "outputs": ["mid"]}]
for i in range(12):
    tasks.append({"id": f"look{i}", "command": f"sleep 0.3; test -L mid/link && cat mid/link > saw{i}",
                  "inputs": ["mid"], "outputs": [f"saw{i}"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine hosts:2:1 0 w.json
    assert_equal 12 "$(cat saw* | grep -cx 1)" "tasks that saw the tree"
}

test_hosts_many_ranks() { # 300 s
    up_hosts 4
    python3 - >w.json <<'END'
import json
files, tasks = {"end": {"path": "end"}}, []
for i in range(1000):
    files[f"f{i}"] = {"temp": True}
    tasks.append({"id": f"t{i}", "command": f"echo {i} > out", "outputs": [{"file": f"f{i}", "as": "out"}]})
tasks.append({"id": "sum", "command": "cat f* | awk '{s += $1} END {print s}' > end",
              "inputs": [f"f{i}" for i in range(1000)], "outputs": ["end"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine hosts:4:16 0 w.json
    assert_file end 499500
}

test_hosts_signals() {
    up_hosts 2
    {
        echo '{"schema": "vine-workflow/1", "tasks": ['
        for i in {1..30}; do echo "{\"id\": \"t$i\", \"command\": \"touch $work/started; sleep 651\"},"; done
        echo '{"id": "last", "command": "true"}]}'
    } >w.json
    launch hosts:2:2 w.json --run-dir run >said 2>&1 &
    wait_for 30 test -e started
    # shellcheck disable=SC2046
    kill -TERM $(named mpirun)
    wait_for 20 none_left "sleep 651"
    wait_for 20 none_left vine-mpi
    wait || true
}
