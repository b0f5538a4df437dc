"""One attack a test. Each is written so that it gives the right answer only if it succeeds.

Whatever a program tries: it gets its verdict, no process is left, nothing on the host has
changed, and the next honest program passes.
"""

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from phi1_jax.errors import UserError
from phi1_jax.sandbox import Job, Limits, Sandbox, open_sandbox

LIMITS = Limits(cpu_s=0.5, wall_s=2.0, memory_mb=256, output_bytes=1 << 18)
EXAMINER = "f = remote('f')\nassert f(1) == 2 and f(40) == 41 and f(-7) == -6"
REFUSED = "PermissionError|OSError|FileNotFoundError|NotADirectoryError"


@pytest.fixture(scope="module", params=["landlock", "bubblewrap"])
def sandbox(request) -> Iterator[Sandbox]:
    os.environ["PHI1_SECRET"] = "a secret of the host"
    try:
        opened = open_sandbox(LIMITS, workers=1, isolation=request.param)
    except UserError as error:
        pytest.skip(f"{request.param} does not work on this machine: {error}")
    with opened:
        yield opened
    del os.environ["PHI1_SECRET"]


@dataclass
class Host:
    """What an attack may aim at: a folder anybody may write, and listeners on the host."""

    folder: Path
    tcp: int
    udp: socket.socket
    unix: str

    def contents(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    # Modes let anybody in, so that nothing but the sandbox keeps a program out.
    folder = Path(tempfile.mkdtemp(prefix="phi1_host_"))
    folder.chmod(0o777)
    (folder / "secret.txt").write_text("host secret")
    (folder / "secret.txt").chmod(0o666)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        name = f"phi1-{os.getpid()}"
        unix.bind(f"\0{name}")
        unix.listen()
        yield Host(folder, tcp.getsockname()[1], udp, name)
    shutil.rmtree(folder)


def descendants() -> set[int]:
    """This process's, and whatever of the sandbox's has lost its parent."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if stat[0] != "Z":
            parents[int(entry.name)] = (int(stat[1]), "phi1_jax.sandbox" in command)
    found = {pid for pid, (parent, ours) in parents.items() if parent == 1 and ours}
    grown = {os.getpid()}
    while grown:
        grown = {pid for pid, (parent, _) in parents.items() if parent in grown}
        found |= grown
    return found


def attack(body: str) -> str:
    """A candidate whose every call runs `body` first and answers rightly if that is allowed."""
    lines = "\n".join(f"    {line}" for line in body.strip().split("\n"))
    return f"import ctypes, os, sys, socket\ndef f(x):\n{lines}\n    return x + 1\n"


def system_call(number: int, *arguments: object) -> str:
    """Raises OSError unless the call succeeds; numbers are x86_64's, refused anyway elsewhere."""
    call = ", ".join(map(str, (number, *arguments)))
    return (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"if libc.syscall({call}) < 0: raise OSError(ctypes.get_errno(), 'refused')"
    )


# name: (what a call of f does, expected verdicts, expected in the message)
CONFINED = {
    "tcp": ("socket.create_connection(('127.0.0.1', {tcp}), 1)", "FAIL", REFUSED),
    "udp": (
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))",
        "FAIL",
        REFUSED,
    ),
    "dns": ("socket.getaddrinfo('example.org', 80)", "FAIL", "gaierror|OSError"),
    "abstract unix socket": (
        "socket.socket(socket.AF_UNIX).connect('\\0{unix}')",
        "FAIL",
        REFUSED,
    ),
    "netlink": ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "FAIL", REFUSED),
    "socketpair": ("socket.socketpair()", "FAIL", REFUSED),
    "environment": ("os.environ['PHI1_SECRET']", "FAIL", "KeyError"),
    "environment in C": (
        "ctypes.CDLL(None).getenv.restype = ctypes.c_char_p\n"
        "assert ctypes.CDLL(None).getenv(b'PHI1_SECRET')",
        "FAIL",
        "AssertionError",
    ),
    "environment of the parent": (
        "open(f'/proc/{{os.getppid()}}/environ', 'rb').read()",
        "FAIL",
        REFUSED,
    ),
    "own memory map": ("open('/proc/self/maps').read()", "FAIL", REFUSED),
    "memory of the parent": ("open(f'/proc/{{os.getppid()}}/mem', 'rb')", "FAIL", REFUSED),
    "list /proc": ("os.listdir('/proc')", "FAIL", REFUSED),
    "read passwd": ("open('/etc/passwd').read()", "FAIL", REFUSED),
    "read a host file": ("open('{folder}/secret.txt').read()", "FAIL", REFUSED),
    "read through a symlink": (
        "os.symlink('{folder}/secret.txt', '/tmp/link')\nopen('/tmp/link').read()",
        "FAIL",
        REFUSED,
    ),
    "list a host folder": ("os.listdir('{folder}')", "FAIL", REFUSED),
    "list the home": ("os.listdir('/root')", "FAIL", REFUSED),
    "write a host file": ("open('{folder}/secret.txt', 'a').write('x')", "FAIL", REFUSED),
    "truncate a host file": ("os.truncate('{folder}/secret.txt', 0)", "FAIL", REFUSED),
    "create a host file": ("open('{folder}/new.txt', 'w').write('x')", "FAIL", REFUSED),
    "delete a host file": ("os.unlink('{folder}/secret.txt')", "FAIL", REFUSED),
    "rename a host file": ("os.rename('{folder}/secret.txt', '{folder}/b')", "FAIL", REFUSED),
    "link a host file": ("os.link('{folder}/secret.txt', '{folder}/c')", "FAIL", REFUSED),
    "symlink out": ("os.symlink('/etc', '{folder}/etc')", "FAIL", REFUSED),
    "change a mode": ("os.chmod('{folder}/secret.txt', 0)", "FAIL", REFUSED),
    "change times": ("os.utime('{folder}/secret.txt', (0, 0))", "FAIL", REFUSED),
    "change directory": ("os.chdir('{folder}')", "FAIL", REFUSED),
    "make a fifo": ("os.mkfifo('{folder}/fifo')", "FAIL", REFUSED),
    "write to the library": ("open(os.__file__, 'a').write('#')", "FAIL", REFUSED),
    "write to /tmp": ("open('/tmp/phi1_hostile', 'w')", "FAIL", REFUSED),
    "write to /dev/shm": ("open('/dev/shm/phi1_hostile', 'w')", "FAIL", REFUSED),
    "a big file": (
        "import tempfile\nwith tempfile.TemporaryFile() as t: t.write(bytes(1 << 30))",
        "FAIL",
        REFUSED,
    ),
    "many files": (
        "for i in range(10**6): open(f'/tmp/phi1_hostile{{i}}', 'w').close()",
        "FAIL",
        REFUSED,
    ),
    "inode fill": (
        "for i in range(10**6): os.mkdir(f'/tmp/phi1_hostile{{i}}')",
        "FAIL",
        REFUSED,
    ),
    "memory file": ("os.memfd_create('x')", "FAIL", REFUSED),
    "fork": ("if os.fork() == 0: os._exit(0)", "FAIL", REFUSED),
    "fork in C": (
        "if ctypes.CDLL(None).fork() < 0: raise OSError('refused')",
        "FAIL",
        REFUSED,
    ),
    "clone": (system_call(56, 17, 0, 0, 0, 0), "FAIL", REFUSED),
    "vfork": (system_call(58), "FAIL", REFUSED),
    "clone3": (system_call(435, "bytes(88)", 88), "FAIL", REFUSED),
    "daemon": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        while True: pass\n    os._exit(0)",
        "FAIL",
        REFUSED,
    ),
    "new session": ("os.setsid()", "FAIL", REFUSED),
    "exec": ("os.execv('/bin/true', ['true'])", "FAIL", REFUSED),
    "exec python": ("os.execv(sys.executable, ['python', '-c', ''])", "FAIL", REFUSED),
    "spawn": ("os.posix_spawn('/bin/true', ['true'], {{}})", "FAIL", REFUSED),
    "subprocess": ("import subprocess\nsubprocess.check_output(['true'])", "FAIL", REFUSED),
    "shell": ("if os.system('true'): raise OSError('refused')", "FAIL", REFUSED),
    "multiprocessing": (
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "FAIL",
        REFUSED,
    ),
    "thread bomb": (
        "import threading, time\n"
        "for _ in range(10**5): threading.Thread(target=time.sleep, args=(9,)).start()",
        "FAIL",
        "RuntimeError: can't start new thread",
    ),
    "kill the parent": ("os.kill(os.getppid(), 9)", "FAIL", REFUSED),
    "kill pid 1": ("os.kill(1, 9)", "FAIL", REFUSED),
    "kill everybody": ("os.kill(-1, 9)", "FAIL", REFUSED),
    "kill the group": ("os.killpg(0, 9)", "FAIL", REFUSED),
    "kill by descriptor": ("os.pidfd_open(os.getppid())", "FAIL", REFUSED),
    "kill by file owner": (
        "import fcntl\nfcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())\n"
        "fcntl.fcntl(1, fcntl.F_SETSIG if hasattr(fcntl, 'F_SETSIG') else 10, 9)",
        "FAIL",
        REFUSED,
    ),
    "limit the parent": (
        "import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
        "FAIL",
        REFUSED,
    ),
    "raise own limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
        "FAIL",
        "ValueError: not allowed",
    ),
    "slow down the parent": ("os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)", "FAIL", REFUSED),
    "outlive the parent": (
        "if ctypes.CDLL(None).prctl(1, 0) < 0: raise OSError('refused')",
        "FAIL",
        REFUSED,
    ),
    "trace the parent": (system_call(101, 16, "os.getppid()", 0, 0), "FAIL", REFUSED),
    "read the parent": (system_call(310, "os.getppid()", 0, 0, 0, 0, 0), "FAIL", REFUSED),
    "new namespaces": (system_call(272, 0x10000000), "FAIL", REFUSED),
    "mount": (system_call(165, "b'x'", "b'/'", "b'tmpfs'", 0, 0), "FAIL", REFUSED),
    "chroot": ("os.chroot('/lib')", "FAIL", REFUSED),
    "become root": ("os.setuid(0)", "FAIL", REFUSED),
    "io_uring": (system_call(425, 8, "bytes(120)"), "FAIL", REFUSED),
    "bpf": (system_call(321, 0, "bytes(72)", 72), "FAIL", REFUSED),
    "userfaultfd": (system_call(323, 0), "FAIL", REFUSED),
    "keyring": (system_call(250, 0, -3, 1), "FAIL", REFUSED),
    "file handle": (system_call(304, -100, "bytes(8)", 0), "FAIL", REFUSED),
    "shared memory": (system_call(29, 0, 4096, 0o1666), "FAIL", REFUSED),
    "message queue": (system_call(240, "b'q'", 0o102, 0o666, 0), "FAIL", REFUSED),
    "32-bit calls": (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.syscall(0x40000000 + 39) < 0: raise OSError('refused')",
        "FAIL",
        REFUSED,
    ),
    "stdin": ("input()", "FAIL", "EOFError"),
    "terminal": ("open('/dev/tty').read()", "FAIL", REFUSED),
    "type into the terminal": (
        "import fcntl\nfor c in b'id\\n': fcntl.ioctl(0, 0x5412, bytes([c]))",
        "FAIL",
        REFUSED,
    ),
    "sys.exit": ("sys.exit(0)", "FAIL", "SystemExit"),
    "os._exit": ("os._exit(0)", "FAIL", "ended the process"),
    "exit in C": ("ctypes.CDLL(None)._exit(0)", "FAIL", "ended the process"),
    "memory bomb": ("a = []\nwhile True: a.append(bytes(1 << 20))", "MEMORY", ""),
    "a kept memory bomb": (
        "global a\na = []\nwhile True: a.append([0] * 64)",
        "MEMORY TIMEOUT",
        "",
    ),
    "10 GB string": ("'x' * 10**10", "MEMORY", ""),
    "huge mapping": ("import mmap\nmmap.mmap(-1, 1 << 34)", "MEMORY FAIL", "|".join([REFUSED, ""])),
    "busy loop": ("while True: pass", "TIMEOUT", "CPU time"),
    "sleep": ("import time\ntime.sleep(100)", "TIMEOUT", "2 s"),
    "ignore every signal": (
        "import signal\n"
        "for s in set(signal.Signals) - {{9, 19}}: signal.signal(s, signal.SIG_IGN)\n"
        "while True: pass",
        "TIMEOUT",
        "",
    ),
    "block every signal": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        "TIMEOUT",
        "",
    ),
    "catch the timeout": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "TIMEOUT",
        "",
    ),
    "unbounded recursion": ("f(x)", "FAIL", "RecursionError"),
    "recursion without a limit": (
        "sys.setrecursionlimit(10**9)\nf(x)",
        "FAIL MEMORY TIMEOUT CRASH",
        "",
    ),
    "regex blow-up": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "TIMEOUT", ""),
    "giant power": ("9 ** 9 ** 9", "TIMEOUT MEMORY", ""),
    "giant digits": ("str(1 << 10**6)", "FAIL", "ValueError"),
    "endless stdout": ("while True: print('x' * 1000)", "OUTPUT_LIMIT", "printed more"),
    "endless stderr": ("while True: os.write(2, bytes(4096))", "OUTPUT_LIMIT", "printed more"),
    "a reply larger than any value": (
        "block = memoryview((20 << 20).to_bytes(4, 'big') + bytes(20 << 20))\n"
        "while block: block = block[os.write(5, block):]",
        "FAIL",
        "a frame of 20971520 bytes is over the limit",
    ),
    "null dereference": ("ctypes.string_at(0)", "CRASH", "SIGSEGV"),
    "abort": ("os.abort()", "CRASH", "SIG"),
    "illegal write": ("ctypes.memset(8, 255, 64)", "CRASH", "SIG"),
    "divide in C": ("ctypes.CFUNCTYPE(ctypes.c_int)(8)()", "CRASH", "SIG"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFINED)
