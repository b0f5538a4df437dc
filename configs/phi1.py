"""phi-1: phi-1-base finetuned on CodeExercises (paper sections 2.2 and 2.3).

Command:  python launch/train.py --config=configs/phi1.py --output=runs/phi1 \\
            --config.init_from=runs/phi1_base --tokenizer=runs/tokenizer \\
            --source=code_exercises=runs/shards/code_exercises
Hardware: 8 x A100 80 GB; the paper took 7 hours for it.
Expected: 50.6 % pass@1 on HumanEval and 55.5 % on MBPP in the paper, with the best of the six
  checkpoints, all of which are kept; how the best is chosen is left open there.
"""

from ml_collections import ConfigDict

from configs import phi1_base


def get_config() -> ConfigDict:
    config = phi1_base.get_config()
    config.init_from = "runs/phi1_base"
    config.steps = 6_000
    config.data.global_batch_size = 256
    config.optimizer.peak_learning_rate = 1e-4
    config.optimizer.adam_learning_rate = 1e-4
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.01
    config.checkpoint.keep_every_steps = 1_000
    return config
