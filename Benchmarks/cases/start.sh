# shellcheck shell=bash disable=SC2154
# From launching mpirun to the first start of a task, beside MPI_Init alone.

start_repeats=3

prepare_start() {
    echo "{\"schema\": \"vine-workflow/1\", \"tasks\": [{\"id\": \"stamp\", \"argv\": [\"$work/bin/stamp\", \"$PWD/stamp\"]}]}" \
        >one.json
}

start_one() { # CONTENDER
    rm -f stamp
    case $1 in
        "MPI_Init, 2 ranks") measured mpirun -n 2 "$work/bin/initonly" "$PWD/stamp" ;;
        "vine-mpi, 2 ranks") run_vine 2 one.json --quiet ;;
        "vine-mpi embedded") run_vine embedded one.json --quiet ;;
    esac || { failed "$1"; return; }
    record "ms to start" "$1" "$(calculate "($(<stamp) - $begin) * 1e3")"
}

round_start() {
    local i
    for ((i = 0; i < start_repeats; i++)); do
        in_turn start_one "MPI_Init, 2 ranks" "vine-mpi, 2 ranks" "vine-mpi embedded"
    done
}
