"""How every launch script starts: flags in, one clear line out when the input is wrong."""

import ctypes
import errno
import io
import logging
import math
import os
import re
import select
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import absl.logging
from absl import app, flags

from phi1_jax.config import USABLE_MEMORY, RunConfig
from phi1_jax.config_dict import find_config, flatten, to_dict
from phi1_jax.errors import REPOSITORY, UserError, as_commands, did_you_mean, is_installed
from phi1_jax.files import OF_THE_SYSTEM, cache_folder

# Flags of free text, of URLs, and of Python files.
_TEXT = {"prompt", "sample_prompt", "stop"}
_URLS = {"base_url"}
_FILES = {"config", "sources"}
# The extra with a package that is imported where it is first needed.
_EXTRAS = {
    **dict.fromkeys(("datatrove", "rapidfuzz", "sklearn", "skops", "xxhash", "matplotlib"), "data"),
    "tokenizers": "hf",
}
# As XLA says it, before pages of details.
_NO_MEMORY = "(?:Out of memory|Failed to allocate)"
# As NumPy's tofile says it, libraries in Rust, and SQLite.
_DISK_FULL = r"\d+ requested and \d+ written|No space left on device|disk is full"
# Flags of a model, one or several: DIR, or NAME=DIR.
_MODELS = ("checkpoint", "embedder")
# Fields of a config that are paths.
_PATHS = {"path", "tokenizer", "init_from"}
flags.DEFINE_bool("traceback", False, "Show the Python traceback of an input error.")
flags.DEFINE_string(
    "compile_cache",
    None,
    "Folder for compiled programs; empty for none (default: phi1_jax in the user's cache).",
)


def run(main: Callable[..., None], positional: int = 0) -> None:
    """Parses the flags, runs `main`, and turns a `UserError` into one line and exit status 2.

    `main` gets the arguments that are no flags, at most `positional`, which may stand anywhere. Any
    other exception keeps its traceback: it is a fault of this project, not of the input.
    """
    _never_fail_on_stderr()
    # Config files build on each other: `from configs import phi1_base`.
    sys.path.insert(0, str(REPOSITORY))
    # Orbax and JAX narrate at INFO; progress bars and stage lines are ours.
    absl.logging.set_verbosity(absl.logging.WARNING)
    logging.getLogger("jax").setLevel(logging.ERROR)
    # When one write of a checkpoint fails, each of the others says so, on pages.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1 + positional:
            _fail(
                f"unexpected argument {argv[1 + positional]!r}: options are given as --name=value"
            )
        try:
            main(*argv[1:])
            sys.stdout.flush()
        except Exception as error:
            problem = _users_to_mend(error)
            if flags.FLAGS.traceback or not problem:
                raise
            _fail(problem)
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=sys.stderr)
            sys.exit(130)

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # any text, on any terminal
    flags.FLAGS.set_gnu_getopt()
    try:
        app.run(guarded, flags_parser=_parse)
    except BrokenPipeError:
        _leave_if_nobody_reads()
        raise


def _users_to_mend(error: Exception) -> str:
    """What to say of an error in input, installation or system; empty if this project is at fault.

    Of the system, see `OF_THE_SYSTEM`: it has no say in what is in a file.
    """
    text, number = str(error), error.errno if isinstance(error, OSError) else None
    if isinstance(error, UserError):
        return text
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(name)
        return f"{name} is not installed: pip install 'phi1_jax[{extra}]'" if extra else ""
    frames = traceback.extract_tb(error.__traceback__)
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms and frames and frames[-1].filename.endswith("xla_bridge.py"):
        why = re.sub(r"\s*\(set JAX_PLATFORMS.*", "", text) or "its plugin does not start"
        return (
            f"JAX cannot use JAX_PLATFORMS={platforms}: {why}; unset the variable, or install what"
            " it names (docs/install.md)"
        )
    if full := re.search(f"RESOURCE_EXHAUSTED: ({_NO_MEMORY}.*)", text):
        return (
            f"a device's memory is full: {full[1].rstrip('.')}; give a smaller --batch_size, or to"
            " train a smaller --config.micro_batch_size or --config.model.remat=full"
            " (launch/plan.py tells what fits)"
        )
    if number == errno.ENOSPC or re.search(_DISK_FULL, text):
        reason = "written: the disk is full"
    elif "disk I/O error" in text:
        reason = "written: disk I/O error, or over a quota"  # SQLite has one error for both
    elif number in OF_THE_SYSTEM:
        reason = f"read or written: {os.strerror(number)}"
        if number in (errno.EMFILE, errno.ENFILE):
            reason += " (`ulimit -n` shows and raises how many may be)"
    else:
        return ""
    where = getattr(error, "filename", None) or "a file"
    return f"{where} cannot be {reason}; mend that and run the same command again"


