import json
import random
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import zstandard
from planted import rename

from phi1_jax.corpus.documents import read_documents, read_files
from phi1_jax.curation.curate import curate
from phi1_jax.curation.executors import Execution
from phi1_jax.curation.sources import Source
from phi1_jax.errors import UserError

STDLIB = Path(sysconfig.get_path("stdlib"))
WORDS = ("river", "candle", "window", "garden", "engine", "silver", "winter", "letter")

ALONE = Execution(workers=1)


def good_file(seed):
    """A documented file whose words are its own: by its shape alone it would be a duplicate."""
    rng = random.Random(seed)
    story = [" ".join(rng.choices(WORDS, k=9)) for _ in range(4)]
    return f'''
def add_all(numbers):
    """Return the sum of the numbers: {story[0]}."""
    total = 0
    for number in numbers:
        # Each number is added to what we have: {story[1]}.
        total = total + number
    return total


def describe_{seed}(name):
    """Greet a person whose name is given: {story[2]}."""
    return "Hello dear " + name + ", {story[3]}"
'''


@pytest.fixture(scope="module")
def library():
    rng = random.Random(0)
    paths = [p for p in sorted(STDLIB.glob("*.py")) + sorted((STDLIB / "email").glob("*.py"))]
    files = list(read_files(paths, STDLIB, "stdlib", None, lambda name, reason: None))
    return rng.sample([d for d in files if 1_000 < len(d.text) < 40_000], 60)


@pytest.fixture(scope="module")
def pool(tmp_path_factory, library):
    """Files with one plant for each reason to go."""
    root = tmp_path_factory.mktemp("pool")
    rng = random.Random(2)
    for document in library[:20]:
        (root / document.id.replace("/", "_")).write_text(document.text, encoding="utf-8")
    for i in range(5):
        (root / f"good_{i}.py").write_text(good_file(i))
    (root / "windows.py").write_bytes(good_file(9).replace("\n", "\r\n").encode())
    subject = library[0].text
    (root / "z_copy.py").write_text(subject, encoding="utf-8")
    (root / "z_renamed.py").write_text(rename(subject, rng), encoding="utf-8")
    (root / "z_short.py").write_text("x = 1\n")
    (root / "z_broken.py").write_text(good_file(7) + "def broken(:\n")
    (root / "z_undecodable.py").write_bytes(b"name = '\xe9'\n" * 30)
    (root / "z_nul.py").write_bytes(b"name = '\0'\n" * 30)
    return root


@pytest.fixture(scope="module")
def curated(pool, tmp_path_factory):
    output = tmp_path_factory.mktemp("curated") / "out"
    output.mkdir()
    report = curate(
        [Source("mine", pool)],
        output,
        budget_bytes=120_000,
        tasks=3,
        execution=ALONE,
    )
    return output, report


