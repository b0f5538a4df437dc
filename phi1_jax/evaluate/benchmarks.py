"""Benchmarks as tasks: what a model is shown, what program a completion makes, how it is examined.

Four formats: HumanEval's JSON lines, MBPP's (974 rows, or the sanitized list), and EvalPlus's of
both, told apart by their keys.
"""

import ast
import builtins
import hashlib
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi1_jax import unconventional
from phi1_jax.corpus.problems import Problem, parse_problems
from phi1_jax.corpus.records import read_records
from phi1_jax.corpus.syntax import UNPARSABLE, parse_quietly
from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.evaluate.evalplus import examiner_of
from phi1_jax.evaluate.saved import sha256
from phi1_jax.files import whole_file

# Where a completion of a function's body ends: at the next thing on the top level.
HUMANEVAL_STOP = ("\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\n@", "\n>>>")
MBPP_DOCSTRING_STOP = ("\nclass ", "\nassert ", '\n"""', "\nprint", "\nif ", "\n```", "\n>>>")
MBPP_3_SHOT_STOP = ("[DONE]",)
MBPP_FORMS = ("docstring", "3-shot")
NAMES = ("humaneval", "mbpp", unconventional.NAME)
_MBPP_TEST = range(11, 511)
_MBPP_SHOTS = (2, 3, 4)

# Problems that cannot be tested with the candidate in a process of its own; reported, not scored.
NOT_EXECUTABLE = {
    "MBPP/367": "its tests build objects of a class that the candidate itself must define",
}


@dataclass(frozen=True)
class PublicFile:
    """A published file, fixed by its content."""

    url: str
    sha256: str
    licence: str


PUBLIC = {
    "humaneval": PublicFile(
        "https://github.com/openai/human-eval/raw/master/data/HumanEval.jsonl.gz",
        "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
        "MIT, OpenAI",
    ),
    "mbpp": PublicFile(
        "https://raw.githubusercontent.com/google-research/google-research/master/mbpp/mbpp.jsonl",
        "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
        "CC-BY-4.0, Google",
    ),
}


@dataclass(frozen=True)
class Task:
    """One problem.

    Attributes:
      prompt: what the model completes.
      prefix: what stands before a completion in the program: the prompt, or nothing.
      solution: a right answer, as it follows the prompt.
      entry_point: the function that the tests call.
      reference: a whole program that solves it.
      examiner: the tests, a program that calls `remote(entry_point)`; see `Sandbox.examine`.
    """

    task_id: str
    prompt: str
    prefix: str
    solution: str
    entry_point: str
    reference: str
    examiner: str


