#!/usr/bin/env bash
# What one GPU does with phi-1, in eight minutes or SECONDS_IN_ALL, the most telling first:
#   benchmarks/one_gpu.sh RESULTS.jsonl [QUICKSTART]
# in the environment of `make bench`, or any with jax[cuda], torch and transformers. QUICKSTART is a
# folder of `make quickstart`; with it, phi1_colab is trained on its data, and scored on HumanEval
# where PHI1_JAX_DATA names a folder with its problems.
#
# Every part has a limit of its own, and every measured row is kept at once. Called again with the
# same file, it goes on with the parts that are not done. Variables: SECONDS_IN_ALL (480), PYTHON,
# SMOKE=1 (tiny models, for a machine without a GPU), BASELINE=none (without torch).
set -uo pipefail
output=${1:?name a file to append JSON lines to}
quickstart=${2:-}
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
deadline=$((SECONDS + ${SECONDS_IN_ALL:-480}))
failed=() left_out=()
touch "$output.done" || exit 2

part() { # NAME, SECONDS, command
    local name=$1 limit=$2 left=$((deadline - SECONDS))
    shift 2
    grep -qx "$name" "$output.done" && return
    if ((left < 20)); then
        left_out+=("$name")
        return
    fi
    echo "== $name, at most $((limit < left ? limit : left)) s" >&2
    local began=$SECONDS
    if timeout --kill-after=10 $((limit < left ? limit : left)) "$@"; then
        echo "$name" >>"$output.done"
    else
        failed+=("$name ($?)")
    fi
    echo "== $name: $((SECONDS - began)) s" >&2
}

benchmark() { # NAME, SECONDS, subject and flags
    part "$1" "$2" "$python" "$root/launch/benchmark.py" "${@:3}" --output="$output" "${size[@]}"
}

colab() {
    [[ $quickstart ]] || return
    local tiny=()
    [[ ${SMOKE:-} ]] && tiny=(--config.steps=2 --config.optimizer.warmup_steps=1
        --config.data.global_batch_size=4 --config.micro_batch_size=0 --config.model.n_layers=1
        --config.model.d_model=32 --config.model.d_mlp=64 --config.model.n_heads=2
        --config.model.rotary_dim=8)
    part "phi1_colab" 200 "$python" "$root/launch/train.py" \
        --config="$root/configs/phi1_colab.py" --output="$output.colab" \
        --source=code_textbook="$quickstart/shards_code_textbook:1" \
        --source=code_exercises="$quickstart/shards_code_exercises:1" \
        --tokenizer="$quickstart/tokenizer" "${tiny[@]}"
    [[ ${PHI1_JAX_DATA:-} ]] || return
    part "phi1_colab, HumanEval" 60 "$python" "$root/launch/evaluate.py" --benchmark=humaneval \
        --problems="$PHI1_JAX_DATA/HumanEval.jsonl.gz" --checkpoint=colab="$output.colab" \
        --metrics=solution_bits_per_byte --output="$output.humaneval"
}

memory_mib=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -1)
[[ $memory_mib =~ ^[0-9]+$ ]] || memory_mib=0
rows=4 small_rows=8
((memory_mib > 120000)) && rows=8 small_rows=16
size=()
if [[ ${SMOKE:-} ]]; then
    size=(--calls=2 --new_tokens=4 --prompt_tokens=4)
    for field in n_layers=1 n_induction_heads=0 scan_unroll=1 d_model=32 d_mlp=64 n_heads=2 rotary_dim=8 \
        vocab_size=512 max_seq_len=64 compute_dtype=float32; do
        size+=("--config.model.$field")
    done
    size+=(--config.data.seq_len=16)
fi

base="--config=$root/configs/phi1_1xh100.py --config.micro_batch_size=0"
small="--config=$root/configs/phi1_small_base.py --config.micro_batch_size=0 --config.mesh.data=1"
small+=" --config.model.remat=none --config.model.scan_unroll=20"
no_dropout="--config.model.attention_dropout=0.0 --config.model.residual_dropout=0.0"
dropout="--config.model.attention_dropout=0.1 --config.model.residual_dropout=0.1"
flash=flash
[[ ${SMOKE:-} ]] && flash=xla # it computes in half precision only
torch="--baseline=torch --baseline_modes=compiled"
[[ ${BASELINE:-torch} == none ]] && torch=
# shellcheck disable=SC2086
{
    XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_autotune_level=0" benchmark "losses as on the CPU" 80 check \
        $base --config.model.n_layers=2 --config.data.global_batch_size=1
    benchmark "train 1.3B" 100 train $base --config.data.global_batch_size=$rows
    [[ $torch ]] && benchmark "train 1.3B, torch" 120 train $base --config.data.global_batch_size=$rows \
        $torch "--baseline_attentions=sdpa,sdpa cudnn" --noours
    benchmark "train 1.3B, dropout, flash" 150 train $base $dropout \
        --config.data.global_batch_size=$rows --config.model.attention=$flash
    benchmark "decode 1.3B" 100 decode $base --batch=1 --batch=16 --batch=164
    benchmark "train 350M" 120 train $small $no_dropout --config.data.global_batch_size=$small_rows
    [[ $torch ]] && benchmark "decode 1.3B beside torch" 300 decode $base --batch=1 --batch=16 \
        --batch=164 $torch --baseline_attentions=sdpa --calls=4
    [[ $torch ]] && benchmark "train 350M, torch" 150 train $small $no_dropout \
        --config.data.global_batch_size=$small_rows $torch --baseline_attentions=sdpa --noours
    colab
    benchmark "train 1.3B, dropout, xla" 100 train $base $dropout --config.model.remat=dots \
        --config.data.global_batch_size=$rows --config.model.attention=xla
    benchmark "train 350M, dropout, flash" 80 train $small $dropout \
        --config.data.global_batch_size=$small_rows --config.model.attention=$flash
    benchmark "train 1.3B, flash" 100 train $base --config.data.global_batch_size=$rows \
        --config.model.attention=$flash
    benchmark "train 1.3B, xla" 100 train $base --config.data.global_batch_size=$rows \
        --config.model.attention=xla --config.model.remat=dots
}
((${#left_out[@]})) && echo "not begun, call it again: ${left_out[*]}" >&2
((${#failed[@]})) && echo "failed: ${failed[*]}" >&2
exit $((${#failed[@]} > 0))
