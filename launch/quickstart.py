"""phi-1's whole pipeline at tiny scale on a CPU: from raw code to pass@1, in minutes.

Example: python launch/quickstart.py --output=runs/quickstart      (or: make quickstart)

Every stage is one of the scripts beside this one, with the command printed. A rerun reuses the
stages whose inputs are unchanged, an interrupted one goes on, and --force starts over. The result
is OUTPUT/summary.json, figure.png, samples.md, and curves for TensorBoard.

Four models are compared: trained on raw code; on CodeTextbook; on CodeTextbook for as many tokens
more as the last one is finetuned on (the control); and finetuned on CodeExercises. They are scored
by pass@1 on held-out problems of the teacher's own, and by bits per byte of the reference solutions
of HumanEval and MBPP (lower is better; nothing of theirs is executed). Everything that is trained
on is decontaminated against all three.

Generated and trained programs are executed, in the sandbox; see launch/evaluate.py.
"""

import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.stage import fingerprint
from phi1_jax.errors import UserError, launch_command
from phi1_jax.evaluate.problem_files import find_problems
from phi1_jax.evaluate.report import write_report
from phi1_jax.files import read_json_if_whole, write_json

LAUNCH = Path(__file__).resolve().parent
CONFIG = LAUNCH.parent / "configs" / "phi1_tiny.py"
N_ANNOTATED = 1000
EMBED_TOKENS = 256
TAU = 0.9
# [ours] The paper finetunes on exercises alone; so small a model then forgets everything else.
REPLAY = 0.15

OUTPUT = flags.DEFINE_string("output", "runs/quickstart", "Folder for all that is made.")
SOURCE = flags.DEFINE_multi_string(
    "source", ["stdlib", "prose"], "Raw code and prose; see launch/curate.py --help."
)
PRETRAIN_STEPS = flags.DEFINE_integer(
    "pretrain_steps", 300, "Steps on raw code, and CodeTextbook.", 1
)
FINETUNE_STEPS = flags.DEFINE_integer(
    "finetune_steps", 1200, "Steps on CodeExercises, and of its control on CodeTextbook.", 1
)
N_EXERCISES = flags.DEFINE_integer("n_exercises", 20_000, "Exercises to synthesize.", 100)
HUMANEVAL = flags.DEFINE_string("humaneval", None, "HumanEval.jsonl.gz (default: looked for).")
MBPP = flags.DEFINE_string("mbpp", None, "mbpp.jsonl (default: looked for).")
N_PROBLEMS = flags.DEFINE_integer("n_problems", 200, "Held-out problems.", 10)
OPTIMIZER = flags.DEFINE_enum("optimizer", "muon", ["muon", "adamw"], "For every model alike.")
FORCE = flags.DEFINE_bool("force", False, "Start over.")


