"""The wheel in an empty environment and an empty folder: `make test-wheel`; needs `build`.

Builds it, installs it alone with --python (this one by default), and has the command `phi1`
synthesize, tokenize, train, evaluate behind the sandbox, and generate.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COMMANDS = """
phi1 --help
phi1 synthesize --output=synth --n_exercises=200 --n_textbook_sections=50 --n_benchmark=20
phi1 tokenize_corpus --train_tokenizer=tok --vocab_size=512 --corpus=synth/exercises.jsonl.zst
phi1 tokenize_corpus --tokenizer=tok --corpus=synth/exercises.jsonl.zst --output=shards
phi1 train --config=phi1_tiny --config.model.vocab_size=512 --config.steps=3
  --config.optimizer.warmup_steps=1 --source=exercises=shards --tokenizer=tok --output=run
phi1 evaluate --benchmark=synth/benchmark.jsonl --checkpoint=run --output=scores
  --max_new_tokens=8 --allow_code_execution
phi1 generate --checkpoint=run --prompt=def --max_new_tokens=4
""".replace("\n  ", " ")


# What the core install must not pull in.
HEAVY = {"torch", "tensorflow", "tensorflow-cpu", "transformers"}
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="Python to install it with.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A copy, for a build leaves folders in its source.
        shutil.copytree(REPOSITORY, folder / "source", ignore=LEFT_OUT)
        run([sys.executable, "-m", "build", folder / "source"], folder)
        (wheel,) = (folder / "source" / "dist").glob("*.whl")
        run([options.python, "-m", "venv", folder / "venv"], folder)
        installed = folder / "venv" / "bin"
        run([installed / "python", "-m", "pip", "install", "--quiet", wheel], folder)
        listed = [installed / "python", "-m", "pip", "list", "--format=json"]
        packages = {item["name"].lower() for item in json.loads(run(listed, folder))}
        if packages & HEAVY:
            sys.exit(f"the core install pulls in {packages & HEAVY}")
        (empty := folder / "empty").mkdir()
        for command in COMMANDS.strip().splitlines():
            run([installed / "phi1", *command.split()[1:]], empty)
        print(f"{wheel.name} works in an empty folder, with {len(packages)} packages")


def run(command: list[str | Path], folder: Path) -> str:
    """Standard output of a command in `folder`; its failure ends this program."""
    print("$", " ".join([Path(command[0]).name, *map(str, command[1:])]), flush=True)
    # What this program's own environment finds must not be found from there.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\nexit status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
