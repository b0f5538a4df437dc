"""Public exercises that come with tests: kept if their solution passes them in the sandbox.

Their task is a text and their solution a program, so the task becomes the program's docstring, in
MBPP's manner.
"""

import ast
import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from phi1_jax.corpus.documents import Document, write_documents
from phi1_jax.corpus.syntax import UNPARSABLE, parse_python, parse_quietly
from phi1_jax.errors import UserError
from phi1_jax.llm_client.replies import python_blocks
from phi1_jax.sandbox import Outcome, Verdict
from phi1_jax.synthesis.replies import ReplyError
from phi1_jax.synthesis.synthesize import EXERCISES, REJECTS
from phi1_jax.synthesis.verify import TESTS_PASS, Run

# The solution is the module that tests import; statements of a test run with it in scope, then its
# functions and classes, HumanEval's `check` on the function named or else the last of the solution.
# A test of which no assert was reached shows nothing. pytest is not in the sandbox: this much of it
# is what such tests use most. What ends a file of unittest would look for tests in this program.
_HARNESS = """
import ast, math, re, sys, types

class raises:
    def __init__(self, kind, match=""):
        self.kind, self.match = kind, match
    def __enter__(self):
        return self
    def __exit__(self, kind, value, traceback):
        self.value = value
        assert kind is not None, f"{self.kind} was not raised"
        return issubclass(kind, self.kind) and bool(re.search(self.match or "", str(value)))

class approx:
    def __init__(self, value, rel=1e-6, abs=1e-12):
        self.value, self.limits = value, {"rel_tol": rel or 0, "abs_tol": abs or 0}
    def __eq__(self, other):
        one, two = self.value, other
        if not isinstance(one, (list, tuple)):
            one, two = [one], [two]
        return len(one) == len(two) and all(
            math.isclose(a, b, **self.limits) for a, b in zip(one, two))

class Count(ast.NodeTransformer):
    def visit_Assert(self, node):
        return [*ast.parse("__reached__.append(1)").body, node]
    def visit_Call(self, node):
        node = self.generic_visit(node)
        if getattr(node.func, "attr", "").startswith("assert"):
            note = ast.parse("__reached__.append(1)", mode="eval").body
            return ast.BoolOp(ast.Or(), [note, node])
        return node

if "unittest" in TEST:
    import unittest
    unittest.main = lambda *arguments, **options: None
for name, names in (("pytest", {"raises": raises, "approx": approx}), ("solution", {})):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(names)
solution = sys.modules["solution"].__dict__
exec(compile(CODE, "solution", "exec"), solution)
scope = dict(solution, __name__="test_solution", __reached__=[])
tree = ast.fix_missing_locations(Count().visit(ast.parse(TEST)))
exec(compile(tree, "test", "exec"), scope)
for name, value in list(scope.items()):
    if name in solution:
        continue
    if name.startswith("test") and callable(value):
        value()
    if isinstance(value, type) and hasattr(value, "assertEqual"):
        unittest.defaultTestLoader.loadTestsFromTestCase(value).debug()
    elif name.startswith("Test") and isinstance(value, type):
        for method in dir(value):
            if method.startswith("test"):
                getattr(value(), method)()
    if name == "check" and isinstance(value, types.FunctionType):
        own = [f for f in solution.values() if getattr(f, "__module__", "") == "solution"]
        value(solution[NAME] if NAME in solution else own[-1])
assert scope["__reached__"], "no assert of the test was executed"
"""


