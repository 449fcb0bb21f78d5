# Files between nodes: read once, passed on while they come, whole or not at all.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# one_for_all COUNT [COMMAND]: w.json, in which COUNT tasks of a whole host each read "big" at once
# and write its sum; COMMAND runs before that.
one_for_all() {
    python3 - "$1" "${2:-}" "$cores" >w.json <<'END'
import json, sys
count, command, cores = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
files, tasks = {"big": {"path": "big"}}, []
for i in range(count):
    files[f"sum{i}"] = {"path": f"sum{i}"}
    tasks.append({"id": f"t{i}", "command": f"{command} sha256sum < big > sum{i}; hostname > host",
                  "inputs": ["big"], "outputs": [f"sum{i}"], "cores": cores})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
}
assert_sums() { # COUNT
    local i sum
    sum=$(sha256sum <big)
    for ((i = 0; i < $1; i++)); do assert_equal "$sum" "$(<"sum$i")" "sum of task $i"; done
}
summed() { # PYTHON-EXPRESSION: of the summary s and its row f of the file "big"
    python3 -c '
import json, sys
s = json.load(open("run/summary.json"))
f = next(row for row in s["files"] if row["file"] == "big")
print(eval(sys.argv[1]))' "$1"
}

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
    assert_equal 0 "$(summed 's["bytes"]["throughManager"]')" "bytes through the manager"
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