@dataclass(frozen=True)
class Benchmark:
    """Tasks that are scored together, and the choices that move the score.

    Attributes:
      template: the name of the prompt form.
      stop: ends a generated completion.
      truncation: where a completion ends, one of `samples.TRUNCATIONS`: a function's body ends at
        the next thing on the top level.
      left_out: task ids left out, with the reason.
    """

    name: str
    template: str
    stop: tuple[str, ...]
    truncation: str
    tasks: tuple[Task, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return sha256(repr((self.template, self.stop, self.truncation, self.tasks)))


def read_benchmark(name: str, path: Path | str | None = None, form: str = "docstring") -> Benchmark:
    """Reads "humaneval" or "mbpp" from `path`, or "unconventional", which comes with the package.

    Any other name is itself a path to problems in any of the formats.

    Args:
      form: of MBPP's prompts, one of `MBPP_FORMS`.
    Raises:
      UserError: no such file, or not the named benchmark's format.
    """
    if name == unconventional.NAME:
        return humaneval(read_humaneval(name, None), name)
    any_format = name not in ("humaneval", "mbpp")
    if any_format:
        if not Path(name).is_file():
            near = did_you_mean(name.lower(), NAMES)
            raise UserError(
                f"--benchmark={name}: no such file, and not one of {', '.join(NAMES)}{near}"
            )
        name, path = Path(name).name, Path(name)
    if path is None:
        raise UserError(f"--benchmark={name} needs --problems=FILE, your copy, or --download=DIR")
    path = Path(path)
    rows = list(read_records(path))
    if rows and "base_input" in rows[0]:
        if form != MBPP_FORMS[0]:
            raise UserError(
                f"--prompt_form={form}: {path} is EvalPlus's, which has its own prompts"
            )
        return _evalplus(rows, path)
    if name == "mbpp" or (any_format and rows and "test_list" in rows[0]):
        return _mbpp(rows, path, form, name)
    return humaneval(parse_problems(rows, path), name)


def read_humaneval(name: str, path: Path | None) -> list[Problem]:
    """The problems themselves, of a benchmark in HumanEval's format.

    Raises:
      UserError: MBPP, a file of another format, or none.
    """
    if name == unconventional.NAME:
        return unconventional.read_unconventional()
    if name == "mbpp":
        raise UserError("--benchmark=mbpp: here it must be one in HumanEval's format")
    if name == "humaneval" and path is None:
        raise UserError("--benchmark=humaneval: give your copy, --benchmark=HumanEval.jsonl.gz")
    path = path if name == "humaneval" and path else Path(name)
    return parse_problems(read_records(path), path)


def read_for_comparison(name: str) -> list[Problem]:
    """The problems of a file, or "unconventional": each a task in words and a whole program.

    Of MBPP the task's sentence is the prompt, without its tests. Task ids are those that a
    `--split` of launch/evaluate.py names.

    Raises:
      UserError: no such file, or none of the formats.
    """
    if name != unconventional.NAME:
        if not Path(name).is_file():
            raise UserError(f"--benchmark={name}: no such file, nor {unconventional.NAME}")
        name = str(Path(name).absolute())  # a file may be called mbpp
    benchmark = read_benchmark(name, None)
    if benchmark.template == "humaneval":
        return read_humaneval(name, None)  # with the chains that it may state
    problems = []
    for task in benchmark.tasks:
        words = ""
        if task.prompt.startswith('"""'):
            words = task.prompt.strip().strip('"').split("\nassert ")[0].strip()
        prompt = f"{words!r}\n" if words else ""
        problems.append(Problem(task.task_id, prompt, task.entry_point, task.reference, ""))
    return problems


def humaneval(problems: Sequence[Problem], name: str) -> Benchmark:
    """Problems in HumanEval's format; `test` defines `check(candidate)`."""
    tasks = []
    for problem in problems:
        entry, prompt, solution = problem.entry_point, problem.prompt, problem.canonical_solution
        try:
            helpers = helpers_of(prompt, solution, entry)
        except UNPARSABLE as error:
            raise UserError(
                f"{problem.task_id}: its canonical solution cannot be parsed: {error or 'too deep'}"
            ) from None
        examiner = f"{helpers}\n{entry} = remote({entry!r})\n{problem.test}\ncheck({entry})\n"
        reference = prompt + solution
        tasks.append(Task(problem.task_id, prompt, prompt, solution, entry, reference, examiner))
    return Benchmark(name, "humaneval", HUMANEVAL_STOP, "body", tuple(tasks))


def helpers_of(prompt: str, solution: str, entry_point: str) -> str:
    """The prompt without the function to write: its imports, and what it defines beside.

    Raises:
      one of UNPARSABLE: prompt and solution are no program.
    """
    tree = parse_quietly(prompt + solution)
    end = len(prompt.removesuffix("\n").split("\n"))  # as ast counts lines
    kept = [
        node
        for node in tree.body
        if node.lineno <= end and getattr(node, "name", None) != entry_point
    ]
    return ast.unparse(ast.Module(kept, []))


def _evalplus(rows: Sequence[Mapping[str, Any]], path: Path) -> Benchmark:
    """HumanEval+ or MBPP+."""
    of_mbpp = "assertion" in rows[0]
    tasks: list[Task] = []
    for number, row in enumerate(rows, start=1):
        keys = ("task_id", "prompt", "canonical_solution", "entry_point")
        if bad := [key for key in keys if not isinstance(row.get(key), str)]:
            raise UserError(
                f"{path}, row {number}: no text under {bad[0]!r}; it has {', '.join(row)}; "
                "not EvalPlus's format"
            )
        task_id, prompt, code, entry = (row[key] for key in keys)
        if any(task.task_id == task_id for task in tasks):
            raise UserError(f"{path}, row {number}: task_id {task_id!r} occurs twice")
        try:
            examiner = examiner_of(row, prompt + code)
        except UserError as error:
            raise UserError(f"{path}, row {number}: {error}") from None
        tasks.append(Task(task_id, prompt, prompt, code, entry, prompt + code, examiner))
    stop = MBPP_DOCSTRING_STOP if of_mbpp else HUMANEVAL_STOP
    name = "mbpp+" if of_mbpp else "humaneval+"
    truncation = "stop" if of_mbpp else "body"
    return Benchmark(name, f"evalplus {name}", stop, truncation, tuple(tasks))


def _mbpp(rows: Sequence[dict[str, Any]], path: Path, form: str, name: str) -> Benchmark:
    """MBPP's test split (task ids 11 to 510), or all rows of a file in its format.

    Args:
      rows: of mbpp.jsonl or sanitized-mbpp.json, or one's own.
      name: "mbpp" asks for the test split, and so does the published file under any name.
      form: "docstring" shows the task and its tests in a docstring, zero-shot; "3-shot" is the
        prompt of Austin et al. 2021 with task ids 2, 3, 4 as examples.
    """
    if form not in MBPP_FORMS:
        raise UserError(f"--prompt_form={form!r}: must be one of {', '.join(MBPP_FORMS)}")
    by_number = {}
    for at, row in enumerate(rows, start=1):
        given = list(row)
        row.setdefault("text", row.get("prompt"))  # the sanitized file's name for it
        row["test_imports"] = row.get("test_imports") or []
        task_id, tests = str(row.get("task_id")).rpartition("/")[2], row.get("test_list")
        good = {
            "text": isinstance(row["text"], str),
            "code": isinstance(row.get("code"), str),
            "test_list": _is_texts(tests),
            "test_imports": _is_texts(row["test_imports"]),
            "test_setup_code": isinstance(row.get("test_setup_code", ""), str),
            "test": isinstance(row.get("test") or "", str),
            "task_id": task_id.isdecimal() and len(task_id) < 10,
        }
        for key in (key for key in good if not good[key]):
            raise UserError(
                f"{path}, row {at}: not MBPP's format: {key!r} is {row.get(key)!r:.80}; "
                f"the row has {', '.join(given)}"
            )
        if int(task_id) in by_number:
            raise UserError(f"{path}, row {at}: task_id {task_id} occurs twice")
        by_number[int(task_id)] = row
    shots = ""
    if form == "3-shot":
        if missing := [i for i in _MBPP_SHOTS if i not in by_number]:
            raise UserError(
                f"{path}: the 3-shot prompt needs task_id {missing[0]}, not in the file"
            )
        shots = "".join(_shot(by_number[i], _plain(by_number[i]["code"])) for i in _MBPP_SHOTS)
    # The sanitized rows, of which the split lacks some, say where they are from; so do MBPP+'s.
    is_sanitized = rows and "source_file" in rows[0] and "test" not in rows[0]
    if by_number.keys() >= set(_MBPP_TEST) or is_sanitized:
        name = "mbpp"
    tasks, left_out = [], {}
    for number in _MBPP_TEST if name == "mbpp" else by_number:
        if number not in by_number:
            continue
        try:
            task = _mbpp_task(f"MBPP/{number}", by_number[number], shots)
        except UNPARSABLE as error:
            raise UserError(f"{path}, MBPP/{number}: {error or 'too deep to parse'}") from None
        if name == "mbpp" and (reason := NOT_EXECUTABLE.get(task.task_id)):
            left_out[task.task_id] = reason
        elif shots and number in _MBPP_SHOTS:
            left_out[task.task_id] = "it is an example in the prompt"
        else:
            tasks.append(task)
    if not tasks:
        raise UserError(f"{path}: holds no task_id of the test split, 11 to 510")
    stop = MBPP_3_SHOT_STOP if form == "3-shot" else MBPP_DOCSTRING_STOP
    return Benchmark(name, f"mbpp {form}", stop, "stop", tuple(tasks), left_out)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _mbpp_task(task_id: str, row: Mapping[str, Any], shots: str) -> Task:
    setup = "\n".join([*row["test_imports"], _plain(row.get("test_setup_code", ""))])
    # The Hub's MBPP+ has a program of more tests beside MBPP's.
    listed = "\n".join(map(_plain, row["test_list"]))
    tests = f"{setup}\n{_plain(row.get('test') or listed)}\n"
    code = _plain(row["code"])
    names = _called(tests, code)
    if not names:
        raise ValueError("its tests call no function of its code")
    examiner = "".join(f"{name} = remote({name!r})\n" for name in names) + tests
    prompt = shots + _shot(row) if shots else _docstring(row)
    # The answer is a whole program. A docstring before it adds nothing, and does not parse where
    # the tests hold three quotes or an escape such as \\U.
    return Task(task_id, prompt, "", code.strip() + "\n", names[0], code, examiner)


def _called(tests: str, code: str) -> list[str]:
    """Names that the tests use and the reference code defines, or that nothing here does."""
    tree = parse_quietly(tests)
    defined = {node.name for node in parse_quietly(code).body if isinstance(node, ast.FunctionDef)}
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {
        a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
    }
    own |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    own |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    used = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    names = [n for n in used if n in defined or (n not in own and not hasattr(builtins, n))]
    return list(dict.fromkeys(names))


def _docstring(row: Mapping[str, Any]) -> str:
    tests = "\n".join(map(_plain, row["test_list"]))
    return f'"""\n{_plain(row["text"])}\n{tests}\n"""\n'


def _shot(row: Mapping[str, Any], code: str | None = None) -> str:
    tests = "\n".join(map(_plain, row["test_list"]))
    ask = (
        f"You are an expert Python programmer, and here is your task: {_plain(row['text'])} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )
    return ask if code is None else f"{ask}{code}\n[DONE]\n\n"


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def download(name: str, folder: Path, timeout_s: float = 60.0) -> Path:
    """Returns the path of a benchmark's problems below `folder`, fetched unless it lies there.

    Raises:
      UserError: no network, or the file is not the known one; it says what to do by hand.
    """
    file = PUBLIC[name]
    path = folder / file.url.rpartition("/")[2]
    if path.exists():
        data = path.read_bytes()
    else:
        try:
            with urllib.request.urlopen(file.url, timeout=timeout_s) as response:
                data = response.read()
        except OSError as error:
            raise UserError(
                f"{file.url} cannot be fetched ({error}): fetch it on a machine with network and "
                f"name your copy with --problems=FILE"
            ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        where = path if path.exists() else file.url
        raise UserError(
            f"{where} is not the {name} known here (sha256 {found}, not {file.sha256}); "
            "to use it all the same, name your copy with --problems=FILE"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with whole_file(path) as copy:
            copy.write(data)
    return path
