"""Replies and expenses on disk: what was paid for is never asked again, nor forgotten."""

import sqlite3
import threading
from pathlib import Path

from phi1_jax.errors import UserError
from phi1_jax.llm_client.records import ChatReply, Usage

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
  key TEXT PRIMARY KEY, model TEXT, text TEXT, finish_reason TEXT,
  input_tokens INTEGER, output_tokens INTEGER, base_url TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tries (id INTEGER PRIMARY KEY, key TEXT, usd REAL);
"""


class Cache:
    """A SQLite file with every reply and every try, committed one by one.

    A try is entered at its maximum cost before it is sent and corrected when its reply is in, so
    that the sum of `tries` is never less than what was spent, whenever the process dies. WAL with
    synchronous=NORMAL keeps each commit through a SIGKILL of the process.

    Raises:
      UserError: the file cannot be opened or is not such a cache.
    """

    def __init__(self, path: Path):
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit; the client's thread writes what the caller's thread reads.
            self._db = sqlite3.connect(
                path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.executescript(_TABLES)
                self._db.execute("SELECT base_url FROM replies")  # another program's has none
                self.spent_usd, self._version = 0.0, None  # of all tries, other processes' too
                self._count_others()
            except sqlite3.Error:
                self._db.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{path}: not usable as a cache of replies: {error}") from error

    def close(self) -> None:
        self._db.close()

    def find(self, key: str) -> ChatReply | None:
        with self._lock:
            row = self._db.execute(
                "SELECT text, finish_reason, input_tokens, output_tokens, base_url FROM replies "
                "WHERE key=?", (key,),
            ).fetchone()  # fmt: skip
        if not row:
            return None
        return ChatReply(row[0], row[1], Usage(row[2], row[3]), row[4])

    def mean_output_tokens(self, model: str) -> float | None:
        with self._lock:
            return self._db.execute(
                "SELECT AVG(output_tokens) FROM replies WHERE model=?", (model,)
            ).fetchone()[0]

    def begin(self, key: str, max_usd: float, budget_usd: float | None) -> int | None:
        """Enters a try at its maximum cost; None if that would break the budget."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._count_others()
            if budget_usd is not None and self.spent_usd + max_usd > budget_usd:
                return None
            self.spent_usd += max_usd
            return self._db.execute(
                "INSERT INTO tries (key, usd) VALUES (?, ?)", (key, max_usd)
            ).lastrowid

    def end(
        self,
        number: int,
        usd: float,
        key: str = "",
        model: str = "",
        reply: ChatReply | None = None,
    ) -> None:
        """Corrects a try's cost and keeps its reply, both or neither."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (before,) = self._db.execute("SELECT usd FROM tries WHERE id=?", (number,)).fetchone()
            self._db.execute("UPDATE tries SET usd=? WHERE id=?", (usd, number))
            if reply:
                self._db.execute(
                    "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (key, model, reply.text, reply.finish_reason, reply.usage.input_tokens,
                     reply.usage.output_tokens, reply.base_url),
                )  # fmt: skip
            self.spent_usd += usd - before

    def _count_others(self) -> None:
        """Adds up all tries again if another process has written since."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            (self.spent_usd,) = self._db.execute("SELECT TOTAL(usd) FROM tries").fetchone()
            self._version = version
