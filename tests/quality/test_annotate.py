import json
import re

import pytest
from llm_server import Server, completion

from phi1_jax.corpus.documents import Document, read_all, read_documents, write_documents
from phi1_jax.corpus.records import read_records
from phi1_jax.errors import UserError
from phi1_jax.llm_client import LanguageModel, LanguageModelConfig
from phi1_jax.quality.annotate import (
    SYSTEM,
    annotate,
    by_column,
    by_language_model,
    by_rubric,
    read_grade,
    sample,
)
from phi1_jax.quality.rubric import RUBRIC, score_document

TEXTS = [f'def f{i}(x):\n    """Add {i} to x."""\n    return x + {i}\n' for i in range(30)]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [Document(f"d{i}", text, "code", {"path": f"p{i}"}) for i, text in enumerate(TEXTS)]
    write_documents(path, rows)
    return path


def reader(path, columns=None):
    return lambda: read_all([path], columns)


def annotated(folder):
    return list(read_documents(folder / "annotated.jsonl.zst"))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"why": "Clear.", "grade": 4}', (0.8, "Clear.")),
        ('Sure!\n```json\n{"why": "Data.",\n "grade": 0}\n```', (0.0, "Data.")),
        ('{"grade": 5}', (1.0, "")),
        ('{"why": "x", "grade": 6}', None),
        ('{"why": "x", "grade": -1}', None),
        ('{"why": "x", "grade": 3.5}', None),
        ('{"why": "x", "grade": true}', None),
        ('{"why": "x", "grade": "4"}', (0.8, "x")),
        ('{"why": "x", "grade": "4/5"}', (0.8, "x")),
        ('{"why": "x", "grade": 4.0}', (0.8, "x")),
        ('{"why": "Uses {} once, and opens {.", "grade": 4}', (0.8, "Uses {} once, and opens {.")),
        ('{"why": "Shows f\\"{name}\\".", "grade": 4}', (0.8, 'Shows f"{name}".')),
        ('{"why": "Clear\nand short.", "grade": 4}', (0.8, "Clear\nand short.")),
        ('<think>{"why": "x", "grade": 3}?</think>{"why": "y", "grade": 4}', (0.8, "y")),
        ('A draft {with a brace. {"why": "y", "grade": 4}', (0.8, "y")),
        ('{"why": "Prints "a", then "b".", "grade": 4}', (0.8, "")),
        ("{'why': 'Clear.', 'grade': 4}", (0.8, "")),
        ('{"why": "x", "Grade": "4/5",}', (0.8, "")),
        ('{"why": null, "grade": 4}', (0.8, "")),
        ('[THINK]{"why": "x", "grade": 3}?[/THINK]{"why": "y", "grade": 4}', (0.8, "y")),
        ("{'why': 'x', 'grade': 4} or {'why': 'y', 'grade': 2}", None),
        ("{'why': 'x', 'grade': 3.5}", None),
        ('{"why": "x", "grade": "' + "9" * 5000 + '"}', None),
        ('{"why": "x", "grade": "high"}', None),
        ('{"why": "x", "grade": 4} or {"why": "y", "grade": 2}', None),
        ('{"why": "x", "gra', None),
        ("4", None),
        ("", None),
    ],
)
def test_a_reply_has_exactly_one_grade_or_is_set_aside(reply, expected):
    assert read_grade(reply) == expected


def test_the_sample_is_the_same_whatever_the_order(corpus, tmp_path):
    chosen = {d.id for d in sample(reader(corpus), 7)}
    assert len(chosen) == 7
    backwards = tmp_path / "backwards.jsonl"
    write_documents(backwards, list(read_documents(corpus))[::-1])
    assert {d.id for d in sample(reader(backwards), 7)} == chosen
    assert (
        len(list(sample(reader(corpus), None)))
        == len(list(sample(reader(corpus), 99)))
        == len(TEXTS)
    )


