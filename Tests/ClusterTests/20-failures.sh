# Tasks that fail, fail again, never end, or do not make what they promise.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

failing_task() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"never": {"temp": true}, "good.txt": {"path": "good.txt"}},
 "tasks": [
  {"id": "bad", "command": "echo the reason is here >&2; exit 7", "outputs": ["never"]},
  {"id": "needs-bad", "command": "cat never", "inputs": ["never"]},
  {"id": "good", "command": "sleep 0.3; echo fine > good.txt", "outputs": ["good.txt"]}]}
END
    vine "$1" 1 w.json
    assert_file good.txt fine
    assert_says "bad"
    assert_says "(status|code|exit)[^0-9]*7"
    assert_says "the reason is here"
}
test_failing_task_embedded() {
    failing_task 0
}
test_failing_task_4_ranks() {
    failing_task 4
}

test_killed_by_a_signal() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "dies", "command": "kill -SEGV $$"}]}
END
    vine 2 1 w.json
    assert_says "SIGSEGV|signal[^0-9]*11|[Ss]egmentation"
}

missing_output() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1",
 "files": {"x": {"path": "x"}, "y": {"path": "y"}},
 "tasks": [{"id": "forgets", "command": "echo x > x", "outputs": ["x", "y"]}]}
END
    vine "$1" 1 w.json
    assert_says "forgets"
    assert_says "\by\b"
    assert_absent y
    assert_absent x
}
test_missing_output_embedded() {
    missing_output 0
}
test_missing_output_3_ranks() {
    missing_output 3
}

test_retries() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "defaults": {"retries": 2},
 "files": {"third": {"path": "third"}},
 "tasks": [
  {"id": "third-time", "command": "echo \$VINE_ATTEMPT >> $work/tries; test \$(wc -l < $work/tries) = 3 && echo ok > third", "outputs": ["third"]},
  {"id": "once", "command": "echo x >> $work/once; false", "retries": 0},
  {"id": "never", "command": "echo x >> $work/never; false"}]}
END
    vine 3 1 w.json
    assert_file third ok
    assert_equal 3 "$(wc -l <tries)" "tries"
    assert_equal 3 "$(sort -u tries | wc -l)" "different VINE_ATTEMPT"
    assert_equal 1 "$(wc -l <once)" "tries of once"
    assert_equal 3 "$(wc -l <never)" "tries of never"
}

test_outputs_of_failed_attempts_do_not_appear() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}},
 "tasks": [{"id": "half", "command": "echo half > x; exit 1", "outputs": ["x"], "retries": 1}]}
END
    vine 2 1 w.json
    assert_absent x
}

test_timeout_ends_the_task_and_its_children() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "slow", "timeout": 1, "command": "sh -c 'sleep 611 & sleep 612'"},
  {"id": "away", "timeout": 1, "command": "setsid sleep 613 & sleep 614"},
  {"id": "fine", "timeout": 60, "command": "true"}]}
END
    local begin=$SECONDS
    vine 3 1 w.json
    ((SECONDS - begin < 30)) || fail "took $((SECONDS - begin)) s"
    assert_says "slow"
    assert_says "[Tt]ime"
    wait_for 3 none_left "sleep 61"
}

test_task_that_ignores_sigterm() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "deaf", "timeout": 1, "command": "trap '' TERM; while :; do sleep 0.1; done"}]}
END
    local begin=$SECONDS
    vine 2 1 w.json
    ((SECONDS - begin < 25)) || fail "took $((SECONDS - begin)) s"
}

daemons() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}}, "tasks": [
  {"id": "forks", "command": "sleep 621 & echo x > x", "outputs": ["x"]},
  {"id": "daemon", "command": "setsid sh -c 'sleep 622 & sleep 623' > /dev/null 2>&1 < /dev/null & true"}]}
END
    local begin=$SECONDS
    vine "$1" 0 w.json
    assert_file x x
    ((SECONDS - begin < 30)) || fail "took $((SECONDS - begin)) s"
    wait_for 3 none_left "sleep 62"
}
test_daemons_embedded() {
    daemons 0
}
test_daemons_3_ranks() {
    daemons 3
}

test_output_of_one_task_is_nobody_elses() {
    # One after the other, so that each may get the pipes of the one before.
    need python3
    cat >make.py <<'END'
import json
def python(text): return ["python3", "-c", "import fcntl, os; " + text]
tasks = [("first", {"command": "ls /proc/$PPID/fd | wc -l"}),
         ("flags", {"argv": python("fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY | os.O_NONBLOCK)")}),
         ("waits", {"argv": python("print(fcntl.fcntl(1, fcntl.F_GETFL) & os.O_NONBLOCK)")}),
         ("locks", {"command": "chmod 444 /proc/self/fd/1"}),
         ("opens", {"command": "test $(stat -L -c %a /proc/self/fd/1) = 600 && echo open"}),
         ("leaves", {"command": "setsid sh -c 'while :; do echo leak; done' & sleep 0.1"})]
tasks += [(f"t{i}", {"command": f"echo {i}; echo e{i} >&2"}) for i in range(60)]
tasks += [("last", {"command": "ls /proc/$PPID/fd | wc -l"})]
for before, (name, fields) in zip([None] + tasks, tasks):
    fields |= {"id": name} | ({"after": [before[0]]} if before else {})
json.dump({"schema": "vine-workflow/1", "tasks": [fields for _, fields in tasks]}, open("w.json", "w"))
END
    python3 make.py
    local i
    for how in 0 2; do
        vine "$how" 0 w.json --run-dir "run-$how"
        said_by() { "$VINE_MPI" log "run-$how" "$1" 2>&1 | sed -n '/^[0-9a-z]*$/p'; }
        assert_equal 0 "$(said_by waits)"
        assert_equal open "$(said_by opens)"
        for i in 0 1 2 30 59; do assert_equal "$i e$i" "$(said_by "t$i" | sort | xargs)"; done
        (($(said_by last) <= $(said_by first) + 8)) || fail "$(said_by first) descriptors became $(said_by last)"
    done
}

