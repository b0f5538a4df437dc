"""Embeds texts and corpora with a trained model, data-parallel over this process's devices."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from phi1_jax.config import MeshConfig, ModelConfig
from phi1_jax.corpus.arrays import is_whole, write_arrays
from phi1_jax.corpus.documents import Document, chunks
from phi1_jax.errors import UserError
from phi1_jax.interop.opened import OpenModel
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import batch_sharding, make_mesh, param_shardings, platform_of
from phi1_jax.quality.embeddings import Part, document_key, part_path, write_info
from phi1_jax.tokens.tokenizer import Tokenizer, check_texts

# Each length is a compiled program; documents shorter than the least are padded to it.
N_LENGTHS = 4
# Fields that change the speed of a model, not its vectors.
_SPEED = {
    *("compute_dtype", "attention", "remat", "scan_unroll", "max_seq_len"),
    *("attention_dropout", "residual_dropout"),
}

# vectors float32[n, d_model] and the number of tokens of each whole text int64[n]
Embedded = tuple[np.ndarray, np.ndarray]


class Embedder:
    """A model, its tokenizer, and one compiled program for each of a few lengths.

    Attributes:
      fingerprint: changes whenever the same text could get another vector (beyond rounding).
      width: numbers in a vector.
    """

    def __init__(
        self,
        config: ModelConfig,
        params: Any,
        tokenizer: Tokenizer,
        *,
        max_tokens: int | None = None,
        batch_tokens: int = 1 << 14,
        devices: list[jax.Device] | None = None,
    ) -> None:
        """Puts a copy of the weights on every device.

        Args:
          params: nested dict as in a checkpoint.
          max_tokens: only so many tokens of a document are looked at [ours: the paper does not
            say]; None is the model's context.
          batch_tokens: tokens that a device computes at once.
          devices: None is all of this process.
        Raises:
          UserError: more tokens than the model's context, or than a batch.
        """
        self.max_tokens = max_tokens or config.max_seq_len
        if not 1 <= self.max_tokens <= config.max_seq_len:
            raise UserError(
                f"--max_tokens={max_tokens}: the model's context is {config.max_seq_len} tokens"
            )
        if batch_tokens < self.max_tokens:
            raise UserError(f"--batch_tokens={batch_tokens}: at least {self.max_tokens}, one text")
        self.width = config.d_model
        self.tokenizer = tokenizer
        self.fingerprint = _fingerprint(config, params, tokenizer, self.max_tokens)
        mesh = make_mesh(MeshConfig(), devices or jax.local_devices())
        graph, abstract = Phi.skeleton(config, platform_of(mesh))
        self._params = jax.device_put(params, param_shardings(mesh, abstract))
        self._rows = batch_sharding(mesh)
        self._n_devices = mesh.size
        self._batch_tokens = batch_tokens
        lengths = {-(-self.max_tokens // 2**halvings) for halvings in range(N_LENGTHS)}
        self.lengths = sorted(lengths)

        @jax.jit
        def pooled(params: Any, tokens_bt: jax.Array, n_b: jax.Array) -> jax.Array:
            # Padding stands at the end, where causal attention keeps it out of the tokens before.
            hidden_btd = nnx.merge(graph, params).hidden(tokens_bt).astype(jnp.float32)
            mask_bt = jnp.arange(tokens_bt.shape[1]) < n_b[:, None]
            return (hidden_btd * mask_bt[..., None]).sum(1) / n_b[:, None]

        self._pooled = pooled

    @classmethod
    def from_checkpoint(
        cls, place: Path | str, step: int | None = None, **options: Any
    ) -> "Embedder":
        """Loads a run, RUN@STEP, or a Hugging Face folder.

        Args:
          step: of the run; None is the newest checkpoint.
          options: those of the constructor.

        Raises:
          UserError: no model or tokenizer there, no such step, or a damaged one.
        """
        opened = OpenModel(place, step)
        config, tokenizer = opened.config, opened.tokenizer
        return cls(config, opened.params(), tokenizer, **options)

    def embed(self, texts: Sequence[str]) -> Embedded:
        """The mean of the last hidden state over the first `max_tokens` tokens of each text."""
        return self.start(texts)()

    def unit_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32[n, d_model]: those of `embed`, each scaled to length 1."""
        vectors, _ = self.embed(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def start(self, texts: Sequence[str]) -> Callable[[], Embedded]:
        """Starts embedding and returns a function that waits for the result.

        So the next texts can be tokenized while the devices compute.
        """
        texts = texts if isinstance(texts, str) else list(texts)  # of an iterator, say
        check_texts(texts)
        rows = self.tokenizer.encode_batch(texts)
        n_tokens = np.array([len(row) for row in rows], np.int64)
        order = np.argsort(n_tokens, kind="stable")
        pending: list[tuple[np.ndarray, jax.Array]] = []
        # The last bucket takes everything that is longer, cut.
        ends = np.searchsorted(n_tokens[order], self.lengths[:-1], "right")
        for length, bucket in zip(self.lengths, np.split(order, ends), strict=True):
            size = self._batch_tokens // length * self._n_devices
            for first in range(0, len(bucket), size):
                chosen = bucket[first : first + size]
                pending.append((chosen, self._run([rows[i] for i in chosen], size, length)))

        def result() -> Embedded:
            vectors = np.empty((len(rows), self.width), np.float32)
            for chosen, vector_bd in pending:
                vectors[chosen] = np.asarray(vector_bd)[: len(chosen)]
            return vectors, n_tokens

        return result

    def _run(self, rows: Sequence[Sequence[int]], size: int, length: int) -> jax.Array:
        tokens_bt = np.full((size, length), self.tokenizer.eot_id, np.int32)
        n_b = np.ones(size, np.int32)  # an empty text is its end-of-text token
        for index, row in enumerate(rows):
            cut = row[:length]
            tokens_bt[index, : len(cut)] = cut
            n_b[index] = max(1, len(cut))
        return self._pooled(
            self._params,
            jax.device_put(tokens_bt, self._rows),
            jax.device_put(n_b, self._rows),
        )


def embed_corpus(
    documents: Iterable[Document],
    embedder: Embedder,
    output: Path,
    *,
    documents_per_part: int = 4096,
    shard: tuple[int, int] = (0, 1),
) -> dict[str, Any]:
    """Writes one part for each run of `documents_per_part` documents, as `embeddings` reads it.

    An interrupted run goes on with the first part missing.

    Args:
      shard: (i, n) takes each n-th part from the i-th on, so that n machines share a corpus.
    Returns:
      Counts, those of parts that an earlier run wrote included.
    Raises:
      UserError: no document.
    """
    index, n_shards = shard
    waiting: tuple[Path, list[Document], Callable[[], Embedded]] | None = None
    n_documents = n_here = 0

    def finish() -> None:
        if waiting is not None:
            path, batch, result = waiting
            vectors, n_tokens = result()
            keys = np.array([document_key(document) for document in batch], np.uint64)
            sizes = np.array([len(document.text.encode()) for document in batch], np.int64)
            write_arrays(path, Part(keys, vectors, n_tokens, sizes)._asdict())

    with tqdm(desc="embed", unit="doc", unit_scale=True) as progress:
        for number, batch in enumerate(chunks(documents, documents_per_part)):
            n_documents += len(batch)
            if number % n_shards != index:
                continue
            n_here += len(batch)
            path = part_path(output, number)
            if not is_whole(path, Part._fields):
                started = embedder.start([document.text for document in batch])
                finish()
                waiting = path, batch, started
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


def _fingerprint(config: ModelConfig, params: Any, tokenizer: Tokenizer, max_tokens: int) -> str:
    """Of the weights themselves: the same weights saved twice are the same embedder."""
    model = {name: value for name, value in asdict(config).items() if name not in _SPEED}
    digest = hashlib.sha256(json.dumps(model, sort_keys=True).encode())
    digest.update(f"{tokenizer.fingerprint}/{max_tokens}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()
