# Sourced by dist_*.sh and slurm_*.sh: which Python runs, and how processes are started.

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$TOOLS")

# $PYTHON, else an active environment, else the one that `make` sets up.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$ROOT/.venv/bin/python" ]; then
        PYTHON=$ROOT/.venv/bin/python
    fi
fi
# The folder that holds `rethink`, for an environment into which it was not installed.
export PYTHONPATH="$ROOT/projects${PYTHONPATH:+:$PYTHONPATH}"
# torchrun sets one thread where nothing is said, and says so at length. RETHINK_SHARE_CORES tells rethink.engine.launch that
# nobody asked for it: on CPU the processes then share the cores.
[ -n "${OMP_NUM_THREADS:-}" ] || export RETHINK_SHARE_CORES=1

# usage LEAST TEXT ARGUMENTS…: for --help, and where there are fewer than LEAST arguments.
usage() {
    local least=$1 text="bash tools/$2"
    # In a wheel, where this is a command of `rethink`.
    if [ "$(basename "$ROOT")" = .mim ]; then text="rethink ${2/.sh/}"; fi
    shift 2
    case ${1:-} in -h | --help) echo "usage: $text"; exit ;; esac
    [ $# -ge "$least" ] || { echo "usage: $text" >&2; exit 2; }
}

# launch PROCESSES SCRIPT ARGUMENTS…: PROCESSES on each of $NNODES machines.
launch() {
    local processes=$1
    shift
    case $processes in
        '' | *[!0-9]* | 0) echo "error: the number of GPUs (or processes) is '$processes', not a number from 1." >&2; exit 2 ;;
    esac
    local meeting=(--nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}"
        --master_port "${PORT:-29500}")
    if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
        # One machine and no wish: a free port, so that two trainings can run beside each other.
        meeting=(--standalone --local-addr 127.0.0.1)
    fi
    if [ "$processes" -gt 1 ]; then export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}; fi
    # Its C++ warns on stderr of connections that end, which the sentences are about.
    export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
    exec "$PYTHON" "$TOOLS/launcher.py" "${meeting[@]}" --nproc_per_node "$processes" "$@"
}

# slurm PARTITION JOB_NAME SCRIPT ARGUMENTS…: $GPUS tasks, $GPUS_PER_NODE on each machine.
slurm() {
    local partition=$1 job=$2
    shift 2
    local gpus=${GPUS:-8}
    # As in MMDetection eight on a machine, but never more than there are in all: srun would refuse that.
    local per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    export MASTER_PORT=${PORT:-${MASTER_PORT:-29500}}
    # SRUN_ARGS is several arguments in one variable, to be split.
    # shellcheck disable=SC2086
    exec srun -p "$partition" --job-name="$job" --gres=gpu:"$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$PYTHON" -u "$@"
}