def make_folder(path: Path, flag: str) -> None:
    """Makes the folder that a flag names.

    Raises:
      UserError: a file is in its way, or it may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        message = f"--{flag}={path}: nothing can be written there: {error.strerror}"
        raise UserError(message) from None


def load_config(holder: flags.FlagHolder) -> dict[str, Any]:
    """The plain values of a `config_flags.DEFINE_config_file` flag, with `~` of paths expanded.

    Raises:
      UserError: no file named, none there, or one that does not run; or a URL for a path.
    """
    if flags.FLAGS[holder.name].value is None and not flags.FLAGS[holder.name].present:
        raise UserError(f"--{holder.name} is missing: --{holder.name}=configs/phi1_tiny.py, say")
    try:
        values = holder.value
        is_config = isinstance(values, dict) or hasattr(values, "to_dict")
    except OSError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"--{holder.name}: {reason}") from error
    if not is_config:
        raise UserError(
            f"--{holder.name}: get_config() must return an ml_collections.ConfigDict, not a"
            f" {type(values).__name__}"
        )
    return _with_local_paths(values if isinstance(values, dict) else values.to_dict())


def _with_local_paths(value: Any, field: str = "") -> Any:
    """Nested values of a config in which every path is as `_local_path` makes it."""
    if isinstance(value, Mapping) or hasattr(value, "to_dict"):  # a ConfigDict, in a list
        return {k: _with_local_paths(v, f"{field}.{k}" if field else k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_with_local_paths(item, f"{field}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, str) and value and field.rpartition(".")[2] in _PATHS:
        return _local_path(value, f"config field {field}={value}")
    return value


def pairs(holder: flags.FlagHolder) -> dict[str, str]:
    """The value of a list flag such as --columns=text=content,id=hexsha.

    Raises:
      UserError: an item without `=`.
    """
    found = dict(item.split("=", 1) for item in holder.value if "=" in item)
    if len(found) != len(holder.value):
        raise UserError(
            f"--{holder.name}={','.join(holder.value)}: give pairs such as text=content"
        )
    return found


def require(*holders: flags.FlagHolder) -> None:
    """Stops at the first flag that has no value, and says what it is."""
    for holder in holders:
        if not holder.value:
            # Behind the semicolon absl says that the flag may be repeated.
            words = flags.FLAGS[holder.name].help.partition(";\n")[0]
            raise UserError(f"--{holder.name} is missing: {words}")


def parse_shard(text: str) -> tuple[int, int]:
    """The two numbers of --shard=I/N.

    Raises:
      UserError: not two numbers with 0 <= I < N.
    """
    index, _, n_shards = text.partition("/")
    if not (index.isdecimal() and n_shards.isdecimal() and int(index) < int(n_shards)):
        raise UserError(f"--shard={text}: give I/N with I from 0 to N - 1, such as 0/4")
    return int(index), int(n_shards)


def refuse_unread(holders: Sequence[flags.FlagHolder | ModuleType], why: str) -> None:
    """Stops at the first flag that was given and that nothing will read.

    Args:
      holders: flags, or modules that define some.
      why: what the flag needs to be read, for the message.
    """
    for holder in holders:
        if isinstance(holder, ModuleType):
            found = flags.FLAGS.get_flags_for_module(holder)
        else:
            found = [flags.FLAGS[holder.name]]
        for flag in found:
            if flag.present:
                raise UserError(f"--{flag.name}: {why}")


def start_jax() -> None:
    """Settings of JAX that every script shares, before the first array is made.

    Compiled programs are kept in `--compile_cache`, so that a second start skips compilation.
    """
    _keep_freed_memory()  # first: it binds only threads that start later
    # By itself JAX takes three quarters of a GPU. It refuses the variable's two names together.
    if "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", str(USABLE_MEMORY))
    if flags.FLAGS.compile_cache != "":
        from phi1_jax.cli.compile_cache import use_compile_cache

        given = flags.FLAGS.compile_cache
        use_compile_cache(Path(given).expanduser() if given else cache_folder())


def _keep_freed_memory() -> None:
    """Makes glibc keep what a step frees, for the next step.

    XLA allocates its scratch memory anew for each step; by default glibc takes it from the kernel
    and gives it back each time, and the page faults (25,000 a step of the tiny model) cost a third
    of the processor time. With one arena and without mmap they go: 52 -> 2 ms of system time.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # another C library than glibc
        return
    m_trim_threshold, m_mmap_max, m_arena_max = -1, -4, -8
    for option, value in ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_arena_max, 1)):
        libc.mallopt(option, value)


