"""Whether a step can be restored: hashes prove its bytes, not that Orbax finds its arrays."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

_LIMIT_BYTES = 1 << 26  # the largest array whose values are compared


def describe(params: Any, **others: Any) -> dict[str, Any]:
    """What a save of these trees of arrays must give back; call it while the arrays are alive.

    Returns:
      arrays: item.path -> [dtype, *shape] of every array.
      sample: the path of one small array of `params`, a slice of it that this process has (start
        and end on each axis), and the SHA-256 of its values. One that is not constant, if there is
        one: data that is lost is read as zeros.
    """
    sample: list[Any] = []
    leaves = ocp.tree.to_flat_dict(params)
    for path in sorted(leaves, key=lambda path: leaves[path].nbytes):
        leaf = leaves[path]
        if sample and leaf.nbytes > _LIMIT_BYTES:
            break
        shards = leaf.addressable_shards if isinstance(leaf, jax.Array) else ()
        index = shards[0].index if shards else (slice(None),) * leaf.ndim
        values = np.asarray(shards[0].data if shards else leaf)
        ends = [part.indices(n)[:2] for part, n in zip(index, leaf.shape, strict=True)]
        sample = [list(map(str, path)), ends, _digest(values)]
        if (values != values.flat[0]).any():
            break
    return {"arrays": _kinds({"params": params, **others}), "sample": sample}


def not_restorable(folder: Path, saved: dict[str, Any]) -> str:
    """What a restore of a step's folder would miss, in words; empty if nothing.

    Reads what Orbax knows of each array, and the values of one.

    Args:
      saved: what `describe` said when the step was saved.
    """
    try:
        handler = ocp.PyTreeCheckpointHandler()
        items = {name.split(".")[0] for name in saved["arrays"]}
        trees = {item: handler.metadata(folder / item).tree for item in sorted(items)}
        found = _kinds(trees)
        for name in sorted(saved["arrays"].keys() | found.keys()):
            if saved["arrays"].get(name) != found.get(name):
                return f"array {name} is {found.get(name)}, not {saved['arrays'].get(name)}"
        path, ends, digest = saved["sample"]
        target: Any = ocp.tree.to_flat_dict(trees["params"])[tuple(path)]
        for key in reversed(path):
            target = {key: target}
        kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
        args = ocp.args.PyTreeRestore(item=target, restore_args=kinds, partial_restore=True)
        values = handler.restore(folder / "params", args=args)
        for key in path:
            values = values[key]
        if _digest(values[tuple(slice(*end) for end in ends)]) != digest:
            return f"array params.{'.'.join(path)} has other values"
    except Exception as error:  # any error of Orbax here would stop a restore
        return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    return ""


def _kinds(trees: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        ".".join((item, *map(str, path))): [str(np.dtype(leaf.dtype)), *leaf.shape]
        for item, tree in trees.items()
        for path, leaf in ocp.tree.to_flat_dict(tree).items()
    }


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
