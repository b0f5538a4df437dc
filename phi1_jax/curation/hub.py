"""Rows of Hugging Face data sets, streamed; `datasets` is needed here alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from phi1_jax.errors import UserError


@dataclass(frozen=True)
class Hub:
    """A data set on the Hub, a folder of data files, or one of the library's own formats.

    Attributes:
      name: e.g. "bigcode/the-stack-dedup".
      subset: what the library calls a config.
      data_dir: a folder within it.
    """

    name: str
    subset: str = ""
    data_dir: str = ""
    split: str = "train"


def parse_hub(text: str) -> Hub:
    """Reads `NAME[,subset=...][,data_dir=...][,split=...]`.

    Raises:
      UserError: another option.
    """
    name, *options = text.split(",")
    given = dict(option.split("=", 1) for option in options if "=" in option)
    if not name or len(given) != len(options) or given.keys() - {"subset", "data_dir", "split"}:
        raise UserError(
            f"--source=hub:{text}: give hub:NAME with ,subset=... ,data_dir=... or ,split=..."
        )
    return Hub(name, **given)


def count_hub_files(hub: Hub) -> int:
    """Of how many files the data set is, as far as the library reads them apart.

    Raises:
      UserError: as `stream_rows`.
    """
    with _opened(hub) as rows:
        return rows.num_shards


def stream_rows(hub: Hub, part: int = 0, n_parts: int = 1) -> Iterator[dict[str, Any]]:
    """Yields the rows of each `n_parts`-th file from the `part`-th on, without a download.

    By files, since each part of a split by rows would download all of them.

    Raises:
      UserError: no `datasets`, no such data set, or no access to it.
    """
    with _opened(hub) as rows:
        if part < rows.num_shards:
            yield from rows.shard(n_parts, part, contiguous=False)


@contextmanager
def _opened(hub: Hub) -> Iterator[Any]:
    """The data set as the library has it; errors name it, also those while it is read."""
    try:
        import datasets
    except ImportError as error:
        raise UserError("--source=hub:... needs `pip install phi1_jax[hub]`") from error
    datasets.disable_progress_bars()
    try:
        yield datasets.load_dataset(
            hub.name,
            hub.subset or None,
            data_dir=hub.data_dir or None,
            split=hub.split,
            streaming=True,
        )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        advice = "a gated data set wants its terms accepted on its page, and `hf auth login`"
        if isinstance(error, RuntimeError):  # it is a program, which the library does not run
            advice = "download its files of data, and give their folder"
        reason = " ".join(str(error).split())
        raise UserError(f"--source=hub:{hub.name}: {reason} ({advice})") from error
