# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: data_mix.ipynb
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
# # Which part of the data brings the score?
#
# To open it in Colab, upload it there: the repository has no address yet.
#
# The paper (Figure 2.1) trains on raw code, on filtered code, on CodeTextbook (filtered code and
# synthetic textbooks), and finetunes the last on CodeExercises; that step brings most of the score.
# Here all four get the same steps: the first three go on with what they began with.
#
# `SCALE = "full"` is the quickstart's scale, 1.1M parameters: about 15 minutes a seed on two cores. `"smoke"` only shows that
# everything runs. A cell that was interrupted goes on when it is run again.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "full")  # @param ["smoke", "full"]
SEEDS = 1  # @param {type: "integer"}
VARIANTS = "raw_code, filtered_code, code_textbook, code_exercises"  # @param {type: "string"}
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

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, finetune, pretrain
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
# A variant is a list of phases, each a mixture of corpora and a number of steps. Smoke scale takes the
# first and the last.

# %%
corpora = {
    "raw_code": Corpus(("raw_code",)),
    "filtered_code": Corpus(("filtered",)),
    "code_textbook": code_textbook(),
    "exercises": Corpus(("exercises",)),
}


def phases(name):
    if name == "code_exercises":
        return pretrain(recipe), finetune(recipe)
    return pretrain(recipe, name), Phase({name: 1.0}, recipe.finetune_steps)


names = [name.strip() for name in VARIANTS.split(",")]
names = [names[0], names[-1]] if SCALE == "smoke" else names
question = Question(recipe, corpora, {name: phases(name) for name in names}, baseline=names[0])

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
# Bits per byte: lower is better. The own problems are in the exercises' dialect, HumanEval and MBPP
# are not. The second table has the differences to raw code on the same problems.

# %%
output = Path(OUTPUT) / "data_mix"
result = write_results(ablation, output, "data_mix")
display(Markdown(table(result)))

# %%
display(Image(str(output / FIGURE)))

# %% [markdown]
# The beginning of a document of each corpus.

# %%
for name in ("raw_code", "textbooks", "exercises"):
    document = next(iter(read_documents(ablation.data.corpora[name])))
    print(f"--- {name}: {document.id}\n{document.text[:600]}\n")

# %% [markdown]
# ## Further
#
# The same question as one command, with three seeds, resumable and split between machines:
# `python launch/ablate.py --question=data_mix --output=runs/ablations/data_mix --allow_code_execution`.
# `docs/ablations.md` has the other questions, and what came out of them here.
