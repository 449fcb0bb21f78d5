# Files: names, kinds, sizes, absence, and tasks that treat them badly.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

names() {
    printf 'contents\n' >$'in put \n Grüße 漢字.txt'
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {
  "in put \n Grüße 漢字.txt": {"path": "in put \n Grüße 漢字.txt"},
  "mid \"dle\"\t'x' $HOME": {"temp": true},
  "-out put*\nß": {"path": "results/-out put*\nß"}},
 "tasks": [
  {"id": "first one\nä", "argv": ["cp", "in put \n Grüße 漢字.txt", "mid \"dle\"\t'x' $HOME"],
   "inputs": ["in put \n Grüße 漢字.txt"], "outputs": ["mid \"dle\"\t'x' $HOME"]},
  {"id": "second; rm -rf x", "command": "cat ./mid* > './-out put*\nß'",
   "inputs": ["mid \"dle\"\t'x' $HOME"], "outputs": ["-out put*\nß"]}]}
END
    mkdir results
    vine "$1" 0 w.json
    assert_file $'results/-out put*\nß' contents
}
test_names_embedded() {
    names 0
}
test_names_4_ranks() {
    names 4
}

test_sandbox_names_in_directories() {
    echo a >a
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"b": {"path": "b"}},
 "tasks": [{"id": "t", "command": "cat deep/er/in > made/of/out; ls | sort | tr '\\n' ' ' >> made/of/out",
  "inputs": [{"file": "a", "as": "deep/er/in"}], "outputs": [{"file": "b", "as": "made/of/out"}]}]}
END
    vine 2 0 w.json
    assert_equal a "$(head -n 1 b)"
    assert_silent_about "No such"
}

test_a_task_sees_only_its_inputs() {
    echo a >a
    echo b >b
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"list": {"path": "list"}, "b": {"path": "b"}},
 "tasks": [
  {"id": "t", "command": "find . -type f -o -type l | sort > /dev/null; ls > list", "inputs": ["a"], "outputs": ["list"]},
  {"id": "u", "command": "cat b", "inputs": ["b"]}]}
END
    vine 0 0 w.json
    grep -qx a list || fail "the input is not there"
    ! grep -qx b list || fail "another file is there"
}

test_undeclared_files_are_paths() {
    echo hello >plain
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "tr a-z A-Z < plain > loud", "inputs": ["plain"], "outputs": ["loud"]}]}
END
    vine 2 0 w.json
    assert_file loud HELLO
}

test_outputs_go_into_new_directories() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "not/yet/there/x"}},
 "tasks": [{"id": "t", "command": "echo x > x", "outputs": ["x"]}]}
END
    vine 2 0 w.json
    assert_file not/yet/there/x x
}

test_an_old_output_is_replaced() {
    echo old >x
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}},
 "tasks": [{"id": "t", "command": "echo new > x", "outputs": ["x"]}]}
END
    vine 2 0 w.json
    assert_file x new
}

test_empty_files() {
    : >empty
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"empty": {"path": "empty"}, "none": {"buffer": ""}, "mid": {"temp": true}, "out": {"path": "out"}},
 "tasks": [
  {"id": "a", "command": "test -f empty -a ! -s empty && test -f none && : > mid", "inputs": ["empty", "none"], "outputs": ["mid"]},
  {"id": "b", "command": "test -f mid && cat mid > out", "inputs": ["mid"], "outputs": ["out"]}]}
END
    vine 3 0 w.json
    [[ -f out && ! -s out ]] || fail "out is not an empty file"
}

test_buffers() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"text": {"buffer": "one\ntwo ü\n"}, "bytes": {"buffer64": "AAH/AA=="}, "out": {"path": "out"}},
 "tasks": [{"id": "t", "command": "{ cat text; od -An -tx1 bytes; } > out", "inputs": ["text", "bytes"], "outputs": ["out"]}]}
END
    vine 3 0 w.json
    assert_file out $'one\ntwo ü\n 00 01 ff 00'
}

test_the_x_bit_is_kept() {
    printf '#!/bin/sh\necho ran\n' >program
    chmod 755 program
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"made": {"temp": true}, "script": {"path": "script"}, "out": {"path": "out"}},
 "tasks": [
  {"id": "make", "command": "./program > made; printf '#!/bin/sh\\necho second\\n' > script; chmod +x script", "inputs": ["program"], "outputs": ["made", "script"]},
  {"id": "use", "command": "{ cat made; ./script; } > out", "inputs": ["made", "script"], "outputs": ["out"]}]}
