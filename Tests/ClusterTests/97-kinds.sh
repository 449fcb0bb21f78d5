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
