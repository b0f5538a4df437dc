"""The teacher behind an endpoint: from the plan to the corpus, with everything that goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import REPOSITORY
from llm_server import Answer, Server, completion

from phi1_jax.corpus.documents import read_documents
from phi1_jax.llm_client import LanguageModel, LanguageModelConfig
from phi1_jax.synthesis.teacher import DIFFICULTIES, APITeacher
from phi1_jax.synthesis.topics import COURSE, plan_exercises, plan_textbooks, read_topics


def write(body):
    """What a good teacher writes; it knows nothing but the request."""
    text = body["messages"][1]["content"]
    if name := re.search(r"Function name: (\w+)", text):
        return (
            f'```python\ndef {name[1]}(n):\n    """Task {text!r}.\n    >>> {name[1]}(2)\n    4\n'
            f'    """\n    return n * 2\n```\n'
        )
    return f"# {text}\n\n" + "A value has a type. " * 20


def launch(url, output, *flags, **popen):
    command = [
        sys.executable, str(REPOSITORY / "launch" / "synthesize.py"), "--teacher=api", "--model=m",
        f"--base_url={url}", "--api_key_env=", f"--output={output}", *flags,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **popen,
    )  # fmt: skip


def test_requests_become_prompts_that_name_their_constraints():
    course = read_topics(COURSE)
    (exercise,), (section,) = plan_exercises(course, 1, 0), plan_textbooks(course, 1, 0)
    with LanguageModel(LanguageModelConfig("m"), ":memory:") as model:
        requests = [APITeacher(model).completion(request) for request in (exercise, section)]
    for request in requests:
        assert [message["role"] for message in request.messages] == ["system", "user"]
    asked, about = (request.messages[1]["content"] for request in requests)
    assert exercise.function_name in asked and exercise.topic in asked
    assert DIFFICULTIES[exercise.difficulty] in asked
    assert section.audience in about and section.topic in about


def test_replies_come_in_the_order_of_the_plan_whatever_finishes_first(tmp_path):
    def answer(body):
        slow = hash(body["messages"][1]["content"]) % 3 == 0
        return completion(write(body), delay_s=0.05 * slow)

    plan = list(plan_exercises(read_topics(COURSE), 40, 0))
    plan += plan[:3]
    with Server(answer) as server:
        config = LanguageModelConfig("m", server.url, "")
        with LanguageModel(config, tmp_path / "c") as model:
            teacher = APITeacher(model)
            replies = list(teacher.replies(plan))
        assert [reply.request for reply in replies] == plan
        assert all(f"def {r.request.function_name}(" in r.text for r in replies)
        assert len(server.bodies) == 40
        assert {b["temperature"] for b in server.bodies} == {1.0}
    assert teacher.name == "api:m"


@pytest.mark.slow
def test_what_is_not_a_whole_readable_reply_never_reaches_the_corpus(tmp_path):
    """Every reply but two is spoilt in its own way and carries a mark; no corpus holds it."""
    spoilt = {
        "truncated": lambda text: completion(text + "MARK", "length"),
        "refused": lambda text: completion("I cannot MARK", refusal="I cannot MARK"),
        "error": lambda text: Answer(b'{"choices": [{"message": {"content": "MARK'),
        "empty": lambda text: completion(" \n"),
        "no_code_block": lambda text: completion(text.replace("```", "") + "MARK"),
        "several_code_blocks": lambda text: completion(text + text + "MARK"),
        "syntax_error": lambda text: completion(text.replace("def ", "define MARK ")),
        "wrong_function_name": lambda text: completion(text.replace("def ", "def MARK_")),
        "example_differs": lambda text: completion(text.replace("    4\n", "    'MARK'\n")),
        "raises": lambda text: completion(text.replace("n * 2", "MARK")),
    }
    plan = [r.function_name for r in plan_exercises(read_topics(COURSE), len(spoilt) + 2, 0)]
    how = dict(zip(plan, spoilt, strict=False))

    def answer(body):
        name = re.search(r"Function name: (\w+)", body["messages"][1]["content"])
        reason = how.get(name[1]) if name else "truncated"
        return spoilt[reason](write(body)) if reason else write(body)

    output = tmp_path / "synth"
    with Server(answer) as server:
        process = launch(
            server.url, output, f"--n_exercises={len(plan)}", "--n_textbook_sections=2",
            "--max_retries=0",
        )  # fmt: skip
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    kept = list(read_documents(output / "exercises.jsonl.zst"))
    assert sorted(d.metadata["entry_point"] for d in kept) == sorted(plan[-2:])
    assert all("MARK" not in d.text for d in kept)
    assert kept[0].metadata["verdict"] == "doctest_passes" and " > " in kept[0].metadata["topic"]
    rejects = Counter(d.metadata["reason"] for d in read_documents(output / "rejects.jsonl.zst"))
    assert rejects == Counter([*spoilt, "truncated", "truncated"])
    texts = [d.text for d in read_documents(output / "rejects.jsonl.zst")]
    assert sum("MARK" in text for text in texts) == len(texts) - 1  # all but the empty one, raw
    report = json.loads((output / "report.json").read_text())
    assert report["verdicts"] == {
        "off_format": 7, "parses": 1, "runs": 1, "doctest_passes": 2
    }  # fmt: skip
    assert report["out"]["textbooks"] == 0 and report["dropped"]["truncated"] == 3
    assert "exercises: 12 requests, 0 of them answered already" in out


