"""The thread that decodes: requests join the running batch, and leave it, between two chunks."""

import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phi1_jax.generate.batch import Row
from phi1_jax.generate.generator import Generator, Progress
from phi1_jax.serve.requests import RequestError

Update = tuple[Row, Progress]


@dataclass(eq=False)
class Job:
    """The completions of one request.

    Attributes:
      report: called in the engine's thread, with an `Update` or the reason why no more will come.
      streams: whether to report before a completion has ended.
      is_cancelled: set it, and the job's rows are free for others after the running chunk.
    """

    rows: Sequence[Row]
    report: Callable[[Update | RequestError], None]
    streams: bool = False
    is_cancelled: bool = False


class Engine:
    """Decodes the rows of all jobs together, first come, first served."""

    def __init__(self, generator: Generator, max_rows: int, max_waiting: int) -> None:
        """Args:
        max_rows: completions that decode together.
        max_waiting: completions that may wait for them.
        """
        self._generator, self._max_rows, self.max_waiting = generator, max_rows, max_waiting
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._n_unfinished = 0
        self._jobs: dict[Row, Job] = {}
        self._batch = generator.open_batch(max_rows)
        self._end: str | None = None  # why all jobs end now
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and self._end is None

    @property
    def n_running(self) -> int:
        return sum(map(bool, self._batch.rows))

    @property
    def n_waiting(self) -> int:
        return max(0, self._n_unfinished - self.n_running)

    def submit(self, job: Job) -> None:
        """Queues a request; returns at once.

        Raises:
          RequestError: 429, too many wait; 400, more than may ever wait; 503, the engine ends.
        """
        n = len(job.rows)
        if n > self.max_waiting:
            raise RequestError(
                400, f"{n} completions in one request: at most {self.max_waiting} are served", "n"
            )
        if not self.is_alive:
            raise RequestError(503, self._end or "the engine has stopped")
        with self._lock:
            if self._n_unfinished + n > self._max_rows + self.max_waiting:
                raise RequestError(
                    429,
                    f"{self._n_unfinished} completions are running or waiting, and {n} more are too"
                    " many; try again later",
                    code="rate_limit_exceeded",
                )
            self._n_unfinished += n
        self._inbox.put(job)

    def end_jobs(self, why: str) -> None:
        """Ends every job that is not done by the end of the running chunk; refuses new ones."""
        self._end = why

    def close(self) -> None:
        """Ends the thread."""
        self.end_jobs("the server is shutting down")
        self._inbox.put(None)
        self._thread.join()

    def _work(self) -> None:
        while self._receive():
            try:
                for row, progress in self._generator.advance(self._batch):
                    job = self._jobs[row]
                    if progress.completion or job.streams:
                        self._report(job, (row, progress))
                    if progress.completion:
                        self._forget(row)
            except Exception:  # such as a device without room: the next request may fit
                traceback.print_exc(file=sys.stderr)
                self._fail(RequestError(500, "decoding failed; the server's log says why"))

    def _receive(self) -> bool:
        """Takes what has come, waiting only if there is nothing to do; False at the end."""
        while True:
            try:
                job = self._inbox.get(block=not self._jobs)
            except queue.Empty:
                break
            if job is None:
                self._fail(RequestError(503, self._end or ""))
                return False
            self._batch.waiting.extend(job.rows)
            self._jobs |= dict.fromkeys(job.rows, job)
        if self._end:
            self._fail(RequestError(503, self._end))
        for row in [row for row, job in self._jobs.items() if job.is_cancelled]:
            self._forget(row)
        for index, held in enumerate(self._batch.rows):
            if held and held not in self._jobs:
                self._batch.retire(index)
        self._batch.waiting = deque(row for row in self._batch.waiting if row in self._jobs)
        return True

    def _fail(self, error: RequestError) -> None:
        """Ends all jobs, and leaves a batch that nothing has touched."""
        for job in set(self._jobs.values()):
            self._report(job, error)
        for row in list(self._jobs):
            self._forget(row)
        self._batch = self._generator.open_batch(self._max_rows)

    def _report(self, job: Job, what: Update | RequestError) -> None:
        try:
            job.report(what)
        except RuntimeError:  # its event loop has ended
            job.is_cancelled = True

    def _forget(self, row: Row) -> None:
        del self._jobs[row]
        with self._lock:
            self._n_unfinished -= 1
