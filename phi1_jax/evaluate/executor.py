"""The test executor: tests in one process, the candidate in another; self-check before any score.

Harnesses that run a candidate and its tests in one process can be made to pass anything: by an
object that equals everything, a patched builtin, or a walk through the frames. Here the two live
in separate confined processes and only plain values cross (`phi1_jax.sandbox`).
"""

from collections.abc import Iterable, Iterator, Sequence

from tqdm import tqdm

from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, Task
from phi1_jax.sandbox import Job, Outcome, Sandbox, Verdict

_CONSTANT = "a constant that no test expects"
_OTHERS = 3  # how many other problems' solutions are tried before a test counts as void


class TestExecutor:
    """Runs programs against tasks in an open sandbox; `self_check` a benchmark before scoring."""

    __test__ = False  # a name that pytest would collect

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._checked: dict[str, dict[str, int]] = {}

    def execute(self, programs: Iterable[tuple[Task, str]]) -> Iterator[Outcome]:
        """The outcome of each (task, whole program), in order."""
        return self.sandbox.examine(Job(program, task.examiner) for task, program in programs)

    def self_check(self, benchmark: Benchmark) -> dict[str, int]:
        """Shows that right solutions pass here and wrong ones fail, once for a benchmark.

        Returns:
          How many reference solutions passed, and how many programs of each wrong kind failed.
        Raises:
          UserError: one verdict is not as it must be; no score of this benchmark would mean
            anything.
        """
        if benchmark.fingerprint not in self._checked:
            self._checked[benchmark.fingerprint] = self._check(benchmark)
        return self._checked[benchmark.fingerprint]

    def _check(self, benchmark: Benchmark) -> dict[str, int]:
        tasks = benchmark.tasks
        kinds = {
            "reference solution": [task.reference for task in tasks],
            "empty body": [_function(task, "pass") for task in tasks],
            "wrong constant": [_function(task, f"return {_CONSTANT!r}") for task in tasks],
        }
        programs = [pair for kind in kinds.values() for pair in zip(tasks, kind, strict=True)]
        bar = f"self-check on {benchmark.name}"
        outcomes = list(tqdm(self.execute(programs), bar, len(programs), leave=False))
        for at, kind in enumerate(kinds):
            part = outcomes[at * len(tasks) : (at + 1) * len(tasks)]
            right = at == 0
            bad = [
                " ".join(f"{task.task_id} ({outcome.verdict} {outcome.message}".split()) + ")"
                for task, outcome in zip(tasks, part, strict=True)
                if (outcome.verdict is Verdict.PASS) is not right
                or outcome.verdict is Verdict.INFRA
            ]
            _refuse(benchmark, bad, f"the {kind} {'does not pass' if right else 'does not fail'}")
        self_check = dict.fromkeys(kinds, len(tasks))
        if len({task.entry_point for task in tasks}) > _OTHERS:
            bad = [task.task_id for task in self._fooled(tasks)]
            _refuse(benchmark, bad, "other problems' solutions do not fail")
            self_check["another problem's solution"] = len(tasks)
        else:
            print(
                f"not checked on {benchmark.name}: that other problems' solutions fail; it needs"
                f" more than {_OTHERS} functions"
            )
        return self_check

    def _fooled(self, tasks: Sequence[Task]) -> list[Task]:
        """Tasks that pass with the solutions of several others: two may by chance mean the same."""
        at = {task.task_id: i for i, task in enumerate(tasks)}
        left = list(tasks)
        for step in range(1, _OTHERS + 1):
            others = [tasks[(at[task.task_id] + step) % len(tasks)] for task in left]
            pairs = [
                (task, f"{other.reference}\n{task.entry_point} = {other.entry_point}\n")
                for task, other in zip(left, others, strict=True)
            ]
            outcomes = self.execute(pairs)
            left = [t for t, o in zip(left, outcomes, strict=True) if o.verdict is Verdict.PASS]
        return left


def _function(task: Task, body: str) -> str:
    return f"def {task.entry_point}(*arguments, **keywords):\n    {body}\n"


def _refuse(benchmark: Benchmark, bad: Sequence[str], what: str) -> None:
    if bad:
        raise UserError(
            f"no score is given: on {len(bad)} of {len(benchmark.tasks)} problems of "
            f"{benchmark.name} {what}: {', '.join(bad[:5])}; correct or remove these problems"
        )
