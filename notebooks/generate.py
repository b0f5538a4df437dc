# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: generate.ipynb
#     provenance: []
#     toc_visible: true
#   jupytext:
#     cell_metadata_filter: cellView,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: accelerator,colab
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ask a model, and see what moves its score
#
# To open it in Colab, upload it there: the repository has no address yet.
#
# Loads a checkpoint (of `make quickstart`, of your own run, or one that `launch/convert.py` made from
# released weights), completes prompts, and then scores one set of problems at several temperatures
# and under the other rules for where a completion ends.
#
# `SCALE = "smoke"` makes a random model instead, to show that everything runs.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "checkpoint")  # @param ["smoke", "checkpoint"]
CHECKPOINT = "runs/quickstart/code_exercises"  # @param {type: "string"}
BENCHMARK = "runs/quickstart/synthesize/benchmark.jsonl"  # @param {type: "string"}
N_SAMPLES = 10  # @param {type: "integer"}
REPOSITORY = ""  # @param {type: "string"}
OUTPUT = os.environ.get("PHI1_JAX_OUTPUT", "runs/notebook_generate")  # @param {type: "string"}

# %% [markdown]
# The package is installed if it is not here yet, with the JAX that is here: Colab's fits its
# accelerators, and another one might not. `REPOSITORY` is
# what `git clone` takes.

# %% cellView="form"
# @title Installation
import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

if importlib.util.find_spec("phi1_jax") is None:
    if not REPOSITORY:
        raise SystemExit("REPOSITORY is empty: give what `git clone` takes, then run this again")
    subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "phi1_jax_repository"], check=True)
    kept = Path("kept.txt")
    kept.write_text(f"jax=={version('jax')}\njaxlib=={version('jaxlib')}\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(kept)]
    subprocess.run([*pip, "--editable", "phi1_jax_repository[data,plots]"], check=True)
    sys.path.insert(0, "phi1_jax_repository")

from phi1_jax import errors

# The configs, beside the package or, from a wheel, in it.
sys.path.insert(0, str(errors.REPOSITORY))

# %%
from matplotlib import pyplot

from phi1_jax.evaluate.benchmarks import HUMANEVAL_STOP, humaneval, read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.evaluate.scoring import evaluate_model
from phi1_jax.generate.generator import Generator
from phi1_jax.sandbox import open_sandbox
from phi1_jax.unconventional import read_unconventional

root = Path(OUTPUT)
if SCALE == "smoke":
    from flax import nnx

    from phi1_jax.config import ModelConfig
    from phi1_jax.model.phi import Phi
    from phi1_jax.run.checkpoint import write_model
    from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

    problems = read_unconventional()
    train_tokenizer([p.prompt + p.canonical_solution for p in problems], 512).save(root / "pieces")
    config = ModelConfig(
        vocab_size=512, n_layers=1, d_model=32, d_mlp=64, n_heads=2, rotary_dim=8, max_seq_len=512
    )
    params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(0)), nnx.Param))
    CHECKPOINT, N_SAMPLES = str(root / "model"), 2
    write_model(Path(CHECKPOINT), config, params, root / "pieces")
    benchmark = humaneval(sorted(problems, key=lambda p: len(p.prompt))[:5], "shortest five")
else:
    benchmark = read_benchmark(BENCHMARK, None)
max_new_tokens = 8 if SCALE == "smoke" else 96
generator = Generator.from_checkpoint(Path(CHECKPOINT))

# %% [markdown]
# ## One prompt
#
# Without stop strings a model writes on after the function; with them the completion ends where the
# body does. `finish_reason` says which end it was.

# %% cellView="form"
# @title Prompt
prompt = benchmark.tasks[0].prompt
TEMPERATURE = 0.0  # @param {type: "number"}
for stop in ((), HUMANEVAL_STOP):
    ((completion,),) = generator.generate(
        [prompt], max_new_tokens=max_new_tokens, temperature=TEMPERATURE, stop=stop
    )
    print(f"--- {len(stop)} stop strings, ended by {completion.finish_reason}")
    print(prompt + completion.text)

# %% [markdown]
# ## pass@k and temperature
#
# A warmer model is right less often at the first try, and more often in one of many.

# %%
ks = sorted({1, max(1, N_SAMPLES // 2), N_SAMPLES})
summaries = {}
with open_sandbox() as sandbox:
    executor = TestExecutor(sandbox)
    for temperature in (0.2, 0.8):
        plan = SamplingPlan(N_SAMPLES, temperature, max_new_tokens=max_new_tokens, batch_size=64)
        summaries[temperature] = evaluate_model(
            generator,
            benchmark,
            executor,
            root / f"temperature_{temperature}",
            plan,
            model=CHECKPOINT,
            ks=ks,
            sensitivity=True,
        )

figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
for temperature, summary in summaries.items():
    found = [100 * summary["pass_at_k"][str(k)]["value"] for k in ks]
    axes.plot(ks, found, marker="o", label=f"temperature {temperature}")
axes.set_xlabel("k")
axes.set_ylabel("pass@k, %")
axes.legend()
pyplot.show()

# %% [markdown]
# ## The same samples under other rules
#
# What a harness does with a completion before it is judged moves the score without any change to the
# model; a report that does not name these choices cannot be compared with.

# %%
for temperature, summary in summaries.items():
    print(f"temperature {temperature}: {summary['verdicts']}")
    for rule, value in summary["sensitivity"]["pass_at_1"].items():
        print(f"  {rule:26} pass@1 {100 * value:5.1f} %")
