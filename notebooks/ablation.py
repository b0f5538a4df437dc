# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     name: ablation.ipynb
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
# # What does the data do? phi-1's Figure 2.1 at tiny scale
#
# To open it in Colab, upload it there: the repository has no address yet.
#
# The paper trains one model on raw code, one on a mix with textbooks, and finetunes that one on
# exercises; the last step brings most of the score. Here the same comparison runs with a model of
# one million parameters, a built-in generator of programs as the teacher, and Python's own library
# as the raw code. The held-out problems are compositions of steps that no training text contains.
#
# With `SCALE = "minutes"` it takes about ten minutes on a CPU; `"smoke"` only shows that everything
# runs, and its scores are zero.

# %% cellView="form"
# @title Settings
import os

SCALE = os.environ.get("PHI1_JAX_SCALE", "minutes")  # @param ["smoke", "minutes"]
OPTIMIZER = "muon"  # @param ["muon", "adamw"]
DEDUPLICATE = True  # @param {type: "boolean"}
MIXES = "raw_code, code_textbook, code_exercises"  # @param {type: "string"}
REPOSITORY = ""  # @param {type: "string"}
OUTPUT = os.environ.get("PHI1_JAX_OUTPUT", "runs/ablation")  # @param {type: "string"}

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
import json
import sysconfig

from matplotlib import pyplot

from configs import phi1_tiny
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.corpus.documents import read_documents
from phi1_jax.corpus.fingerprints import fingerprint_document
from phi1_jax.decontamination.contamination import Rules
from phi1_jax.decontamination.decontaminate import decontaminate
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.evaluate.scoring import evaluate_model
from phi1_jax.generate.generator import Generator
from phi1_jax.sandbox import open_sandbox
from phi1_jax.synthesis import offline_teacher
from phi1_jax.synthesis.synthesize import synthesize
from phi1_jax.tokens.sentencepiece_bpe import sample_texts, train_tokenizer
from phi1_jax.tokens.shards import write_shards
from phi1_jax.train.loop import train

SIZES = {
    # exercises, textbook sections, problems, steps of pretraining and of finetuning
    "smoke": (400, 60, 12, 10, 10),
    "minutes": (20_000, 2_500, 200, 400, 3_600),
}
n_exercises, n_sections, n_problems, pretrain_steps, finetune_steps = SIZES[SCALE]
mixes = [mix.strip() for mix in MIXES.split(",")]
root = Path(OUTPUT) / f"{SCALE}_{OPTIMIZER}_{'dedup' if DEDUPLICATE else 'all'}"
synthetic, clean = root / "synthesize", root / "decontaminate"
for folder in (synthetic, clean):
    folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The data
#
# The teacher writes textbook sections and exercises, each exercise is executed with the examples
# that it states, and whatever gives a held-out problem away goes out.

# %%
problems = offline_teacher.build_benchmark(n_problems, 0)
held_out = {problem.composition for problem in problems}
with open_sandbox() as sandbox:
    report = synthesize(
        synthetic,
        offline_teacher.OfflineTeacher(),
        offline_teacher.plan_textbooks(n_sections, 0, held_out),
        offline_teacher.plan_exercises(n_exercises, 0),
        problems,
        sandbox.run,
        batch=16,
    )
names = ("exercises.jsonl.zst", "textbooks.jsonl.zst")
pruned = decontaminate([synthetic / name for name in names], problems, clean, Rules())
print("kept", pruned["out"], "dropped", pruned["dropped"])


# %% [markdown]
# With `DEDUPLICATE`, an exercise goes whose syntax tree occurred before, up to the names of its
# variables. Raw code comes as it is from the running interpreter's library.


# %%
def first_of_each_tree(documents):
    seen = set()
    for document in documents:
        functions = fingerprint_document(document).functions
        tree = functions[-1][0].tobytes() if functions else document.text.encode()
        if tree not in seen:
            seen.add(tree)
            yield document


library = Path(sysconfig.get_paths()["stdlib"])
packages = ("json",) if SCALE == "smoke" else ("asyncio", "email", "json", "logging", "unittest")
raw = [d for p in packages for d in read_documents(library / p, source="raw_code")]
textbooks = list(read_documents(clean / "textbooks.jsonl.zst"))
exercises = list(read_documents(clean / "exercises.jsonl.zst"))
if DEDUPLICATE:
    before = len(exercises)
    exercises = list(first_of_each_tree(exercises))
    print(f"{before} exercises, {len(exercises)} with a tree of their own")
