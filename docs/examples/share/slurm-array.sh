#!/bin/bash
# Builds what a share lacks on the nodes of a Slurm cluster, a task of the array for each build:
#
#     dkms share plan -k K1 -k K2 >/srv/tasks
#     sbatch --array=0-$(($(wc -l </srv/tasks) - 1))%50 slurm-array.sh /srv/tasks
#
# Each node has dkms-share, the packages' sources and the kernels' headers, and /etc/dkms as the builder has. A task that
# is requeued, or done twice, does no harm: what the share has is not built again.
#SBATCH --requeue
#SBATCH --cpus-per-task=2
set -eu
exec dkms share build --tasks "$1" --index "$SLURM_ARRAY_TASK_ID"
