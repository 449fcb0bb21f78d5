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
# Adapt the lines above, and load your site's modules here:
#   module load openmpi hwloc

cd "${PBS_O_WORKDIR:-.}" || exit 1
if [ $# = 0 ]; then
    # qsub passes no arguments to a script: they come as one variable.
    read -r -a arguments <<<"${VINE_ARGUMENTS:?set VINE_ARGUMENTS to WORKFLOW [OPTIONS]}"
    set -- "${arguments[@]}"
fi

# Node-local scratch: the $TMPDIR that PBS makes for the job; on nodes that ssh
# reaches without it, /local/scratch or /tmp.
# PBS_NODEFILE has one line per MPI process. An Open MPI without PBS support
# starts its daemons with ssh.
mpirun --hostfile "$PBS_NODEFILE" vine-mpi "$@" &
pid=$!
trap 'kill -TERM "$pid"' TERM
while true; do
    wait "$pid"
    status=$?
    kill -0 "$pid" 2>/dev/null || exit "$status"
done