corpora = {"raw_code": raw, "code_textbook": [*raw, *textbooks], "code_exercises": exercises}

vocab_size = 1024 if SCALE == "smoke" else 2048
tokenizer = train_tokenizer(sample_texts([*textbooks, *exercises], 4_000_000), vocab_size)
tokenizer.save(root / "tokenizer")
for name in mixes:
    manifest = write_shards(corpora[name], tokenizer, root / f"shards_{name}")
    print(f"{name}: {manifest['n_documents']:,} documents, {manifest['n_tokens']:,} tokens")
print(exercises[0].text)

# %% [markdown]
# ## Training
#
# One config for all. `code_exercises` starts from `code_textbook` if that is among the mixes, as in
# the paper, else from scratch. A run that was interrupted goes on.


# %%
def config_for(name):
    values = phi1_tiny.get_config().to_dict()
    values["optimizer"]["name"] = OPTIMIZER
    values["data"]["tokenizer"] = str(root / "tokenizer")
    values["data"]["sources"] = [{"name": name, "path": str(root / f"shards_{name}")}]
    values["steps"] = finetune_steps if name == "code_exercises" else pretrain_steps
    if name == "code_exercises" and "code_textbook" in mixes:
        values["init_from"] = str(root / "code_textbook")
    if SCALE == "smoke":
        values["model"] |= {"n_layers": 1, "d_model": 64, "d_mlp": 128, "scan_unroll": 1}
        values["optimizer"]["warmup_steps"] = values["log_every_steps"] = 2
    return from_dict(RunConfig, values)


results = {name: train(config_for(name), root / name) for name in mixes}
for name, result in results.items():
    print(f"{name}: {result['tokens']:,} tokens, loss {result['loss']:.3f}")

# %%
figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
for name in mixes:
    lines = (root / name / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "train/loss" in row]
    axes.plot([row["step"] for row in rows], [row["train/loss"] for row in rows], label=name)
axes.set_xlabel("step")
axes.set_ylabel("training loss")
axes.legend()
pyplot.show()

# %% [markdown]
# ## The score
#
# Greedy completions of the held-out problems, run in the sandbox. The bars show 95% intervals.

# %%
benchmark = read_benchmark(str(synthetic / "benchmark.jsonl"), None)
plan = SamplingPlan(max_new_tokens=8 if SCALE == "smoke" else 96, batch_size=n_problems)
scores = {}
with open_sandbox() as sandbox:
    executor = TestExecutor(sandbox)
    for name in mixes:
        generator = Generator.from_checkpoint(root / name)
        summary = evaluate_model(
            generator, benchmark, executor, root / "evaluate" / name, plan, model=name
        )
        scores[name] = summary["pass_at_k"]["1"]
        print(f"{name}: pass@1 {100 * scores[name]['value']:.1f} %, {summary['verdicts']}")

# %%
figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
values = [100 * scores[name]["value"] for name in mixes]
below = [100 * (scores[name]["value"] - scores[name]["low"]) for name in mixes]
above = [100 * (scores[name]["high"] - scores[name]["value"]) for name in mixes]
bars = axes.bar(mixes, values, yerr=[below, above], capsize=4, color="#5b8bc9")
axes.bar_label(bars, fmt="%.1f", padding=4)
axes.set_ylim(0, 112)
axes.set_ylabel("pass@1, %")
axes.set_title(f"{OPTIMIZER}, {'no' if DEDUPLICATE else 'with'} duplicates")
pyplot.show()

# %%
first = benchmark.tasks[0]
line = (root / "evaluate" / mixes[-1] / "results.jsonl").read_text().splitlines()[0]
row = json.loads(line)
print(f"# {row['verdict']}\n{first.prompt}{row['completion']}")

# %% [markdown]
# ## Further
#
# Run it again with `OPTIMIZER = "adamw"`, without `DEDUPLICATE`, or with `MIXES = "code_exercises"`
# (no pretraining): each setting has its own folder below `OUTPUT`. The whole pipeline with the
# quality filter is `launch/quickstart.py`; `docs/evaluation.md` says how scores are made.
