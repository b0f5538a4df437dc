# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: diversity.ipynb
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
# # Does it matter how many kinds of exercises there are?
#
# To open it in Colab, upload it there: the repository has no address yet.
#
# The paper calls diversity one of the main difficulties of synthetic data. Here the exercises come from
# all kinds, or from 1/2, 1/4 or 1/8 of them, at the same number of tokens.
#
# `SCALE = "full"` is the quickstart's scale, 1.1M parameters: about 15 minutes a seed on two cores. `"smoke"` only shows that
# everything runs. A cell that was interrupted goes on when it is run again.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "full")  # @param ["smoke", "full"]
SEEDS = 1  # @param {type: "integer"}
KIND = "program"  # @param ["program", "name"]
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
# A kind is a program of the teacher's grammar, or the first word of a function's name. Each seed draws
# other kinds. Smoke scale takes all, and half of them.

# %%
shares = [1.0, 0.5] if SCALE == "smoke" else [1.0, 0.5, 0.25, 0.125]
tokens = recipe.n_exercises * 116 // 16  # about 116 tokens an exercise
corpora, variants = {"code_textbook": code_textbook()}, {}
for share in shares:
    name = f"{KIND}s_{share:g}" if share < 1 else "all"
    select = Change("select_exercises.py", {"by": KIND, "kinds": share}, seeded=True)
    corpora[name] = Corpus(("exercises",), (select,), max_tokens=tokens)
    variants[name] = (pretrain(recipe), finetune(recipe, name))
question = Question(recipe, corpora, variants, baseline="all")

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
# Bits per byte: lower is better. The second table has the differences to all kinds.

# %%
output = Path(OUTPUT) / "diversity"
result = write_results(ablation, output, "diversity")
display(Markdown(table(result)))

# %%
display(Image(str(output / FIGURE)))

# %% [markdown]
# Three exercises of what the last variant was finetuned on.

# %%
for document in islice(read_documents(ablation.files[name][0]), 3):
    print(f"---\n{document.text}")

# %% [markdown]
# ## Further
#
# The same question as one command, with three seeds, resumable and split between machines:
# `python launch/ablate.py --question=diversity --output=runs/ablations/diversity --allow_code_execution`.
# `docs/ablations.md` has the other questions, and what came out of them here.
