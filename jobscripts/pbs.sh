#!/bin/bash
#PBS -N vine-mpi
#PBS -l select=2:ncpus=4:mpiprocs=1
#PBS -l place=scatter
#PBS -l walltime=01:00:00
#PBS -j oe
#
# usage: qsub -v VINE_ARGUMENTS="WORKFLOW [OPTIONS OF VINE-MPI]" pbs.sh
#
# One rank per node is enough: it uses every core of the node that the job has.
# A lost node costs the tasks that ran there, a lost session is continued on the
# nodes that are left (run-rounds.sh). A minute before the walltime, which is asked
# of qstat, the run finishes what ends in time and stops (exit status 3).
# Adapt the lines above, and load your site's modules here:
#   module load openmpi hwloc

cd "${PBS_O_WORKDIR:-.}" || exit 1
if [ $# = 0 ]; then
    # qsub passes no arguments to a script: they come as one variable.
    read -r -a arguments <<<"${VINE_ARGUMENTS:?set VINE_ARGUMENTS to WORKFLOW [OPTIONS]}"
    set -- "${arguments[@]}"
fi

# PBS runs a copy of this script, so run-rounds.sh is looked for where vine-mpi
# was installed, and where the job was submitted.
for rounds in "${VINE_ROUNDS_SCRIPT:-}" "$(dirname "$0")/run-rounds.sh" \
    "$(dirname "$(command -v vine-mpi)")/../share/vine-mpi/jobscripts/run-rounds.sh" \
    run-rounds.sh jobscripts/run-rounds.sh; do
    [[ ! -f $rounds ]] || break
done
[[ -f $rounds ]] || { echo "run-rounds.sh not found; set VINE_ROUNDS_SCRIPT to it" >&2; exit 2; }

# Node-local scratch: the $TMPDIR that PBS makes for the job; on nodes that ssh
# reaches without it, /local/scratch or /tmp.
# PBS_NODEFILE has one line per MPI process. An Open MPI without PBS support
# starts its daemons with ssh.
# A fixed directory, so that a job that is run again goes on where it was.
[[ " $* " == *" --run-dir"* ]] || set -- --run-dir "vine-runs/job-${PBS_JOBID:-$$}" "$@"
exec bash "$rounds" "$@"
