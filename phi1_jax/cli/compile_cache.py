"""JAX's cache of compiled programs, with a SHA-256 on each entry.

JAX checks nothing when it reads one: a flipped bit in its zstd frame is run as machine code. Seen
here: an illegal instruction; a wrong result would be silent. With the hash, JAX warns that the
entry cannot be read, and compiles. Such an entry stays there: JAX never overwrites one.

There is no public way: JAX's options choose the folder, sizes and times, and its cache class is as
private as these functions. To hash the files at the start would read gigabytes that a run may not
need, and trust those that an interrupted run left without a hash.
"""

import hashlib
from pathlib import Path

import jax
from jax._src import compilation_cache  # the only place where an entry's bytes pass through

_DIGEST_BYTES = 32


def use_compile_cache(folder: Path) -> None:
    """Keeps programs that took longer than 0.2 s to compile in `folder`/checked.

    A JAX that has no such functions any more has its own cache instead, without the hashes.
    """
    compress = getattr(compilation_cache, "compress_executable", None)
    decompress = getattr(compilation_cache, "decompress_executable", None)
    name = "checked" if compress and decompress else "unchecked"
    if compress and decompress and not hasattr(compress, "checked"):

        def with_digest(executable: bytes) -> bytes:
            entry = compress(executable)
            return entry + hashlib.sha256(entry).digest()

        def without_digest(executable: bytes) -> bytes:
            entry, digest = executable[:-_DIGEST_BYTES], executable[-_DIGEST_BYTES:]
            if hashlib.sha256(entry).digest() != digest:
                raise ValueError(f"its SHA-256 differs; delete it, or all of {folder}")
            return decompress(entry)

        with_digest.checked = True  # type: ignore[attr-defined]
        compilation_cache.compress_executable = with_digest
        compilation_cache.decompress_executable = without_digest
    # A folder apart: entries of plain JAX have no hash.
    jax.config.update("jax_compilation_cache_dir", str(folder / name))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
