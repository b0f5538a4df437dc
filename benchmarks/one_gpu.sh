#!/usr/bin/env bash
# All that benchmarks/README.md promises to measure on one GPU, both of the paper's sizes:
#   benchmarks/one_gpu.sh HumanEval.jsonl.gz results.jsonl [--baseline=none or other flags]
# in the environment of `make bench`, or in any with torch, transformers and jax[cuda].
set -uo pipefail
problems=${1:?name your copy of HumanEval.jsonl.gz}
output=${2:?name a file to append JSON lines to}
shift 2
root=$(dirname "$0")/..
failed=0
for size in "phi1_base 4" "phi1_small_base 8"; do
    read -r name rows <<<"$size"
    "${PYTHON:-python}" "$root/launch/benchmark.py" all --baseline=torch --sweep \
        --config="$root/configs/$name.py" --config.model.attention_dropout=0.0 --config.model.residual_dropout=0.0 --config.model.remat=none \
        --config.data.global_batch_size="$rows" --config.micro_batch_size=0 \
        --batch=1 --batch=164 --problems="$problems" --output="$output" "$@" || failed=1
done
exit $failed
