#!/usr/bin/env bash
# Test a checkpoint in several processes, one for each GPU, on one machine or on several.
# bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON: docs/tools.md. Without a GPU, GPUS is the number of processes.
set -euo pipefail
. "$(dirname "$0")/launcher.sh"
usage 3 "dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]" "$@"
launch "$3" "$TOOLS/test.py" "$1" "$2" --launcher pytorch "${@:4}"
