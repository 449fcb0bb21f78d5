#!/bin/bash
# usage: run-rounds.sh --run-dir DIR [OPTION OF VINE-MPI]... WORKFLOW
#
# Runs vine-mpi inside an allocation (Slurm, PBS, or this host alone) and starts
# it again on the hosts that are left when a session dies: a run directory with a
# journal is continued. It ends with the status of DIR/outcome, since mpirun's own
# tells nothing after a loss:
#
#   - with a final one (0, 1, 2, 4 to 9), at once;
#   - with 3 (interrupted), when somebody asked for that: SIGUSR1, SIGTERM or
#     DIR/stop;
#   - with 3, when two sessions one after the other came no further.
#
# The job's time is what --walltime says, from the start of this script on, else what
# the batch system says; each session is told when it ends.
#
# When a session dies, the caches on its nodes stay where they are, and the next one
# takes what it needs from there (--keep-caches). What the last one leaves is removed
# from all hosts that answer.
#
# SIGUSR1 and SIGTERM are passed on to mpirun. Environment:
#
#   VINE_MPIRUN            the mpirun to use, with its options; default: mpirun
#   VINE_PROGRAM           default: vine-mpi
#   VINE_RANKS_PER_NODE    default: what the batch system says, or 1
#   VINE_ROUNDS            sessions at most; default: 20
set -uo pipefail

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d' >&2; exit 2; }
say() { echo "run-rounds: $*" >&2; }

