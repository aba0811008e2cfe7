#!/usr/bin/env bash
# Train on a Slurm cluster, by srun: a process for each of GPUS, GPUS_PER_NODE on a machine.
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=…] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
set -euo pipefail
. "$(dirname "$0")/launcher.sh"
usage 4 "slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]" "$@"
slurm "$1" "$2" "$TOOLS/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}"
