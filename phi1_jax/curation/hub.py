"""Rows of Hugging Face data sets, streamed; `datasets` is needed here alone."""

from collections.abc import Iterator
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


def stream_rows(hub: Hub, part: int = 0, n_parts: int = 1) -> Iterator[dict[str, Any]]:
    """Yields the rows of one part, without a download of the whole.

    Parts are whole files where their number divides the number of files, else every n-th row.

    Raises:
      UserError: no `datasets`, no such data set, or no access to it.
    """
    try:
        import datasets
        from datasets.distributed import split_dataset_by_node
    except ImportError as error:
        raise UserError("--source=hub:... needs `pip install phi1_jax[hub]`") from error
    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(
            hub.name,
            hub.subset or None,
            data_dir=hub.data_dir or None,
            split=hub.split,
            streaming=True,
        )
        yield from split_dataset_by_node(rows, part, n_parts)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--source=hub:{hub.name}: {reason} (a gated data set wants its terms accepted on its "
            "page, and `hf auth login`)"
        ) from error
