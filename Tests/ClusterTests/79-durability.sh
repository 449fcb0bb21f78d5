# What is durable is synced before it is relied upon. A killed process does not show that, since the
# system keeps what was written: so the order of the calls is watched, through a library that is put
# in front of the C library.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Builds ./watch.so: a line in ./calls when a sync has ended, and before a rename begins.
watch_calls() {
    command -v gcc >/dev/null || skip "no gcc"
    cat >watch.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void say(const char *call, const char *one, const char *other) {
  char line[3 * PATH_MAX];
  int saved = errno, file;
  if (strcmp(program_invocation_short_name, "vine-mpi") != 0 || !getenv("CALLS")) return;
  int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", call, one, other);
  file = open(getenv("CALLS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file >= 0 && write(file, line, length) != length) abort();
  close(file);
  errno = saved;
}
static void say_synced(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  say("sync", path, "");
}
int fsync(int descriptor) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  int result = real(descriptor);
  if (result == 0) say_synced(descriptor);
  return result;
}
int fdatasync(int descriptor) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  int result = real(descriptor);
  if (result == 0) say_synced(descriptor);
  return result;
}
int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
  say("rename", from, to);
  return real(from, to);
}
END
    gcc -shared -fPIC -O1 -o watch.so watch.c -ldl || fail "cannot build the library"
    export CALLS=$PWD/calls
}

test_syncs_come_before_what_relies_on_them() {
    watch_calls
    # The value that the failed task read is kept as an object; another output is published.
    flow <<'END'
task("make", "echo value > temp", [], ["temp"])
task("show", "cat temp > shown", ["temp"], ["shown"])
task("fail", "exit 1", ["temp"])
END
    LD_PRELOAD=$PWD/watch.so vine 0 1 w.json
    unset CALLS
    assert_file shown value
    python3 - "$PWD" <<'END' || fail "the order of the calls is wrong"
import os, sys
here = sys.argv[1]
calls = [line.rstrip("\n").split("\t") for line in open("calls")]
def synced(path, start, end=None):
    return any(c[0] == "sync" and c[1] == path for c in calls[start:end])
def journal_synced(start, end=None):
    return any(c[0] == "sync" and c[1].startswith(f"{here}/run/journal/") for c in calls[start:end])
problems, objects, published = [], 0, 0
for place, (call, one, other) in enumerate(calls):
    if call != "rename": continue
    if "/run/objects/" in other:
        objects += 1
    elif other == f"{here}/shown":
        published += 1
    else:
        continue
    if not synced(one, 0, place):
        problems.append(f"{one} is renamed before it is synced")
    if not synced(os.path.dirname(other), place):
        problems.append(f"the directory of {other} is not synced after the rename")
    if "/run/objects/" in other:
        first = next((p for p in range(place, len(calls)) if calls[p][:2] == ["sync", os.path.dirname(other)]), None)
        if first is not None and not journal_synced(first):
            problems.append(f"nothing tells durably of {other}")
    else:
        written = next((p for p in range(place) if calls[p][:2] == ["sync", one]), place)
        if not journal_synced(written, place):
            problems.append(f"{other} is published before the journal says so")
if objects != 1 or published != 1:
    problems.append(f"{objects} objects and {published} outputs were renamed, expected one each")
if not synced(f"{here}/run/journal", 0):
    problems.append("the journal's directory was never synced")
print("\n".join(problems))
sys.exit(1 if problems else 0)
END
}
