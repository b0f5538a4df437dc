"""The synthesis stage: only exercises that hold reach the corpus; the others are kept aside."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from phi1_jax.corpus.documents import read_documents
from phi1_jax.corpus.problems import read_problems
from phi1_jax.errors import UserError
from phi1_jax.synthesis.offline_teacher import (
    OfflineTeacher,
    build_benchmark,
    plan_exercises,
    plan_textbooks,
)
from phi1_jax.synthesis.synthesize import synthesize
from phi1_jax.synthesis.teacher import TeacherReply, TeacherRequest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Ended:
    verdict: str
    message: str = ""


def run_here(programs):
    for program in programs:
        main = {"__name__": "program"}
        try:
            exec(program, main)
        except Exception as error:
            yield Ended("FAIL", str(error))
        else:
            yield Ended("PASS", main.get("__result__", ""))


class Scripted:
    """Answers with the texts it was given."""

    name = "scripted"

    def __init__(self, texts):
        self.texts = iter(texts)

    def replies(self, requests):
        for request in requests:
            yield TeacherReply(request, next(self.texts))


def good(name, value):
    return (
        f'```python\ndef {name}(n):\n    """Double n.\n    >>> {name}({value})\n'
        f'    {2 * value}\n    """\n    return n * 2\n```\n'
    )


def asked(*names):
    return [TeacherRequest("exercise", "numbers", function_name=name, seed=i)
            for i, name in enumerate(names)]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
def test_keeps_what_holds_and_sets_the_rest_aside_with_its_reason_and_text(tmp_path, batch):
    texts = [
        good("twice", 2),
        good("twice", 2),
        good("twice", 3).replace("    6\n", "    7\n"),
        good("other", 3),
        "Sorry, no.",
        good("again", 5),
    ]
    requests = asked("twice", "twice", "twice", "twice", "twice", "again")
    report = synthesize(tmp_path, Scripted(texts), [], requests, [], run_here, batch)
    kept = read_documents(tmp_path / "exercises.jsonl.zst")
    assert sorted(d.metadata["entry_point"] for d in kept) == ["again", "twice"]
    rejects = {d.metadata["reason"]: d for d in read_documents(tmp_path / "rejects.jsonl.zst")}
    assert set(rejects) == {"duplicate", "example_differs", "wrong_function_name", "no_code_block"}
    assert rejects["example_differs"].text == texts[2]
    assert "gives 6, stated 7" in rejects["example_differs"].metadata["detail"]
    assert rejects["no_code_block"].metadata["seed"] == 4
    assert report["in"]["exercise requests"] == 6
    assert report["out"]["exercises"] == 2
    assert report["dropped"] == dict.fromkeys(report["dropped"], 1)
    assert report["teacher_error_rate"] == 0.5  # a repeat is not an error


def test_verdicts_of_the_sandbox_are_reasons(tmp_path):
    def run(programs):
        for program in programs:
            if "def three" in program:
                yield from run_here([program])
            else:
                yield Ended("TIMEOUT" if "def one" in program else "INFRA")

    texts = [good("one", 1), good("two", 2), good("three", 3)]
    report = synthesize(tmp_path, Scripted(texts), [], asked("one", "two", "three"), [], run)
    assert report["dropped"] == {"timeout": 1, "infra": 1}
    assert report["teacher_error_rate"] == round(1 / 3, 4)
    assert report["verdicts"] == {
        "off_format": 0, "parses": 1, "runs": 0, "doctest_passes": 1
    }  # fmt: skip
    assert report["out"]["exercises"] == 1


def test_nothing_that_can_be_used_is_an_error_that_names_the_reasons(tmp_path):
    message = r"none of 2 replies can be used \(2 no_code_block\); see .*rejects"
    with pytest.raises(UserError, match=message):
        synthesize(tmp_path, Scripted(["No."] * 2), [], asked("one", "two"), [], run_here)
    assert [d.text for d in read_documents(tmp_path / "rejects.jsonl.zst")] == ["No."] * 2


