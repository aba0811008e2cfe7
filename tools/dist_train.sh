#!/usr/bin/env bash
# bash tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON: docs/tools.md. Without a GPU, GPUS is the number of processes.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: bash tools/dist_train.sh CONFIG GPUS [arguments of train.py]" >&2; exit 2; }
. "$(dirname "$0")/launcher.sh"
launch "$2" "$TOOLS/train.py" "$1" --launcher pytorch "${@:3}"