def read_zst(path):
    with zstandard.open(path, "rt", newline="\n", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.slow
def test_every_document_is_kept_or_excluded_with_its_reason(curated, pool):
    output, report = curated
    filtered = read_zst(output / "filtered.jsonl.zst")
    excluded = read_zst(output / "excluded.jsonl.zst")
    names = [record["id"] for record in filtered + excluded]
    assert sorted(names) == sorted(path.name for path in pool.iterdir())
    assert report["in"]["documents"] == len(names)
    reasons = {record["id"]: record["metadata"]["reason"] for record in excluded}
    assert reasons["z_short.py"] == "too_short"
    assert reasons["z_broken.py"] == "syntax_error"
    assert reasons["z_undecodable.py"] == "undecodable"
    assert reasons["z_nul.py"] == "nul_characters"
    counted = {reason: list(reasons.values()).count(reason) for reason in reasons.values()}
    assert report["dropped"] == counted
    assert counted["exact_duplicate"] == counted["near_duplicate"] == 1
    assert all(record["metadata"]["step"] for record in excluded)
    assert report["normalizations"] == {"line_ends": 1}


def test_the_best_are_kept_under_the_budget(curated):
    output, report = curated
    filtered = list(read_documents(output / "filtered.jsonl.zst"))
    excluded = list(read_documents(output / "excluded.jsonl.zst"))
    size = sum(len(d.text.encode()) for d in filtered)
    assert size == report["out"]["filtered_bytes"] <= 120_000
    left = [d.metadata["quality"] for d in excluded if d.metadata["reason"] == "over_budget"]
    kept = [d.metadata["quality"] for d in filtered]
    assert left and min(kept) >= max(left)
    assert report["quality"]["threshold"] == min(kept)
    assert {f"good_{i}.py" for i in range(5)} <= {d.id for d in filtered}
    assert all(d.metadata["path"] == d.id and d.source == "mine" for d in filtered)


def test_the_pool_is_the_code_as_it_was_read(curated, pool):
    output, _ = curated
    texts = {d.id: d.text for d in read_documents(output / "pool.jsonl.zst")}
    unreadable = {"z_undecodable.py", "z_nul.py"}
    assert set(texts) == {path.name for path in pool.iterdir()} - unreadable
    for name in ("z_short.py", "z_copy.py", "z_broken.py"):
        assert texts[name] == (pool / name).read_text("utf-8")


@pytest.mark.slow
def test_more_workers_and_a_second_run_give_the_same_bytes(curated, pool, tmp_path):
    output, report = curated
    again = curate(
        [Source("mine", pool)],
        tmp_path,
        budget_bytes=120_000,
        tasks=3,
        execution=Execution(workers=2),
    )
    for name in ("filtered", "excluded", "pool"):
        file = f"{name}.jsonl.zst"
        assert (tmp_path / file).read_bytes() == (output / file).read_bytes()
    assert {k: v for k, v in again.items() if k != "speed"} == {
        k: v for k, v in report.items() if k != "speed"
    }
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_pool_sample_min_quality_and_prose(pool, tmp_path):
    (tmp_path / "text").mkdir()
    manual = tmp_path / "text/manual.jsonl"
    lines = [f"Chapter {i} explains the word {w}. It is short. " * 9 for i, w in enumerate("abc")]
    manual.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    sources = [Source("mine", pool), Source("manual", manual, prose=True)]
    (tmp_path / "out").mkdir()
    report = curate(
        sources,
        tmp_path / "out",
        pool_bytes=60_000,
        min_quality=0.7,
        tasks=2,
        execution=ALONE,
    )
    assert report["dropped"]["low_quality"] > 0
    assert 0 < report["out"]["pool_bytes"] <= 60_000
    pooled = list(read_documents(tmp_path / "out/pool.jsonl.zst"))
    assert {d.source for d in pooled} == {"mine"}
    filtered = list(read_documents(tmp_path / "out/filtered.jsonl.zst"))
    assert min(d.metadata["quality"] for d in filtered) >= 0.7
    assert [d.text for d in filtered if d.source == "manual"] == lines


@pytest.mark.slow
def test_a_source_or_a_budget_that_leaves_nothing_stops_the_run(pool, tmp_path):
    hollow = tmp_path / "hollow"
    hollow.mkdir()
    (hollow / "tiny.py").write_text("x = 1\n")
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"hollow: the heuristics drop every document \(too_short"):
        curate([Source("hollow", hollow)], tmp_path / "a", tasks=1, execution=ALONE)
    shutil.rmtree(tmp_path / "a" / "work")
    (hollow / "tiny.py").write_bytes(b"\0")
    with pytest.raises(UserError, match=r"hollow: yields no document"):
        curate([Source("hollow", hollow)], tmp_path / "a", tasks=1, execution=ALONE)
    (tmp_path / "notes.md").write_text("A story of numbers, and of what we do with them.\n" * 9)
    with pytest.raises(UserError, match=r"can be parsed.*text for readers as --source=prose:PATH"):
        curate([Source("x", tmp_path / "notes.md")], tmp_path / "c", tasks=1, execution=ALONE)
    with pytest.raises(UserError, match="two are called 'x'"):
        curate([Source("x", pool), Source("x", hollow)], tmp_path / "a")
    with pytest.raises(UserError, match="nothing is kept"):
        curate(
            [Source("mine", pool)],
            tmp_path / "b",
            budget_bytes=10,
            tasks=1,
            execution=ALONE,
        )