@pytest.mark.slow
def test_a_dry_run_sends_and_writes_nothing(tmp_path):
    with Server(write) as server:
        process = launch(
            server.url, tmp_path / "synth", "--dry_run", "--n_exercises=100",
            "--usd_per_million_input=1", "--usd_per_million_output=2",
        )  # fmt: skip
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert not server.bodies
    assert not list(tmp_path.iterdir())
    exercises = next(line for line in out.splitlines() if line.startswith("exercises"))
    (usd,) = re.findall(r"([\d.]+) USD \(at", exercises)
    assert "100 requests" in exercises and "76,800 out" in exercises
    assert float(usd) == pytest.approx(100 * (768 * 2 + 147 * 1) / 1e6, rel=0.1)


@pytest.mark.slow
def test_the_budget_ends_the_run_in_one_line_and_a_larger_one_goes_on(tmp_path):
    flags = ["--n_exercises=20", "--n_textbook_sections=0", "--usd_per_million_output=100"]
    with Server(write) as server:
        process = launch(server.url, tmp_path / "synth", *flags, "--budget_usd=0.08")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "error: --budget_usd=0.08" in err.splitlines()[-1]
        assert 0 < len(server.bodies) < 20
        process = launch(server.url, tmp_path / "synth", *flags, "--budget_usd=0.2")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert len(server.bodies) == 20
    report = json.loads((tmp_path / "synth" / "report.json").read_text())
    assert report["inputs"]["topics"] == str(COURSE)


@pytest.mark.slow
def test_killed_and_run_again_makes_the_corpus_of_an_undisturbed_run(tmp_path):
    flags = ["--n_exercises=120", "--n_textbook_sections=30", "--concurrency=4"]
    folders = {name: tmp_path / name for name in ("undisturbed", "killed")}
    with Server(write) as server:
        launch(server.url, folders["undisturbed"], *flags).communicate(timeout=120)
    kills = 0
    with Server(lambda body: completion(write(body), delay_s=0.02)) as server:
        for stop_at in (20, 80, None):
            process = launch(server.url, folders["killed"], *flags, start_new_session=True)
            while stop_at and len(server.bodies) < stop_at:
                time.sleep(0.01)
                assert process.poll() is None
            if stop_at:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        sent = Counter(server.keys)
        # Each key once, but for what was in flight when the process died.
        assert len(sent) == 150 and sum(sent.values()) - 150 <= kills * 4
    for name in ("exercises.jsonl.zst", "textbooks.jsonl.zst", "rejects.jsonl.zst"):
        first, second = ((folder / name).read_bytes() for folder in folders.values())
        assert first == second and first
    assert len(list(plan_textbooks(read_topics(COURSE), 30, 0))) == 30
    assert len(list(read_documents(folders["killed"] / "exercises.jsonl.zst"))) == 120
