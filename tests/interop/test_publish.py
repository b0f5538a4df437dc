"""launch/publish.py as a user runs it; uploads go to a stand-in for the Hub on this machine."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import run_script
from flax import nnx

from phi1_jax.config import ModelConfig
from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.records import write_records
from phi1_jax.errors import UserError
from phi1_jax.interop.cards import data_card, read_runs
from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import write_model
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer
from phi1_jax.tokens.shards import write_shards

ModelCard = pytest.importorskip("huggingface_hub", reason="pip install phi1_jax[hub]").ModelCard
MODEL = ModelConfig(
    vocab_size=400, n_layers=1, d_model=16, d_mlp=32, n_heads=2, rotary_dim=4, max_seq_len=32
)


class Hub(BaseHTTPRequestHandler):
    """What an upload asks of the Hub; large files by Git LFS, the others in the commit."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        server.asked.append((self.path, self.headers["Authorization"]))
        if server.refuse:
            return self.answer({"error": "you have no right to this"}, 403)
        if self.path == "/api/repos/create":
            server.repo = json.loads(raw)
            return self.answer({"url": f"http://{self.headers['Host']}/me/phi"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(raw)["files"]
            ]
            return self.answer({"files": files})
        if self.path.endswith("/info/lfs/objects/batch"):
            url = f"http://{self.headers['Host']}/lfs"
            objects = [
                {**item, "actions": {"upload": {"href": f"{url}/{item['oid']}"}}}
                for item in json.loads(raw)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        for line in raw.splitlines():  # a commit
            record = json.loads(line)
            value = record["value"]
            if record["key"] == "file":
                server.files[value["path"]] = base64.b64decode(value["content"])
            elif record["key"] == "lfsFile":
                server.files[value["path"]] = server.lfs[value["oid"]]
        url = f"http://{self.headers['Host']}/me/phi/commit/{'1' * 40}"
        self.answer({"commitUrl": url, "commitOid": "1" * 40, "hookOutput": ""})

    def do_PUT(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.lfs[hashlib.sha256(raw).hexdigest()] = raw
        self.answer({})

    def do_GET(self):
        self.answer({"error": "nothing there"}, 404)

    def answer(self, values, status=200):
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files, server.lfs, server.refuse = [], {}, {}, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A finetuned run, with what its stages left, as a training run writes it."""
    root = tmp_path_factory.mktemp("publish")
    tokenizer = train_tokenizer([Path(json.__file__).read_text() * 3], 400)
    tokenizer.save(root / "tokenizer")
    documents = [
        Document(f"d{i}", f"x = {i}\n", "code", {"licence": "MIT" if i % 4 else "BSD-3-Clause"})
        for i in range(40)
    ]
    (root / "clean").mkdir()
    report = {
        "stage": "decontaminate",
        "fingerprint": "f",
        "inputs": {"corpus": [], "benchmark": ["/home/me/HumanEval.jsonl.gz"]},
        "in": {"code": 45},
        "out": {"code": 40},
        "dropped": {"ast": 5},
        "rules": {"ngram": 13},
        "n_problems": 164,
    }
    (root / "clean" / "report.json").write_text(json.dumps(report))
    write_shards(documents, tokenizer, root / "shards")
    inputs = {"corpus": [str(root / "clean" / "code.jsonl.zst")]}
    report = {"stage": "tokenize", "fingerprint": "g", "inputs": inputs, "in": {"documents": 40}}
    (root / "shards" / "report.json").write_text(json.dumps(report))
    params = nnx.to_pure_dict(nnx.state(Phi(MODEL, nnx.Rngs(0)), nnx.Param))
    write_model(root / "from_elsewhere", MODEL, params, root / "tokenizer")
    for name, start in (("base", ""), ("phi", str(root / "base"))):
        write_model(root / name, MODEL, params, root / "tokenizer")
        config = json.loads((root / name / "config.json").read_text())
        sources = [{"name": "code", "path": str(root / "shards"), "weight": 1.0}]
        config |= {"steps": 7, "init_from": start, "data": {"sources": sources}}
        (root / name / "config.json").write_text(json.dumps(config))
        identity = {"data.sources.code.share": 1.0}
        (root / name / "identity.json").write_text(json.dumps(identity))
    identity = hashlib.sha256((root / "phi" / "commits" / "0.json").read_bytes()).hexdigest()
    for folder, model in (("scores/phi", identity), ("others", "f" * 64)):
        (root / folder).mkdir(parents=True)
        summary = {
            "benchmark": "humaneval",
            "n_tasks": 164,
            "choices": {"model": model, "n_samples": 1, "temperature": 0.0},
            "pass_at_k": {"1": {"value": 0.5061, "low": 0.4268, "high": 0.5793}},
            "solution_bits_per_byte": {"value": 0.5, "low": 0.45, "high": 0.55},
        }
        (root / folder / "summary.json").write_text(json.dumps(summary))
    return root / "phi"


def publish(run_dir, *flags, hub=None, token=""):
    url = f"http://127.0.0.1:{hub.server_port}" if hub else "http://127.0.0.1:9"
    done = run_script(
        *("publish.py", f"--checkpoint={run_dir}", "--repo=me/phi", *flags),
        HF_ENDPOINT=url,
        HF_TOKEN=token,
        HF_HUB_DISABLE_XET="1",
        HF_HOME=str(run_dir.parent / "hf"),
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_card_says_what_was_read_and_what_is_gone(tmp_path):
    """A run of a source read twice and one of what was left, from weights that are gone."""
    run = tmp_path / "phi"
    run.mkdir()
    sources = [{"name": name, "path": str(tmp_path / name)} for name in ("exercises", "code")]
    config = {"steps": 7, "init_from": str(tmp_path / "base@100"), "data": {"sources": sources}}
    (run / "config.json").write_text(json.dumps(config))
    identity = {"data.sources.exercises.epochs": 2.0, "data.sources.code.share": 1.0}
    (run / "identity.json").write_text(json.dumps(identity))
    card = data_card("me/phi", read_runs(run))
    assert "- **base**: its folder was gone when this was written: nothing is known." in card
    assert "mixture: exercises 2 epochs, code 100% of the rest." in card
    changes = (
        (4, "data.sources", ["web", "code"], ["exercises", "code"]),
        (4, "data.sources.exercises.shards", None, "a"),
        (5, "data.sources.code.shards", "b", "c"),
        (6, "steps", 6, 7),
    )
    rows = [dict(zip(("step", "field", "old", "new"), change, strict=True)) for change in changes]
    (run / "changes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = data_card("me/phi", read_runs(run))
    assert (
        "code 100% of the rest; until step 5 another, with another text as code, web, of which"
        " nothing is told here." in card
    )
    with (run / "changes.jsonl").open("a") as file:
        file.write('{"step"')
    with pytest.raises(UserError, match=r"changes\.jsonl is damaged"):
        read_runs(run)


def test_a_file_that_is_gone_hides_no_stage(tmp_path):
    """As of one that made room once it was tokenized: it may have been decontaminated."""
    for name in ("phi", "shards"):
        (tmp_path / name).mkdir()
    config = {"data": {"sources": [{"name": "code", "path": str(tmp_path / "shards")}]}}
    (tmp_path / "phi" / "config.json").write_text(json.dumps(config))
    manifest = {"sources": {"code": {"documents": 1, "tokens": 2, "bytes": 3}}}
    (tmp_path / "shards" / "manifest.json").write_text(json.dumps(manifest))
    write_records(tmp_path / "shards" / "documents.jsonl.zst", [{"tokens": 2}])
    own = tmp_path / "own.jsonl"
    own.touch()  # of no stage
    corpus = [str(own), str(tmp_path / "clean" / "code.jsonl.zst")]
    report = {"stage": "tokenize", "fingerprint": "f", "inputs": {"corpus": corpus}}
    (tmp_path / "shards" / "report.json").write_text(json.dumps(report))
    card = data_card("me/phi", read_runs(tmp_path / "phi"))
    gone = "was gone when this was written: what it came through is not known"
    assert f"- **code.jsonl.zst** {gone}\n- **tokenize**" in card
    assert f"No decontamination is recorded for this data.\n- code.jsonl.zst {gone}." in card
    assert "own.jsonl" not in card


def test_paths_are_those_of_the_folder_where_the_run_was_started(tmp_path):
    for name in ("phi", "base", "shards", "clean"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    sources = [{"name": "code", "path": "runs/shards"}]
    for name, start in (("base", ""), ("phi", "runs/base@3")):
        config = {"init_from": start, "data": {"sources": sources}}
        (tmp_path / "runs" / name / "config.json").write_text(json.dumps(config))
    for name, before in (("clean", []), ("shards", ["runs/clean/code.jsonl.zst"])):
        report = {"stage": name, "fingerprint": "f", "inputs": {"corpus": before}}
        (tmp_path / "runs" / name / "report.json").write_text(json.dumps(report))
    (tmp_path / "runs" / "clean" / "code.jsonl.zst").touch()
    for run in read_runs(tmp_path / "runs" / "phi"):
        assert [stage["stage"] for stage in run.corpora[0].stages] == ["clean", "shards"]


@pytest.mark.slow
def test_a_dry_run_writes_a_folder_with_cards_and_then_it_is_uploaded(run_dir, hub, tmp_path):
    folder = tmp_path / "hub"
    flags = (f"--output={folder}", f"--scores={run_dir.parent / 'scores'}", "--license=mit")
    done = publish(run_dir, *flags, "--dry_run", hub=hub)
    assert done.returncode == 0, done.stderr
    assert not hub.asked
    card = ModelCard.load(folder / "README.md")  # as the Hub's own library reads it
    assert card.data.license == "mit" and card.data.library_name == "transformers"
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_name, result.metric_value) == (
        "HumanEval", "pass@1 (greedy)", 0.5061,
    )  # fmt: skip
    text = re.sub("  +", " ", card.text)
    assert "| HumanEval | 164 | pass@1 | greedy | 50.6% | 42.7% to 57.9% |" in text
    assert "- **base**: 7 steps; mixture: code 100%.\n- **phi**: 7 steps" in text
    found = "- HumanEval.jsonl.gz, 164 problems: of 45 documents 5 dropped (ast 5); rules: ngram 13"
    data = (folder / "DATA.md").read_text()
    assert found in text and found in data
    assert "| MIT " in data and "| BSD-3-Clause | " in data and "40 documents" in data
    assert "Python only" in text and '"init_from": "base"' in text
    for told in (text, data, (folder / "phi1_jax.json").read_text()):
        assert str(run_dir.parent) not in told and "/home/me" not in told

    (folder / "README.md").write_text(card.content + "\nMy own words.\n")
    other = (flags[0], "--license=mit", "--repo=me/other")
    done = publish(run_dir, *other, hub=hub, token="hf_secret")
    assert done.returncode == 2 and "was written with other --repo and --scores" in done.stderr
    assert not hub.asked
    done = publish(run_dir, *flags, hub=hub, token="hf_secret")
    assert done.returncode == 0, done.stderr
    assert f"{folder} stays as it is" in done.stdout and "hf_secret" not in done.stdout
    assert hub.repo["name"] == "phi"
    assert hub.repo.get("visibility") == "private" or hub.repo["private"] is True  # by version
    assert {token for path, token in hub.asked} == {"Bearer hf_secret"}
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert b"My own words." in hub.files["README.md"] and len(hub.lfs) == 1


@pytest.mark.slow
def test_what_the_hub_refuses_is_one_line_and_the_folder_stays(run_dir, hub, tmp_path):
    hub.refuse = True
    folder = tmp_path / "hub"
    done = publish(run_dir, f"--output={folder}", hub=hub, token="hf_secret")
    assert done.returncode == 2
    assert "error: --repo=me/phi: " in done.stderr and "try again" in done.stderr
    assert "403" in done.stderr and (folder / "model.safetensors").exists()


@pytest.mark.slow
def test_a_hugging_face_folder_keeps_the_card_it_has(run_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # of the converted copy
    folder = tmp_path / "hub"
    assert publish(run_dir, "--dry_run", f"--output={folder}").returncode == 0
    done = publish(folder, "--dry_run", f"--output={tmp_path / 'again'}")
    assert done.returncode == 2 and "a card would be false" in done.stderr
    assert not (tmp_path / "again").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--repo=phi",), "--repo=phi: give ACCOUNT/NAME"),
        ((), "not logged in"),
        (("--dry_run", "--scores={root}/others"), "holds scores of other weights"),
        (("--dry_run", "--scores={root}/shards"), "holds no summary.json"),
        (("--dry_run", "--output={root}/shards"), "holds other files than this checkpoint's"),
        (("--dry_run", "--checkpoint={root}/phi@3"), "has no checkpoint 3"),
        (("--dry_run", "--checkpoint={root}/from_elsewhere"), "hf upload me/phi FOLDER"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(flags, words, run_dir, tmp_path):
    before = sorted(run_dir.parent.rglob("*"))
    output = f"--output={tmp_path / 'hub'}"
    done = publish(run_dir, output, *(f.replace("{root}", str(run_dir.parent)) for f in flags))
    assert done.returncode == 2 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(run_dir.parent.rglob("*")) == before and not (tmp_path / "hub").exists()
