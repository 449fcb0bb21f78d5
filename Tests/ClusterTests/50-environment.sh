# What a task sees: variables, directory, limits, cores.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# expand LIST: "0-2,5" or "0x7" as "0 1 2 5"
expand() {
    local part first last i
    if [[ $1 == 0x* ]]; then
        for ((i = 0; i < 62; i++)); do ((($1 >> i & 1) == 0)) || printf '%d ' "$i"; done
        return
    fi
    for part in ${1//,/ }; do
        first=${part%-*} last=${part#*-}
        for ((i = first; i <= last; i++)); do printf '%d ' "$i"; done
    done
}

environment() { # HOW
    export FROM_THE_USER="kept ü"
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "defaults": {"env": {"DEFAULTED": "d", "BOTH": "default"}},
 "files": {"env": {"path": "env.txt"}, "pwd": {"path": "pwd.txt"}, "omp": {"path": "omp.txt"}, "argv": {"path": "argv.txt"}},
 "tasks": [
  {"id": "look", "cores": 1, "memory": 50, "env": {"OWN": "o=1 2", "BOTH": "task"},
   "command": "env -0 | tr '\\n\\0' ' \\n' | sort > env; { pwd; readlink /proc/self/fd/0; test -d \"$TMPDIR\" && echo there; } > pwd",
   "outputs": ["env", "pwd"]},
  {"id": "omp", "env": {"OMP_NUM_THREADS": "7"}, "command": "echo $OMP_NUM_THREADS > omp", "outputs": ["omp"]},
  {"id": "literal", "argv": ["sh", "-c", "printf '%s|' \"$@\" > argv", "$0", "$HOME", "a b", "*", ""], "outputs": ["argv"]}]}
END
    vine "$1" 0 w.json
    local line
    for line in 'FROM_THE_USER=kept ü' DEFAULTED=d BOTH=task 'OWN=o=1 2' VINE_TASK_ID=look VINE_CORES=1 \
        VINE_MEMORY_MB=50 OMP_NUM_THREADS=1; do
        grep -qxF -- "$line" env.txt || { cat env.txt; fail "no $line"; }
    done
    for line in VINE_ATTEMPT VINE_RUN VINE_CPUSET TMPDIR; do
        grep -q "^$line=." env.txt || { cat env.txt; fail "no $line"; }
    done
    ! grep -E '^(OMPI_|PMIX_|PMI_|PRTE_|HYDRA_|MPIR_)' env.txt || fail "the launcher's variables are there"
    local sandbox
    sandbox=$(head -n 1 pwd.txt)
    [[ $(sed -n 's/^TMPDIR=//p' env.txt) == "$sandbox"* ]] || fail "TMPDIR is not in the sandbox $sandbox"
    assert_equal $'/dev/null\nthere' "$(tail -n +2 pwd.txt)" "stdin and TMPDIR"
    assert_absent "$sandbox"
    assert_file omp.txt 7
    # shellcheck disable=SC2016
    assert_file argv.txt '$HOME|a b|*||'
}
test_environment_embedded() {
    environment 0
}
test_environment_1_rank() {
    environment 1
}
test_environment_4_ranks() {
    environment 4
}

test_umask_and_limits_of_the_submitter() {
    umask 027
    ulimit -S -n 517
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}},
 "tasks": [{"id": "t", "command": "{ umask; ulimit -S -n; } > x", "outputs": ["x"]}]}
END
    vine 0 0 w.json
    assert_equal 27 "$(head -n 1 x | sed 's/^0*//')" umask
    assert_equal 517 "$(tail -n 1 x)" "open files"
}

binding() { # HOW
    need taskset
    cat >w.json <<END
{"schema": "vine-workflow/1",
 "files": {"one": {"path": "one"}, "two": {"path": "two"}, "all": {"path": "all"}},
 "tasks": [
  {"id": "one", "command": "sleep 0.2; { echo \$VINE_CPUSET; taskset -cp \$\$; } > one", "outputs": ["one"]},
  {"id": "two", "command": "sleep 0.2; { echo \$VINE_CPUSET; taskset -cp \$\$; } > two", "outputs": ["two"]},
  {"id": "all", "cores": $cores, "command": "{ echo \$VINE_CPUSET; taskset -cp \$\$; } > all", "outputs": ["all"]}]}
END
    vine "$1" 0 w.json --trace trace.tsv
    local name
    for name in one two all; do
        assert_equal "$(expand "$(head -n 1 $name)")" "$(expand "$(sed -n '2s/.*: //p' $name)")" "cores of $name"
    done
    assert_equal "$(expand "$(taskset -cp $$ | sed 's/.*: //')")" "$(expand "$(head -n 1 all)")" "all cores"
    # Two tasks at the same time have cores of their own.
    if awk -F '\t' '$1 == "one" {s1 = $3; e1 = $4} $1 == "two" {s2 = $3; e2 = $4}
            END {exit !(s1 < e2 && s2 < e1)}' trace.tsv; then
        [[ $(head -n 1 one) != "$(head -n 1 two)" ]] || fail "two tasks at once on the same core"
    fi
}
test_binding_embedded() {
    binding 0
}
test_binding_4_ranks() {
    binding 4
}

test_no_core_is_used_twice() {
    {
        echo '{"schema": "vine-workflow/1", "tasks": ['
        for i in {1..60}; do echo "{\"id\": \"t$i\", \"cores\": $((i % 2 + 1)), \"command\": \"sleep 0.0$((i % 7))\"},"; done
        echo '{"id": "last", "command": "true"}]}'
    } >w.json
    ((cores >= 2)) || skip "needs 2 cores"
    vine 5 0 w.json --trace trace.tsv
    awk -F '\t' -v cores="$cores" '
        !/^#/ { at[++n] = $3 + 0.0005; by[n] = $5; at[++n] = $4 - 0.0005; by[n] = -$5 }
        END {
            for (i = 1; i <= n; i++) order[i] = i
            for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (at[order[j]] < at[order[i]]) { k = order[i]; order[i] = order[j]; order[j] = k }
            for (i = 1; i <= n; i++) { busy += by[order[i]]; if (busy > cores) { print "busy: " busy " of " cores; exit 1 } }
        }' trace.tsv
}

no_sandbox() {
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "tasks": [{"id": "t", "sandbox": false, "command": "pwd > here.txt; echo $VINE_TASK_ID >> here.txt"}]}
END
    vine "$1" 0 w.json
    assert_file here.txt "$work"$'\n'"t"
}
test_no_sandbox_embedded() {
    no_sandbox 0
}
test_no_sandbox_2_ranks() {
    no_sandbox 2
}

test_a_task_that_is_an_mpi_program() {
    need mpirun
    cat >w.json <<'END'
{"schema": "vine-workflow/1", "files": {"x": {"path": "x"}},
 "tasks": [{"id": "t", "command": "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n 2 sh -c 'echo $OMPI_COMM_WORLD_SIZE' > x", "outputs": ["x"]}]}
END
    vine 2 0 w.json
    assert_file x $'2\n2'
}
