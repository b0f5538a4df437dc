"""Ablations over stages that cost nothing: planned, shared, killed, resumed, sharded, reported."""

import json
import re
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phi1_jax.ablation import results
from phi1_jax.ablation.question import (
    Change,
    Corpus,
    Phase,
    Question,
    code_textbook,
    finetune,
    load_question,
    pretrain,
)
from phi1_jax.ablation.runs import Ablation, slurm_script
from phi1_jax.cli.recipe import Recipe, smoke
from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.errors import UserError
from phi1_jax.evaluate.pass_at_k import bootstrap_interval

QUESTIONS = sorted((REPOSITORY / "configs" / "ablations").glob("*.py"))
RECIPE = smoke(Recipe(REPOSITORY / "configs" / "phi1_tiny.py", {}, {}))
PROBLEMS = [
    Problem("own/0", "def f(x):\n", "f", "    return x\n", "def check(candidate):\n    pass\n"),
    Problem(
        "own/1", "def g(x):\n", "g", "    while x > 9:\n        x -= 9\n    return x\n",
        "def check(candidate):\n    pass\n",
    ),
]  # fmt: skip
# Stands for every launch script: notes that it ran, and leaves what is read of its output.
SCRIPT = """
import json, pathlib, shutil, sys, time, zstandard
name = pathlib.Path(sys.argv[0]).name
given = dict(a.removeprefix("--").partition("=")[::2] for a in sys.argv[1:])
folder = pathlib.Path(given.get("output") or given["train_tokenizer"])
here = pathlib.Path(__file__).parent
folder.mkdir(exist_ok=True)
with (here / "log").open("a") as file:
    file.write(folder.name + "\\n")
write = lambda path, rows: path.write_text("".join(json.dumps(r) + "\\n" for r in rows))
if name == "synthesize.py":
    shutil.copy(here / "problems.jsonl", folder / "benchmark.jsonl")
if name.split("_")[-1] in ("curate.py", "synthesize.py", "decontaminate.py", "exercises.py"):
    for part in (".", "wrong_1", "tau_1.0", "tau_0.8"):
        (folder / part).mkdir(exist_ok=True)
        for corpus in ("pool", "filtered", "textbooks", "exercises"):
            row = {"id": "0", "text": "x = 1", "source": "s", "metadata": {"mutation": "none"}}
            path = folder / part / f"{corpus}.jsonl.zst"
            path.write_bytes(zstandard.compress(json.dumps(row).encode()))
    split = {"tau": 1.0, "similar": ["own/0"], "non_similar": ["own/1"]}
    write(folder / "splits.json", [{"splits": [split]}])
if name == "tokenize_corpus.py":
    write(folder / "report.json", [{"in": {"documents": 3}, "out": {"tokens": 100}}])
if name == "train.py":
    seed = int(given["config.seed"])
    time.sleep(30 if (here / f"hang{seed}").exists() else 0)
    write(folder / "metrics.jsonl", [{"step": 4, "validation/loss": 2.0 + seed}])
    write(folder / "result.json", [{"finished": True}])
if name == "evaluate.py":
    better = "train_some" in given["checkpoint"]
    model = folder / "model"
    model.mkdir(exist_ok=True)
    n = int(given.get("n_samples", 1))
    write(model / "results.jsonl", [
        {"task_id": "own/0", "verdict": "PASS"},
        {"task_id": "own/1", "verdict": "PASS" if better else "FAIL"},
    ] + [{"task_id": f"own/{i}", "verdict": "FAIL"} for i in (0, 1)] * (n - 1))
    write(model / "bits_per_byte.jsonl", [
        {"task_id": f"own/{i}", "bits": (30.0 - 10 * better) * (i + 1), "n_bytes": 10 * (i + 1),
         "n_tokens": 5, "n_cut": 0, "n_pieces": 1} for i in (0, 1)
    ])
"""


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    for path in (REPOSITORY / "launch").glob("*.py"):
        (folder / path.name).write_text(SCRIPT)
    write_problems(folder / "problems.jsonl", PROBLEMS)
    return folder


def question(**fields) -> Question:
    corpora = {
        "code_textbook": code_textbook(),
        "exercises": Corpus(("exercises",)),
        "some": Corpus(("exercises",), max_tokens=50),
    }
    variants = {
        "all": (pretrain(RECIPE), finetune(RECIPE)),
        "some": (pretrain(RECIPE), finetune(RECIPE, "some")),
    }
    return Question(**{
        "recipe": RECIPE, "corpora": corpora, "variants": variants, "baseline": "all", **fields
    })  # fmt: skip


def ablation(tmp_path: Path, **fields) -> Ablation:
    return Ablation(
        question(**fields), tmp_path / "stages", (0, 1), execute=["own"],
        scripts=tmp_path / "scripts",
    )  # fmt: skip


