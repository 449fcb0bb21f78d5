# Sessions that end before their work does, because the job's time is over.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# One intermediate that cannot be made again equal, forty tasks that publish it, and one task that
# no session has time for.
walltime_workflow() { # [with-long]
    python3 - "$PWD" "${1:-}" >w.json <<'END'
import json, sys
work, long = sys.argv[1:]
files = {"a": {"temp": True}}
tasks = [{"id": "a", "command": f"cat /proc/sys/kernel/random/uuid > a; echo x >> {work}/count-a",
          "outputs": ["a"]}]
for i in range(40):
    files[f"o{i}"] = {"path": f"out/o{i}"}
    tasks.append({"id": f"t{i}", "command": f"sleep 0.5; cat a > o{i}; echo x >> {work}/count-t",
                  "inputs": ["a"], "outputs": [f"o{i}"]})
if long:
    tasks.append({"id": "long", "command": "exec sleep 600", "priority": 100})
print(json.dumps({"schema": "vine-workflow/1", "files": files, "tasks": tasks}))
END
}

assert_one_value() { # each task ran once, every output holds the one value
    assert_equal 1 "$(wc -l <count-a)" "runs of a"
    assert_equal 40 "$(wc -l <count-t)" "runs of the tasks that publish"
    assert_equal 40 "$(find out -type f -name 'o*' | wc -l)" "outputs"
    assert_equal 1 "$(cat out/o* | sort -u | wc -l)" "different values"
    assert_equal 0 "$(find out -name '.*vine*' | wc -l)" "temporary files"
}

close_reason() { "$VINE_MPI" journal dump run | sed -n 's/.*SESSION_CLOSE reason=\([a-z]*\).*/\1/p' | tail -n 1; }

test_the_next_job_goes_on_after_the_walltime() {
    walltime_workflow long
    vine 0 3 w.json --walltime 8
    assert_equal walltime "$(close_reason)" "how the session closed"
    none_left "sleep 600"
    # What was finished is there, and what the rest needs is kept.
    (($(find out -name 'o*' | wc -l) > 0)) || fail "nothing was published"
    walltime_workflow
    vine 0 0 w.json
    assert_one_value
}

test_a_signal_ends_the_session_in_order() {
    walltime_workflow
    mkdir -p scratch
    mpirun -n 3 "$VINE_MPI" w.json --run-dir run --scratch "$PWD/scratch" >said 2>&1 &
    local launcher=$!
    local _
    for _ in {1..300}; do
        [[ ! -e count-t ]] || break
        sleep 0.1
    done
    kill -USR1 "$launcher"
    wait "$launcher" || true
    assert_equal 3 "$(outcome run)" "outcome"
    assert_equal walltime "$(close_reason)" "how the session closed"
    vine 4 0 w.json
    assert_one_value
}

test_a_task_longer_than_the_rest_is_not_begun() {
    # Its kind is known to take long by the first of them.
    cat >w.json <<END
{"schema": "vine-workflow/1", "tasks": [
  {"id": "first", "command": "sleep 4; echo x >> $PWD/count"},
  {"id": "second", "command": "sleep 4; echo x >> $PWD/count", "after": ["first"]},
  {"id": "third", "command": "sleep 4; echo x >> $PWD/count", "after": ["second"]}]}
END
    vine 0 3 w.json --walltime 10
    (($(wc -l <count) < 3)) || fail "all tasks ran"
    vine 0 0 w.json
    assert_equal 3 "$(wc -l <count)" "runs"
}

test_a_wrong_walltime_is_refused() {
    walltime_workflow
    "$VINE_MPI" w.json --walltime 1:xx >said 2>&1 && fail "accepted"
    assert_says "walltime"
}

test_a_time_beyond_all_counting_is_no_limit() {
    echo '{"schema": "vine-workflow/1", "tasks": [{"id": "t", "command": "true"}]}' >w.json
    vine 0 0 w.json --walltime 99999999:00:00
    SLURM_JOB_END_TIME=253402300800 vine 0 0 w.json --run-dir run2
}
