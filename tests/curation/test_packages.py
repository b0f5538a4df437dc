import hashlib
import http.server
import json
import os
import shutil
import stat
import subprocess
import threading
import zipfile

import pytest

from phi1_jax.corpus import packages
from phi1_jax.corpus.packages import fetch_package
from phi1_jax.curation.sources import parse_source, read_source
from phi1_jax.errors import UserError

METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nLicense: BSD\n"


def make_wheel(folder, version="1.0", files=(), metadata=METADATA):
    path = folder / f"demo-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"demo-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", metadata.replace("1.0", version))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name, text in files:
            archive.writestr(name, text)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index in a folder, and a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.slow
def test_the_python_of_a_wheel_is_read_with_its_licence_and_checksum(index, monkeypatch, tmp_path):
    wheel = make_wheel(index, files=[("demo/a.py", "x = 1\n"), ("demo/data.bin", b"\0")])
    source = parse_source("pip:demo==1.0")
    skipped = []
    [document] = read_source(source, lambda *what: skipped.append(what))
    assert (document.id, document.source, document.text) == ("demo/a.py", "demo", "x = 1\n")
    assert document.metadata["licence"] == "BSD"
    assert document.metadata["package"] == "pip:demo==1.0"
    assert document.metadata["package_sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert ("demo/data.bin", "not_python") in skipped
    # Once fetched, it needs neither pip nor an index.
    with monkeypatch.context() as offline:
        offline.setattr(packages.subprocess, "run", pytest.fail)
        assert parse_source("again=pip:demo==1.0").path == source.path
    with pytest.raises(UserError, match=r"has SHA-256 .*, not 00ff; delete .*pip-demo==1\.0\.json"):
        fetch_package("pip:demo==1.0", "00ff")
    with monkeypatch.context() as moved:
        (tmp_path / "cache").rename(tmp_path / "moved")
        moved.setenv("XDG_CACHE_HOME", str(tmp_path / "moved"))
        moved.setattr(packages.subprocess, "run", pytest.fail)
        assert fetch_package("pip:demo==1.0").folder.is_relative_to(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / "cache")
    shutil.rmtree(source.path)  # without its record
    assert parse_source("pip:demo==1.0").path.is_dir()
    [record] = tmp_path.glob("cache/**/pip-demo==1.0.json")
    record.write_bytes(b'{"folder')  # as a power cut may leave it: fetched again
    assert parse_source("pip:demo==1.0").path == source.path


@pytest.mark.slow
def test_nothing_leaves_the_folder_and_links_are_not_made(index, tmp_path):
    make_wheel(index, "1.1", [("../../../outside.py", "x = 1\n")])
    with pytest.raises(UserError, match=r"holds '\.\./\.\./\.\./outside\.py', outside its folder"):
        fetch_package("pip:demo==1.1")
    assert not list(tmp_path.rglob("outside.py"))
    link = zipfile.ZipInfo("demo/link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    make_wheel(index, "1.2", [(link, "/etc/passwd"), ("demo/a.py", "x = 1\n")])
    folder = fetch_package("pip:demo==1.2").folder
    assert not (folder / "demo/link.py").is_symlink()
    assert (folder / "demo/link.py").read_text() == "/etc/passwd"


def test_a_source_archive_is_refused_and_its_setup_not_run(index, tmp_path):
    folder = tmp_path / "demo-2.0"
    folder.mkdir()
    (folder / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    shutil.make_archive(str(index / "demo-2.0"), "gztar", tmp_path, "demo-2.0")
    with pytest.raises(UserError, match=r"has no wheel of this version .*source archives are not"):
        fetch_package("pip:demo==2.0")
    assert not (tmp_path / "ran").exists()


def test_an_index_that_wants_a_password_is_not_waited_for(index, monkeypatch):
    """pip asks on what it writes to, which is captured: nobody would see the question."""

    class WantsPassword(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), WantsPassword)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    keyboard, nobody = os.pipe()
    started = packages.subprocess.run
    monkeypatch.setattr(
        packages.subprocess, "run", lambda *a, **k: started(*a, **k, stdin=keyboard, timeout=100)
    )
    with pytest.raises(UserError, match="has no wheel of this version"):
        fetch_package("pip:demo==4.0")
    server.shutdown()
    server.server_close()
    for end in (keyboard, nobody):
        os.close(end)


def test_what_is_missing_is_said_in_one_line(index, monkeypatch):
    for name in ("pip:demo", "pip:--index-url==1", "pip:demo==1.0 other", "apt:"):
        with pytest.raises(UserError, match="give one version, such as"):
            parse_source(name)

    def answer(stderr):
        return lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr)

    for stderr, message in (
        ("WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: No match", "reached"),
        ("/usr/bin/python: No module named pip", "has no pip; run: python -m ensurepip"),
    ):
        monkeypatch.setattr(packages.subprocess, "run", answer(stderr))
        with pytest.raises(UserError, match=message) as error:
            fetch_package("pip:demo==3.0")
        assert "\n" not in str(error.value)
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="no apt-get and dpkg-deb here; on a Debian machine"):
        fetch_package("apt:python3.11-doc")


def test_a_debian_package_is_prose(index, tmp_path):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed: no Debian package can be made or unpacked")
    root = tmp_path / "deb"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: demo-doc\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n"
    )
    (root / "usr/doc").mkdir(parents=True)
    (root / "usr/doc/a.rst.txt").write_text("Chapter one.\n")
    built = tmp_path / "demo-doc_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", root, built], check=True, capture_output=True)
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/apt-get"
    fake.write_text(f"#!/bin/sh\ncp {built} .\n")
    fake.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        source = parse_source("manual=apt:demo-doc")
    [document] = read_source(source, lambda *what: None)
    assert source.prose and document.text == "Chapter one.\n"
    assert document.id == "usr/doc/a.rst.txt" and document.source == "manual"


def test_a_home_without_room_for_a_cache_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"Not a directory; .*XDG_CACHE_HOME"):
        fetch_package("pip:demo==1.0")


@pytest.mark.slow
def test_a_package_of_the_real_index(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        from configs.sources.public import get_config

        config = get_config().toolz
        package = fetch_package(config.package, config.sha256)
    except UserError as error:
        if "cannot be reached" not in str(error):
            raise
        pytest.skip(f"the package index cannot be reached from here: {error}")
    assert package.licence == config.licence
    assert (package.folder / "toolz/itertoolz.py").is_file()
    assert json.loads((tmp_path / "phi1_jax/packages/pip-toolz==1.2.0.json").read_text())