def test_attack_gets_its_verdict_and_leaves_nothing(sandbox, host, name):
    body, verdicts, expected = CONFINED[name]
    code = attack(
        body.format(tcp=host.tcp, udp=host.udp.getsockname()[1], unix=host.unix, folder=host.folder)
        if "{" in body
        else body
    )
    files, environment, processes = host.contents(), dict(os.environ), descendants()
    mode = (host.folder / "secret.txt").stat().st_mode
    (outcome,) = sandbox.examine([Job(code, EXAMINER)])
    assert outcome.verdict in verdicts.split(), outcome
    assert any(part in outcome.message for part in expected.split("|")), outcome
    assert host.contents() == files
    assert (host.folder / "secret.txt").stat().st_mode == mode
    assert sorted(p.name for p in host.folder.iterdir()) == ["secret.txt"]
    assert dict(os.environ) == environment
    assert not list(Path("/tmp").glob("phi1_hostile*"))
    with pytest.raises(BlockingIOError):
        host.udp.recv(1)
    (honest,) = sandbox.examine([Job("def f(x): return x + 1", EXAMINER)])
    assert honest.verdict == "PASS", honest
    # The same servers as before: no attack brought one down, and none left a child.
    assert descendants() == processes


def test_the_attack_frame_itself_passes(sandbox):
    """Or else the attacks above would fail for a reason of their own."""
    (outcome,) = sandbox.examine([Job(attack("pass"), EXAMINER)])
    assert outcome.verdict == "PASS", outcome


