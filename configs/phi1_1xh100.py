"""phi-1-base on one H100 or H200: the paper's batch and steps, accumulated on one device.

Command:  python launch/train.py --config=configs/phi1_1xh100.py --output=runs/phi1_base \\
            --source=code_textbook=runs/shards/code_textbook --tokenizer=runs/tokenizer
Hardware: 1 x H100 80 GB or H200 141 GB.
Time:     10 days to step 24,000 at the 59,000 tokens/s that an H200 took (benchmarks/README.md); a
  run a tenth as long has --config.steps=3600 and its own last checkpoint as the result.
Expected: as configs/phi1_base.py, from which it differs in dropout only: without it [ours; the
  paper has 0.1] attention runs in cuDNN's kernel, which keeps no scores in memory.
Then:     configs/phi1.py with the settings below as flags.
"""

from ml_collections import ConfigDict

from configs import phi1_base


def get_config() -> ConfigDict:
    config = phi1_base.get_config()
    config.model.attention_dropout = 0.0
    config.model.residual_dropout = 0.0
    config.mesh.fsdp = 1
    config.model.remat = "none"
    # A scan copies what its backward pass needs into stacks and out again: a tenth of the step.
    config.model.scan_unroll = 24
    config.checkpoint.every_steps = 100  # an hour
    config.micro_batch_size = 8  # 53 GB by the compiled program
    return config