class _Stderr(io.FileIO):
    """What cannot be said, on a full disk or to a terminal that is gone, is not worth the run."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _never_fail_on_stderr() -> None:
    """Progress bars and messages end no work; a bar that fails keeps tqdm's lock for ever."""
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Stderr(sys.stderr.fileno(), "wb", closefd=False)),
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def _parse(argv: Sequence[str]) -> list[str]:
    if asked := {"-h", "-?", "--help", "-help", "--helpshort", "--helpfull"} & set(argv[1:]):
        for module, found in flags.FLAGS.flags_by_module_dict().items():
            if re.match(r"phi1_jax\.cli\.\w+_flags$", module):
                for flag in found:  # the script's own, to its user
                    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
        if is_installed():
            main = sys.modules["__main__"]
            main.__doc__ = as_commands(main.__doc__ or "")
            for name in flags.FLAGS:
                flags.FLAGS[name].help = as_commands(flags.FLAGS[name].help or "")
        app.usage(shorthelp="--helpfull" not in asked, writeto_stdout=True)
        if "--helpfull" not in asked:
            print("\nTry --helpfull to get a list of all flags.")
        sys.exit(0)  # absl's own flag ends with 1
    try:
        for argument in argv[1:]:
            _refuse_unknown_field(argument)
        rest = flags.FLAGS([argv[0], *map(_resolve, argv[1:], argv)])
        _refuse_nan_and_empty()
        return rest
    except flags.UnrecognizedFlagError as error:
        fields = flatten(to_dict(RunConfig())) if "config" in flags.FLAGS else {}
        name = error.flagname
        meant = [field for field in fields if name in field.rpartition(".")[2]]
        meant.sort(key=lambda field: field.rpartition(".")[2] != name)  # that very name first
        hint = f"no such flag; did you mean --config.{meant[0]}?" if meant else ""
        if error.flagname.startswith("config."):
            hint = "is set only in a --config=FILE that returns an ml_collections.ConfigDict"
        _fail(f"--{error.flagname}: {hint}" if hint else f"{error} (see --help)")
    except UserError as error:
        _fail(str(error))
    except Exception as error:  # a config file is the user's code: anything can come out of it
        first = error.args[0] if error.args else ""
        text = str(first if isinstance(error, KeyError) else error)  # not its repr
        if isinstance(first, KeyError):  # as ml_collections says it
            text = f"--config.FIELD names {first.args[0]}, which the config's file does not hold"
        elif not (isinstance(error, flags.Error) or "config." in text):
            text = f"--config: {type(error).__name__}: {text}"
        # Of a traceback, as ml_collections puts it into its text, the last line.
        text = re.sub(r"(?s)Error whilst parsing.*\n(?=\w)", "", text)
        lacks = r"\w+: module 'config_config' .* 'get_config'"
        text = re.sub(lacks, "give a file that has get_config()", text)
        one = "is a group; set one of its fields, as in --config.optimizer.name=adamw"
        text = re.sub(r"Failed to parse .* as a ConfigDict.*", one, text)
        in_file = r"--\1: is set in the config's file only, or by --source=NAME=SHARDS"
        text = re.sub(r"(?s)Type <class 'list'> of field (\S+) is not.*", in_file, text)
        text = re.sub(r"(?<!Error: )invalid literal for int\(\).*", "give a whole number", text)
        text = re.sub(r"(?<!Error: )could not convert string to float.*", "give a number", text)
        problem = " ".join(text.replace("\\n", " ").split())
        _fail(f"{problem} (see --help)")