def starts(scripts: Path) -> Counter:
    """Kind of stage -> how often one was started."""
    lines = (scripts / "log").read_text().split()
    return Counter(line.rpartition("-")[0] for line in lines)


EXPECTED = {
    "curate": 1, "synthesize": 1, "decontaminate_own": 1, "tokenizer": 1,
    "shards_code_textbook": 1, "shards_exercises": 1, "shards_some": 1,
    "train_code_textbook": 2, "train_exercises": 2, "train_some": 2, "scores_own": 4,
}  # fmt: skip


@pytest.mark.slow
def test_what_is_shared_runs_once_and_the_plan_says_so(tmp_path, scripts):
    asked = ablation(tmp_path)
    plan = asked.plan(workers=2)
    rows = {line.split()[0]: line.split()[1:3] for line in plan.splitlines()[1:-2]}
    assert rows == {kind: [str(n), "0"] for kind, n in EXPECTED.items()}
    assert "not measured here yet" in plan and not (tmp_path / "stages").exists()
    asked.run(workers=2)
    assert starts(scripts) == EXPECTED
    plan = ablation(tmp_path).plan()
    rows = {line.split()[0]: line.split()[1:3] for line in plan.splitlines()[1:-1]}
    assert rows == {kind: ["0", str(n)] for kind, n in EXPECTED.items()}
    assert "in all about 0 min" in plan
    # Another question about the same recipe trains only what is new in it.
    more = question()
    variants = {**more.variants, "long": (replace(pretrain(RECIPE), steps=8),)}
    again = Ablation(
        replace(more, variants=variants), tmp_path / "stages", (0, 1), execute=["own"],
        scripts=scripts,
    )  # fmt: skip
    again.run()
    new = starts(scripts)
    new.subtract(EXPECTED)
    assert +new == {"train_code_textbook": 2, "scores_own": 2}


@pytest.mark.slow
def test_estimates_come_from_finished_stages(tmp_path, scripts):
    asked = ablation(tmp_path)
    first = asked.part(0, 4)
    asked.run(first)
    for stage in asked.pipeline.stages.values():
        if asked.pipeline.is_finished(stage):
            seconds = 120.0 if stage.script == "train.py" else 6.0
            asked.pipeline._write(stage, True, seconds)
    # Left: 4 trainings of 4 steps, 3 evaluations, 1 corpus; seed 0 is pretrained.
    left = ablation(tmp_path).plan().splitlines()
    assert left[-1] == f"in all about {(4 * 120 + 4 * 6) / 60:.0f} min with 1 at a time"


@pytest.mark.slow
def test_killed_and_resumed(tmp_path, scripts):
    program = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
