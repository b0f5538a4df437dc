"""The same problems, asked otherwise: what a score loses when only the prompt's wording changes.

The paper's appendix B shows phi-1 at prompts that mean the same: it is sensitive to wording, length
and small errors. Each transformation here is a rule, so it needs no network and gives the same
prompt every time; the code that is asked for stays what it was, and the test executor runs the
reference solution of each changed problem like any other's. A transformation that has nothing to
change in a problem says why, and the problem is left out of its comparison.
"""

import ast
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.corpus.syntax import UNPARSABLE, parse_quietly
from phi1_jax.evaluate.benchmarks import Task, humaneval
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.pass_at_k import share_interval
from phi1_jax.evaluate.samples import Completes, SamplingPlan
from phi1_jax.evaluate.scoring import evaluate_model, task_scores
from phi1_jax.files import write_json
from phi1_jax.sandbox import Verdict

# Where a docstring stops to be prose: examples in the forms that HumanEval has.
_EXAMPLES = re.compile(r">>>|==|=>|->|➞|^\s*(for )?examples?\b|^\s*note\b|^\s*e\.?g\.", re.I)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])")
_PARAPHRASES = (
    (r"^(\W*)Write a function (which|that)\b", r"\1Your task is a function that"),
    (r"^(\W*)(Create|Implement|Write) a function\b", r"\1Your task is to code a function"),
    (r"\bYou are given\b", "You receive"),
    (r"\bGiven\b", "For"),
    (r"\breturns\b", "gives back"),
    (r"\bReturns\b", "Gives back"),
    (r"\breturn\b", "give back"),
    (r"\bReturn\b", "Give back"),
    (r"\bCheck (if|whether)\b", "Say whether"),
    (r"\bFind\b", "Determine"),
    (r"\bInsert\b", "Put"),
    (r"\bcontains\b", "has in it"),
    (r"\bcontaining\b", "that has in it"),
    (r"\botherwise\b", "in all other cases"),
    (r"\bconsists of\b", "is made of"),
    (r"\bshould\b", "must"),
    (r"\beach\b(?! other)", "every single"),
)
_ASIDES = (
    "This was asked for on a rainy Tuesday.",
    "The colleague who needs it drinks her tea without milk.",
    "An earlier version of it was lost when the office moved.",
    "The name of the project has changed twice since then.",
    "Nobody remembers who first had the idea.",
    "The meeting about it took longer than planned.",
)
_HELPERS = '''\
"""Small helpers of the team, kept together in one module.

Each does one thing and was reviewed by two people. They do not depend on each other.
"""


def celsius_of_fahrenheit(degrees: float) -> float:
    """Converts a temperature."""
    return (degrees - 32) * 5 / 9


def shout_politely(sentence: str) -> str:
    """Makes a sentence louder, and says please."""
    return sentence.upper().rstrip(".!") + ", PLEASE!"


def weeks_and_days(days: int) -> tuple[int, int]:
    """Splits a number of days into whole weeks and the days that are left."""
    return days // 7, days % 7


'''
# New names for arguments, chosen to say nothing.
_NAMES = ("arg_one", "arg_two", "arg_three", "arg_four", "arg_five", "arg_six", "arg_seven")
# Names of arguments that may as well be words of the prose.
_WORDS = frozenset(("a", "i", "key", "row", "sum", "max", "min", "set", "map", "s"))


class DoesNotApply(Exception):
    """There is nothing to change in this problem; the message says why."""


@dataclass(frozen=True)
class _Parts:
    """A prompt around the docstring of its function.

    `prose` and `examples` are lines of the docstring as written, `indent` stands before them; the
    indentation of closing quotes counts as an example.
    """

    before: str
    prose: str
    examples: str
    after: str
    indent: str

    def with_prose(self, prose: str) -> str:
        quotes = self.indent if prose.endswith("\n") and not self.examples else ""
        return self.before + prose + self.examples + quotes + self.after


def transform(
    problems: Sequence[Problem], name: str, seed: int = 0
) -> tuple[list[Problem], dict[str, str]]:
    """The problems under the transformation `name` of `TRANSFORMATIONS`.

    Returns:
      Those it applies to, under their own task ids, and task id -> reason for the others.
    """
    changed, left_out = [], {}
    for problem in problems:
        try:
            new = TRANSFORMATIONS[name](problem, random.Random(f"{seed} {name} {problem.task_id}"))
        except DoesNotApply as reason:
            left_out[problem.task_id] = str(reason)
        except UNPARSABLE as error:
            left_out[problem.task_id] = f"it does not parse: {error}"
        else:
            changed.append(new)
    return changed, left_out


def paraphrase(problem: Problem, _rng: random.Random) -> Problem:
    """Other words of the same meaning, from a table."""
    parts = _split(problem)
    prose = parts.prose
    for pattern, words in _PARAPHRASES:
        prose = re.sub(pattern, words, prose, flags=re.MULTILINE)
    if prose == parts.prose:
        raise DoesNotApply("no phrase of the table occurs")
    return replace(problem, prompt=parts.with_prose(prose))


