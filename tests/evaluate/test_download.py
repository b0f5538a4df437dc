"""Only the known file is kept, and a machine without network is told what to do."""

import hashlib
import http.server
import threading

import pytest

from phi1_jax.errors import UserError
from phi1_jax.evaluate import problem_files
from phi1_jax.evaluate.problem_files import PUBLIC, PublicFile, find_problems

CONTENT = b'{"task_id": 11}\n'


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www/mbpp.jsonl").write_bytes(CONTENT)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "www"))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/mbpp.jsonl"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setattr(problem_files, "_REPOSITORY", tmp_path / "none" / "none")
    monkeypatch.delenv("PHI1_JAX_DATA", raising=False)


def known(monkeypatch, url: str, content: bytes) -> None:
    monkeypatch.setitem(PUBLIC, "mbpp", PublicFile(url, hashlib.sha256(content).hexdigest()))


def test_the_known_file_is_fetched_once(server, monkeypatch, tmp_path):
    known(monkeypatch, server, CONTENT)
    path = find_problems("mbpp", None, tmp_path / "new/folder")
    assert path.read_bytes() == CONTENT
    known(monkeypatch, "http://127.0.0.1:9/mbpp.jsonl", CONTENT)
    assert find_problems("mbpp", None, tmp_path / "new/folder") == path


def test_another_file_is_refused_and_not_kept(server, monkeypatch, tmp_path):
    known(monkeypatch, server, b"other")
    with pytest.raises(UserError, match="is not the mbpp known here"):
        find_problems("mbpp", None, tmp_path)
    assert not (tmp_path / "mbpp.jsonl").exists()


def test_no_file_of_the_user_is_replaced(server, monkeypatch, tmp_path):
    known(monkeypatch, server, CONTENT)
    (tmp_path / "mbpp.jsonl").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"mbpp\.jsonl is not the mbpp known here: remove it, or"):
        find_problems("mbpp", None, tmp_path)
    assert (tmp_path / "mbpp.jsonl").read_bytes() == b"mine"


def test_no_network_is_said(monkeypatch, tmp_path):
    known(monkeypatch, "http://127.0.0.1:9/mbpp.jsonl", CONTENT)
    with pytest.raises(UserError, match=r"nor to be fetched .* your copy with --problems=FILE"):
        find_problems("mbpp", None, tmp_path, "--problems")