def _refuse_unknown_field(argument: str) -> None:
    """Stops at --config.FIELD that no config has; ml_collections names only its last part."""
    override = re.match(r"--?config\.([\w.]+)", argument)
    group, values = "it", to_dict(RunConfig())
    for part in override[1].split(".") if override else ():
        fields = values if isinstance(values, dict) else {}
        if part not in fields:
            has = f"; {group} has {', '.join(fields)}" if fields else ""
            raise UserError(
                f"{argument.partition('=')[0]}: no such field in the config"
                f"{did_you_mean(part, fields) or has}"
            )
        group, values = part, fields[part]


def _refuse_nan_and_empty() -> None:
    """Stops at nan and infinity, and at an empty path, also of NAME=: it would be this folder."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        # A config checks its own fields, of which some may be infinite.
        if not flag.present or name.startswith("config."):
            continue
        for value in flag.value if isinstance(flag.value, list) else [flag.value]:
            in_list = isinstance(flag.parser, flags.ListParser)  # numbers come as text there
            is_none = in_list and re.fullmatch(
                r"[+-]?(nan|inf|infinity)", str(value), re.IGNORECASE
            )
            if is_none or (isinstance(value, float) and not math.isfinite(value)):
                raise UserError(f"--{name}={value}: give a finite number")
            if name in _TEXT or not (isinstance(flag.value, list) or name in _MODELS):
                continue
            if value == "":
                raise UserError(f"--{name}=: is empty; give a value, or leave the flag out")
            if isinstance(value, str) and re.fullmatch(r"[\w.+-]*[=:]", value):
                raise UserError(f"--{name}={value}: nothing stands behind {value!r}; name a path")


def _resolve(argument: str, before: str) -> str:
    """An argument whose `~` is expanded also behind `--name=` and `--name=key=`, as no shell does.

    Args:
      before: the argument before it, which may be the name of the flag whose value this is.
    Raises:
      UserError: a URL for a path, or a config file that is not there.
    """
    if argument.startswith("-"):
        flag, equals, value = argument.partition("=")
    else:
        flag, equals, value = before, "", argument
    name = flag.lstrip("-") if flag.startswith("-") else ""
    if name in _TEXT or not value:
        return argument
    if name not in _URLS:
        value = _local_path(value, argument)
    file = Path(re.sub(r"(?<=\.py):.*", "", value))  # mine.py:small calls get_config("small")
    if name in _FILES and not file.is_file():
        try:
            value = str(find_config(value))
        except UserError as error:
            if not file.exists():  # else it is a folder, which the config's reader says
                raise UserError(f"--{name}={error}") from None
    return f"{flag}={value}" if equals else value


def _local_path(text: str, shown: str) -> str:
    """PATH or NAME=PATH with `~` expanded.

    Args:
      shown: names it in a message.
    Raises:
      UserError: it is a URL.
    """
    if re.match(r"([\w-]+=)?[A-Za-z][\w+.-]*://", text):
        raise UserError(
            f"{shown}: this is a URL; files and runs' folders are on a file system: mount it (with"
            " gcsfuse or s3fs, say), or copy it here"
        )
    start = re.match(r"([^/~]*[=:])?(?=~(/|$))", text)
    return start[0] + str(Path(text[start.end() :]).expanduser()) if start else text


def _leave_if_nobody_reads() -> None:
    """Ends as the shell's own tools do when `| head` has enough, if that pipe is the broken one."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _fail(message: str) -> NoReturn:
    print(f"error: {as_commands(message) if is_installed() else message}", file=sys.stderr)
    sys.exit(2)
