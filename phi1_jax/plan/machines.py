"""GPUs by name: what a plan assumes of each, and devices to compile for where there is none.

XLA compiles for a GPU that is not there from a description of it. That needs the extra `aot`
(`make plan-gpu`): jax's CUDA plugin, ptxas and libdevice, 0.7 GB, and neither a driver nor cuDNN.
"""

import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import jax
from jax.experimental import topologies

from phi1_jax.errors import UserError


@dataclass(frozen=True)
class Gpu:
    """One model of GPU. Memory and bandwidth are the vendor's; MFU is assumed."""

    name: str  # as the driver reports it
    hbm_gb: float  # 1e9 bytes
    gb_per_s: float  # of its memory
    link_gb_per_s: float  # to the other GPUs, one direction
    mfu: float  # PaLM's count; published for models of about this size: 0.5-0.6 A100, 0.4 H100
    cores: int  # streaming multiprocessors
    capability: tuple[int, int]
    clock_ghz: float
    l2_mb: int
    shared_kb: int  # shared memory of a multiprocessor

    @property
    def compute_dtype(self) -> Literal["float32", "bfloat16"]:
        """A T4 has no bfloat16."""
        return "bfloat16" if self.capability >= (8, 0) else "float32"


GPUS = {
    "a100_40gb": Gpu("NVIDIA A100-SXM4-40GB", 42.5, 1555, 300, 0.5, 108, (8, 0), 1.41, 40, 164),
    "a100": Gpu("NVIDIA A100-SXM4-80GB", 85.0, 2039, 300, 0.5, 108, (8, 0), 1.41, 40, 164),
    "h100": Gpu("NVIDIA H100 80GB HBM3", 84.9, 3352, 450, 0.4, 132, (9, 0), 1.98, 50, 228),
    "h200": Gpu("NVIDIA H200", 150.1, 4814, 450, 0.4, 132, (9, 0), 1.98, 60, 228),
    "l4": Gpu("NVIDIA L4", 24.1, 300, 32, 0.5, 58, (8, 9), 2.04, 48, 100),
    "t4": Gpu("Tesla T4", 15.8, 320, 16, 0.3, 40, (7, 5), 1.59, 4, 64),
    "rtx4090": Gpu("NVIDIA GeForce RTX 4090", 25.4, 1008, 32, 0.5, 128, (8, 9), 2.52, 72, 100),
}
# The cuDNN that a GPU machine is taken to have: JAX asks for the version, and nothing here runs.
_CUDNN = 91_000
_PLUGINS = ("jax-cuda13-plugin", "jax-cuda13-pjrt", "nvidia-cuda-nvcc", "nvidia-nvvm")


def this_machine() -> tuple[str, int] | None:
    """The name in `GPUS` and the number of this machine's GPUs; None where it has none of them."""
    if not shutil.which("nvidia-smi"):
        return None
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")
    for key, gpu in GPUS.items():
        if count := sum(name.strip() == gpu.name for name in found):
            return key, count
    return None


def missing_plugins() -> list[str]:
    """What the compiler for GPUs lacks here; empty if it can run."""
    return [name for name in _PLUGINS if not list(metadata.distributions(name=name))]


def gpu_devices(gpu: Gpu, n: int) -> list[jax.Device]:
    """Devices of one host that programs can be compiled for, and that run nothing.

    Raises:
      UserError: the compiler for GPUs is not installed, or not for this version of JAX.
    """
    if missing := missing_plugins():
        raise UserError(
            f"compiling for a GPU needs {', '.join(missing)}: run `make plan-gpu`, or plan by"
            " shapes with --nocompile"
        )
    try:
        topology = topologies.get_topology_desc(
            platform="cuda", target_config=_description(gpu), topology=f"1x1x{n}"
        )
    except Exception as error:  # the plugin's errors have no common type
        raise UserError(
            f"jax {jax.__version__} cannot compile for {gpu.name} with jax-cuda13-plugin"
            f" {metadata.version(_PLUGINS[0])}: {error}; install the plugin of jax's own version"
        ) from error
    _assume_cudnn()
    return list(topology.devices)


def _assume_cudnn() -> None:
    """Lets JAX lower cuDNN's attention without cuDNN's wheel of 0.9 GB.

    JAX has no public way to say which cuDNN the target has.
    """
    from jax._src.cudnn import fused_attention_stablehlo as attention

    try:
        attention.check_cudnn_version()
    except RuntimeError:
        attention.check_cudnn_version = lambda: _CUDNN


def _description(gpu: Gpu) -> str:
    """XLA's `GpuTargetConfigProto` in text form."""
    major, minor = gpu.capability
    accelerated = "feature_extension: ACCELERATED_FEATURES" if major >= 9 else ""
    threads = {(7, 5): 1024, (8, 9): 1536}.get(gpu.capability, 2048)
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {gpu.shared_kb * 1024}
  shared_memory_per_block_optin: {(gpu.shared_kb - (major > 7)) * 1024}
  threads_per_core_limit: {threads}
  core_count: {gpu.cores}
  fpus_per_core: {128 if (major, minor) >= (8, 9) else 64}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {gpu.gb_per_s * 10**9:.0f}
  l2_cache_size: {gpu.l2_mb * 2**20}
  clock_rate_ghz: {gpu.clock_ghz}
  device_memory_size: {gpu.hbm_gb * 10**9:.0f}
  cuda_compute_capability {{ major: {major} minor: {minor} {accelerated} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{gpu.name}"
"""
