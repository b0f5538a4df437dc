"""The device mesh, and which logical axis lies along which mesh axis.

Parameters carry logical axis names (`model/phi.py`); this file alone maps them to devices:
`data` replicates parameters, `fsdp` splits them and their optimizer state, `tensor` splits the
matmuls themselves. A batch is split over `data` and `fsdp`.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from phi1_jax.config import MeshConfig
from phi1_jax.errors import UserError

RULES: dict[str | None, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "embed": "fsdp",
    "heads": "tensor",
    "mlp": "tensor",
    "vocab": "tensor",
    # Rows of the embedding: as much split as the other matrices, but along one dimension only; a
    # table split along both is rematerialized whole.
    "pieces": ("tensor", "fsdp"),
    "norm": None,
    None: None,
}
BATCH = PartitionSpec(RULES["batch"])


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """Arranges the devices as data x fsdp x tensor; -1 takes all that are left.

    Raises:
      UserError: the sizes do not multiply to the number of devices.
    """
    devices = devices or jax.devices()
    sizes = [config.data, config.fsdp, config.tensor]
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and len(devices) % known == 0:
        sizes[sizes.index(-1)] = len(devices) // known
    if math.prod(sizes) != len(devices):
        raise UserError(
            f"config field mesh={config.data}x{config.fsdp}x{config.tensor} (data x fsdp x tensor)"
            f" does not use all {len(devices)} devices; make the product {len(devices)}"
        )
    return jax.make_mesh(
        tuple(sizes), ("data", "fsdp", "tensor"), (AxisType.Auto,) * 3, devices=devices
    )


def param_shardings(mesh: Mesh, state: Any) -> Any:
    """The sharding of every parameter, as a plain nested dict like `nnx.to_pure_dict(state)`.

    Args:
      state: the `nnx.State` of the model's `nnx.Param`s, real or from `nnx.eval_shape`.
    Raises:
      UserError: a mesh axis does not divide the dimension that lies along it.
    """
    from flax import nnx

    def place(path: tuple[Any, ...], param: Any) -> NamedSharding:
        names = param.get_metadata().get("out_sharding") or ()
        spec = PartitionSpec(*(RULES[name] for name in names))
        sharding = NamedSharding(mesh, spec)
        for size, axes in zip(param.shape, spec, strict=False):
            axes = (axes,) if isinstance(axes, str) else axes or ()
            if size % math.prod(mesh.shape[axis] for axis in axes):
                where = "/".join(map(str, path))
                raise UserError(
                    f"mesh {' x '.join(f'{axis}={mesh.shape[axis]}' for axis in axes)} does not"
                    f" divide a dimension of {size} in {where}; choose a size that does"
                )
        return sharding

    flat = {path: place(path, param) for path, param in nnx.to_flat_state(state)}
    return nnx.to_pure_dict(nnx.from_flat_state(flat))


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Says along which mesh axes an activation lies, by logical axis names.

    Left to itself the compiler may follow the parameters instead: under FSDP it then computes the
    whole batch on every device. Outside `activations_on` nothing happens.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    spec = PartitionSpec(*(RULES[name] for name in names))
    return jax.lax.with_sharding_constraint(x, spec)


def per_device(f: Callable[..., Any]) -> Callable[..., Any]:
    """f on each device's rows and heads of arrays [b, ?, h, ?], for what XLA cannot cut itself.

    Outside `activations_on` it is f.

    Raises:
      UserError: when it is called, if the mesh does not divide the heads.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return f
    spec = PartitionSpec(RULES["batch"], None, "tensor", None)
    on_each = jax.shard_map(f, in_specs=spec, out_specs=spec, check_vma=False)

    def checked(*args: jax.Array) -> Any:
        heads, tensor = args[0].shape[2], mesh.shape["tensor"]
        if heads % tensor:
            raise UserError(
                f"config field mesh.tensor={tensor} does not divide model.n_heads={heads}, which"
                " flash attention needs; choose a divisor, or model.attention=xla"
            )
        return on_each(*args)

    return checked


def activations_on(mesh: Mesh) -> AbstractContextManager[Any]:
    """Within it, as a program is traced, `constrain` takes effect."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over the data-parallel axes; the other dimensions whole."""
    return NamedSharding(mesh, BATCH)


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def mesh_of(params: Any) -> Mesh | None:
    """The mesh that the parameters lie on; None on a single device."""
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    if isinstance(sharding, NamedSharding) and sharding.mesh.size > 1:
        return sharding.mesh  # type: ignore[return-value]
    return None


def platform_of(place: Any) -> str:
    """ "cpu", "gpu" or another platform: of a mesh, or of the devices that arrays lie on.

    Arrays of NumPy will go to JAX's default device.
    """
    if isinstance(place, Mesh):
        return place.devices.flat[0].platform
    sharding = getattr(jax.tree.leaves(place)[0], "sharding", None)
    return next(iter(sharding.device_set)).platform if sharding else jax.default_backend()
