"""The unconventional problems: 50 of our own in HumanEval's format, unlike any benchmark.

Section 4 of the paper scores phi-1 on 50 problems written by people who had not seen its training
data; they were not published. These are others: odd worlds with several rules each, where no
remembered solution helps. A function of the files beside this one is a problem with its reference
solution, and `check_` with its name holds the hidden tests, which a model is never shown.
"""

import ast
from pathlib import Path

from phi1_jax.corpus.problems import Problem

NAME = "unconventional"
# In this order; a problem's number is part of its task_id.
_FILES = (
    "animals", "out_of_doors", "workshops", "paper_and_words", "sounds_and_steps", "town",
    "invented_games", "little_science",
)  # fmt: skip


def read_unconventional() -> list[Problem]:
    """The problems, in the order in which they are written."""
    problems: list[Problem] = []
    for name in _FILES:
        path = Path(__file__).with_name(f"{name}.py")
        problems += _problems(path.read_text(encoding="utf-8"), len(problems))
    return problems


def _problems(source: str, first: int) -> list[Problem]:
    lines = source.splitlines(keepends=True)
    functions = {n.name: n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)}
    problems: list[Problem] = []
    for name, function in functions.items():
        if name.startswith("check_"):
            continue
        body = function.body[0].end_lineno or 0  # the docstring's last line
        check = functions[f"check_{name}"]
        # The tests call what they are given, under the function's own name.
        test = f"def check({name}):\n" + "".join(lines[check.lineno : check.end_lineno])
        problems.append(
            Problem(
                task_id=f"Unconventional/{first + len(problems)}",
                prompt="".join(lines[function.lineno - 1 : body]),
                entry_point=name,
                canonical_solution="".join(lines[body : function.end_lineno]),
                test=test,
            )
        )
    return problems
