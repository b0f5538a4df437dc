"""The kernel's own isolation through ctypes: Landlock, seccomp, resource limits, a dropped uid.

Called inside a fresh process that then forks untrusted code. Each layer alone leaks (Landlock
leaves UDP, Unix sockets and signals; seccomp cannot tell one file from another; limits on
processes do nothing for root), so they are stacked: nothing can be written anywhere, only what
`readable` lists can be read, and no socket, process or signal can be made. What Landlock does not
hide, and bubblewrap does, is whether a path exists, its size, and the names beside the standard
library's.
"""

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

if sys.platform == "linux":
    # Elsewhere this module can be imported, and `open_sandbox` says that nothing can be run.
    import resource

    _libc = ctypes.CDLL(None, use_errno=True)
_MACHINE = platform.machine()

# Calls that computing, importing and reading files need; any other fails with EPERM. Notably
# absent: clone, fork, execve, kill, ptrace, prctl, prlimit, socket, pipe, memfd_create, chmod,
# unlink, mkdir, rename, mount, io_uring, bpf.  name: (x86_64, aarch64)
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "readv": (19, 65), "writev": (20, 66), "access": (21, None), "select": (23, None),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23),
    "pause": (34, None), "nanosleep": (35, 101), "getitimer": (36, 102), "alarm": (37, None),
    "setitimer": (38, 103), "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160),
    "getcwd": (79, 17), "readlink": (89, None), "gettimeofday": (96, 169),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "getpgrp": (111, None), "getgroups": (115, 158), "sigaltstack": (131, 132),
    "arch_prctl": (158, None), "gettid": (186, 178), "time": (201, None), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "newfstatat": (262, 79), "readlinkat": (267, 78),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73), "getrandom": (318, 278),
    "membarrier": (324, 283), "statx": (332, 291), "rseq": (334, 293), "faccessat2": (439, 439),
}  # fmt: skip
_OPENAT, _FCNTL, _IOCTL, _CAPSET = {
    "x86_64": (257, 72, 16, 126),
    "aarch64": (56, 25, 29, 91),
}.get(_MACHINE, (-1, -1, -1, -1))
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC. F_SETOWN and F_SETSIG would be a kill().
_FCNTL_COMMANDS = (0, 1, 2, 3, 1030)
_OPEN_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000
_LOAD, _JUMP_EQ, _JUMP_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF: ld [k]; jeq; jset; ret
_ARGUMENT = 16  # offset of args[0] in struct seccomp_data; little-endian low words

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 8, 22, 38
_CAP_DAC_READ_SEARCH = 1 << 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3


def no_new_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, 9)


def drop_root() -> str:
    """Leaves root and its capabilities; returns what was done.

    An interpreter below /root can be read by root alone: then the one capability that stays is
    to read any file, and Landlock says which. In a container whose uid map has no other uid, the
    uid stays too.
    """
    done, keep = "no capabilities", 0
    if os.geteuid() == 0:
        _prctl(_PR_SET_KEEPCAPS, 1)
        for uid in (1_900_000_000 + os.getpid() % 1_000_000, 65534):
            with contextlib.suppress(OSError):
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                done = "uid dropped"
                break
        try:
            Path(os.__file__).read_bytes()
        except PermissionError:
            keep = _CAP_DAC_READ_SEARCH
    # Version 3 of the call takes two words of (effective, permitted, inheritable).
    header, words = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", keep, keep, 0, 0, 0, 0)
    _syscall(_CAPSET, header, words)
    return done


def landlock(readable: Iterable[str], listed: Iterable[str]) -> str:
    """Restricts this process and its children to reading; "" if the kernel has no Landlock.

    Args:
      readable: files, and folders with all below them.
      listed: folders whose names may be listed, as imports do, at any depth.
    """
    abi = _libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        return ""
    file_bits = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    rules = struct.pack(
        "=QQQ", (1 << file_bits) - 1, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0
    )  # files; TCP; abstract sockets and signals
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _libc.syscall(_LANDLOCK_CREATE, rules, size, 0)
    if ruleset < 0:
        return ""
    grants = [(path, _READ_FILE | _READ_DIR) for path in [*readable, "/dev/null"]]
    for path, access in [*grants, *((path, _READ_DIR) for path in listed)]:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not Path(path).is_dir():
            access = _READ_FILE  # the kernel takes no folder's right on a file
        _syscall(_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", access, fd), 0)
        os.close(fd)
    _syscall(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return f"Landlock {abi}"


class Seccomp:
    """The system call filter; built once, installed in each child after its fork."""

    def __init__(self) -> None:
        if _MACHINE not in _AUDIT_ARCH:
            raise OSError(errno.ENOSYS, f"no system call table for {_MACHINE}")
        column = 0 if _MACHINE == "x86_64" else 1
        numbers = [pair[column] for pair in _ALLOWED.values() if pair[column] is not None]
        deny, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
        filters = [
            (_LOAD, 0, 0, 4),
            (_JUMP_EQ, 1, 0, _AUDIT_ARCH[_MACHINE]),
            (_RETURN, 0, 0, _KILL_PROCESS),
            (_LOAD, 0, 0, 0),
            (_JUMP_EQ, 0, 1, _IOCTL),
            (_RETURN, 0, 0, _ERRNO | errno.ENOTTY),
            (_JUMP_EQ, 0, 4, _OPENAT),
            (_LOAD, 0, 0, _ARGUMENT + 16),
            (_JUMP_ANY, 0, 1, _OPEN_FOR_WRITING),
            (_RETURN, 0, 0, _ERRNO | errno.EACCES),
            allow,
            (_JUMP_EQ, 0, 2 + len(_FCNTL_COMMANDS), _FCNTL),
            (_LOAD, 0, 0, _ARGUMENT + 8),
            *(
                (_JUMP_EQ, len(_FCNTL_COMMANDS) + len(numbers) - i + 1, 0, command)
                for i, command in enumerate(_FCNTL_COMMANDS)
            ),
            deny,
            *((_JUMP_EQ, len(numbers) - i, 0, number) for i, number in enumerate(numbers)),
            deny,
            allow,
        ]
        code = b"".join(struct.pack("=HBBI", *row) for row in filters)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = ctypes.create_string_buffer(
            struct.pack("@HP", len(filters), ctypes.addressof(self._code))
        )

    def install(self) -> None:
        """Irrevocable; needs `no_new_privileges` first."""
        _prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(self._program))


def limit_resources(cpu_s: float, memory_bytes: int) -> None:
    """Hard limits of this process; the parent's own clocks end it earlier, and tell why."""
    for what, value in (
        (resource.RLIMIT_CPU, int(cpu_s) + 2),
        (resource.RLIMIT_AS, memory_bytes),
        # Else how deep C code may recurse would be the choice of the shell that started us.
        (resource.RLIMIT_STACK, 8 << 20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))


def _prctl(option: int, value: int, pointer: int = 0) -> None:
    arguments = [ctypes.c_ulong(x) for x in (value, pointer, 0, 0)]
    if _libc.prctl(option, *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _syscall(number: int, *arguments: object) -> None:
    if _libc.syscall(number, *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