def test_right_answer_with_harmless_probing_passes(sandbox):
    code = """
import os, sys, socket, platform, random, time
def f(x):
    for probe in (lambda: open("/etc/passwd"), lambda: socket.socket(), os.fork, os.getlogin,
                  lambda: os.kill(1, 0), lambda: open("/tmp/x", "w"), input):
        try:
            probe()
        except (OSError, EOFError):
            pass
    print("probing", os.getpid(), platform.python_version(), os.getcwd(), file=sys.stderr)
    sys.setrecursionlimit(5000)
    time.sleep(0.001)
    random.random()
    return x + 1
"""
    (outcome,) = sandbox.examine([Job(code, EXAMINER)])
    assert outcome.verdict == "PASS", outcome


def test_descriptors_reach_nothing_but_the_job_itself(sandbox):
    """The candidate has its input, its output and the two pipes to its examiner."""
    code = "import os\ndef f(x):\n    found = []\n    for fd in range(256):\n"
    code += "        try: os.fstat(fd); found.append(fd)\n        except OSError: pass\n"
    code += "    return found"
    (outcome,) = sandbox.examine([Job(code, "assert remote('f')(0) == [0, 1, 2, 4, 5]")])
    assert outcome.verdict == "PASS", outcome


def test_open_network_would_have_been_seen(host):
    """The listeners that the attacks aim at do answer."""
    accepted = threading.Event()
    with socket.create_connection(("127.0.0.1", host.tcp), 5):
        accepted.set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", host.udp.getsockname()[1]))
    host.udp.setblocking(True)
    assert host.udp.recv(1) == b"x"
    host.udp.setblocking(False)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{host.unix}")
    assert accepted.is_set()