import test_ablation
test_ablation.ablation(Path({str(tmp_path)!r})).run(workers=2)
"""
    (scripts / "hang1").touch()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while not (scripts / "log").exists() or starts(scripts)["train_code_textbook"] < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        (scripts / "hang1").unlink()
        process.send_signal(signal.SIGTERM)
    assert process.returncode != 0
    before = starts(scripts)
    asked = ablation(tmp_path)
    assert asked.missing()
    asked.run(workers=2)
    assert not asked.missing()
    twice = starts(scripts)
    twice.subtract(EXPECTED)
    # Only what the signal ended was started again.
    assert "train_code_textbook" in +twice and sum((+twice).values()) <= 2, before


@pytest.mark.slow
def test_shards_split_the_runs_without_overlap(tmp_path, scripts):
    asked = ablation(tmp_path)
    for of in (1, 2, 3, 4, 7):
        parts = [asked.part(index, of) for index in range(of)]
        assert sorted(id(run) for part in parts for run in part) == sorted(map(id, asked.runs))
    asked.run(asked.part(0, 2))
    assert len(asked.missing()) == 2 and not asked.missing(asked.part(0, 2))
    other = ablation(tmp_path)
    other.run(other.part(1, 2))
    assert starts(scripts) == EXPECTED
    assert not ablation(tmp_path).missing()


@pytest.mark.slow
def test_results_have_each_measure_with_its_interval_and_difference(tmp_path, scripts):
    asked = ablation(tmp_path, construct="while")
    asked.run()
    output = tmp_path / "out"
    found = results.write_results(asked, output, "mine")
    assert found == json.loads((output / "ablation.json").read_text())
    some, base = (found["variants"][name]["measures"] for name in ("some", "all"))
    assert base["own/pass@1"]["all"]["value"] == 0.5
    assert some["own/pass@1"]["all"]["difference"]["value"] == 0.5
    assert some["own/pass@1"]["with while"]["difference"] == {"value": 1, "low": 1, "high": 1}
    assert some["own/pass@1"]["with while"]["n_problems"] == 1
    assert base["own/bits per byte"]["all"]["by_seed"] == [3.0, 3.0]
    assert base["validation loss"]["all"]["by_seed"] == [2.0, 3.0]
    loss = base["validation loss"]["all"]
    assert loss["low"] < 2.1 and loss["high"] > 2.9
    assert found["variants"]["some"]["data"]["some"] == {"documents": 3, "tokens": 100}
    page = re.sub(" +", " ", (output / "ablation.md").read_text())
    assert "| some | 100.0 % (100.0 to 100.0) | 2.000 |" in page
    assert "- some: 70 % of some (100), 30 % of code_textbook (100)" in page
    assert "| minus all |" in page and "Problems with while</summary>" in page
    assert (output / "figure.png").read_bytes().startswith(b"\x89PNG")
    board = EventAccumulator(str(output / "tensorboard" / "some_seed1"))
    board.Reload()
    assert [event.value for event in board.Scalars("pass@1/own")] == [1.0]
    assert "_hparams_/session_start_info" in board.summary_metadata


@pytest.mark.slow
def test_samples_of_public_problems_give_pass_at_k(tmp_path, scripts):
    problem = {
        "task_id": "HumanEval/0", "prompt": "def f(x):\n", "entry_point": "f",
        "canonical_solution": "    return x\n", "test": "def check(candidate):\n    pass\n",
    }  # fmt: skip
    public = tmp_path / "humaneval.jsonl"
    public.write_text(json.dumps(problem) + "\n")
    recipe = replace(RECIPE, n_samples=10, public={"humaneval": public})
    asked = Ablation(
        question(recipe=recipe), tmp_path / "stages", (0,), execute=["own", "humaneval"],
        scripts=scripts,
    )  # fmt: skip
    asked.run()
    found = results.gather(asked, "mine")["variants"]
    measures = {name: found[name]["measures"] for name in found}
    assert measures["all"]["humaneval/pass@1"]["all"]["value"] == 0.5
    assert measures["all"]["humaneval/pass@10"]["all"]["value"] == 0.5  # one of ten passes
    assert measures["some"]["humaneval/pass@10"]["all"]["value"] == 1.0
    assert "own/pass@10" not in measures["all"]
    # Without leave to execute them, no samples are drawn.
    silent = Ablation(question(recipe=recipe), tmp_path / "stages", (0,), execute=["own"])
    assert not silent.runs[0].samples


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data_mix", "decontamination", "diversity", "error_rate"])
def test_notebooks_ask_and_show_the_same_question(name, tmp_path, scripts, monkeypatch):
    """Every cell runs, over stages that cost nothing; test_notebooks.py runs one in earnest."""
    monkeypatch.setattr("phi1_jax.ablation.runs.SCRIPTS", scripts)
    monkeypatch.setenv("PHI1_JAX_SCALE", "smoke")
    monkeypatch.setenv("PHI1_JAX_OUTPUT", str(tmp_path / "runs"))
    names = runpy.run_path(str(REPOSITORY / "notebooks" / f"{name}.py"))
    found = json.loads((tmp_path / "runs" / name / "ablation.json").read_text())
    assert len(found["variants"]) == 2 and not names["ablation"].missing()


def test_published_text_replaces_the_last_one():
    page = "# A\n<!-- results of mine -->\nnot run yet\n<!-- end -->\nend\n"
    once = results.fill(page, "mine", "table\n")
    assert once == page.replace("not run yet", "table") == results.fill(once, "mine", "table\n")
    with pytest.raises(UserError, match="results of other"):
        results.fill(page, "other", "x")


def test_intervals_agree_with_the_plain_bootstrap_and_with_theory():
    rng = np.random.default_rng(0)
    values, sizes = rng.gamma(2, 50, (1, 300)), rng.integers(20, 200, 300).astype(float)
    found = results.interval(values, sizes)
    np.testing.assert_allclose(found, bootstrap_interval(values[0], sizes), rtol=0.01)
    # Seeds that differ and problems that do not: 1.96 standard errors of the mean, in the mean.
    widths = []
    for _ in range(100):
        low, high = results.interval(np.repeat(rng.normal(0, 1, (8, 1)), 5, 1), np.ones(5))
        widths.append(high - low)
    # In the mean square, which the standard error's estimate meets; without widening it is 0.88.
    width = np.sqrt(np.mean(np.square(widths))) / (2 * 1.96 / np.sqrt(8))
    assert width == pytest.approx(1, abs=0.08)


def test_bounds_of_a_share_are_shares():
    """Few seeds are widened: three that solve 0, 2 and 3 of 164 would else begin below 0."""
    tasks = [str(number) for number in range(164)]
    solved = [{task: (float(int(task) < n), 1.0) for task in tasks} for n in (0, 2, 3)]
    found = results.estimate(solved, tasks, is_share=True)
    assert found["value"] == pytest.approx(5 / 3 / 164) and found["low"] == 0 < found["high"] < 0.05
    assert results.estimate(solved, tasks)["low"] < 0
    others = [{task: (1 - value, 1.0) for task, (value, _) in run.items()} for run in solved]
    assert results.estimate(others, tasks, is_share=True)["high"] == 1
    found = results.estimate(solved, tasks, others, is_share=True)
    assert found["low"] == -1 and found["high"] < -0.9


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def get_question(:\n", "SyntaxError: invalid syntax"),
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named"),
        ("x = 1\n", r"has no get_question\(recipe\)"),
        ("def get_question(recipe):\n    return recipe.nothing\n", "AttributeError: "),
    ],
)
def test_a_question_that_does_not_run_is_named(code, words, tmp_path):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(UserError, match=rf"--question=\S+mine\.py: {words}"):
        load_question(tmp_path / "mine.py", RECIPE)


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_questions_that_come_along(path, tmp_path):
    asked = load_question(path, RECIPE)
    assert "Varies:" in asked.about and "Fixed:" in asked.about
    planned = Ablation(asked, tmp_path / "stages", (0,), execute=["own"])
    # No two variants are the same, and all share the data.
    assert len({run.folder for run in planned.runs}) == len(asked.variants) > 2
    kinds = Counter(stage.kind for stage in planned.pipeline.stages.values())
    assert kinds["curate"] == kinds["synthesize"] == kinds["tokenizer"] == 1
    for stage in planned.pipeline.stages.values():
        for corpus in re.findall(r"--corpus=(\S+)", "\n".join(stage.command)):
            assert corpus.endswith(".jsonl.zst")


def test_the_page_says_what_each_question_says_and_has_a_place_for_its_results():
    page = (REPOSITORY / "docs" / "ablations.md").read_text()
    for path in QUESTIONS:
        title, _, rest = load_question(path, RECIPE).about.partition("\n\n")
        assert f"## {path.stem}: {title}\n\n{rest}\n" in page
        assert f"--question={path.stem} " in page
        assert results.fill(page, path.stem, "x") != page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"baseline": "al"}, "baseline is 'al'.*did you mean all"),
        ({"similar": "x"}, "similar names corpus 'x'"),
        ({"corpora": {"exercises": Corpus(("exercise",))}}, "mixture names corpus"),
        ({"variants": {"all": ()}}, "variant 'all' has no phase"),
        ({"construct": "whiles"}, "the construct is 'whiles'.*did you mean while"),
        (
            {"variants": {"all": (Phase({"exercises": 3, "code_textbook": 1}, 4),)}},
            "variant 'all': the shares of the mixture .*'exercises': 3.* add up to 1",
        ),
        ({"variants": {"all": (Phase({}, 4),)}}, "mixture {} must be above 0"),
    ],
)
def test_a_question_that_cannot_work_is_refused(fields, words):
    good = question()
    with pytest.raises(UserError, match=words):
        replace(good, **fields)


def test_a_change_by_a_script_that_is_not_there_is_refused_before_any_stage(tmp_path):
    corpora = dict(question().corpora)
    corpora["exercises"] = Corpus(("exercises",), (Change("nowhere"),))
    with pytest.raises(UserError, match=r"corpus 'exercises': .*'nowhere', which is not"):
        Ablation(replace(question(), corpora=corpora), tmp_path, (0,))


def test_a_script_of_ones_own_runs_anew_once_it_is_edited(tmp_path, scripts):
    mine = tmp_path / "mine.py"

    def folder_of() -> Path:
        corpora = {**question().corpora, "some": Corpus(("exercises",), (Change(str(mine)),))}
        return ablation(tmp_path, corpora=corpora).files["some"][0].parent

    mine.write_text("print(1)")
    before = folder_of()
    assert before.parent == tmp_path / "stages" and folder_of() == before
    mine.write_text("print(2)")
    assert folder_of() != before


@pytest.mark.parametrize(
    "fields", [{"n_exercises": -3}, {"finetune_steps": 0}, {"validation_rows": -1}]
)
def test_a_recipe_that_cannot_be_made_is_refused_before_it_begins(fields):
    ((name, value),) = fields.items()
    with pytest.raises(UserError, match=f"--{name}={value} must be at least"):
        replace(RECIPE, **fields)


def test_a_slurm_array_gives_each_task_its_shard(tmp_path):
    text = slurm_script(["launch/ablate.py", "--question=my file"], 4, tmp_path / "my results")
    assert "#SBATCH --array=0-3\n" in text
    assert f"#SBATCH --output='{tmp_path}/my results/slurm-%A-%a.log'\n" in text
    last = text.strip().split("\n")[-1]
    assert last.endswith("""'--question=my file' --shard="$SLURM_ARRAY_TASK_ID/4\"""")
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