def test_textbook_sections_carry_topic_and_audience_without_repeats(tmp_path):
    requests = [TeacherRequest("textbook", "lists", "young beginners", seed=i) for i in range(3)]
    texts = ["# Lists\n\n" + "A list holds values. " * 20] * 2 + ["No."]
    report = synthesize(tmp_path, Scripted(texts), requests, [], [], run_here)
    (section,) = read_documents(tmp_path / "textbooks.jsonl.zst")
    assert section.metadata["topic"] == "lists"
    assert section.metadata["audience"] == "young beginners"
    assert report["dropped"] == {"duplicate": 1, "short_section": 1}


def test_refused_and_torn_sections_are_set_aside_raw_and_counted(tmp_path):
    section = "# Lists\n\n" + "A list holds values. " * 20
    refusal = "I'm sorry, but as an AI language model I cannot write this section for you."
    texts = [
        section,
        "\n".join([refusal] * 4),
        section + "\0" + section,
        section + "\n```python\n" + "x" * 400,
        section.removeprefix("# Lists\n\n"),
    ]
    requests = [TeacherRequest("textbook", "lists", seed=i) for i in range(len(texts))]
    report = synthesize(tmp_path, Scripted(texts), requests, [], [], run_here)
    (kept,) = read_documents(tmp_path / "textbooks.jsonl.zst")
    assert kept.text == section.strip() + "\n"
    rejects = {d.metadata["reason"]: d for d in read_documents(tmp_path / "rejects.jsonl.zst")}
    reasons = ("refused", "control_character", "open_code_block", "no_heading")
    assert [rejects[reason].text for reason in reasons] == texts[1:]
    assert "as an AI" in rejects["refused"].metadata["detail"]
    assert report["dropped"] == dict.fromkeys(reasons, 1)
    assert report["teacher_error_rate"] == 0.8


def test_offline_teacher_end_to_end(tmp_path):
    problems = build_benchmark(20, seed=5)
    report = synthesize(
        tmp_path,
        OfflineTeacher(),
        plan_textbooks(30, 5),
        plan_exercises(200, 5),
        problems,
        run_here,
        batch=8,
    )
    assert report["teacher_error_rate"] == 0
    assert report["out"]["exercises"] == 200
    assert read_problems(tmp_path / "benchmark.jsonl") == problems
    for document in read_documents(tmp_path / "exercises.jsonl.zst"):
        assert document.metadata["composition"]
        assert document.metadata["entry_point"] in document.text
    assert all(len(d.text) > 300 for d in read_documents(tmp_path / "textbooks.jsonl.zst"))


def test_a_benchmark_that_fails_its_own_tests_stops_the_stage(tmp_path):
    (problem,) = build_benchmark(1, seed=0)
    broken = replace(problem, canonical_solution="    return None\n")
    with pytest.raises(RuntimeError, match=r"offline/0: its own solution fails"):
        synthesize(tmp_path, OfflineTeacher(), [], [], [broken], run_here)


def launch(*flags):
    return subprocess.run(
        [sys.executable, str(ROOT / "launch" / "synthesize.py"), *flags],
        capture_output=True,
        text=True,
        cwd=os.path.sep,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_script_verifies_in_the_sandbox_and_reuses_a_finished_stage(tmp_path):
    flags = [f"--output={tmp_path / 'synth'}", "--n_exercises=60", "--n_textbook_sections=20",
             "--n_benchmark=10"]  # fmt: skip
    first = launch(*flags)
    assert first.returncode == 0, first.stderr
    assert "exercises 60" in first.stdout
    written = (tmp_path / "synth" / "exercises.jsonl.zst").read_bytes()
    report = json.loads((tmp_path / "synth" / "report.json").read_text())
    assert report["out"]["problems"] == 10 and report["sandbox"]
    assert "reused" in launch(*flags).stdout
    assert launch(*flags, "--force").returncode == 0
    assert (tmp_path / "synth" / "exercises.jsonl.zst").read_bytes() == written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--output"),
        (("--output=x", "--topics=t.json"), "--topics: is read with --teacher=api only"),
        (("--output=x", "--require=looks_right"), "require"),
    ],
)
def test_wrong_flags_get_one_clear_line(flags, message):
    ended = launch(*flags)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