def keep_passing(documents: Iterable[Document], run: Run, output: Path) -> dict[str, Any]:
    """Executes exercises and writes EXERCISES, those that pass, and REJECTS with the reasons.

    Args:
      documents: each with `prompt_chars` and `test` in the metadata: assert statements, a list of
        such (also as JSON), functions for pytest, or classes of unittest.
    Returns:
      The stage's counts: in, out and dropped (reason -> count).
    Raises:
      UserError: none passes.
    """
    rejects: list[Document] = []
    pending: deque[Document] = deque()
    seen: set[str] = set()

    def reject(document: Document, reason: str, detail: str = "") -> None:
        metadata = {**document.metadata, "reason": reason, "detail": detail}
        rejects.append(replace(document, metadata=metadata))

    def programs() -> Iterator[str]:
        for document in documents:
            try:
                exercise, code, test = read_exercise(document)
            except ReplyError as error:
                reject(document, error.reason, str(error))
                continue
            if exercise.id in seen:
                reject(document, "duplicate")
                continue
            seen.add(exercise.id)
            pending.append(exercise)
            name = exercise.metadata.get("entry_point", "")
            yield f"CODE = {code!r}\nTEST = {test!r}\nNAME = {name!r}\n{_HARNESS}"

    def passing(outcomes: Iterable[Outcome]) -> Iterator[Document]:
        for outcome in outcomes:
            exercise = pending.popleft()
            if outcome.verdict == Verdict.PASS:
                exercise.metadata["verdict"] = TESTS_PASS
                yield exercise
                continue
            reason = "test_fails" if outcome.verdict == Verdict.FAIL else outcome.verdict.lower()
            if "ModuleNotFoundError" in outcome.message:
                reason = "module_not_found"  # only the standard library is there
            reject(exercise, reason, outcome.message)

    kept = write_documents(output / EXERCISES, passing(run(programs())))
    write_documents(output / REJECTS, rejects)
    dropped = Counter(document.metadata["reason"] for document in rejects)
    if not kept:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.most_common(3)) or "no record"
        raise UserError(f"no exercise passes its tests ({reasons}); see {output / REJECTS}")
    return {
        "in": {"exercises": kept + len(rejects)},
        "out": {"exercises": kept},
        "dropped": dict(dropped.most_common()),
    }


def read_exercise(document: Document) -> tuple[Document, str, str]:
    """The exercise as a document to train on, its program, and its test.

    Its solution is a program, and its prompt then the task in words; or the rest of a function that
    the prompt begins, and the document then stays as it is.

    Raises:
      ReplyError: there is no prompt, no test, or not one program; `reason` says which.
    """
    cut = document.metadata.get("prompt_chars", 0)
    task, text = document.text[:cut].strip(), document.text[cut:]
    if not task:
        raise ReplyError("no_prompt")
    if "```" in text and parse_python(text) is None:  # else in a docstring
        blocks = [block for block in python_blocks(text) if block.closed]
        if len(blocks) != 1:
            raise ReplyError("several_code_blocks" if blocks else "no_code_block")
        text = blocks[0].code
    code, test = text.strip("\n") + "\n", _test(document.metadata.get("test"))
    begun = document.text[:cut] + code
    if parse_python(code) is None and parse_python(begun) is not None:
        prompt, program = document.text[:cut], begun
    else:
        _parse(code, "syntax_error")
        task = task.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        prompt, program = f'"""\n{task}\n"""\n', code
    tests = ast.walk(_parse(test, "test_syntax_error"))
    if not any(  # statements, or methods of unittest
        isinstance(node, ast.Assert) or getattr(node, "attr", "").startswith("assert")
        for node in tests
    ):
        raise ReplyError("no_test")
    metadata = {k: v for k, v in document.metadata.items() if k not in ("test", "sha256")}
    metadata |= {"prompt_chars": len(prompt), "public_id": document.id, "teacher": document.source}
    id = hashlib.sha256(prompt.encode(errors="replace")).hexdigest()[:16]
    return Document(id, prompt + code, document.source, metadata), program, test


def _test(value: Any) -> str:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value, strict=False)
        except (ValueError, RecursionError) as error:
            raise ReplyError("test_syntax_error", str(error)) from error
    if isinstance(value, list):
        value = "\n".join(map(str, value))
    return value if isinstance(value, str) else ""


def _parse(code: str, reason: str) -> ast.Module:
    try:
        return parse_quietly(code)
    except UNPARSABLE as error:
        raise ReplyError(reason, str(error)) from error
