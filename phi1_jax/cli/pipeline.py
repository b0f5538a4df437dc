"""Pipelines of launch scripts: each stage is a command that is done once, resumed, and reused."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from phi1_jax.cli.stage import fingerprint
from phi1_jax.errors import UserError
from phi1_jax.files import read_json_if_whole, take_lock, write_json

# How a command ends that a signal ended: by itself, or as `script.run` ends it.
_INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM)
_POLL_S = 0.05
_PROGRESS_S = 20.0  # between lines about commands whose output goes to a file


@dataclass(frozen=True)
class Stage:
    """A command, and what it stands on.

    Attributes:
      name: unique in the pipeline; also of its folder.
      kind: the name that was given to `Pipeline.add`.
      command: the whole command line.
      needs: names of the stages whose folders the command reads.
      identity: changes with the command, its `content`, Python, and the identity of its needs.
      tokens: that it trains on; 0 if it does not train.
    """

    name: str
    kind: str
    folder: Path
    command: tuple[str, ...]
    needs: tuple[str, ...]
    identity: str
    tokens: int = 0

    @property
    def script(self) -> str:
        return Path(self.command[1]).name


class Pipeline:
    """Stages in a folder: declared with `add`, then done by `run`, except those that are finished.

    A stage is done again only when its command or what it needs has changed; one that was
    interrupted goes on. Several processes, also on several machines, may work in one folder: each
    stage is done by one of them, and the others wait for it.
    """

    def __init__(self, root: Path, scripts: Path, shared: bool = False) -> None:
        """
        Args:
          root: gets a folder for each stage, and records of them in `stages/`.
          scripts: the folder of the launch scripts.
          shared: a stage's folder carries its identity, so that pipelines with different settings
            share the stages in which they agree.
        """
        self.root, self.scripts, self.shared = root, scripts, shared
        self.stages: dict[str, Stage] = {}
        self._wall = root / "stages" / "wall.json"
        self._waiting: set[str] = set()

    def add(
        self,
        kind: str,
        script: str,
        *arguments: str,
        output_flag: str = "output",
        tokens: int = 0,
        content: Mapping[str, Any] | None = None,
    ) -> Path:
        """Declares a stage and returns its folder; it needs those whose folders it names.

        Args:
          content: what files that the command names say, such as a config, or their paths.
        """
        text = "\n".join(arguments)
        needs = [
            stage
            for stage in self.stages.values()
            if re.search(re.escape(str(stage.folder)) + r"(?![\w.-])", text)
        ]
        identity = fingerprint(
            {
                "python": sys.version,
                "command": arguments,
                "needs": [need.identity for need in needs],
                **(content or {}),
            }
        )
        name = f"{kind}-{identity[:8]}" if self.shared else kind
        folder = self.root / name
        command = (
            sys.executable,
            str(self.scripts / script),
            *arguments,
            f"--{output_flag}={folder}",
        )
        names = tuple(need.name for need in needs)
        self.stages[name] = Stage(name, kind, folder, command, names, identity, tokens)
        return folder

    def record(self, stage: Stage) -> dict[str, Any]:
        """What is known of a stage: `finished` and `seconds`; {} if it was not started."""
        record = read_json_if_whole(self._file(stage, "json"))
        return record if record.get("identity") == stage.identity else {}

    def is_finished(self, stage: Stage) -> bool:
        return bool(self.record(stage).get("finished")) and stage.folder.exists()

    @property
    def seconds(self) -> dict[str, float]:
        """Of each stage that was started, in all its starts."""
        records = {name: self.record(stage) for name, stage in self.stages.items()}
        return {name: record["seconds"] for name, record in records.items() if record}

    @property
    def wall_seconds(self) -> float:
        """That all runs took which started a stage; stages that ran at a time count once."""
        return float(read_json_if_whole(self._wall).get("seconds", 0.0))

    def finished(self) -> list[dict[str, Any]]:
        """The records of all finished stages in the folder: script, tokens and seconds of each."""
        files = sorted((self.root / "stages").glob("*.json"))
        return [record for f in files if (record := read_json_if_whole(f)).get("finished")]

    def closure(self, names: Iterable[str]) -> list[Stage]:
        """The named stages and all that they stand on, in order."""
        wanted = set(names)
        for name, stage in reversed(self.stages.items()):
            if name in wanted:
                wanted.update(stage.needs)
        return [stage for name, stage in self.stages.items() if name in wanted]

    def run(
        self,
        names: Iterable[str] | None = None,
        workers: int = 1,
        *,
        quiet: bool = False,
        keep_going: bool = False,
    ) -> None:
        """Does the stages that are not finished.

        Args:
          names: of the stages to do, with what they need; all by default.
          workers: stages at a time; a GPU takes one.
          quiet: each command's output goes to `stages/NAME.log`; so it does with several workers.
          keep_going: a stage that fails stops only those that need it.
        Raises:
          UserError: a stage failed.
          KeyboardInterrupt: a signal ended this process or a stage; the stages were told, and have
            saved.
        """
        (self.root / "stages").mkdir(parents=True, exist_ok=True)
        todo = self.closure(self.stages if names is None else names)
        if workers > 1:
            # What most others wait for comes first, or at the end one worker has all that is left.
            waited_for = Counter(s.name for stage in todo for s in self.closure([stage.name]))
            todo.sort(key=lambda stage: -waited_for[stage.name])
        began = told = time.perf_counter()
        started_any = False
        running: list[_Running] = []
        done: set[str] = set()
        failed: list[str] = []
        with _signals() as received:
            while (todo or running) and not received:
                for stage in list(todo):
                    if len(running) < workers and done.issuperset(stage.needs):
                        if (started := self._start(stage, quiet or workers > 1)) is None:
                            continue  # another process does it
                        todo.remove(stage)
                        if isinstance(started, _Running):
                            started_any = True
                            running.append(started)
                        else:
                            done.add(stage.name)
                for one in list(running):
                    if one.process.poll() is not None:
                        running.remove(one)
                        if self._end(one):
                            done.add(one.stage.name)
                        elif one.process.returncode in (0, *_INTERRUPTED):
                            received.append(signal.SIGTERM)  # a signal ended the stage, no fault
                        else:
                            failed.append(self._explain(one))
                            free = [s for s in todo if one.stage not in self.closure([s.name])]
                            todo = free if keep_going else []
                if time.perf_counter() - told > _PROGRESS_S:
                    told = time.perf_counter()
                    for one in running:
                        one.tell()
                if running or todo:
                    time.sleep(_POLL_S)
            for one in running:
                one.process.terminate()
            for one in running:
                one.process.wait()  # it is given the time to save
                self._end(one)
        if started_any:
            seconds = round(self.wall_seconds + time.perf_counter() - began, 1)
            write_json(self._wall, {"seconds": seconds})
        if received:
            raise KeyboardInterrupt
        if failed:
            raise UserError("; ".join(failed) + ". Run the same command again to go on from there")

    def _start(self, stage: Stage, quiet: bool) -> "_Running | bool | None":
        """Starts a stage; True if it is finished, None if another process does it now."""
        lock = self._file(stage, "lock").open("a")
        if not take_lock(lock):
            lock.close()
            if stage.name not in self._waiting:
                print(f"{stage.name}: another process does it; waiting", flush=True)
            self._waiting.add(stage.name)
            return None
        if self.is_finished(stage):
            lock.close()
            print(f"\n== {stage.name}: unchanged, reused" if not quiet else f"{stage.name}: reused")
            return True
        record = self.record(stage)
        if not record:
            shutil.rmtree(stage.folder, ignore_errors=True)
        spent = record.get("seconds", 0.0)
        self._write(stage, False, spent)
        log = self._file(stage, "log") if quiet else None
        with log.open("a") if log else nullcontext() as output:
            if log:
                print(f"{stage.name}: started, output in {log}", flush=True)
            heading = "" if log else f"\n== {stage.name}\n"
            print(heading + shlex.join(stage.command), file=output, flush=True)
            # In a group of its own: Ctrl-C would reach it twice, and a second signal stops a save.
            # It holds the lock too: if this process is killed, the next waits until it has ended.
            process = subprocess.Popen(
                stage.command, stdout=output, stderr=output, process_group=0,
                pass_fds=[lock.fileno()],
            )  # fmt: skip
        return _Running(stage, process, time.perf_counter() - spent, lock, log)

    def _end(self, one: "_Running") -> bool:
        """Records how a command ended; whether its stage is finished."""
        seconds = round(time.perf_counter() - one.began, 2)
        # Training that a signal ended saved, and exited with 0.
        result = one.stage.folder / "result.json"
        finished = one.process.returncode == 0 and (
            not result.exists() or read_json_if_whole(result).get("finished", False)
        )
        self._write(one.stage, finished, seconds)
        one.lock.close()
        if one.log:
            print(f"{one.stage.name}: {'finished' if finished else 'ended'}, {seconds:.1f} s")
        return finished

    def _explain(self, one: "_Running") -> str:
        where = "its own message stands above"
        if one.log:
            where = f"{one.last_line()!r}, see {one.log}"
        status = one.process.returncode
        return f"stage {one.stage.name} did not finish (status {status}); {where}"

    def _write(self, stage: Stage, finished: bool, seconds: float) -> None:
        record = {
            "identity": stage.identity,
            "finished": finished,
            "seconds": seconds,
            "script": stage.script,
            "tokens": stage.tokens,
        }
        write_json(self._file(stage, "json"), record)

    def _file(self, stage: Stage, suffix: str) -> Path:
        return self.root / "stages" / f"{stage.name}.{suffix}"


@dataclass(frozen=True)
class _Running:
    """A stage's command at work; `began`: when it would have, without a break between starts."""

    stage: Stage
    process: subprocess.Popen
    began: float
    lock: IO[str]
    log: Path | None

    def last_line(self) -> str:
        """Of the log; of a progress bar, its last state."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log else ""
        return re.split(r"[\n\r]", text.strip())[-1]

    def tell(self) -> None:
        if line := self.last_line():
            name = "" if line.startswith(self.stage.name) else f"{self.stage.name}: "
            print(f"{name}{line}", flush=True)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM, Ctrl-C and SIGHUP, unless this process was started to ignore them."""
    received: list[int] = []
    previous: dict[int, Any] = {}
    for number in (int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGHUP)):
        if signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
