#!/usr/bin/env bash
# Trains on one machine with eight GPUs, as the paper did: one process drives them all.
#
#   launch/train_8gpu.sh --output=runs/phi1_base \
#       --source=code_textbook=runs/shards/code_textbook --tokenizer=runs/tokenizer
#
# Arguments are those of launch/train.py; --config is configs/phi1_base.py unless given. The same
# command again goes on from the last checkpoint; Ctrl-C or SIGTERM saves first. Prints what the run
# will need and take before it starts. GPUS and PYTHON name another number and interpreter.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

python=${PYTHON:-$repository/.venv/bin/python}
gpus=${GPUS:-8}
found=$( (nvidia-smi --list-gpus 2>/dev/null || true) | wc -l)
if [ "$found" -ne "$gpus" ]; then
  echo "error: $found GPUs found, not $gpus; GPUS=N $0 ... takes N" >&2
  exit 2
fi
case " $*" in
  *" --config="* | *" --config "*) ;;
  *) set -- --config="$repository/configs/phi1_base.py" "$@" ;;
esac
plan=()  # what is planned is what is started: the config, and each --config.field=value
before=
for argument in "$@"; do
  case $argument in --config | --config=* | --config.*) plan+=("$argument") ;; esac
  # The value may also come after a blank.
  case $before in *=* | "") ;; --config | --config.*) [[ $argument == -* ]] || plan+=("$argument") ;; esac
  before=$argument
done

"$python" "$repository/launch/plan.py" "${plan[@]}" --devices="$gpus" --nocompile || echo "no plan for these GPUs"
exec "$python" "$repository/launch/train.py" "$@"