def main(argv: Sequence[str]) -> None:
    del argv
    root = Path(OUTPUT.value).absolute()
    if root.exists() and not root.is_dir():
        raise UserError(f"--output={root} is a file; name a folder")
    if FORCE.value:
        shutil.rmtree(root / "stages", ignore_errors=True)
    signal.signal(signal.SIGTERM, interrupt)
    pipeline = Pipeline(root)

    own = root / "synthesize" / "benchmark.jsonl"
    public, missing = {}, {}
    for name, given in (("humaneval", HUMANEVAL.value), ("mbpp", MBPP.value)):
        try:
            public[name] = find_problems(name, given, root / "public")
        except UserError as error:
            missing[name] = str(error)
            print(f"without {name}: {error}")
    curated = root / "curate" / "filtered.jsonl.zst"
    pipeline.run(
        "curate",
        "curate.py",
        *(f"--source={source}" for source in SOURCE.value),
        "--pool_mb=8",
    )
    pipeline.run(
        "synthesize",
        "synthesize.py",
        f"--n_exercises={N_EXERCISES.value}",
        f"--n_benchmark={N_PROBLEMS.value}",
    )
    # What is trained on, without what gives a problem of any benchmark away.
    clean = {
        "pool": root / "curate" / "pool.jsonl.zst",
        "filtered": curated,
        "textbooks": root / "synthesize" / "textbooks.jsonl.zst",
        "exercises": root / "synthesize" / "exercises.jsonl.zst",
    }
    needs = ["curate", "synthesize"]
    for name, problems in {"own": own, **public}.items():
        stage = f"decontaminate_{name}"
        pipeline.run(
            stage,
            "decontaminate.py",
            *(f"--corpus={path}" for path in clean.values()),
            f"--benchmark={problems}",
            f"--tau={1.0 if name == 'own' else TAU}",
            needs=needs,
        )
        clean = {key: root / stage / path.name for key, path in clean.items()}
        needs = [stage]
    corpora = {
        "raw_code": [clean["pool"]],
        "code_textbook": [root / "filter" / "filtered.jsonl.zst", clean["textbooks"]],
        "code_exercises": [clean["exercises"]],
    }
    # On the synthetic text alone: with the library's code in the sample, 2,048 pieces do not hold
    # the words of the exercises whole (9 % of them are split, against 1.5 %).
    pipeline.run(
        "tokenizer",
        "tokenize_corpus.py",
        f"--corpus={clean['textbooks']}",
        f"--corpus={clean['exercises']}",
        "--vocab_size=2048",
        "--sample_mb=4",
        needs=needs,
        output_flag="train_tokenizer",
    )

    def shards(name: str, *others: str) -> None:
        pipeline.run(
            f"shards_{name}",
            "tokenize_corpus.py",
            *(f"--corpus={path}" for path in corpora[name]),
            f"--tokenizer={root / 'tokenizer'}",
            "--force",  # when the tokenizer is another one, so are the shards
            needs=[*others, *needs, "tokenizer"],
        )

    def train(name: str, mixture: dict[str, float], steps: int, start: str = "") -> None:
        sources = (f"--source={k}={root / f'shards_{k}'}:{weight}" for k, weight in mixture.items())
        pipeline.run(
            name,
            "train.py",
            f"--config={CONFIG}",
            f"--config.optimizer.name={OPTIMIZER.value}",
            f"--tokenizer={root / 'tokenizer'}",
            *sources,
            f"--config.steps={steps}",
            *([f"--config.init_from={root / start}"] if start else []),
            needs=[*(f"shards_{source}" for source in mixture), *([start] if start else [])],
        )

    shards("raw_code")
    train("raw_code", {"raw_code": 1.0}, PRETRAIN_STEPS.value)
    # The quality filter of section 2.1. The model trained on raw code is its embedder, the rubric
    # stands in for GPT-4, and the better half of the sample counts as good.
    pipeline.run(
        "embed",
        "embed.py",
        f"--corpus={clean['filtered']}",
        f"--checkpoint={root / 'raw_code'}",
        f"--max_tokens={EMBED_TOKENS}",
        needs=[*needs, "raw_code"],
    )
    pipeline.run(
        "annotate",
        "annotate.py",
        f"--corpus={clean['filtered']}",
        f"--n={N_ANNOTATED}",
        needs=needs,
    )
    pipeline.run(
        "fit_quality",
        "fit_quality.py",
        f"--annotated={root / 'annotate' / 'annotated.jsonl.zst'}",
        f"--embeddings={root / 'embed'}",
        "--positive_share=0.5",
        needs=["annotate", "embed"],
    )
    pipeline.run(
        "filter",
        "filter.py",
        f"--corpus={clean['filtered']}",
        f"--embeddings={root / 'embed'}",
        f"--model={root / 'fit_quality'}",
        "--budget_mb=2.5",
        needs=[*needs, "embed", "fit_quality"],
    )
    shards("code_textbook", "filter")
    shards("code_exercises")
    train("code_textbook", {"code_textbook": 1.0}, PRETRAIN_STEPS.value)
    train("control", {"code_textbook": 1.0}, FINETUNE_STEPS.value, "code_textbook")
    mixture = {"code_exercises": 1 - REPLAY, "code_textbook": REPLAY}
    train("code_exercises", mixture, FINETUNE_STEPS.value, "code_textbook")

    trained = ["raw_code", "code_textbook", "control", "code_exercises"]
    models = {"untrained": f"{root / 'raw_code'}@0", **{name: root / name for name in trained}}
    checkpoints = [f"--checkpoint={name}={run}" for name, run in models.items()]
    pipeline.run(
        "evaluate",
        "evaluate.py",
        f"--benchmark={own}",
        *checkpoints,
        "--max_new_tokens=160",
        "--batch_size=200",
        "--allow_code_execution",
        needs=["synthesize", *trained],
    )
    for name, problems in public.items():
        pipeline.run(
            f"bits_{name}",
            "evaluate.py",
            f"--benchmark={name}",
            f"--problems={problems}",
            *checkpoints,
            "--metrics=solution_bits_per_byte",
            needs=trained,
        )
    runs = [root / name for name in trained]
    summary = write_report(root, list(models), runs, list(public), missing, pipeline.seconds)
    print_result(root, own, summary)


