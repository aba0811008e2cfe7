#!/usr/bin/env bash
# Train in several processes, one for each GPU, on one machine or on several (NNODES, NODE_RANK, MASTER_ADDR).
# bash tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON: docs/tools.md. Without a GPU, GPUS is the number of processes.
set -euo pipefail
. "$(dirname "$0")/launcher.sh"
usage 2 "dist_train.sh CONFIG GPUS [arguments of train.py]" "$@"
launch "$2" "$TOOLS/train.py" "$1" --launcher pytorch "${@:3}"
