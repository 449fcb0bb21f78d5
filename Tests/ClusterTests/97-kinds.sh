# Kinds of files: downloads, what is made of other files, archives.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

serve() { # DIRECTORY: serves it over HTTP; sets url; requests are in ./requests
    need python3 curl
    cat >server.py <<'END'
import functools, http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/data")
            self.end_headers()
        elif self.path == "/torn":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 500)
        else:
            super().do_GET()
    def log_message(self, format, *rest):
        with open("requests", "a") as log:
            log.write(self.command + " " + self.path + "\n")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
with open("port.part", "w") as file:
    file.write(str(server.server_port))
os.rename("port.part", "port")
server.serve_forever()
END
    rm -f port
    python3 server.py "$1" &
    server=$!
    trap 'kill "$server" 2>/dev/null || true' EXIT
    wait_for 10 test -s port
    url="http://127.0.0.1:$(<port)"
}

# ---- url

downloads() { # HOW
    mkdir -p web
    echo hello >web/data
    serve web
    cat >w.json <<END
{"schema": "vine-workflow/1",
 "files": {"data": {"url": "$url/data", "sha256": "$(sha256sum <web/data | cut -d' ' -f1)"},
  "moved": {"url": "$url/moved"}, "local": {"url": "file://$PWD/web/data"},
  "a": {"path": "a"}, "b": {"path": "b"}, "c": {"path": "c"}},
 "tasks": [
  {"id": "a", "command": "cat data moved local > a", "inputs": ["data", "moved", "local"], "outputs": ["a"]},
  {"id": "b", "command": "cat data > b", "inputs": ["data"], "outputs": ["b"]},
  {"id": "c", "command": "cat data > c", "inputs": ["data"], "outputs": ["c"]}]}
END
    vine "$1" 0 w.json
    assert_file a $'hello\nhello\nhello'
    assert_file b hello
    assert_file c hello
    # Once by its own name, once behind the redirect.
    assert_equal 2 "$(grep -c '^GET /data' requests)" "downloads of data"
}
test_url_embedded() {
    downloads 0
}
test_url_4_ranks() {
    downloads 4
}

refused_download() { # URL SHA256 PATTERN...
    local pattern
    cat >w.json <<END
{"schema": "vine-workflow/1", "files": {"data": {"url": "$1" $2}, "x": {"path": "x"}, "y": {"path": "y"}},
 "tasks": [{"id": "t", "command": "cat data > x", "inputs": ["data"], "outputs": ["x"]},
  {"id": "u", "command": "cat data", "inputs": ["data"]},
  {"id": "other", "command": "echo y > y", "outputs": ["y"]}]}
END
    vine 2 1 w.json
    shift 2
    for pattern; do assert_says "$pattern"; done
    assert_absent x
    assert_file y y
}
test_url_with_another_digest() {
    mkdir web
    echo hello >web/data
    serve web
    refused_download "$url/data" ", \"sha256\": \"$(printf '%064d' 1)\"" "$(printf '%064d' 1)" \
        "$(sha256sum <web/data | cut -d' ' -f1)" "task t failed"
    assert_equal 1 "$(grep -c '^GET /data' requests)" "downloads"
}
test_url_that_is_not_there() {
    mkdir web
    serve web
    refused_download "$url/nothing" "" "404" "nothing"
}
test_url_that_ends_early() {
    mkdir web
    serve web
    refused_download "$url/torn" "" "before all was there"
}
test_url_without_a_server() {
    need curl
    refused_download "http://127.0.0.1:1/data" "" "no connection" "no route"
}
test_url_of_an_unknown_server() {
    need curl
    refused_download "http://nobody.invalid/data" "" "could not be resolved" "no route"
}
test_url_without_curl() {
    need python3
    # A PATH with sh and cat, and no curl.
    mkdir bin
    ln -s "$(command -v sh)" "$(command -v cat)" bin/
    cat >w.json <<END
{"schema": "vine-workflow/1", "files": {"data": {"url": "file:///etc/passwd"}},
 "tasks": [{"id": "t", "command": "cat data", "inputs": ["data"]}]}
END
    PATH=$PWD/bin "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" >said 2>&1 || true
    assert_equal 1 "$(outcome run)" status
    assert_says "curl is not installed"
}