class Pipeline:
    """Runs stages as commands; a stage is done again only when its command or its needs change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.identity: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        (root / "stages").mkdir(parents=True, exist_ok=True)

    def run(
        self,
        name: str,
        script: str,
        *arguments: str,
        needs: Sequence[str] = (),
        output_flag: str = "output",
    ) -> None:
        """Runs a script of launch/ with its output in ROOT/name, unless that is finished.

        Args:
          needs: the stages whose results the command reads.
        """
        output, record_path = self.root / name, self.root / "stages" / f"{name}.json"
        upstream = [self.identity[need] for need in needs]
        identity = fingerprint({"python": sys.version, "command": arguments, "needs": upstream})
        self.identity[name] = identity
        record = read_json_if_whole(record_path)
        if record.get("identity") == identity and record.get("finished"):
            print(f"\n== {name}: unchanged, reused")
            self.seconds[name] = record["seconds"]
            return
        if record.get("identity") != identity:
            shutil.rmtree(output, ignore_errors=True)
        spent = record.get("seconds", 0.0) if record.get("identity") == identity else 0.0
        write_json(record_path, {"identity": identity, "finished": False, "seconds": spent})
        command = [str(LAUNCH / script), *arguments, f"--{output_flag}={output}"]
        print(f"\n== {name}\n{shlex.join([sys.executable, *command])}", flush=True)
        began = time.perf_counter()
        status = run_command([sys.executable, *command])
        self.seconds[name] = round(spent + time.perf_counter() - began, 2)
        # Training that a signal ended saved, and exited with 0.
        result = output / "result.json"
        finished = status == 0 and (
            not result.exists() or read_json_if_whole(result).get("finished", False)
        )
        write_json(
            record_path,
            {"identity": identity, "finished": finished, "seconds": self.seconds[name]},
        )
        if not finished and status in (0, 130, -signal.SIGINT, -signal.SIGTERM):
            raise KeyboardInterrupt  # a signal ended the stage, not a fault
        if not finished:
            raise UserError(
                f"stage {name} did not finish (status {status}); its own message stands above. Run"
                " the same command again to go on from there"
            )


def run_command(command: Sequence[str]) -> int:
    """Runs a command; an interrupt goes on to it, and it is given the time to save."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise


def interrupt(number: int, frame: object) -> None:
    """Takes SIGTERM as Ctrl-C."""
    raise KeyboardInterrupt


def print_result(root: Path, benchmark: Path, summary: dict[str, object]) -> None:
    """The table, and what to do next."""
    print("\n" + (root / "report.md").read_text("utf-8"))
    best = root / "code_exercises"
    print(
        f"""Next:
  tensorboard --logdir={root}
  {launch_command("generate.py", f"--checkpoint={best}", "--interactive")}
  {launch_command("evaluate.py", f"--benchmark={benchmark}", f"--checkpoint={best}")} \\
      --n_samples=10 --temperature=0.4 --k=1,10 --output={root}/evaluate_sampled \\
      --allow_code_execution
  {launch_command("train.py", "--config=configs/phi1_small_base.py", "--help")}      a larger run

{summary["total_seconds"]} s in all; {root / "summary.json"}"""
    )


if __name__ == "__main__":
    script.run(main)