END
    vine 3 0 w.json
    assert_file out $'ran\nsecond'
    [[ -x script ]] || fail "the published script has lost its x-bit"
}

test_missing_input() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"absent.txt": {"path": "absent.txt"}, "x": {"path": "x"}},
 "tasks": [
  {"id": "needs", "command": "cat absent.txt", "inputs": ["absent.txt"]},
  {"id": "good", "command": "echo x > x", "outputs": ["x"]}]}
END
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ ! -e run/outcome ]] || status=$(outcome run)
    [[ $status == 1 || $status == 2 ]] || fail "status $status"
    assert_says "absent.txt"
    # Refused as a whole (2), or everything else done (1).
    [[ $status == 2 ]] || assert_file x x
}

test_unreadable_input() {
    local as_user=() status=0
    if [[ $(id -u) == 0 ]]; then # root reads everything
        need setpriv
        as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
        "${as_user[@]}" test -x "$VINE_MPI" || skip "other users cannot run $VINE_MPI"
        chmod 777 .
    fi
    echo secret >locked
    chmod 0 locked
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "cat locked", "inputs": ["locked"]}]}
END
    "${as_user[@]}" "$VINE_MPI" w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ $status == 1 || $status == 2 ]] || fail "status $status"
    assert_says "locked"
    assert_says "[Pp]ermission"
}

test_directory_where_a_file_is_declared() {
    mkdir tree
    echo x >tree/x
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"tree": {"path": "tree"}, "y": {"path": "y"}},
 "tasks": [
  {"id": "in", "command": "ls tree", "inputs": ["tree"]},
  {"id": "out", "command": "mkdir y", "outputs": ["y"]}]}
END
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ $status != 0 ]] || fail "status 0"
    assert_says "tree"
    assert_says "director"
    assert_absent y
}

test_file_where_a_directory_is_declared() {
    echo x >plain
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"plain": {"path": "plain", "directory": true}, "z": {"path": "z", "directory": true}},
 "tasks": [
  {"id": "in", "command": "ls plain", "inputs": ["plain"]},
  {"id": "out", "command": "echo > z", "outputs": ["z"]}]}
END
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ $status != 0 ]] || fail "status 0"
    assert_says "plain"
    assert_says "director"
    assert_absent z
}

directories() {
    mkdir -p "tree/sub dir/empty"
    echo 1 >"tree/sub dir/one"
    printf '#!/bin/sh\necho ran\n' >tree/tool
    chmod +x tree/tool
    ln -s "sub dir/one" tree/link
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"tree": {"path": "tree", "directory": true}, "mid": {"temp": true, "directory": true},
  "end": {"path": "results/end", "directory": true}},
 "tasks": [
  {"id": "a", "command": "cp -a tree mid && tree/tool > mid/said", "inputs": ["tree"], "outputs": ["mid"]},
  {"id": "b", "command": "cp -a mid end && echo 2 > end/two", "inputs": ["mid"], "outputs": ["end"]}]}
END
    vine "$1" 0 w.json
    assert_file results/end/said ran
    assert_file results/end/two 2
    assert_file "results/end/sub dir/one" 1
    assert_equal "sub dir/one" "$(readlink results/end/link)" "link"
    [[ -d "results/end/sub dir/empty" ]] || fail "the empty directory is not there"
    [[ -x results/end/tool ]] || fail "the x-bit is not there"
}
test_directories_embedded() {
    directories 0
}
test_directories_3_ranks() {
    directories 3
}

test_task_that_changes_its_input() {
    echo original >source
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"source": {"path": "source"}, "mid": {"temp": true}, "after1": {"path": "after1"}, "after2": {"path": "after2"}},
 "tasks": [
  {"id": "make", "command": "echo made > mid", "outputs": ["mid"]},
  {"id": "spoil", "command": "echo changed >> source; echo changed >> mid", "inputs": ["source", "mid"]},
  {"id": "read", "command": "cp source after1; cp mid after2", "inputs": ["source", "mid"],
   "outputs": ["after1", "after2"], "after": ["spoil"]}]}
END
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    [[ ! -e run/outcome ]] || status=$(outcome run)
    assert_file source original
    if [[ $status == 0 ]]; then
        assert_file after1 original
        assert_file after2 made
    else
        assert_equal 1 "$status" status
        assert_says "spoil"
        assert_says "[Cc]hanged|[Mm]odified"
        assert_absent after1
    fi
}