test_detached_families_end_with_their_task() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "leaves", "command": "setsid sh -c 'sleep 641 & sleep 642; true' & sleep 0.3"}]}
END
    for how in 0 3; do
        vine "$how" 0 w.json --run-dir "run-$how"
        for number in 641 642; do wait_for 3 none_left "sleep $number"; done
    done
}

test_an_orphan_without_mark_belongs_to_the_living() {
    # Another task's end must not cost this one the process that it waits for.
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"o": {"path": "o"}}, "tasks": [
  {"id": "waits", "outputs": ["o"],
   "command": "( env -i /bin/sh -c 'sleep 1; echo ok > o' & ) ; sleep 2"},
  {"id": "short", "command": "sleep 0.4"}]}
END
    vine 0 0 w.json
    assert_file o ok
}

test_timeout_reaches_a_process_that_left_its_group() {
    command -v python3 >/dev/null || skip "no python3"
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "away", "timeout": 1, "argv":
  ["python3", "-c", "import os,time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(643)"]}]}
END
    vine 0 1 w.json
    assert_says "time limit"
}

test_many_retries() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "never", "argv": ["false"], "retries": 300}]}
END
    vine 0 1 w.json
}

test_digests_that_cannot_be_written() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "argv": ["true"]}]}
END
    vine 0 2 w.json --digests no/such/directory/d
    assert_says "no/such/directory/d"
}

test_tasks_inherit_no_descriptors() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"o": {"path": "o"}}, "tasks": [
  {"id": "t", "command": "exec ls /proc/self/fd > o", "outputs": ["o"]}]}
END
    for how in 0 3; do
        vine "$how" 0 w.json --run-dir "run-$how"
        # The fourth is the directory that ls reads.
        assert_equal "0 1 2 3" "$(paste -sd " " o)" descriptors
    done
}

test_command_not_found() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}}, "tasks": [
  {"id": "absent", "argv": ["no-such-program-anywhere"]},
  {"id": "directory", "argv": ["/tmp"]},
  {"id": "good", "command": "echo x > x", "outputs": ["x"]}]}
END
    vine 3 1 w.json
    assert_file x x
    assert_says "no-such-program-anywhere"
    assert_says "absent"
    assert_says "directory"
    assert_says "[Nn]ot found|[Nn]o such file"
}

test_on_failure_stop() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "defaults": {"cores": $cores}, "policy": {"on_failure": "stop", "order": "file"},
 "tasks": [{"id": "bad", "command": "false", "priority": 9}
$(for i in {1..20}; do printf ',{"id": "t%d", "command": "echo %d >> %s/ran; sleep 0.2"}' "$i" "$i" "$work"; done)
]}
END
    vine 3 1 w.json
    [[ ! -e ran ]] || (($(wc -l <ran) <= 2)) || fail "$(wc -l <ran) tasks ran after the failure"
}

test_on_failure_continue_is_the_default() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "tasks": [{"id": "bad", "command": "false", "priority": 9}
$(for i in {1..10}; do printf ',{"id": "t%d", "command": "echo %d >> %s/ran"}' "$i" "$i" "$work"; done)
]}
END
    vine 3 1 w.json
    assert_equal 10 "$(wc -l <ran)" "tasks run"
}

test_max_failures() {
    cat >w.json <<END
{"schema": "vine-workflow/1", "defaults": {"cores": $cores}, "policy": {"max_failures": 3, "order": "file"},
 "tasks": [{"id": "t0", "command": "echo 0 >> $work/ran; exit 1"}
$(for i in {1..30}; do printf ',{"id": "t%d", "command": "echo %d >> %s/ran; exit 1"}' "$i" "$i" "$work"; done)
]}
END
    vine 3 1 w.json
    (($(wc -l <ran) >= 3 && $(wc -l <ran) <= 6)) || fail "$(wc -l <ran) tasks ran"
}

more_cores() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}, "y": {"temp": true}}, "tasks": [
  {"id": "giant", "cores": 60000, "command": "echo > y", "outputs": ["y"]},
  {"id": "fat", "memory": 1000000000, "command": "true"},
  {"id": "after-giant", "inputs": ["y"], "command": "true"},
  {"id": "good", "command": "sleep 1; echo x > x", "outputs": ["x"]}]}
END
    vine "$1" 1 w.json
    assert_file x x
    assert_says "giant"
    assert_says "60000"
    assert_says "fat"
}
test_more_cores_embedded() {
    more_cores 0
}
test_more_cores_4_ranks() {
    more_cores 4
}

test_a_gigabyte_of_stdout() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "loud", "command": "echo THE-HEAD; head -c 1000000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo THE-TAIL"}]}
END
    vine 2 0 w.json
    (($(du -sm run | cut -f1) < 100)) || fail "the run directory has $(du -sm run | cut -f1) MB"
    "$VINE_MPI" log run loud >log.txt 2>&1
    grep -q THE-HEAD log.txt || fail "no head"
    grep -q THE-TAIL log.txt || fail "no tail"
    grep -qE 'dropped|left out|omitted|truncated' log.txt || fail "no line about what was dropped"
    rm log.txt
}

test_output_that_is_not_text() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [
  {"id": "binary", "command": "head -c 3000 /dev/urandom; head -c 3000 /dev/urandom >&2; exit 3"}]}
END
    vine 2 1 w.json
    assert_says "binary"
}