def test_the_rubric_annotates_offline(corpus, tmp_path):
    report = annotate(reader(corpus), 10, by_rubric, tmp_path)
    rows = annotated(tmp_path)
    assert len(rows) == report["out"]["annotated"] == sum(report["values"].values()) == 10
    for row in rows:
        assert row.metadata["annotated_value"] == score_document(row)
        assert row.metadata["annotator"] == RUBRIC
        assert row.metadata["path"] == f"p{row.id[1:]}"


def grade_by_number(body):
    """A judge that reads the document: d grades by its number, and misbehaves for some."""
    system, user = (message["content"] for message in body["messages"])
    assert system == SYSTEM and user.startswith("<document>\ndef f")
    number = int(re.search(r"def f(\d+)", user)[1])
    if number == 3:
        return "I would rather not say."
    if number == 4:
        return completion('{"why": "cut', finish_reason="length")
    return json.dumps({"why": f"number {number}", "grade": number % 6})


def test_a_language_model_annotates_and_a_killed_run_pays_for_nothing_twice(corpus, tmp_path):
    with Server(grade_by_number) as server:
        settings = LanguageModelConfig("judge", base_url=server.url, api_key_env="")

        def run():
            with LanguageModel(settings, tmp_path / "replies.sqlite") as model:
                annotator = by_language_model(model, tmp_path / "unusable.jsonl")
                return annotate(reader(corpus), None, annotator, tmp_path)

        with LanguageModel(settings, tmp_path / "replies.sqlite") as model:
            half = by_language_model(model, tmp_path / "unusable.jsonl")
            killed = half(list(read_documents(corpus)))
            for _ in range(12):
                next(killed)
            killed.close()
        report = run()
        # Replies in flight when a run dies may be asked for again; at most one a connection.
        assert len(TEXTS) <= len(server.bodies) <= len(TEXTS) + settings.concurrency
        n_asked = len(server.bodies)
        assert run() == report and len(server.bodies) == n_asked
    assert report["out"] == {"annotated": 28} and report["dropped"] == {"not_annotated": 2}
    assert report["annotator"] == "judge"
    for row in annotated(tmp_path):
        number = int(row.id[1:])
        assert row.metadata["annotated_value"] == pytest.approx(number % 6 / 5)
        assert row.metadata["annotated_why"] == f"number {number}"
    unusable = {row["id"]: row for row in read_records(tmp_path / "unusable.jsonl")}
    assert list(unusable) == ["d3", "d4"]  # in order, whenever the replies came
    assert unusable["d3"]["problem"] == "no_grade" and unusable["d4"]["problem"] == "truncated"
    assert unusable["d3"]["reply"] == "I would rather not say."


def test_labels_of_a_file_are_put_on_one_scale(tmp_path):
    path = tmp_path / "labelled.jsonl"
    rows = [{"body": "x = 1\n", "grade": 1}, {"body": "y = 2\n", "grade": 5}, {"body": "z\n"}]
    rows[2]["grade"] = None
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"text": "body", "label": "grade"}
    report = annotate(reader(path, columns), None, by_column(1, 5, "people"), tmp_path)
    assert report["dropped"] == {"not_annotated": 1}
    assert {d.text: d.metadata["annotated_value"] for d in annotated(tmp_path)} == {
        "x = 1\n": 0.0,
        "y = 2\n": 1.0,
    }
    with pytest.raises(UserError, match=r"people: 5 of document .* is outside --label_range=0,4"):
        annotate(reader(path, columns), None, by_column(0, 4, "people"), tmp_path)
    with pytest.raises(UserError, match=r"people: '.*' of document .* is not a number"):
        wrong = {"text": "body", "label": "body"}
        annotate(reader(path, wrong), None, by_column(0, 4, "people"), tmp_path)
    with pytest.raises(UserError, match="no column 'score'; it has body, grade"):
        annotate(
            reader(path, {"text": "body", "label": "score"}), None, by_column(0, 4, "x"), tmp_path
        )
