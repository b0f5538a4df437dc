# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: error_rate.ipynb
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
# # What do wrong solutions in the exercises cost?
#
# To open it in Colab, upload it there: the repository has no address yet.
#
# The paper says that its generated data has a high error rate. A later article says that a model
# trained on data that is wholly wrong still gave right answers. Does it?
#
# `SCALE = "full"` is the quickstart's scale, 1.1M parameters: about 12 minutes a seed on two cores. `"smoke"` only shows that
# everything runs. A cell that was interrupted goes on when it is run again.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "full")  # @param ["smoke", "full"]
SEEDS = 1  # @param {type: "integer"}
WRONG_SHARES = "0, 0.1, 0.25, 0.5, 1"  # @param {type: "string"}
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
from itertools import islice

from IPython.display import Image, Markdown, display

from phi1_jax.ablation.question import Change, Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.ablation.results import FIGURE, table, write_results
from phi1_jax.ablation.runs import Ablation
from phi1_jax.cli.recipe import Recipe, smoke
from phi1_jax.corpus.documents import read_documents
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
# Each wrong solution has one small edit (off by one, a wrong branch, a wrong value) with which an
# example of the exercise no longer holds when executed. Prompts are the same at every share. Smoke
# scale takes the first share and the last.

# %%
shares = sorted(float(share) for share in WRONG_SHARES.split(","))
shares = [shares[0], shares[-1]] if SCALE == "smoke" else shares
flags = {"wrong_share": ",".join(f"{share:g}" for share in shares)}
corpora, variants = {"code_textbook": code_textbook()}, {}
for share in shares:
    name = f"wrong_{share:g}"
    corrupt = Change("corrupt_exercises.py", flags, part=name)
    corpora[name] = Corpus(("exercises",), (corrupt,))
    variants[name] = (pretrain(recipe), finetune(recipe, name))
question = Question(recipe, corpora, variants, baseline=f"wrong_{shares[0]:g}")

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
# Bits per byte: lower is better. The second table has the differences to the smallest share.

# %%
output = Path(OUTPUT) / "error_rate"
result = write_results(ablation, output, "error_rate")
display(Markdown(table(result)))

# %%
display(Image(str(output / FIGURE)))

# %% [markdown]
# Some of the wrong exercises: what was done to them is in their metadata.

# %%
for document in islice(read_documents(ablation.files[name][0]), 3):
    print(f"--- {document.metadata['mutation']}\n{document.text}")

# %% [markdown]
# ## Further
#
# The same question as one command, with three seeds, resumable and split between machines:
# `python launch/ablate.py --question=error_rate --output=runs/ablations/error_rate --allow_code_execution`.
# `docs/ablations.md` has the other questions, and what came out of them here.
