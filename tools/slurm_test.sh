#!/usr/bin/env bash
# Test a checkpoint on a Slurm cluster, by srun.
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=…] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
set -euo pipefail
. "$(dirname "$0")/launcher.sh"
usage 4 "slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" "$@"
slurm "$1" "$2" "$TOOLS/test.py" "$3" "$4" --launcher slurm "${@:5}"