# ---- mini_task

test_mini_task_is_made_once_on_a_node() {
    mkdir ran
    echo 5 >seed
    cat >w.json <<END
{"schema": "vine-workflow/1",
 "files": {"seed": {"path": "seed"}, "out": {"path": "out"},
  "table": {"mini_task": {"command": "echo x >> $work/ran/table; test \$FACTOR = 3; seq \$(cat n) > t", "output": "t",
   "inputs": [{"file": "seed", "as": "n"}], "env": {"FACTOR": "3"}}},
  "sum": {"mini_task": {"argv": ["sh", "-c", "echo x >> $work/ran/sum; awk '{s += \$1} END {print s}' table > sum"],
   "output": "sum", "inputs": ["table"]}}},
 "tasks": [
  {"id": "a", "command": "cat table", "inputs": ["table"]},
  {"id": "b", "command": "cat table", "inputs": ["table"]},
  {"id": "c", "command": "cat sum > out", "inputs": ["sum"], "outputs": ["out"]}]}
END
    vine 4 0 w.json
    assert_file out 15
    assert_file ran/table x
    assert_file ran/sum x
    # Nothing is made again, nor is the changed seed overlooked.
    vine 4 0 w.json
    assert_file ran/table x
    echo 6 >seed
    vine 4 0 w.json
    assert_file out 21
    # Nor a change of the transformation.
    sed -i 's/s += /s += 2 */' w.json
    vine 4 0 w.json
    assert_file out 42
}
test_mini_task_of_what_a_task_makes() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"raw": {"temp": true}, "out": {"path": "out"},
  "sorted": {"mini_task": {"command": "sort raw > s", "output": "s", "inputs": ["raw"]}}},
 "tasks": [
  {"id": "use", "command": "head -n 1 sorted > out", "inputs": ["sorted"], "outputs": ["out"]},
  {"id": "make", "command": "seq 9 -1 1 > raw", "outputs": ["raw"]}]}
END
    vine 3 0 w.json
    assert_file out 1
}
test_mini_task_that_fails() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"bad": {"mini_task": {"command": "echo the reason >&2; exit 7", "output": "t"}},
  "none": {"mini_task": {"command": "true", "output": "t"}}, "y": {"path": "y"},
  "slow": {"mini_task": {"command": "sleep 60", "output": "t", "timeout": 0.5}}},
 "tasks": [
  {"id": "a", "command": "cat bad", "inputs": ["bad"]},
  {"id": "b", "command": "cat none", "inputs": ["none"]},
  {"id": "c", "command": "cat slow", "inputs": ["slow"]},
  {"id": "y", "command": "echo y > y", "outputs": ["y"]}]}