test_a_copy_may_be_changed() {
    echo original >source
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"source": {"path": "source"}, "mine": {"path": "mine"}, "later": {"path": "later"}},
 "tasks": [
  {"id": "change", "command": "echo more >> source; cp source mine", "inputs": [{"file": "source", "copy": true}], "outputs": ["mine"]},
  {"id": "read", "command": "cp source later", "inputs": ["source"], "outputs": ["later"], "after": ["change"]}]}
END
    vine 2 0 w.json
    assert_file source original
    assert_file mine $'original\nmore'
    assert_file later original
}

test_an_output_that_is_its_input() {
    seq 1000 >source
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"source": {"path": "source"}, "moved": {"path": "moved"}, "again": {"path": "again"}},
 "tasks": [
  {"id": "mv", "command": "mv source moved", "inputs": ["source"], "outputs": ["moved"]},
  {"id": "cp", "command": "cp source again", "inputs": ["source"], "outputs": ["again"], "after": ["mv"]}]}
END
    vine 2 0 w.json
    assert_same source moved
    assert_same source again
}

test_symbolic_link_as_output() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}},
 "tasks": [{"id": "t", "command": "ln -s /etc/passwd x", "outputs": ["x"]}]}
END
    local status=0
    launch 2 w.json --run-dir run --scratch "$work" >said 2>&1 || status=$?
    # The contents, or a clear refusal; never a link out of the tree.
    [[ ! -L x ]] || fail "a link was published"
}

test_small_disk() {
    need_root
    unshare --mount true 2>/dev/null || skip "no mount namespaces here"
    head -c 20000000 /dev/zero >big
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"big": {"path": "big"}, "full": {"temp": true}, "x": {"path": "x"}},
 "tasks": [
  {"id": "writes", "command": "head -c 20000000 /dev/zero > full", "outputs": ["full"]},
  {"id": "reads", "command": "cat big > /dev/null", "inputs": ["big"]},
  {"id": "good", "retries": 20, "command": "sleep 0.2; echo x > x", "outputs": ["x"]}]}
END
    mkdir small
    local status=0
    # shellcheck disable=SC2016
    timeout 60 unshare --mount --propagation private sh -c 'mount -t tmpfs -o size=8m none small && exec "$@"' sh \
        mpirun -n 2 "$VINE_MPI" w.json --run-dir run --scratch "$work/small" >said 2>&1 || status=$?
    [[ ! -e run/outcome ]] || status=$(outcome run)
    assert_equal 1 "$status" status
    assert_file x x
    assert_says "[Nn]o space|ENOSPC|[Dd]isk|full"
}

test_large_file_passes_through() {
    head -c 50000000 /dev/urandom >big
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"big": {"path": "big"}, "mid": {"temp": true}, "copy": {"path": "copy"}},
 "tasks": [
  {"id": "a", "argv": ["cp", "big", "mid"], "inputs": ["big"], "outputs": ["mid"]},
  {"id": "b", "argv": ["cp", "mid", "copy"], "inputs": ["mid"], "outputs": ["copy"]}]}
END
    vine 3 0 w.json
    assert_same big copy
    rm big copy
}

test_long_chain_and_wide_fan() {
    python3 - >w.json <<'END'
import json
files, tasks = {"start": {"buffer": "0\n"}, "end": {"path": "end"}}, []
last = "start"
for i in range(50):
    files[f"c{i}"] = {"temp": True}
    tasks.append({"id": f"chain{i}", "command": "n=$(cat in); echo $((n + 1)) > out",
                  "inputs": [{"file": last, "as": "in"}], "outputs": [{"file": f"c{i}", "as": "out"}]})
    last = f"c{i}"
for i in range(100):
    files[f"f{i}"] = {"temp": True}
    tasks.append({"id": f"fan{i}", "command": f"n=$(cat in); echo $((n + {i})) > out",
                  "inputs": [{"file": last, "as": "in"}], "outputs": [{"file": f"f{i}", "as": "out"}]})
tasks.append({"id": "sum", "command": "cat f* | awk '{s += $1} END {print s}' > end",
              "inputs": [f"f{i}" for i in range(100)], "outputs": ["end"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine 5 0 w.json
    assert_file end $((50 * 100 + 99 * 100 / 2))
}
