"""What a run needs and costs, before anyone pays for it: memory, time, money, collectives.

Examples:
  python launch/plan.py --config=configs/phi1_base.py --machine=h100 --devices=8 \\
      --usd_per_gpu_hour=2
  python launch/plan.py --config=configs/phi1_colab.py --machine=t4

Without --machine it plans for this machine's GPUs; with it no GPU is needed. Where `make plan-gpu`
has installed the compiler for GPUs, the step is compiled for the one named (1 to 2 minutes and
1.2 GB for 1.3B parameters on 8); otherwise, and with --nocompile, memory is counted from shapes.
"""

import dataclasses
import json
import math
import os

import _environment
from absl import flags
from ml_collections import config_flags

from phi1_jax.cli import script
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=value.")
MACHINE = flags.DEFINE_string("machine", None, "a100_40gb, a100, h100, h200, l4, t4 or rtx4090.")
DEVICES = flags.DEFINE_integer("devices", None, "How many GPUs.", lower_bound=1)
USD = flags.DEFINE_float("usd_per_gpu_hour", 0.0, "Price of one; without it no cost.", 0)
COMPILE = flags.DEFINE_bool("compile", None, "Compile the step for the GPU (default: if possible).")
JSON = flags.DEFINE_bool("json", False, "Print JSON instead of tables.")
MAX_DEVICES = 4096  # each is threads of the stand-in: 15 s to start so many, and 100 s for 16,384


def main() -> None:
    config = from_dict(RunConfig, script.load_config(CONFIG))
    # Nothing runs: by shapes, fake CPU devices stand in for the GPUs; no machine has more than 16.
    os.environ["JAX_PLATFORMS"] = "cpu"
    wanted = DEVICES.value or math.prod(n for n in dataclasses.astuple(config.mesh) if n > 0)
    if wanted > MAX_DEVICES:
        raise UserError(
            f"{wanted:,} devices: a plan is for at most {MAX_DEVICES:,}; lower --devices or the"
            " config's mesh"
        )
    fakes = f"--xla_force_host_platform_device_count={max(wanted, 16)}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fakes}"
    # A program for another machine can be stored in the cache, and not be read from it.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    script.start_jax()
    from configs import phi1
    from phi1_jax.plan.machines import GPUS, missing_plugins, this_machine
    from phi1_jax.plan.report import Machine, plan, plan_text

    name, devices = MACHINE.value, DEVICES.value or 1
    if name is None:
        found = this_machine()
        if found is None:
            raise UserError(
                f"--machine is missing, and this machine has no GPU of {', '.join(GPUS)}: name one,"
                " with --devices=8, say"
            )
        name, devices = found[0], DEVICES.value or found[1]
    if name not in GPUS:
        raise UserError(f"--machine={name} must be one of {', '.join(GPUS)}")
    compiling = not missing_plugins() if COMPILE.value is None else COMPILE.value
    finetune = from_dict(RunConfig, phi1.get_config().to_dict())
    machine = Machine(GPUS[name], devices, USD.value)
    result = plan(config, finetune, machine, compiling=compiling)
    print(json.dumps(result, indent=1) if JSON.value else plan_text(result))


if __name__ == "__main__":
    script.run(main)
