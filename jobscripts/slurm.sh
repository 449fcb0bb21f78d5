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
# A lost node costs the tasks that ran there, a lost session is continued on the
# nodes that are left (run-rounds.sh). Two minutes before the limit the run is
# asked to finish what runs and to stop (exit status 3).
# Adapt the lines above, and load your site's modules here:
#   module load openmpi hwloc

# Node-local scratch: $SLURM_TMPDIR where the site makes one for the job, else
# /local/scratch or /tmp. Name another with: export VINE_SCRATCH=DIRECTORY

# Slurm runs a copy of this script, so run-rounds.sh is looked for where vine-mpi
# was installed, and where the job was submitted.
for rounds in "${VINE_ROUNDS_SCRIPT:-}" "$(dirname "$0")/run-rounds.sh" \
    "$(dirname "$(command -v vine-mpi)")/../share/vine-mpi/jobscripts/run-rounds.sh" \
    "${SLURM_SUBMIT_DIR:-.}/run-rounds.sh" "${SLURM_SUBMIT_DIR:-.}/jobscripts/run-rounds.sh"; do
    [[ ! -f $rounds ]] || break
done
[[ -f $rounds ]] || { echo "run-rounds.sh not found; set VINE_ROUNDS_SCRIPT to it" >&2; exit 2; }

# A fixed directory, so that a requeued job goes on where it was.
[[ " $* " == *" --run-dir"* ]] || set -- --run-dir "vine-runs/job-${SLURM_JOB_ID:-$$}" "$@"
# bash gets the batch system's signals in its place.
exec bash "$rounds" "$@"
