#!/usr/bin/env bash
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=…] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
set -euo pipefail
[ $# -ge 4 ] || {
    echo "usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]" >&2
    exit 2
}
. "$(dirname "$0")/launcher.sh"
slurm "$1" "$2" "$TOOLS/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}"
