"""A minute's look at the ratios that must not get worse: ours by the baseline's, never seconds."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import decode, input, train
from benchmarks.report import Options, Row
from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.files import write_json

# Small models on a shared machine: a ratio doubles by chance, not more.
MARGIN = 2.5


def measure(config: RunConfig) -> Iterator[Row]:
    """Training step, decoding and input of a small model, beside the eager baseline."""
    model = dataclasses.replace(
        config.model, n_layers=2, d_model=128, d_mlp=512, n_heads=2, vocab_size=1024
    )
    data = dataclasses.replace(config.data, seq_len=128, global_batch_size=4)
    small = dataclasses.replace(config, model=model, data=data)
    # The stored ratios are to torch, also where llama.cpp happens to be installed.
    options = Options(baseline=True, calls=10, modes=("eager",), llama_cpp=False)
    yield from train.measure(small, options)
    yield from decode.measure(small, options, (1, 16), 32, 16)
    long = dataclasses.replace(data, seq_len=2048, global_batch_size=64)
    wide = dataclasses.replace(model, max_seq_len=2048)
    yield from input.measure(dataclasses.replace(config, model=wide, data=long), options)


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Case -> ratio, of the rows that have one."""
    return {row.case: round(row.ratio, 3) for row in rows if row.ratio is not None}


def store(path: Path, rows: Sequence[Row]) -> None:
    """Makes these ratios the ones to compare with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, ratios(rows))


def compare(path: Path, found: Mapping[str, float]) -> None:
    """Compares with the stored ratios.

    Raises:
      UserError: nothing is stored there, a stored case was not measured, or a ratio is more than
        `MARGIN` times the stored one; names them all.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"--against={path}: no stored ratios ({error}); make some with --store"
        ) from error
    problems = [f"{case} was not measured" for case in stored if case not in found]
    problems += [
        f"{case}: {found[case]:.3f} of the baseline's time, stored {ratio:.3f}"
        for case, ratio in stored.items()
        if case in found and found[case] > MARGIN * ratio
    ]
    if problems:
        raise UserError(f"slower than {MARGIN} times {path}: {'; '.join(problems)}")
