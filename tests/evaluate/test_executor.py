"""No candidate forges a pass, and no benchmark is scored before right and wrong are told apart."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from phi1_jax.corpus.problems import Problem
from phi1_jax.errors import UserError
from phi1_jax.evaluate import benchmarks
from phi1_jax.evaluate.benchmarks import humaneval, read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.sandbox import Job, Limits, Verdict, open_sandbox

DATA = Path(os.environ.get("PHI1_JAX_DATA") or Path(__file__).parents[3] / "shared/data")


def data_file(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is missing: name a folder that holds it in PHI1_JAX_DATA")
    return path


@pytest.fixture(scope="module")
def executor():
    limits = Limits(cpu_s=15, wall_s=60, memory_mb=256, output_bytes=1 << 18)
    with open_sandbox(limits, workers=2) as sandbox:
        yield TestExecutor(sandbox)


# The tests know a word that no candidate is ever told.
EXAMINER = """
answer = remote("answer")
word = "tests-only-" + "word-7c1e"
for value in (3, 10, -2):
    assert answer(value) == value * value + 1, word
assert answer([word]) == "ok"
assert isinstance(answer(2), int) and not answer(2) == 4
"""
RIGHT = "def answer(x):\n    return 'ok' if isinstance(x, list) else x * x + 1\n"

FORGERIES = {
    "always equal": "class A:\n    __eq__ = lambda s, o: True\ndef answer(x): return A()",
    "always equal int": "class A(int):\n    __eq__ = lambda s, o: True\n"
    "    __hash__ = int.__hash__\ndef answer(x): return A()",
    "always equal str": "class A(str):\n    __eq__ = lambda s, o: True\ndef answer(x): return A()",
    "equal by metaclass": "class M(type):\n    __eq__ = lambda s, o: True\n"
    "class A(metaclass=M): pass\ndef answer(x): return A",
    "equal in a list": "class A:\n    __eq__ = lambda s, o: True\ndef answer(x): return [A()]",
    "lies about its class": "class A:\n    __class__ = int\n    __eq__ = lambda s, o: True\n"
    "    bit_length = lambda s: 8\n    to_bytes = lambda s, *a, **k: b'N'\n"
    "def answer(x): return A()",
    "not a number": "def answer(x): return float('nan')",
    "shadowed builtins": "import builtins\nfor name in ('isinstance', 'len', 'abs', 'all'):\n"
    "    setattr(builtins, name, lambda *a: True)\ndef answer(x): return 0",
    "patched AssertionError": "import builtins\n"
    "class Quiet(Exception):\n    def __new__(c, *a): raise SystemExit(0)\n"
    "builtins.AssertionError = Quiet\ndef answer(x): return 0",
    "patched exec": "import builtins\nbuiltins.exec = lambda *a: None\n"
    "builtins.compile = lambda *a, **k: ''\ndef answer(x): return 0",
    "patched os.write": "import os\nwrite = os.write\n"
    "os.write = lambda fd, data: write(fd, bytes(data).replace(b'F', b'P'))\n"
    "def answer(x): return 0",
    "hook on exceptions": "import sys\nsys.excepthook = sys.unraisablehook = lambda *a: None\n"
    "def answer(x): return 0",
    "tracing": "import sys\ndef trace(frame, event, arg):\n    frame.f_locals['passed'] = True\n"
    "    return trace\nsys.settrace(trace)\ndef answer(x): return 0",
    "walk through the frames": "import sys\ndef answer(x):\n    frame = sys._getframe()\n"
    "    while frame:\n        if 'word' in frame.f_globals or 'word' in frame.f_locals:\n"
    "            return 'ok' if isinstance(x, list) else x * x + 1\n"
    "        frame = frame.f_back\n    return 0",
    "search of all objects": "import gc\ndef answer(x):\n    for o in gc.get_objects():\n"
    "        if isinstance(o, dict) and any('tests-only-' in v for v in list(o.values())\n"
    "                                       if type(v) is str):\n"
    "            return 'ok' if isinstance(x, list) else x * x + 1\n    return 0",
    "search of modules": "import sys\ndef answer(x):\n"
    "    assert any(hasattr(m, 'word') or hasattr(m, 'remote') for m in sys.modules.values())\n"
    "    return 'ok' if isinstance(x, list) else x * x + 1",
    # By its checksum: the word itself would be found, as a constant of this program.
    # A page that is not there cannot be printed from.
    "search of memory in C": "import ctypes, zlib\ndef answer(x):\n    start = id([]) & ~0xfff\n"
    "    write = ctypes.CDLL(None).write\n    for page in range(-64, 64):\n"
    "        at = start + page * 4096\n"
    "        if write(1, ctypes.c_void_p(at), 1) == 1:\n"
    "            data = ctypes.string_at(at, 4096)\n"
    "            if any(zlib.crc32(data[i : i + 11]) == 2940219311 for i in range(4086)):\n"
    "                return 'ok' if isinstance(x, list) else x * x + 1\n    return 0",
    "printed pass marker": "import os, sys\nprint('PASS', 'P', flush=True)\nos.write(1, b'P')\n"
    "os._exit(0)",
    "report to every descriptor": "import os\nfor fd in range(256):\n    try: os.write(fd, b'P')\n"
    "    except OSError: pass\nos._exit(0)",
    "report with a length": "import os\nfor fd in range(256):\n"
    "    try: os.write(fd, b'\\0\\0\\0\\1P')\n    except OSError: pass\nos._exit(0)",
    "forged frame: huge": "import os\ndef answer(x): os.write(5, b'\\xff\\xff\\xff\\xff')",
    "forged frame: cut": "import os\ndef answer(x): os.write(5, b'\\0\\0\\1\\0N'); os._exit(0)",
    "forged frame: garbage": "import os\ndef answer(x): os.write(5, b'\\0\\0\\0\\1?')",
    "forged frame: pickle": "import os, pickle\n"
    "class E:\n    def __reduce__(self): return (exec, ('raise SystemExit(0)',))\n"
    "def answer(x):\n    d = pickle.dumps(E())\n    os.write(5, len(d).to_bytes(4, 'big') + d)",
    "forged frame: other words": "import os\n"
    "def answer(x): os.write(5, b'\\0\\0\\0\\x06s\\0\\0\\0\\1P')",
    "answers in advance": "import os\nfor _ in range(9):\n"
    "    os.write(5, b'\\0\\0\\0\\x15t\\0\\0\\0\\2s\\0\\0\\0\\5valueN')\nos._exit(0)",
    "oversized reply": "def answer(x): return 'x' * 10**8",
    "cyclic reply": "def answer(x):\n    a = []\n    a.append(a)\n    return a",
    "deep reply": "def answer(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "endless reply": "def answer(x): return iter(int, 1)",
    "exit": "def answer(x): raise SystemExit(0)",
    "exit while loading": "raise SystemExit(0)",
    "interrupt": "def answer(x): raise KeyboardInterrupt",
    "generator exit": "def answer(x): raise GeneratorExit",
    "an exception that passes": "class Own(Exception):\n"
    "    def __str__(self): raise SystemExit(0)\n"
    "def answer(x): raise Own",
    "a class of a builtin's name": "AssertionError = type('AssertionError', (Exception,), {})\n"
    "def answer(x): raise AssertionError",
    "no such function": "def other(x): return x",
    "not a function": "answer = 5",
    "syntax error": "def answer(x) return x",
    "nothing": "",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_fails_and_the_next_honest_candidate_passes(executor, name):
    forged, honest = executor.sandbox.examine(
        [Job(FORGERIES[name], EXAMINER), Job(RIGHT, EXAMINER)]
    )
    assert forged.verdict is Verdict.FAIL, forged
    assert honest.verdict is Verdict.PASS, honest


def test_the_search_of_memory_would_find_the_word(executor):
    """The control of the forgery that finds nothing: the same, with the word in its memory."""
    planted = "def answer(x):\n    kept = ['tests' + '-only-' + str(i) for i in range(20_000)]\n"
    search = FORGERIES["search of memory in C"].replace("def answer(x):\n", planted)
    (found,) = executor.sandbox.examine([Job(search, EXAMINER)])
    assert found.verdict is Verdict.PASS, found


@pytest.mark.parametrize(
    "forgery",
    ["raise SystemExit", "import os; os._exit(0)", "import os; os.write(5, b'\\xff' * 4)"],
)
def test_tests_that_swallow_every_exception_pass_no_broken_candidate(executor, forgery):
    examiner = (
        "f = remote('f')\nfor _ in range(3):\n    try:\n        f()\n    except BaseException:\n"
    )
    examiner += "        pass\n"
    (outcome,) = executor.sandbox.examine([Job(f"def f():\n    {forgery}", examiner)])
    assert outcome.verdict is Verdict.FAIL, outcome


def test_arguments_are_copies(executor):
    """A candidate cannot spoil what the tests compare with by changing its argument."""
    examiner = "f = remote('f')\nx = [3, 1]\nassert f(x) == [1, 3] and x == [3, 1]"
    (outcome,) = executor.sandbox.examine([Job("def f(x): x.sort(); return x", examiner)])
    assert outcome.verdict is Verdict.PASS, outcome


def test_tests_cannot_hang_the_executor():
    with open_sandbox(Limits(cpu_s=0.3), workers=1) as sandbox:
        (outcome,) = sandbox.examine([Job("def f(): return 1", "while True: pass")])
    assert outcome.verdict is Verdict.TIMEOUT


@pytest.mark.slow
def test_humaneval_canonical_solutions_pass_and_wrong_ones_fail(executor):
    benchmark = read_benchmark("humaneval", data_file("HumanEval.jsonl.gz"))
    assert executor.self_check(benchmark) == {
        "reference solution": 164,
        "empty body": 164,
        "wrong constant": 164,
        "another problem's solution": 164,
    }
    start = time.perf_counter()
    outcomes = list(executor.execute((task, task.reference) for task in benchmark.tasks))
    rate = len(outcomes) / (time.perf_counter() - start)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 164
    print(f"\n{rate:.0f} HumanEval problems/s with 2 workers on {os.cpu_count()} cores")
    assert rate > 20  # a floor for a machine that is busy with other things
    bodies = list(executor.execute((task, task.prompt + "    pass\n") for task in benchmark.tasks))
    assert Verdict.PASS not in [outcome.verdict for outcome in bodies]


@pytest.mark.slow
def test_mbpp_references_pass_and_wrong_ones_fail(executor):
    benchmark = read_benchmark("mbpp", data_file("mbpp.jsonl"))
    assert list(benchmark.left_out) == ["MBPP/367"]
    tasks = benchmark.tasks
    outcomes = list(executor.execute((task, task.reference) for task in tasks))
    bad = [t.task_id for t, o in zip(tasks, outcomes, strict=True) if o.verdict != Verdict.PASS]
    assert (len(tasks), bad) == (499, [])
    empty = executor.execute((task, f"def {task.entry_point}(*a): pass") for task in tasks)
    assert Verdict.PASS not in [outcome.verdict for outcome in empty]


def problem(name: str, body: str, test: str) -> Problem:
    prompt = f'def {name}(x):\n    """What {name} does."""\n'
    return Problem(f"own/{name}", prompt, name, f"    {body}\n", f"def check(f):\n    {test}\n")


GOOD = [
    problem("double", "return 2 * x", "assert f(2) == 4 and f(5) == 10"),
    problem("negate", "return -x", "assert f(2) == -2 and f(5) == -5"),
    problem("square", "return x * x", "assert f(3) == 9 and f(5) == 25"),
    problem("third", "return x / 3", "assert f(3) == 1 and f(6) == 2"),
]


def test_own_problems_pass_the_self_check(executor, capsys):
    assert set(TestExecutor(executor.sandbox).self_check(humaneval(GOOD, "own")).values()) == {4}
    assert "not checked" not in capsys.readouterr().out


def test_what_few_problems_cannot_show_is_said(executor, capsys):
    self_check = TestExecutor(executor.sandbox).self_check(humaneval(GOOD[:3], "few"))
    assert "another problem's solution" not in self_check
    assert "not checked on few: that other problems' solutions fail" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (problem("wrong", "return x", "assert f(1) == 2"), "the reference solution does not pass"),
        (problem("void", "return x", "f(1)"), "the empty body does not fail"),
        (problem("none", "return None", "assert f(1) is None"), "the empty body does not fail"),
        (problem("truth", "return x", "assert f(1)"), "the wrong constant does not fail"),
        (
            problem("numbers", "return x", "assert isinstance(f(6), (int, float))"),
            "other problems' solutions do not fail",
        ),
    ],
)
def test_no_score_without_a_self_check(executor, bad, what):
    why = f"{what}: {bad.task_id}( [(](PASS|FAIL .+)[)])?; correct or remove"
    with pytest.raises(UserError, match=f"no score is given: on 1 of 5 .*{why}"):
        executor.self_check(humaneval([*GOOD, bad], "own"))


def test_two_problems_that_mean_the_same_are_no_obstacle(executor):
    again = problem("twice", "return x + x", "assert f(2) == 4 and f(5) == 10")
    executor.self_check(humaneval([again, *GOOD], "own"))


def test_a_self_check_is_kept_for_the_same_benchmark_only(executor, monkeypatch):
    benchmark = humaneval(GOOD, "kept")
    executor.self_check(benchmark)
    monkeypatch.setattr(executor, "execute", lambda programs: pytest.fail("executed again"))
    executor.self_check(humaneval(GOOD, "kept"))
    changed = replace(benchmark, tasks=benchmark.tasks[:3])
    with pytest.raises(pytest.fail.Exception):
        executor.self_check(changed)


def test_helpers_of_the_prompt_are_at_hand_for_the_tests(executor):
    """As in HumanEval/32, whose tests call `poly`; a candidate's own `helper` does not count."""
    prompt = 'import math\ndef helper(x):\n    return x + 1\n\ndef f(x):\n    """Doc."""\n'
    test = "def check(f):\n    assert f(3) == helper(3) * 2 == math.floor(8.5)\n"
    one = Problem("own/f", prompt, "f", "    return helper(x) * 2\n", test)
    (task,) = humaneval([one], "own").tasks
    cheat = "def helper(x):\n    return 0\ndef f(x):\n    return 0\n"
    right, wrong = executor.execute([(task, task.reference), (task, cheat)])
    assert (right.verdict, wrong.verdict) == (Verdict.PASS, Verdict.FAIL)


def test_problems_left_out_have_reasons():
    assert all(len(reason) > 20 for reason in benchmarks.NOT_EXECUTABLE.values())
