#!/bin/bash
#SBATCH --job-name=vine-mpi
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --no-kill
#SBATCH --signal=B:USR1@120
#
# usage: sbatch [OPTIONS] slurm.sh WORKFLOW [OPTIONS OF VINE-MPI]
#
# One rank per node is enough: it uses every core of the node that the job has.
# Two minutes before the limit the run is asked to finish what runs and to stop
# (exit status 3). Adapt the lines above, and load your site's modules here:
#   module load openmpi hwloc

# Node-local scratch: $SLURM_TMPDIR where the site makes one for the job, else
# /local/scratch or /tmp. Name another with: export VINE_SCRATCH=DIRECTORY
# A lost node ends neither srun's step nor the job (Open MPI 4; others ignore it).
export OMPI_MCA_plm_slurm_args="--no-kill --kill-on-bad-exit=0"

# bash runs a trap only while it waits: hence the background.
mpirun vine-mpi "$@" &
pid=$!
trap 'kill -USR1 "$pid"' USR1
trap 'kill -TERM "$pid"' TERM
while true; do
    wait "$pid"
    status=$?
    kill -0 "$pid" 2>/dev/null || exit "$status"
done