def test_killed_while_its_work_folder_is_deleted_it_starts_over(tmp_path, monkeypatch):
    path, output = tmp_path / "rows.jsonl", tmp_path / "out"
    path.write_text("".join(json.dumps({"text": good_file(i)}) + "\n" for i in range(4)))
    output.mkdir()
    remove = shutil.rmtree

    def killed(folder):
        if folder.name == "work":
            remove(folder / "clean")
            raise KeyboardInterrupt
        remove(folder)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        curate([Source("rows", path)], output, execution=ALONE)
    report = curate([Source("rows", path)], output, execution=ALONE)
    assert report["out"]["filtered"] == report["out"]["pool"] == 4


def test_documents_of_one_id_keep_the_budgets(tmp_path):
    same = [{"id": "same", "text": good_file(seed)} for seed in range(7)]
    path = tmp_path / "same.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*same, same[0]]))
    (tmp_path / "out").mkdir()
    budget = 3 * len(same[0]["text"])
    report = curate(
        [Source("same", path)],
        tmp_path / "out",
        budget_bytes=budget,
        pool_bytes=budget,
        execution=ALONE,
    )
    assert 0 < report["out"]["filtered_bytes"] <= budget
    assert 0 < report["out"]["pool_bytes"] <= budget
    assert report["dropped"]["exact_duplicate"] == 1
    assert report["out"]["filtered"] + sum(report["dropped"].values()) == 8


def test_metadata_of_any_name_comes_out_as_it_was(tmp_path):
    own = {
        "rank": "../../x", "id": 7, "token_count": "many", "own": {"place": 1}, "place": "here",
        "source": "theirs", "reason": "why", "curate_place": 2, "curate_reason": "none",
        "filter_reason": "none", "duplicate_count": "none",
    }  # fmt: skip
    rows = [{"id": f"{i}", "text": good_file(i), "metadata": {**own, "rank": i}} for i in range(4)]
    rows += [{**rows[0], "id": "copy"}, {"id": "short", "text": "x = 1\n", "metadata": own}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "out").mkdir()
    curate([Source("rows", path)], tmp_path / "out", execution=ALONE)
    given = {row["id"]: row["metadata"] for row in rows}
    read = {
        kind: {d.id: d for d in read_documents(tmp_path / f"out/{kind}.jsonl.zst")}
        for kind in ("filtered", "pool", "excluded")
    }
    assert read["filtered"].keys() == {"0", "1", "2", "3"}
    assert read["pool"].keys() == given.keys()
    for document in [*read["filtered"].values(), *read["pool"].values()]:
        assert document.source == "rows"
        assert given[document.id].items() <= document.metadata.items()
    why = {name: (d.metadata["step"], d.metadata["reason"]) for name, d in read["excluded"].items()}
    assert why == {"copy": ("exact", "exact_duplicate"), "short": ("heuristics", "too_short")}


def test_there_are_no_more_tasks_than_files(pool, tmp_path, monkeypatch):
    def stop(sources, work, tasks):
        raise RuntimeError(f"{tasks} tasks")

    monkeypatch.setattr("phi1_jax.curation.curate.pipeline", stop)
    with pytest.raises(RuntimeError, match=f"^{len(list(pool.iterdir()))} tasks$"):
        curate([Source("mine", pool)], tmp_path, tasks=1000, execution=ALONE)


def run_script(*arguments, cwd):
    script = Path(__file__).parents[2] / "launch/curate.py"
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_script_runs_from_anywhere_and_reuses_its_result(pool, curated, tmp_path):
    flags = [f"--source=mine={pool}", "--output=out", "--budget_mb=0.12", "--tasks=3"]
    first = run_script(*flags, "--workers=1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "[curate] in: documents 32, bytes " in first.stdout
    filtered = (tmp_path / "out/filtered.jsonl.zst").read_bytes()
    assert filtered == (curated[0] / "filtered.jsonl.zst").read_bytes()
    assert "unchanged, reused" in run_script(*flags, cwd=tmp_path).stdout
    elsewhere = [f"--source=mine={pool.name}", f"--output={tmp_path / 'out'}", *flags[2:]]
    assert "unchanged, reused" in run_script(*elsewhere, cwd=pool.parent).stdout
    wrong = run_script("--source=nowhere", "--output=x", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1 and "nowhere is not a file or folder" in wrong.stderr
