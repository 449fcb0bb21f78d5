# shellcheck shell=bash
# Helpers of the benchmarks; sourced by run. A benchmark NAME is a file
# cases/NAME.sh with two functions: prepare_NAME makes what it needs once, and
# round_NAME measures every contender once. Both run in $work/NAME.

# record FIGURE CONTENDER VALUE: one sample of this round.
record() { printf '%s\t%s\t%s\t%s\t%s\n' "$round" "$benchmark" "$1" "$2" "$3" >>"$work/samples.tsv"; }

# absent CONTENDER REASON: it cannot be measured, and its rows say why.
absent() {
    grep -qsF "$benchmark"$'\t'"$1"$'\t' "$work/absent.tsv" && return
    printf '%s\t%s\t%s\n' "$benchmark" "$1" "$2" >>"$work/absent.tsv"
    say "$benchmark: $1 left out: $2"
}

# note TEXT: a line above the table.
note() { grep -qsxF "$1" "$work/notes" || echo "$1" >>"$work/notes"; }

# failed CONTENDER: the last measurement went wrong.
failed() {
    say "$benchmark: $1 failed (status $status); the end of its output:"
    tail -n 5 said | sed 's/^/    /' >&2
    printf '%s\t%s\t%s\n' "$benchmark" "$1" "status $status" >>"$work/failed.tsv"
}

say() { printf 'benchmarks: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null; }
calculate() { awk "BEGIN { printf \"%.6f\", $1 }"; }

# Linux may divide the processors among sessions (autogroup), and on a machine that
# others use, a contender of several sessions then gets more than one of a single
# session. Inside a group of control group version 1 it divides among processes, so
# where there is none yet and one can be made, everything runs in one.
join_group() {
    local base=/sys/fs/cgroup/cpu
    group='' group_state="sessions share alike: rates depend on the load"
    if [[ $(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null) != 1 ]] ||
        ! grep -q ':cpu:/$' /proc/self/cgroup; then
        group_state="no autogroups"
    elif mkdir "$base/vine-$VINE_BENCH_MARK" 2>/dev/null; then
        group=$base/vine-$VINE_BENCH_MARK
        echo $$ >"$group/cgroup.procs"
        # shellcheck disable=SC2034  # for run
        group_state="all contenders in one control group"
    fi
}
leave_group() {
    local _
    [[ -n $group ]] || return 0
    echo $$ >"${group%/*}/cgroup.procs"
    for _ in {1..30}; do
        rmdir "$group" 2>/dev/null && return 0
        sleep 0.1
    done
    say "cannot remove $group"
}

# in_turn FUNCTION CONTENDER...: calls FUNCTION for each, in even rounds backwards,
# so that a drift of the machine's load favours nobody.
in_turn() {
    local function=$1 i
    shift
    if ((round % 2)); then
        for ((i = 1; i <= $#; i++)); do "$function" "${!i}"; done
    else
        for ((i = $#; i >= 1; i--)); do "$function" "${!i}"; done
    fi
}

# measured COMMAND...: runs it with ./said as its output and sets begin, wall and
# cpu (seconds), rss (KiB) and status.
measured() {
    status=0
    timeout -k 10 "${limit:-600}" "$work/bin/measure" "$work/measure" "$@" >said 2>said.errors &
    child=$!
    wait "$child" || status=$?
    child=''
    if ((status)); then
        cat said.errors >>said
        return 1
    fi
    # shellcheck disable=SC2034  # for the cases
    read -r begin wall cpu rss <"$work/measure"
}

# launch HOW: the words that start vine-mpi, in the array `words`. HOW is embedded,
# a number of ranks, or hosts:K for K ranks on each emulated host.
launch() {
    case $1 in
        embedded) words=("$vine") ;;
        hosts:*) words=("$hosts" run "${1#hosts:}" -- "$vine") ;;
        *) words=(mpirun -n "$1" "$vine") ;;
    esac
}

# run_vine HOW WORKFLOW [OPTION...]: a measured run with RUN in ./run; sets span,
# the seconds from the first start to the last end.
run_vine() {
    local how=$1 words scratch=(--scratch "$PWD/scratch")
    shift
    rm -rf run scratch
    mkdir scratch
    [[ $how != hosts:* ]] || scratch=()
    launch "$how"
    measured "${words[@]}" run --run-dir run "${scratch[@]}" "$@" || return
    # shellcheck disable=SC2034
    span=$(summary makespanSeconds)
}
summary() { sed -n "s/.*\"$1\" *: *\([0-9.e+-]*\).*/\1/p" run/summary.json; }

# up_hosts COUNT: emulated hosts that share $work; or sets `reason` and fails.
up_hosts() {
    local output
    if ! output=$("$hosts" check 2>&1); then
        # shellcheck disable=SC2034
        reason=${output#test bed: }
        return 1
    fi
    "$hosts" down
    "$hosts" up "$1" --share "$work"
}

# ranks_of MARK: a line "rank pid" for each vine-mpi process with that mark.
ranks_of() {
    local pid rank
    for pid in $(grep -slFz "VINE_BENCH_MARK=$1" /proc/[0-9]*/environ | cut -d/ -f3); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == vine-mpi ]] || continue
        rank=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" |
            sed -n 's/^\(PMIX_RANK\|PMI_RANK\|OMPI_COMM_WORLD_RANK\)=//p' | head -n 1)
        echo "${rank:-0} $pid"
    done
}
