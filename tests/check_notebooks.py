"""Notebooks as Colab runs them, "Run all": `make test-notebooks`; needs `jupytext`.

An empty folder, and an environment with Jupyter and JAX alone. The notebook clones a repository of
these files, installs it, and runs to its end at smoke scale.
"""

import argparse
import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import jupytext
from check_wheel import LEFT_OUT, REPOSITORY, run

NOTEBOOKS = REPOSITORY / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("[a-z]*.ipynb"))
GIT = ["git", "-c", "user.name=check", "-c", "user.email=check@localhost"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--python", default=sys.executable, help="Python of the environment.")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no notebook is named {unknown.pop()}; there are {', '.join(NAMES)}")
    with_address = runpy.run_path(str(NOTEBOOKS / "_address.py"))["with_address"]
    os.environ["PHI1_JAX_SCALE"] = "smoke"
    with tempfile.TemporaryDirectory() as folder:
        # Of the files as they are, committed or not; the checkout itself may be no repository.
        source = Path(folder, "source")
        shutil.copytree(REPOSITORY, source, ignore=LEFT_OUT)
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "all"]):
            run([*GIT, *command], source)
        for name in options.names or NAMES:
            (place := Path(folder, name)).mkdir()
            run([options.python, "-m", "venv", "venv"], place)
            python = place / "venv" / "bin" / "python"
            run([python, "-m", "pip", "install", "--quiet", "jax", "nbconvert", "ipykernel"], place)
            script = (NOTEBOOKS / name).with_suffix(".py").read_text("utf-8")
            notebook = jupytext.reads(with_address(script, name, str(source)), fmt="py:percent")
            jupytext.write(notebook, place / f"{name}.ipynb")
            convert = ["nbconvert", "--to=notebook", "--execute", "--inplace", f"{name}.ipynb"]
            run([python, "-m", *convert], place)
            print(f"{name} runs where only Jupyter and JAX are", flush=True)


if __name__ == "__main__":
    main()