END
    vine 2 1 w.json
    assert_says "cannot make bad by its mini_task: exit status 7"
    assert_says "the reason"
    assert_says "cannot make none by its mini_task: missing output t"
    assert_says "cannot make slow by its mini_task: over its time limit"
    assert_says "task a failed: input bad"
    assert_file y y
    none_left "sleep 60" || fail "the mini_task outlives the run"
}
test_hosts_mini_task_runs_once_on_a_node_or_is_moved() {
    up_hosts 2
    mkdir ran
    head -c 5000000 /dev/urandom >big
    python3 - >w.json <<END
import json
files = {"big": {"path": "big"},
    # Quick and large: made on each node. Slow and small: made once.
    "copy": {"mini_task": {"command": "hostname >> $work/ran/copy; cp big t", "inputs": ["big"], "output": "t"}},
    "sum": {"mini_task": {"command": "hostname >> $work/ran/sum; sleep 1; sha256sum < big > t", "inputs": ["big"], "output": "t"}}}
tasks = []
for i in range(12):
    files[f"o{i}"] = {"path": f"o{i}"}
    tasks.append({"id": f"t{i}", "command": f"sleep 0.3; sha256sum < copy > a; cmp a sum && hostname > o{i}",
                  "inputs": ["copy", "sum"], "outputs": [f"o{i}"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine hosts:2:1 0 w.json
    assert_equal 2 "$(cat o? o1? | sort -u | wc -l)" "hosts that ran tasks"
    assert_equal 1 "$(wc -l <ran/sum)" "runs of the slow one"
    assert_equal "$(sort -u ran/copy)" "$(sort ran/copy)" "hosts that made the quick one"
}

# ---- untar

pack_tree() {
    mkdir -p "tree/sub dir/empty"
    echo 1 >"tree/sub dir/one"
    printf 'line\n' >$'tree/new\nline'
    printf '#!/bin/sh\necho ran\n' >tree/tool
    chmod 755 tree/tool
    ln -s "sub dir/one" tree/link
    ln tree/tool tree/hard
    # Longer than a header has room for.
    local deep
    deep=tree/$(printf 'd%.0s' {1..60})/$(printf 'e%.0s' {1..60})
    mkdir -p "$deep"
    echo deep >"$deep/leaf"
}
test_untar_of_all_kinds() {
    need tar gzip bzip2 xz zstd
    pack_tree
    tar -cf a.tar tree
    tar --format=pax -cf b.tar tree
    gzip -k a.tar
    bzip2 -k a.tar
    xz -k a.tar
    zstd -q a.tar
    cp a.tar.gz a.tgz
    python3 - >w.json <<'END'
import json
files, tasks = {}, []
for i, name in enumerate(["a.tar", "b.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar.zst", "a.tgz"]):
    files[f"t{i}"] = {"untar": name}
    files[f"o{i}"] = {"path": f"o{i}", "directory": True}
    tasks.append({"id": f"t{i}", "command": f"t{i}/tree/tool > said; cp -a t{i}/tree o{i}; mv said o{i}/said",
                  "inputs": [f"t{i}"], "outputs": [f"o{i}"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine 3 0 w.json
    local i
    for i in 0 1 2 3 4 5 6; do
        assert_file "o$i/said" ran
        rm "o$i/said"
        diff -r tree "o$i" || fail "another tree from archive $i"
        assert_equal "sub dir/one" "$(readlink "o$i/link")" link
        [[ -x o$i/tool && -d "o$i/sub dir/empty" ]] || fail "modes or empty directories of $i"
    done
}

malicious() { # WHAT PATTERN: an archive with such a member is refused, by name
    need python3
    python3 - "$1" >bad.tar <<'END'
import io, sys, tarfile
what = sys.argv[1]
archive = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
def add(name, type=tarfile.REGTYPE, link="", data=b"x"):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = type, link
    member.size = len(data) if type == tarfile.REGTYPE else 0
    archive.addfile(member, io.BytesIO(data))
add("good")
if what == "absolute": add("/tmp/vine-evil")
if what == "parent": add("a/../../vine-evil")
if what == "symlink": add("evil", tarfile.SYMTYPE, "/etc")
if what == "relative": add("a/evil", tarfile.SYMTYPE, "../../vine-evil")
if what == "chain":
    add("d", tarfile.DIRTYPE)
    add("up", tarfile.SYMTYPE, "d/..")
    add("evil", tarfile.SYMTYPE, "up/../..")
if what == "through":
    add("evil", tarfile.SYMTYPE, "..")
    add("evil/file")
if what == "hardlink": add("evil", tarfile.LNKTYPE, "/etc/passwd")
if what == "hardlink2": add("evil", tarfile.LNKTYPE, "../../../secret")
if what == "device": add("evil", tarfile.CHRTYPE)
if what == "fifo": add("evil", tarfile.FIFOTYPE)
archive.close()
END
    echo secret >secret
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"tree": {"untar": "bad.tar"}, "x": {"path": "x", "directory": true}},
 "tasks": [{"id": "t", "command": "cp -a tree x", "inputs": ["tree"], "outputs": ["x"]}]}
END
    vine 0 1 w.json --run-dir "run-$1"
    assert_says "bad.tar"
    assert_says "its member [^ ]*evil.* $2"
    assert_absent x
    assert_absent /tmp/vine-evil
    [[ -z $(find "$work" -name 'vine-evil*') ]] || fail "something was written outside"
}
test_untar_refuses_members_that_lead_out() {
    malicious absolute "absolute"
    malicious parent '"\.\."'
    malicious symlink "leads out"
    malicious relative "leads out"
    malicious chain "leads out"
    malicious through "behind a symbolic link"
    malicious hardlink "absolute"
    malicious hardlink2 '"\.\."'
    malicious device "is a device"
    malicious fifo "is a pipe"
}
test_untar_of_damaged_archives() {
    need tar gzip
    pack_tree
    tar -cf whole.tar tree
    head -c 2000 whole.tar >cut.tar
    gzip -c whole.tar | head -c 200 >cut.tar.gz
    seq 1000 >text.tar
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"a": {"untar": "cut.tar"}, "b": {"untar": "cut.tar.gz"}, "c": {"untar": "text.tar"}},
 "tasks": [{"id": "a", "command": "true", "inputs": ["a"]}, {"id": "b", "command": "true", "inputs": ["b"]},
  {"id": "c", "command": "true", "inputs": ["c"]}]}
END
    vine 2 1 w.json
    assert_says "cut.tar: it ends within|archive: it ends within"
    assert_says "not a tar archive"
    assert_says "3 failed"
}
test_hosts_untar_of_a_download() {
    need tar gzip curl
    up_hosts 2
    pack_tree
    tar -czf tree.tgz tree
    python3 - >w.json <<END
import json
files = {"archive": {"url": "file://$work/tree.tgz"}, "tree": {"untar": "archive", "cache": "worker"}}
tasks = []
for i in range(8):
    files[f"o{i}"] = {"path": f"o{i}"}
    tasks.append({"id": f"t{i}", "command": f"sleep 0.3; tree/tree/tool; {{ cat tree/tree/link; hostname; }} > o{i}",
                  "inputs": ["tree"], "outputs": [f"o{i}"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine hosts:2:2 0 w.json
    assert_equal 8 "$(cat o? | grep -cx 1)" "tasks that saw the tree"
    assert_equal 2 "$(cat o? | grep -vx 1 | sort -u | wc -l)" "hosts"
}

# ---- forever

kept() { # HOW [ARGUMENT...]: a run of its own of w.json, on the caches of the runs before
    local how=$1
    shift
    rm -rf run ran/* out
    vine "$how" 0 w.json --scratch "$work/node" "$@"
}
shared_bytes() { sed -n 's/.*"sharedFileSystemToNode" *: *\([0-9]*\).*/\1/p' run/summary.json; }
entry() { # KIND: the data of the one kept file of that kind
    local content
    content=$(grep -l "\"kind\" : \"$1\"" node/vine-mpi-*/forever/keys/* | head -n 1 |
        xargs sed -n 's/.*"content" : "\(.*\)".*/\1/p')
    echo node/vine-mpi-*/forever/data/"$content"
}

forever_workflow() {
    mkdir -p ran
    seq 100000 >source
    seq 5 >small
    tar -cf tree.tar small
    cat >w.json <<END
{"schema": "vine-workflow/1",
 "files": {"source": {"path": "source", "cache": "forever"}, "tree": {"untar": "tree.tar", "cache": "forever"},
  "made": {"mini_task": {"command": "echo x >> $work/ran/made; wc -l < source > m", "inputs": ["source"], "output": "m"},
   "cache": "forever"}, "text": {"buffer": "hello", "cache": "forever"}, "out": {"path": "out"}},
 "tasks": [{"id": "t", "command": "cat made text tree/small > out; tail -n 1 source >> out",
  "inputs": ["source", "tree", "made", "text"], "outputs": ["out"]}]}
END
    expected=$'100000\nhello1\n2\n3\n4\n5\n100000'
}

forever_across_runs() { # HOW
    forever_workflow
    kept "$1"
    assert_file out "$expected"
    assert_file ran/made x
    # Again: nothing is read but what is unpacked from, nothing is made.
    kept "$1"
    assert_file out "$expected"
    assert_absent ran/made
    assert_equal 0 "$(shared_bytes)" "bytes read"
    vine 0 0 cache ls --scratch "$work/node"
    assert_says "^[0-9a-f]{12}.path.588895.*run.*/source"
    assert_says "untar.*tree"
    assert_says "^4 files"
    assert_silent_about "left over|in use"
    # A changed source is another one, and so is what is made of it.
    seq 7 >source
    kept "$1"
    assert_file out $'7\nhello1\n2\n3\n4\n5\n7'
    assert_file ran/made x
    # One that is the same again is known by its content, but has another time.
    kept "$1"
    assert_absent ran/made
}
test_forever_embedded() {
    forever_across_runs 0
}
test_forever_3_ranks() {
    forever_across_runs 3
}
test_forever_with_removed_and_damaged_replicas() {
    forever_workflow
    kept 2
    # A flipped bit of the same size and time.
    local file
    file=$(entry path)
    cp -p "$file" before
    printf 'X' | dd of="$file" bs=1 seek=1000 conv=notrunc status=none
    touch -r before "$file"
    vine_exits 0 1 cache verify --scratch "$work/node"
    assert_says "damaged:.*/source"
    assert_says "3 of 4 files are as they were"
    kept 2
    assert_says "damaged; it is brought anew"
    assert_file out "$expected"
    assert_equal 588895 "$(shared_bytes)" "bytes read"
    # Damaged in a tree.
    echo 9 >>"$(entry untar)/small"
    kept 2
    assert_says "damaged; it is brought anew"
    assert_file out "$expected"
    # Gone.
    rm -rf "$(entry mini_task)"
    kept 2
    assert_file out "$expected"
    assert_file ran/made x
    vine 0 0 cache verify --scratch "$work/node"
    # Damaged once more, and removed.
    echo 9 >>"$(entry mini_task)"
    vine_exits 0 1 cache verify --remove --scratch "$work/node"
    vine 0 0 cache verify --scratch "$work/node"
    assert_says "3 of 3"
    # A manifest of rubbish is no entry.
    for file in node/vine-mpi-*/forever/keys/*; do echo '{' >"$file"; done
    kept 2
    assert_file out "$expected"
}
test_forever_download_asks_the_server() {
    mkdir -p web ran
    echo one >web/data
    serve web
    cat >w.json <<END
{"schema": "vine-workflow/1", "files": {"data": {"url": "$url/data", "cache": "forever"}, "out": {"path": "out"}},
 "tasks": [{"id": "t", "command": "cp data out", "inputs": ["data"], "outputs": ["out"]}]}
END
    kept 0
    assert_file out one
    kept 0
    assert_file out one
    assert_equal 2 "$(wc -l <requests)" "requests"
    # Of another second, so that the server sees that it is newer.
    echo two >web/data
    touch -d "+5 seconds" web/data
    kept 0
    assert_file out two
    # With a digest nobody is asked.
    sed -i "s/\"cache\"/\"sha256\": \"$(sha256sum <web/data | cut -d' ' -f1)\", &/" w.json
    kept 0
    assert_file out two
    kill "$server"
    kept 0
    assert_file out two
}
test_hosts_forever() {
    need tar
    up_hosts 2
    mkdir -p ran
    head -c 3000000 /dev/urandom >source
    python3 - >w.json <<END
import json
files = {"source": {"path": "source", "cache": "forever"}}
tasks = []
for i in range(8):
    files[f"o{i}"] = {"path": f"o{i}"}
    tasks.append({"id": f"t{i}", "command": f"sleep 0.3; {{ sha256sum < source; hostname; }} > o{i}",
                  "inputs": ["source"], "outputs": [f"o{i}"]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
    vine hosts:2:2 0 w.json
    assert_equal 3000000 "$(shared_bytes)" "bytes read by the first run"
    rm -rf run o?
    vine hosts:2:2 0 w.json
    assert_equal 0 "$(shared_bytes)" "bytes read by the second run"
    assert_equal 0 "$(sed -n 's/.*"nodeToNode" *: *\([0-9]*\).*/\1/p' run/summary.json)" "bytes between nodes"
    assert_equal "$(sha256sum <source)" "$(cat o? | grep -- - | sort -u)" "what tasks saw"
}
test_forever_two_runs_at_once() {
    forever_workflow
    sed -i 's/"command": "cat made/"command": "sleep 0.5; cat made/' w.json
    mkdir one two
    local process status=0
    "$VINE_MPI" w.json --run-dir one/run --scratch "$work/node" >one/said 2>&1 &
    process=$!
    sed "s|\"path\": \"out\"|\"path\": \"two/out\"|" w.json >w2.json
    "$VINE_MPI" w2.json --run-dir two/run --scratch "$work/node" >two/said 2>&1 || status=$?
    wait "$process"
    assert_equal 0 "$status" "status of the second"
    assert_file out "$expected"
    assert_file two/out "$expected"
    # A third uses what is kept while everything is removed from the cache.
    "$VINE_MPI" w.json --fresh --run-dir three --scratch "$work/node" >said 2>&1 &
    process=$!
    sleep 0.2
    "$VINE_MPI" cache gc --older-than 0 --max-size 0 --scratch "$work/node" >removed 2>&1
    wait "$process"
    assert_file out "$expected"
}
has_sandboxes() { compgen -G "node/vine-mpi-*/*/sandboxes-0" >removed; }
test_cache_gc() {
    forever_workflow
    kept 0
    head -c 2900000 /dev/urandom >source
    sed -i 's/tail -n 1 source/wc -c < source/' w.json
    kept 0
    echo mine >node/stranger
    # The oldest go until 3 MB are left: the first source and what was made of it.
    touch -d "-3 days" "$(grep -l 588895 node/vine-mpi-*/forever/keys/*)"
    vine 0 0 cache gc --max-size 3 --scratch "$work/node"
    assert_says "^removed: .*588895"
    vine 0 0 cache ls --scratch "$work/node"
    assert_silent_about 588895
    assert_says "2900000"
    vine 0 0 cache gc --older-than 1 --scratch "$work/node"
    assert_silent_about "^removed"
    # What a dead run has left.
    cat >long.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "sleep 5"}]}
END
    "$VINE_MPI" long.json --run-dir long --scratch "$work/node" >said 2>&1 &
    local process=$!
    wait_for 10 has_sandboxes
    vine 0 0 cache gc --scratch "$work/node"
    assert_silent_about "dead run"
    vine 0 0 cache ls --scratch "$work/node"
    assert_says "^in use"
    kill -9 "$process"
    wait "$process" 2>/dev/null || true
    mkdir -p "node/vine-mpi-$(id -u)/left/cache"
    touch "node/vine-mpi-$(id -u)/left/lock"
    vine 0 0 cache gc --older-than 0 --max-size 0 --scratch "$work/node"
    assert_says "dead run had left.*/left"
    assert_says " 0 files kept"
    assert_equal "" "$(find node/vine-mpi-*/forever/* -mindepth 1)" "what is left"
    assert_file node/stranger mine
    vine 0 0 cache ls --scratch "$work/elsewhere"
    assert_says "nothing is kept"
}

# ---- pack

pack_workflow() { # COUNT: that many tasks put two small files each into results.tar
    python3 - "$1" >w.json <<END
import json, sys
files = {"results.tar": {"path": "out/results.tar", "pack": True}, "sum": {"path": "sum"}}
tasks = []
for i in range(int(sys.argv[1])):
    tasks.append({"id": f"t{i}", "command": f"echo x >> $work/ran/t{i}; echo {i} > value; echo log {i} > log; chmod 755 log",
                  "outputs": [{"file": "results.tar", "as": "value"},
                              {"file": "results.tar", "as": "log", "member": f"logs/{i}.txt"}]})
tasks.append({"id": "plain", "command": "echo plain > plain", "outputs": ["results.tar"]})
tasks.append({"id": "sum", "command": "cat a b > sum", "outputs": ["sum"],
              "inputs": [{"file": "results.tar", "member": "t3/value", "as": "a"},
                         {"file": "results.tar", "member": "logs/4.txt", "as": "b"}]})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
}
packs() { # HOW
    need tar python3
    mkdir ran
    pack_workflow 60
    vine "$1" 0 w.json
    assert_file sum $'3\nlog 4'
    tar -tf out/results.tar >members
    assert_equal 121 "$(wc -l <members)" members
    assert_equal "t0/value logs/0.txt t1/value" "$(head -n 3 members | tr '\n' ' ' | sed 's/ $//')" "first members"
    assert_equal 121 "$(sort -u members | wc -l)" "different members"
    mkdir all
    tar -xf out/results.tar -C all
    assert_file all/plain plain
    assert_file all/t59/value 59
    assert_file all/logs/17.txt "log 17"
    [[ -x all/logs/17.txt && ! -x all/t59/value ]] || fail modes
    # The archive is the only thing that came into being there.
    assert_equal results.tar "$(ls -A out)" "what is in out"
}
test_pack_embedded() {
    packs 0
}
test_pack_4_ranks() {
    packs 4
}
test_hosts_pack() {
    up_hosts 2
    packs hosts:2:2
}
test_pack_after_crashes() {
    need tar python3
    mkdir ran
    pack_workflow 40
    local point whole status
    vine 0 0 w.json --run-dir whole --scratch "$work/scratch"
    whole=$(sha256sum <out/results.tar)
    for point in commit.output publish.before publish.after; do
        rm -rf out run sum
        status=0
        VINE_FAULT="$point:kill" timeout 60 "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" >said 2>&1 || status=$?
        [[ $status != 0 ]] || fail "$point did not happen"
        [[ ! -e out/results.tar ]] || assert_equal "$whole" "$(sha256sum <out/results.tar)" "archive after a crash"
        vine 0 0 w.json --run-dir run
        assert_equal "$whole" "$(sha256sum <out/results.tar)" "archive"
    done
    rm -rf out run sum
    "$VINE_MPI" w.json --run-dir run --scratch "$work/scratch" >said 2>&1 &
    local process=$!
    wait_for 10 test -e ran/t20
    kill -9 "$process"
    wait "$process" 2>/dev/null || true
    vine 3 0 w.json
    assert_equal "$whole" "$(sha256sum <out/results.tar)" "archive"
}
test_pack_with_a_failing_member() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"r.tar": {"path": "r.tar", "pack": true}},
 "tasks": [{"id": "good", "command": "echo 1 > good", "outputs": ["r.tar"]},
  {"id": "bad", "command": "exit 3", "outputs": ["r.tar"]}]}
END
    vine 2 1 w.json
    assert_absent r.tar
    sed -i 's/exit 3/echo 2 > bad/' w.json
    vine 2 0 w.json
    assert_equal $'good\nbad' "$(tar -tf r.tar)" members
}
test_members_of_an_archive_that_is_there() {
    need tar
    mkdir -p tree/sub
    seq 3 >tree/sub/data
    ln -s sub/data tree/link
    tar -cf a.tar -C tree sub link
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"a.tar": {"path": "a.tar", "pack": true}, "o": {"path": "o"}, "p": {"path": "p"}},
 "tasks": [{"id": "t", "command": "cat in/x dir/data > o", "outputs": ["o"], "inputs": [
   {"file": "a.tar", "member": "link", "as": "in/x"}, {"file": "a.tar", "member": "sub", "as": "dir"}]},
  {"id": "none", "command": "cat nothing > p", "outputs": ["p"], "inputs": [{"file": "a.tar", "member": "nothing"}]}]}
END
    vine 2 1 w.json
    assert_file o $'1\n2\n3\n1\n2\n3'
    assert_says "no member nothing"
    assert_absent p
}
