"""Embeds a corpus into part files; an interrupted run goes on with the first part missing."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from phi1_jax.corpus.arrays import is_whole
from phi1_jax.corpus.documents import Document, chunks
from phi1_jax.errors import UserError
from phi1_jax.quality.embedder import Embedded, Embedder
from phi1_jax.quality.embeddings import Part, document_key, part_path, write_info, write_part


def embed_corpus(
    documents: Iterable[Document],
    embedder: Embedder,
    output: Path,
    *,
    documents_per_part: int = 4096,
    shard: tuple[int, int] = (0, 1),
) -> dict[str, Any]:
    """Writes one part for each run of `documents_per_part` documents.

    Args:
      shard: (i, n) takes each n-th part from the i-th on, so that n machines share a corpus.
    Returns:
      Counts, those of parts that an earlier run wrote included.
    Raises:
      UserError: no document.
    """
    index, n_shards = shard
    waiting: tuple[int, list[Document], Callable[[], Embedded]] | None = None
    n_documents = n_here = 0

    def finish() -> None:
        if waiting is not None:
            number, batch, result = waiting
            vectors, n_tokens = result()
            keys = np.array([document_key(document) for document in batch], np.uint64)
            sizes = np.array([len(document.text.encode()) for document in batch], np.int64)
            write_part(output, number, Part(keys, vectors, n_tokens, sizes))

    with tqdm(desc="embed", unit="doc", unit_scale=True) as progress:
        for number, batch in enumerate(chunks(documents, documents_per_part)):
            n_documents += len(batch)
            if number % n_shards != index:
                continue
            n_here += len(batch)
            if not is_whole(part_path(output, number), Part._fields):
                started = embedder.start([document.text for document in batch])
                finish()
                waiting = number, batch, started
            progress.update(len(batch))
    finish()
    if not n_documents:
        raise UserError("--corpus: yields no document to embed")
    write_info(output, embedder.fingerprint, width=embedder.width, max_tokens=embedder.max_tokens)
    return {
        "in": {"documents": n_documents},
        "out": {"vectors": n_here, "width": embedder.width},
        "embedder": embedder.fingerprint,
    }