run_dir=
scratch=()
walltime=
arguments=()
while (($#)); do
    case $1 in
        --walltime) walltime=${2-}; shift ;;
        --walltime=*) walltime=${1#--walltime=} ;;
        --scratch | --run-dir)
            if [[ $1 == --scratch ]]; then scratch=(--scratch "${2-}"); else run_dir=${2-}; fi
            arguments+=("$1" "${2-}")
            shift ;;
        *)
            case $1 in
                --scratch=*) scratch=("$1") ;;
                --run-dir=*) run_dir=${1#--run-dir=} ;;
            esac
            arguments+=("$1") ;;
    esac
    (($# == 0)) || shift
done
[[ -n $run_dir ]] || usage
arguments+=(--keep-caches)

# seconds T: what T, as [[HH:]MM:]SS, is in seconds; nothing if it is something else
seconds() {
    local part sum=0
    [[ $1 =~ ^[0-9]+(:[0-9]+){0,2}$ ]] || return 0
    for part in ${1//:/ }; do sum=$((sum * 60 + 10#$part)); done
    echo "$sum"
}

# OpenPBS tells a job's time to its server alone, Torque to the job, too. Slurm tells
# every process when the job ends, and vine-mpi reads that.
pbs_rest() {
    local asked used
    asked=$(timeout 20 qstat -f "$PBS_JOBID" 2>/dev/null) || asked=
    used=$(sed -n 's/^[[:space:]]*resources_used.walltime = //p' <<<"$asked")
    asked=$(seconds "$(sed -n 's/^[[:space:]]*Resource_List.walltime = //p' <<<"$asked")")
    used=$(seconds "$used")
    [[ -n $asked ]] || asked=${PBS_WALLTIME:-}
    if [[ $asked =~ ^[0-9]+$ ]]; then echo $((asked - ${used:-0})); fi
}
rest=
if [[ -n $walltime ]]; then
    rest=$(seconds "$walltime")
    [[ -n $rest ]] || { say "--walltime is a number of seconds, MM:SS or HH:MM:SS"; exit 2; }
elif [[ -n ${PBS_JOBID:-} ]]; then
    rest=$(pbs_rest)
fi
if [[ -n $rest ]]; then arguments+=(--end-time "$(($(date +%s) + rest))"); fi

read -r -a launcher <<<"${VINE_MPIRUN:-mpirun}"
program=${VINE_PROGRAM:-vine-mpi}
kind=$("${launcher[0]}" --version 2>&1)
case $kind in
    *"Open MPI) 4"*)
        # It alone goes on after the loss of a rank or a node, if it is asked to.
        launcher+=(--enable-recovery)
        if [[ -n ${SLURM_JOB_ID:-} ]]; then
            # A lost node must end neither srun's step nor the job.
            launcher+=(--mca plm_slurm_args "--no-kill --kill-on-bad-exit=0")
        fi ;;
esac

# The hosts of the allocation, one a line; nothing without a batch system.
hosts() {
    if [[ -n ${SLURM_JOB_NODELIST:-} ]]; then
        scontrol show hostnames "$SLURM_JOB_NODELIST"
    elif [[ -n ${PBS_NODEFILE:-} ]]; then
        sort -u "$PBS_NODEFILE"
    fi
}

ranks_of() { # HOST
    local count
    if [[ -n ${VINE_RANKS_PER_NODE:-} ]]; then
        echo "$VINE_RANKS_PER_NODE"
    elif [[ -n ${SLURM_JOB_NODELIST:-} ]]; then
        count=${SLURM_NTASKS_PER_NODE:-1}
        echo "${count%%[!0-9]*}"
    else
        count=$(grep -cxF -- "$1" "$PBS_NODEFILE") || count=1
        echo "$count"
    fi
}

# answers HOST: whether a process can be started there
answers() {
    if [[ -n ${SLURM_JOB_NODELIST:-} ]] && command -v sinfo >/dev/null; then
        [[ $(sinfo -h -N -n "$1" -o %T 2>/dev/null | head -n 1) != *@(down|fail|drain|unk|power)* ]] || return 1
    fi
    timeout -k 5 60 "${launcher[@]}" -n 1 --host "$1" true >/dev/null 2>&1 </dev/null
}
shopt -s extglob

status_of_run() { sed -n 's/.*"status"[^0-9]*\([0-9][0-9]*\).*/\1/p' "$run_dir/outcome" 2>/dev/null; }
done_count() { sed -n 's/.*"done"[^0-9]*\([0-9][0-9]*\).*/\1/p' "$run_dir/summary.json" 2>/dev/null; }
journal_bytes() { # all segments together
    local bytes=0 file size
    for file in "$run_dir"/journal/*; do
        size=$(stat -c %s -- "$file" 2>/dev/null) || continue
        bytes=$((bytes + size))
    done
    echo "$bytes"
}

asked=0 # whether somebody asked for an end
mpirun_pid=
# shellcheck disable=SC2317  # called by traps
pass_on() { # SIGNAL
    asked=1
    [[ -z $mpirun_pid ]] || kill "-$1" "$mpirun_pid" 2>/dev/null
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM INT

nap() { # bash runs a trap only while it waits for a process of its own
    sleep "$1" &
    wait $! 2>/dev/null
}

# One session. Its mpirun waits for ever for a rank that is lost, so that it is
# ended some time after the run has said how it went.
session() { # MPIRUN-OPTION...
    local seen=0 signal
    rm -f -- "$run_dir/outcome"
    "${launcher[@]}" "$@" "$program" "${arguments[@]}" &
    mpirun_pid=$!
    while kill -0 "$mpirun_pid" 2>/dev/null; do
        nap 0.5
        [[ -e $run_dir/outcome ]] || continue
        seen=$((seen + 1))
        case $seen in
            30) signal=TERM ;;
            50) signal=KILL ;;
            *) continue ;;
        esac
        say "mpirun does not end by itself: SIG$signal"
        kill "-$signal" "$mpirun_pid" 2>/dev/null
    done
    wait "$mpirun_pid"
    launch_status=$?
    mpirun_pid=
}

# Caches that were kept for a session that does not come. After a session that ended
# in order there are none but on hosts that were not part of it.
has_died=0
# shellcheck disable=SC2317  # called by a trap
remove_caches() {
    local host reached=()
    ((has_died)) || return
    # One by one only if some host does not answer: there may be a thousand.
    if ((${#all[@]} == 0)) || ((${#all[@]} == alive)); then ! collect "${all[@]}" || return; fi
    for host in "${all[@]}"; do ! answers "$host" || reached+=("$host"); done
    if ((${#reached[@]} == 0)) || ! collect "${reached[@]}"; then
        say "could not remove the caches that dead sessions have left on ${all[*]:-this host}"
    fi
}
# shellcheck disable=SC2317  # called by a trap
collect() { # HOST...: one process on each of them, or one on this host
    local where=("$@")
    (($# == 0)) || where=(--host "$(IFS=,; echo "${where[*]/%/:1}")")
    timeout -k 5 60 "${launcher[@]}" -n "$(($# > 0 ? $# : 1))" "${where[@]}" \
        "$program" cache gc --run-dir "$run_dir" "${scratch[@]}" </dev/null >/dev/null 2>&1
}
trap remove_caches EXIT

options=()
if [[ -n ${PBS_NODEFILE:-} ]]; then options=(--hostfile "$PBS_NODEFILE"); fi
mapfile -t all < <(hosts)
alive=${#all[@]}
idle_rounds=0
bytes=$(journal_bytes)
count=$(done_count)
for ((round = 1; round <= ${VINE_ROUNDS:-20}; round++)); do
    session "${options[@]}"
    status=$(status_of_run)
    [[ -n $status && $status == "$launch_status" && $status != 3 ]] || has_died=1
    case ${status:-none} in
        3 | none) ;;
        *) exit "$status" ;;
    esac
    if ((asked)) || [[ -e $run_dir/stop ]]; then exit "${status:-3}"; fi

    # The first frames of a session are no progress.
    new_bytes=$(journal_bytes)
    new_count=$(done_count)
    if ((new_bytes > bytes + 1024)) || [[ $new_count != "$count" ]]; then
        idle_rounds=0
    else
        idle_rounds=$((idle_rounds + 1))
    fi
    bytes=$new_bytes count=$new_count

    options=() list=() ranks=0
    for host in "${all[@]}"; do
        answers "$host" || { say "$host does not answer"; continue; }
        slots=$(ranks_of "$host")
        list+=("$host:$slots")
        ranks=$((ranks + slots))
    done
    if ((asked)); then exit "${status:-3}"; fi
    if ((${#all[@]} > 0)); then
        ((${#list[@]} > 0)) || { say "no host is left"; exit 3; }
        options=(-n "$ranks" --host "$(IFS=,; echo "${list[*]}")")
    fi
    # Nothing was begun and no host has gone: another start would end likewise.
    if [[ ! -e $run_dir/journal && ${#list[@]} == "$alive" ]]; then
        exit "$((launch_status == 0 ? 3 : launch_status))"
    fi
    alive=${#list[@]}
    if ((idle_rounds >= 2)); then
        say "two sessions one after the other came no further"
        exit 3
    fi
    say "the session has died; starting again${list[*]:+ on ${list[*]}}"
done
say "no further session after ${VINE_ROUNDS:-20}"
exit 3