def typos(problem: Problem, rng: random.Random) -> Problem:
    """Two neighbouring letters change places in every sixth word of five letters or more."""
    parts = _split(problem)
    spared = _identifiers(problem)
    words = [
        m for m in re.finditer(r"(?<![\w'\"`])[A-Za-z]{5,}(?![\w'\"`(])", parts.prose)
        if m.group() not in spared and len(set(m.group()[1:-1])) > 1
    ]  # fmt: skip
    if not words:
        raise DoesNotApply("no word of prose is long enough")
    prose = list(parts.prose)
    for word in rng.sample(words, -(-len(words) // 6)):
        places = range(word.start() + 1, word.end() - 2)
        at = rng.choice([i for i in places if prose[i] != prose[i + 1]])
        prose[at], prose[at + 1] = prose[at + 1], prose[at]
    return replace(problem, prompt=parts.with_prose("".join(prose)))


def renamed_arguments(problem: Problem, _rng: random.Random) -> Problem:
    """Arguments get other names, in signature, prose, reference solution and keywords."""
    code = problem.prompt + problem.canonical_solution
    function = _entry(problem)
    names = [a.arg for a in [*function.args.posonlyargs, *function.args.args]]
    if not names:
        raise DoesNotApply("the function has no named argument")
    new = dict(zip(names, _NAMES, strict=False))
    for node in ast.walk(function):
        if isinstance(node, ast.keyword) and node.arg in new:
            raise DoesNotApply(f"its solution passes {node.arg} as a keyword")
    edits = []
    for node in ast.walk(function):
        if isinstance(node, ast.arg | ast.Name):
            name = node.arg if isinstance(node, ast.arg) else node.id
            if name in new:
                edits.append((node.lineno, node.col_offset, name))
    lines = [line.encode() for line in code.splitlines(keepends=True)]
    n_prompt = len(problem.prompt.splitlines())
    for row, column, name in sorted(edits, reverse=True):  # columns count bytes
        line = lines[row - 1]
        if not line[column:].startswith(name.encode()):  # inside f-strings, before Python 3.12
            raise DoesNotApply(f"the place of {name} in its solution is not known")
        lines[row - 1] = line[:column] + new[name].encode() + line[column + len(name.encode()) :]
    changed = replace(
        problem,
        prompt=b"".join(lines[:n_prompt]).decode(),
        canonical_solution=b"".join(lines[n_prompt:]).decode(),
        test=_rename_keywords(problem, new),
    )
    parts = _split(changed)
    prose, examples = parts.prose, parts.examples.splitlines(keepends=True)
    for name, other in new.items():
        # An argument called `numbers` is also a word of prose, which stays true as it is.
        sure = "_" in name or any(c.isdigit() for c in name) or len(name) < 4
        sure = sure and name not in _WORDS
        where = rf"(?<![\w.]){name}(?![\w(])"
        if not sure:
            where = rf"(?<=[`'(]){name}(?=[`')])"
        prose = re.sub(where, other, prose)
        for i, example in enumerate(examples):
            # Between quotes the name could be part of a value.
            free = sure and "'" not in example and '"' not in example
            given = where if free else rf"(?<![\w.'\"]){name}(?=\s*=(?!=))"
            examples[i] = re.sub(given, other, example)
    return replace(changed, prompt=parts.before + prose + "".join(examples) + parts.after)


def irrelevant_sentences(problem: Problem, rng: random.Random) -> Problem:
    """Two sentences that have nothing to do with the task, after the prose."""
    parts = _split(problem)
    if not parts.prose.strip():
        raise DoesNotApply("it has no prose")
    prose = f"{parts.prose.rstrip()}\n{parts.indent}{' '.join(rng.sample(_ASIDES, 2))}\n"
    return replace(problem, prompt=parts.with_prose(prose))


def numbered_list(problem: Problem, _rng: random.Random) -> Problem:
    """The sentences of the prose as points 1, 2, 3."""
    parts = _split(problem)
    sentences = [s for s in _SENTENCE.split(" ".join(parts.prose.split())) if s]
    if len(sentences) < 2:
        raise DoesNotApply("its prose has one sentence")
    points = "".join(f"{parts.indent}{i}. {s}\n" for i, s in enumerate(sentences, start=1))
    return replace(problem, prompt=parts.with_prose("\n" + points))


def longer_prompt(problem: Problem, _rng: random.Random) -> Problem:
    """A module's docstring and three unrelated functions before the one that is asked for."""
    # An import from __future__ must stay first.
    first = re.match(r"(?:\n*from __future__ .*\n)*", problem.prompt)
    end = first.end() if first else 0
    return replace(
        problem, prompt=problem.prompt[:end] + _HELPERS + problem.prompt[end:].lstrip("\n")
    )


TRANSFORMATIONS: dict[str, Callable[[Problem, random.Random], Problem]] = {
    function.__name__: function
    for function in (
        paraphrase, typos, renamed_arguments, irrelevant_sentences, numbered_list, longer_prompt,
    )
}  # fmt: skip


def _entry(problem: Problem) -> ast.FunctionDef:
    """The last definition of the entry point, as HumanEval's harness would find it."""
    tree = parse_quietly(problem.prompt + problem.canonical_solution)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    found = [node for node in functions if node.name == problem.entry_point]
    if not found:
        raise DoesNotApply("its entry point is not a function of the prompt")
    return found[-1]


def _split(problem: Problem) -> _Parts:
    # Not ast.get_docstring: HumanEval/115 has an import before it.
    strings: list[Any] = [
        node.value
        for node in _entry(problem).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]  # fmt: skip
    if not strings:
        raise DoesNotApply("its function has no docstring")
    lines = problem.prompt.splitlines(keepends=True)
    start = sum(map(len, lines[: strings[0].lineno - 1])) + strings[0].col_offset
    literal = ast.get_source_segment(problem.prompt, strings[0]) or ""
    opening = re.match(r"[rRuU]?('''|\"\"\"|'|\")", literal)
    if not opening or len(opening.group(1)) == 1:
        raise DoesNotApply("its docstring is not in triple quotes")
    begin, end = start + opening.end(), start + len(literal) - 3
    inner = problem.prompt[begin:end].splitlines(keepends=True)
    cut = next((i for i, line in enumerate(inner) if _EXAMPLES.search(line)), len(inner))
    closing = ""
    if cut == len(inner) and inner and not inner[-1].strip():
        closing = inner.pop()  # the indentation of the closing quotes
        cut -= 1
    return _Parts(
        problem.prompt[:begin], "".join(inner[:cut]), "".join(inner[cut:]) + closing,
        problem.prompt[end:], " " * strings[0].col_offset,
    )  # fmt: skip


def _identifiers(problem: Problem) -> set[str]:
    """Names of the program, which a typo must not touch."""
    function = _entry(problem)
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    return names | {problem.entry_point, "True", "False", "None"}


def _rename_keywords(problem: Problem, new: Mapping[str, str]) -> str:
    """The tests, with the keywords of the candidate's calls renamed."""
    tree = parse_quietly(problem.test)
    called = ("candidate", problem.entry_point)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    calls = (call for call in calls if getattr(call.func, "id", None) in called)
    keywords = [keyword for call in calls for keyword in call.keywords if keyword.arg in new]
    for keyword in keywords:
        keyword.arg = new[keyword.arg or ""]
    return ast.unparse(tree) if keywords else problem.test


def evaluate_robustness(
    generator: Completes,
    problems: Sequence[Problem],
    executor: TestExecutor,
    output: Path,
    plan: SamplingPlan,
    *,
    model: str = "",
) -> dict[str, Any]:
    """Scores a model on every transformation of problems that it was scored on as they are.

    Args:
      output: of `evaluate_model` on the unchanged problems with the same plan; each transformation
        gets a folder `robustness/NAME` in it, with its problems beside samples and results.
    Returns:
      What `robustness.json` holds: for each transformation the scores before and after on the
      problems that it applies to, the drop with its interval, and the problems left out.
    """
    before = task_scores(output / "results.jsonl")
    report: dict[str, Any] = {}
    for name in TRANSFORMATIONS:
        changed, left_out = transform(problems, name, plan.seed)
        left_out |= _broken(humaneval(changed, name).tasks, executor)
        changed = [problem for problem in changed if problem.task_id not in left_out]
        report[name] = {"n_tasks": 0, "left_out": left_out, "n_infra": 0}
        if not changed:
            continue
        folder = output / "robustness" / name
        write_problems(folder / "problems.jsonl", changed)
        benchmark = humaneval(changed, name)
        summary = evaluate_model(generator, benchmark, executor, folder, plan, model=model, ks=(1,))
        report[name] = {
            **drop(before, task_scores(folder / "results.jsonl")),
            "left_out": left_out,
            "n_infra": summary["n_infra"],
        }
    write_json(output / "robustness.json", report)
    return report


def _broken(tasks: Sequence[Task], executor: TestExecutor) -> dict[str, str]:
    """Tasks whose reference no longer passes, with the reason.

    One among a user's hundreds must not end the report. `TestExecutor.self_check` sees the rest.
    """
    outcomes = executor.execute((task, task.reference) for task in tasks)
    return {
        task.task_id: f"the reference solution no longer passes: {outcome.verdict}"
        for task, outcome in zip(tasks, outcomes, strict=True)
        if outcome.verdict is not Verdict.PASS
    }


def drop(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """How much lower the mean of `after` is on its problems, with a paired bootstrap interval.

    Args:
      before: task id -> share of its samples that passed; a problem that either lacks does not
        count.
      after: the same, once the prompts were changed.
    """
    both = [task_id for task_id in after if task_id in before]
    if not both:
        return {"n_tasks": 0}
    differences = [before[task_id] - after[task_id] for task_id in both]
    low, high = share_interval(differences, least=-1.0)
    return {
        "n_tasks": len(both),
        "before": sum(before[task_id] for task_id in both) / len(both),
        "after": sum(after[task_id] for task_id in both) / len(both),
        "drop": sum(differences) / len(both),
        "low": low,
        "high": high,
    }
