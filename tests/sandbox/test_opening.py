"""A sandbox opens only where it holds, in every environment that it claims to work in."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from phi1_jax.errors import UserError
from phi1_jax.sandbox import Limits, Verdict, host, open_sandbox

ROOT = Path(__file__).resolve().parents[2]

# Denies system calls to a process and its children, as container runtimes do.
DENY = """
import ctypes, errno, os, struct, sys
def deny(numbers, flags_of=None, code=errno.EPERM):
    rows = [(0x20, 0, 0, 0)]
    for number in numbers:
        rows += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | code)]
    if flags_of is not None:
        rows += [(0x15, 0, 3, flags_of), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7E020000),
                 (0x06, 0, 0, 0x50000 | code)]
    rows += [(0x06, 0, 0, 0x7FFF0000)]
    data = b"".join(struct.pack("=HBBI", *row) for row in rows)
    buffer = ctypes.create_string_buffer(data, len(data))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rows), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    assert libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
    assert libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero) == 0
UNSHARE, CLONE, CLONE3, MOUNT, PIVOT = {
    "x86_64": (272, 56, 435, 165, 155), "aarch64": (97, 220, 435, 40, 41)}[os.uname().machine]
"""
TRY = """
from phi1_jax.errors import UserError
from phi1_jax.sandbox import open_sandbox
try:
    with open_sandbox(workers=1) as sandbox:
        print(sandbox.backend)
        print(*[outcome.verdict for outcome in sandbox.run(["pass", "1/0"])])
except UserError as error:
    print("refused:", error)
"""


def run_python(code: str, **options) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(code)}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_opens_here_and_says_with_what():
    with open_sandbox(workers=1) as sandbox:
        assert "seccomp" in sandbox.backend
        assert "Landlock" in sandbox.backend or "bubblewrap" in sandbox.backend


def test_works_where_new_namespaces_are_forbidden():
    """Docker's default profile: no unshare, no mount, no clone with namespaces, no clone3."""
    code = DENY + "deny([UNSHARE, MOUNT, PIVOT], flags_of=CLONE)\ndeny([CLONE3], code=38)\n" + TRY
    backend, verdicts = run_python(code)
    assert "Landlock" in backend
    assert "bubblewrap" not in backend
    assert verdicts == "PASS FAIL"


def test_refuses_without_landlock_and_bubblewrap():
    code = DENY + "deny([444, 445, 446, UNSHARE, MOUNT], flags_of=CLONE, code=38)\n" + TRY
    (line,) = run_python(code)
    assert line.startswith("refused: untrusted code cannot be isolated here")
    assert "install bubblewrap" in line


def test_refuses_without_seccomp():
    """Filters on the filter call itself: nothing else may then run untrusted code."""
    install = 317 if os.uname().machine == "x86_64" else 277
    prctl = 157 if os.uname().machine == "x86_64" else 167
    (line,) = run_python(DENY + f"deny([{install}, {prctl}])\n" + TRY)
    assert line.startswith("refused: untrusted code cannot be isolated here")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_works_as_an_ordinary_user():
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        run_python("import phi1_jax.sandbox", **user)
    except (PermissionError, AssertionError):
        pytest.skip("this interpreter or repository lies where only root can read it")
    backend, verdicts = run_python(TRY, **user)
    assert "uid dropped" not in backend
    assert verdicts == "PASS FAIL"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_refuses_other_systems(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(UserError, match=f"cannot be isolated on {platform}: run this on Linux"):
        open_sandbox()


@pytest.mark.parametrize("wrong", [{"isolation": "docker"}, {"workers": 0}])
def test_refuses_what_cannot_be_opened(wrong):
    with pytest.raises(UserError, match=r"isolation='docker'|workers=0: must be at least 1"):
        open_sandbox(**wrong)


@pytest.mark.parametrize(
    "layer",
    [
        "confine.landlock = lambda *_: 'Landlock 7'",
        "confine.Seccomp.install = lambda self: None",
    ],
)
def test_a_layer_that_does_nothing_is_noticed(layer):
    start = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
    start += f"from phi1_jax.sandbox import confine, server\n{layer}\nserver.main()"
    command = [os.path.realpath(sys.executable), "-P", "-s", "-S", "-B", "-c", start]
    with pytest.raises(host.WorkerFailed, match=r"leaks|did not get ready"):
        host.Sandbox(Limits(), 1, command, "", [])


@pytest.mark.parametrize("field", ["cpu_s", "wall_s", "memory_mb", "output_bytes"])
def test_limits_must_be_positive(field):
    with pytest.raises(UserError, match=f"limit {field}=0"):
        Limits(**{field: 0})


def test_closing_ends_every_process():
    with open_sandbox(workers=2) as sandbox:
        pids = [w._process.pid for w in sandbox._workers]
        assert next(sandbox.run(["pass"])).verdict is Verdict.PASS
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("field", "words"), [("cpu_s", r"0\.001 s of CPU time"), ("wall_s", r"0\.001 s")]
)
def test_a_limit_that_nothing_fits_is_named(field, words):
    with pytest.raises(UserError, match=f"program of one line took more than {words}: raise"):
        open_sandbox(Limits(**{field: 0.001}), workers=1)
