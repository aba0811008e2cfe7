#!/usr/bin/env bash
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=…] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
set -euo pipefail
[ $# -ge 4 ] || {
    echo "usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
}
. "$(dirname "$0")/launcher.sh"
slurm "$1" "$2" "$TOOLS/test.py" "$3" "$4" --launcher slurm "${@:5}"
