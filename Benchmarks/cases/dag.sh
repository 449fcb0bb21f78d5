# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# 3,002 copies, 1 -> 1,000 x 3 stages -> 1, with every file declared.

dag_width=1000

prepare_dag() {
    local i cp
    cp=$(command -v cp)
    echo "a line" >source
    {
        echo '{"schema": "vine-workflow/1", "name": "dag"}'
        echo '{"file": {"id": "source", "path": "source"}}'
        echo '{"file": {"id": "start", "temp": true}}'
        echo '{"file": {"id": "end", "path": "end"}}'
        for ((i = 0; i < dag_width; i++)); do
            printf '{"file": {"id": "%s'"$i"'", "temp": true}}\n' a b c
        done
        dag_task first source start
        for ((i = 0; i < dag_width; i++)); do
            dag_task "ta$i" start "a$i"
            dag_task "tb$i" "a$i" "b$i"
            dag_task "tc$i" "b$i" "c$i"
        done
        printf '{"task": {"id": "last", "argv": ["%s", "c0", "end"], "inputs": ["c0"' "$cp"
        for ((i = 1; i < dag_width; i++)); do printf ', "c%d"' "$i"; done
        echo '], "outputs": ["end"]}}'
    } >dag.jsonl
    {
        printf 'end:'
        for ((i = 0; i < dag_width; i++)); do printf ' c%d' "$i"; done
        printf '\n\t@%s c0 end\nstart: source\n\t@%s source start\n' "$cp" "$cp"
        for ((i = 0; i < dag_width; i++)); do
            printf 'a%d: start\n\t@%s start a%d\n' "$i" "$cp" "$i"
            printf 'b%d: a%d\n\t@%s a%d b%d\n' "$i" "$i" "$cp" "$i" "$i"
            printf 'c%d: b%d\n\t@%s b%d c%d\n' "$i" "$i" "$cp" "$i" "$i"
        done
    } >Makefile
    {
        printf 'rule cp\n  command = %s $from $out\nbuild start: cp source\n  from = source\n' "$cp"
        for ((i = 0; i < dag_width; i++)); do
            printf 'build a%d: cp start\n  from = start\n' "$i"
            printf 'build b%d: cp a%d\n  from = a%d\n' "$i" "$i" "$i"
            printf 'build c%d: cp b%d\n  from = b%d\n' "$i" "$i" "$i"
        done
        printf 'build end: cp'
        for ((i = 0; i < dag_width; i++)); do printf ' c%d' "$i"; done
        printf '\n  from = c0\n'
    } >build.ninja
}

dag_task() { # ID FROM TO
    echo "{\"task\": {\"id\": \"$1\", \"argv\": [\"$cp\", \"$2\", \"$3\"], \"inputs\": [\"$2\"], \"outputs\": [\"$3\"]}}"
}

dag_result() { # CONTENDER SECONDS
    if ! cmp -s source end; then status="wrong result"; failed "$1"; return; fi
    record tasks/s "$1" "$(calculate "(3 * $dag_width + 2) / $2")"
    record "CPU us/task" "$1" "$(calculate "$cpu * 1e6 / (3 * $dag_width + 2)")"
}

dag_one() { # CONTENDER
    local contender=$1
    rm -f start end a[0-9]* b[0-9]* c[0-9]* .ninja_log .ninja_deps
    case $1 in
        vine-mpi*)
            local how=embedded
            [[ $1 != *ranks ]] || how=3
            if run_vine "$how" dag.jsonl --quiet; then dag_result "$1" "$span"; else failed "$1"; fi ;;
        *)
            has "${contender%% *}" || { absent "$1" "no ${contender%% *} here"; return; }
            # shellcheck disable=SC2086  # a program and its option
            if measured $contender; then dag_result "$1" "$wall"; else failed "$1"; fi ;;
    esac
}

round_dag() { in_turn dag_one "vine-mpi, 3 ranks" "make -j2" "vine-mpi embedded" "ninja -j2"; }
