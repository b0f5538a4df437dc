"""What a run needs and costs, before anyone pays for it: memory, time, money, collectives.

Example:
  python launch/plan.py --config=configs/phi1_base.py --devices=8 --hbm_gb=80 --peak_tflops=312 \\
      --mfu=0.5 --usd_per_gpu_hour=2

Needs no GPU: the step is compiled at full size from shapes for --devices fake CPU devices, which
takes about a minute and 1 GB of memory for 1.3B parameters; --nocompile skips it.
  python launch/plan.py --config=configs/phi1_base.py --collectives
compares the meshes: what travels between the devices in one step, and what it does to its time.
"""

import dataclasses
import json
import math
import os
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from phi1_jax.cli import script
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=value.")
DEVICES = flags.DEFINE_integer("devices", 8, "How many GPUs.", lower_bound=1)
MACHINE = flags.DEFINE_enum("machine", "A100", ("A100", "H100"), "Its rates, but for those given.")
HBM_GB = flags.DEFINE_float("hbm_gb", None, "Memory of one, in 1e9 bytes.", lower_bound=1)
PEAK_TFLOPS = flags.DEFINE_float("peak_tflops", None, "Dense bf16 peak of one.", lower_bound=1e-3)
MFU = flags.DEFINE_float("mfu", None, "Assumed use of the peak, in PaLM's count.", 1e-6, 1)
LINK_GB_PER_S = flags.DEFINE_float(
    "link_gb_per_s", None, "To the other GPUs, one direction: 300 for an A100's NVLink.", 1e-3
)
USD = flags.DEFINE_float("usd_per_gpu_hour", None, "Price of one; without it no cost.", 0)
COMPILE = flags.DEFINE_bool("compile", True, "Compile the step for memory and collectives.")
COLLECTIVES = flags.DEFINE_bool("collectives", False, "Compare the meshes instead.")
JSON = flags.DEFINE_bool("json", False, "Print JSON instead of tables.")


def main(argv: Sequence[str]) -> None:
    del argv
    config = from_dict(RunConfig, script.load_config(CONFIG))
    if COLLECTIVES.value:
        for flag in (HBM_GB, USD):
            if flag.value is not None:
                raise UserError(f"--{flag.name} changes nothing with --collectives; leave it out")
    else:
        check_devices(config)
    # Before JAX starts: as many CPU devices as there will be GPUs; they run nothing.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES.value}"
    )
    script.start_jax()
    from phi1_jax.plan import report

    rates = (HBM_GB, PEAK_TFLOPS, MFU, LINK_GB_PER_S, USD)
    given = {flag.name: flag.value for flag in rates if flag.value is not None}
    machine = dataclasses.replace(report.MACHINES[MACHINE.value], devices=DEVICES.value, **given)
    if config.model.compute_dtype == "auto":  # what it is on a GPU
        model = dataclasses.replace(config.model, compute_dtype="bfloat16")
        config = dataclasses.replace(config, model=model)
    if COLLECTIVES.value:
        from phi1_jax.plan.compare import compare, comparison_text

        machines = {
            f"{DEVICES.value} x {name}": dataclasses.replace(rented, devices=DEVICES.value)
            for name, rented in report.MACHINES.items()
        }
        if given:
            machines[f"{DEVICES.value} as given"] = machine
        result = compare(config, machines)
        text = comparison_text
    else:
        from configs import phi1
        from phi1_jax.plan.one_run import plan, plan_text

        finetune = from_dict(RunConfig, phi1.get_config().to_dict())
        result = plan(config, finetune, machine, compiling=COMPILE.value)
        text = plan_text
    print(json.dumps(result, indent=1) if JSON.value else text(result))


def check_devices(config: RunConfig) -> None:
    sizes = dataclasses.astuple(config.mesh)
    if -1 not in sizes and math.prod(sizes) != DEVICES.value:
        raise UserError(
            f"config field mesh={'x'.join(map(str, sizes))} is not for --devices={DEVICES.value};"
            f" give --devices={math.prod(sizes)}, or another mesh"
        )


if __name__ == "__main__":
    script.run(main)
