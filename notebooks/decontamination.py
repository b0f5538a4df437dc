# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: decontamination.ipynb
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
# # Does the model remember the benchmark, or has it learnt?
#
# To open it in Colab, upload it there: the repository has no address yet.
#
# The paper (section 5, Table 3) takes out the exercises whose syntax trees match a HumanEval problem's
# at a rate of at least tau, trains again, and scores the problems with and without a similar exercise
# apart.
#
# `SCALE = "full"` is the quickstart's scale, 1.1M parameters: about 15 minutes a seed on two cores. `"smoke"` only shows that
# everything runs. A cell that was interrupted goes on when it is run again.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "full")  # @param ["smoke", "full"]
SEEDS = 1  # @param {type: "integer"}
TAUS = "1.0, 0.95, 0.9, 0.85, 0.8"  # @param {type: "string"}
ALLOW_CODE_EXECUTION = True  # @param {type: "boolean"}
REPOSITORY = ""  # @param {type: "string"}
OUTPUT = os.environ.get("PHI1_JAX_OUTPUT", "runs/ablations")  # @param {type: "string"}

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
    subprocess.run([*pip, "--editable", "phi1_jax_repository[data,plots]"], check=True)
    sys.path.insert(0, "phi1_jax_repository")

# %%
from IPython.display import Image, Markdown, display

from phi1_jax.ablation.question import Change, Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.ablation.results import FIGURE, table, write_results
from phi1_jax.ablation.runs import Ablation
from phi1_jax.cli.recipe import Recipe, smoke
from phi1_jax.evaluate.problem_files import find_all

stages = Path(OUTPUT) / "stages"
public = {}
if SCALE == "full":
    public, _ = find_all({"humaneval": None, "mbpp": None}, stages / "public")
recipe = Recipe(Path("phi1_tiny"), {}, public)
if SCALE == "smoke":
    recipe = smoke(recipe)

# %% [markdown]
# ## The question
#
# The exercises as the teacher wrote them are pruned at each tau against the own problems, HumanEval
# and MBPP together. Smoke scale takes the first tau and the last.

# %%
taus = sorted((float(tau) for tau in TAUS.split(",")), reverse=True)
taus = [taus[0], taus[-1]] if SCALE == "smoke" else taus
flags = {"tau": ",".join(map(str, taus))}
corpora, variants = {"code_textbook": code_textbook()}, {}
for tau in taus:
    name = f"tau_{tau}"
    prune = Change("decontaminate.py", flags, part=name, benchmarks=True)
    corpora[name] = Corpus(("exercises_as_written",), (prune,))
    variants[name] = (pretrain(recipe), finetune(recipe, name))
first = f"tau_{taus[0]}"
question = Question(recipe, corpora, variants, baseline=first, similar=first)

# %% [markdown]
# ## What will run
#
# Every stage is a script of `launch/`; those that are finished are reused, also from other questions
# in the same `OUTPUT`.

# %%
execute = ["own"] if ALLOW_CODE_EXECUTION else []
ablation = Ablation(question, stages, range(SEEDS), execute=execute)
print(ablation.plan())

# %%
ablation.run(quiet=True)

# %% [markdown]
# ## What came out
#
# If a lower tau cost only the problems with a similar exercise, the score would be memory.

# %%
output = Path(OUTPUT) / "decontamination"
result = write_results(ablation, output, "decontamination")
display(Markdown(table(result)))

# %%
display(Image(str(output / FIGURE)))

# %% [markdown]
# How many exercises each tau leaves.

# %%
for name, variant in result["variants"].items():
    print(f"{name}: {variant['data'][name]['documents']:,} exercises")

# %% [markdown]
# ## Further
#
# The same question as one command, with three seeds, resumable and split between machines:
# `python launch/ablate.py --question=decontamination --output=runs/ablations/decontamination --allow_code_execution`.
# `docs/ablations.md` has the other questions, and what came out of them here.
