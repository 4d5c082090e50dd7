#!/usr/bin/env bash
#SBATCH --job-name=refan
#SBATCH --array=0-7
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=04:30:00
#SBATCH --requeue
#
# Campaigns on the machines of a Slurm cluster, over one shared corpus. Submitted from the repository's top:
#
#   STORE=/shared/refan/kcov sbatch --array=0-31 deploy/slurm.sh --target kcov
#
# Words behind the script's name are options of `cargo xtask fuzz`. With IMAGE=refan.sif it runs in that image
# (apptainer build refan.sif docker://REGISTRY/refan), else in the checkout itself, for which all machines need
# to see the same folders. TIME says how long.
set -euo pipefail
: "${STORE:?where is the shared corpus? a folder that all machines see, or s3://BUCKET/PREFIX}"
options=(
  --jobs "${SLURM_CPUS_PER_TASK:-2}"
  --seed "$((1 + ${SLURM_ARRAY_TASK_ID:-0} * 1000))"
  --time "${TIME:-4h}"
  --store "$STORE"
  # Each on its own: on a folder that several share, no campaign may believe that another one is dead.
  --corpus "${TMPDIR:-/tmp}/refan-${SLURM_JOB_ID:-0}-${SLURM_ARRAY_TASK_ID:-0}"
)
if [[ -n ${IMAGE:-} ]]; then
  # The image is not written to: what is compiled or saved goes to a layer in memory.
  exec apptainer run --writable-tmpfs --pwd /refan "$IMAGE" fuzz --offline "${options[@]}" "$@"
fi
exec cargo xtask fuzz "${options[@]}" "$@"
