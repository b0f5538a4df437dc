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
# Loads a model (the one in the box, 1.1M parameters; a run of yours, such as `make quickstart`'s; or
# a Hugging Face folder of phi), completes a prompt, and then scores one set of problems at two
# temperatures and under the other rules for where a completion ends.
#
# `SCALE = "smoke"` takes five problems and two short samples, to show that everything runs.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "full")  # @param ["smoke", "full"]
CHECKPOINT = "models/phi1_tiny"  # @param {type: "string"}
BENCHMARK = "humaneval"  # @param ["humaneval", "mbpp", "unconventional"] {allow-input: true}
N_SAMPLES = 4  # @param {type: "integer"}
REPOSITORY = ""  # @param {type: "string"}
OUTPUT = os.environ.get("PHI1_JAX_OUTPUT", "runs/notebook_generate")  # @param {type: "string"}

# %% [markdown]
# The package is installed if it is not here yet, with the JAX that is here: Colab's fits its
# accelerators, and another one might not. `REPOSITORY` is what `git clone` takes.

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
    if not Path("phi1_jax_repository").exists():  # it does where pip failed the last time
        subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "phi1_jax_repository"], check=True)
    kept = Path("kept.txt")
    kept.write_text(f"jax=={version('jax')}\njaxlib=={version('jaxlib')}\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(kept)]
    subprocess.run([*pip, "--editable", "phi1_jax_repository[hf,plots]"], check=True)
    sys.path.insert(0, "phi1_jax_repository")

# %%
from matplotlib import pyplot

from phi1_jax import Generator, SamplingPlan, TestExecutor, evaluate_model, open_sandbox
from phi1_jax.evaluate.benchmarks import HUMANEVAL_STOP, humaneval, read_benchmark
from phi1_jax.evaluate.problem_files import find_problems
from phi1_jax.unconventional import read_unconventional

root, max_new_tokens = Path(OUTPUT), 96
generator = Generator.from_checkpoint(CHECKPOINT)
if SCALE == "smoke":
    N_SAMPLES, max_new_tokens = 2, 8
    problems = sorted(read_unconventional(), key=lambda problem: len(problem.prompt))
    benchmark = humaneval(problems[:5], "shortest five")
else:
    public = BENCHMARK in ("humaneval", "mbpp")
    benchmark = read_benchmark(BENCHMARK, find_problems(BENCHMARK, None, root) if public else None)

# %% [markdown]
# ## One prompt
#
# Without stop strings a model writes on after the function; with them the completion ends where the
# body does. `finish_reason` says which end it was.

# %% cellView="form"
# @title Prompt
PROMPT = """
def keep_small(values):
    '''Return the values below 5, in the same order.'''
"""
TEMPERATURE = 0.0  # @param {type: "number"}
for stop in ((), HUMANEVAL_STOP):
    ((completion,),) = generator.generate(
        [PROMPT], max_new_tokens=max_new_tokens, temperature=TEMPERATURE, stop=stop
    )
    print(f"--- {len(stop)} stop strings, ended by {completion.finish_reason}")
    print(PROMPT + completion.text)

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
        plan = SamplingPlan(
            N_SAMPLES, temperature, max_new_tokens=max_new_tokens, on_overflow="left"
        )
        output = root / f"{Path(CHECKPOINT).name}_{benchmark.name}_{N_SAMPLES}_at_{temperature}"
        summaries[temperature] = evaluate_model(
            generator, benchmark, executor, output, plan, ks=ks, sensitivity=True
        )

# %%
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
