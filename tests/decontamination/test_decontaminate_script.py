"""launch/decontaminate.py on every format that launch/evaluate.py scores."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from phi1_jax.corpus.documents import Document, read_documents, write_documents
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.scoring import read_splits

TASKS = {
    11: (
        "Write a function to remove the first and last occurrence of a letter from the string.",
        "def remove_ends(s, ch):\r\n    i = s.find(ch)\r\n    s = s[:i] + s[i + 1:]\r\n"
        "    j = s.rfind(ch)\r\n    return s[:j] + s[j + 1:]",
        'assert remove_ends("hello", "l") == "heo"',
    ),
    12: (
        "Write a function to sort a matrix by the sums of its rows.",
        "def key(row):\n    return sum(row)\n\ndef sort_rows(m):\n    return sorted(m, key=key)",
        "assert sort_rows([[2], [1]]) == [[1], [2]]",
    ),
    13: (
        'Write a function to count the "most common" words in a dictionary.',
        "from collections import Counter\ndef common(words, n):\n"
        "    return Counter(words).most_common(n)",
        "assert common(['a'], 1) == [('a', 1)]",
    ),
}


def rows(form):
    for number, (text, code, test) in TASKS.items():
        if form == "mbpp.jsonl":
            yield {"task_id": number, "text": text, "code": code, "test_list": [test],
                   "test_setup_code": ""}  # fmt: skip
        elif form == "sanitized-mbpp.json":
            yield {"task_id": number, "prompt": text, "code": code, "test_list": [test],
                   "test_imports": []}  # fmt: skip
        else:
            yield {"task_id": f"Mbpp/{number}", "prompt": f'"""\n{text}\n{test}\n"""\n',
                   "canonical_solution": code, "assertion": test, "atol": 0, "contract": "",
                   "entry_point": test.split("(")[0].split()[-1],
                   "base_input": [[1]], "plus_input": []}  # fmt: skip


def decontaminate(*arguments):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "launch/decontaminate.py"), *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mbpp.jsonl", "sanitized-mbpp.json", "MbppPlus.jsonl"])
def test_mbpp_in_each_form_finds_leaks_and_the_split_fits_the_evaluation(form, tmp_path):
    records = list(rows(form))
    lines = "".join(json.dumps(record) + "\n" for record in records)
    path = tmp_path / form
    path.write_text(json.dumps(records) if path.suffix == ".json" else lines)
    code = (
        "def other(text, letter):\n    at = text.find(letter)\n"
        "    text = text[:at] + text[at + 1:]\n    last = text.rfind(letter)\n"
        "    return text[:last] + text[last + 1:]\n"
    )
    documents = [
        Document("code", code, "x"),
        Document("words", f'def g(m):\n    """{TASKS[12][0]}"""\n    return None\n', "x"),
        Document("clean", "def h(n):\n    while n:\n        n.pop()\n    yield n\n", "x"),
        # Beside its tests, the task is what is compared; they alone give nothing away.
        Document("tests", f'def g(m):\n    """T.\n\n    {TASKS[13][2]}\n    """\n', "x"),
    ]
    write_documents(tmp_path / "c.jsonl", documents)
    done = decontaminate(
        f"--corpus={tmp_path / 'c.jsonl'}", f"--benchmark={path}", f"--output={tmp_path / 'out'}"
    )
    assert done.returncode == 0, done.stderr
    dropped = {
        d.id: list(d.metadata["leak"]["task_ids"].items())
        for d in read_documents(tmp_path / "out/dropped.jsonl.zst")
    }
    name = "Mbpp" if "Plus" in form else "MBPP"
    assert dropped == {"code": [("ast", f"{name}/11")], "words": [("text", f"{name}/12")]}
    benchmark = read_benchmark("mbpp", path)
    splits = read_splits(tmp_path / "out/splits.json", benchmark)  # refuses a task in no part
    assert list(splits.values()) == [{f"{name}/11"}]


@pytest.mark.slow
def test_a_name_is_a_file_or_the_package_s_own_problems(tmp_path):
    write_documents(tmp_path / "c.jsonl", [Document("a", "x = 1\n", "x")])
    arguments = (f"--corpus={tmp_path / 'c.jsonl'}", f"--output={tmp_path / 'out'}")
    done = decontaminate(*arguments, "--benchmark=unconventional")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/report.json").read_text())["n_problems"] == 50
    done = decontaminate(*arguments, "--benchmark=mbpp")
    assert done.returncode == 2
    assert done.stderr.strip() == "error: --benchmark=mbpp: no such file, nor unconventional"
    (tmp_path / "b.jsonl").write_text('{"task_id": 3, "prompt": 5}\n')
    done = decontaminate(*arguments, f"--benchmark={tmp_path / 'b.jsonl'}")
    assert done.returncode == 2 and "problem 1: 'prompt' is int, not text" in done.stderr
