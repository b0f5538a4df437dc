"""phi-1-small: the 350M model finetuned on CodeExercises (paper sections 2.2, 2.3 and 3).

Command:  python launch/train.py --config=configs/phi1_small.py --output=runs/phi1_small \\
            --source=code_exercises=runs/shards/code_exercises --tokenizer=runs/tokenizer
          It starts from runs/phi1_small_base; --config.init_from=RUN@STEP names another run.
Hardware: 8 x A100 80 GB.
Time:     1.6 hours, by launch/plan.py with half of the peak used.
Expected: 45 % pass@1 on HumanEval in the paper.

The recipe is phi-1's [ours: the paper gives none for this size].
"""

from ml_collections import ConfigDict

from configs import phi1, phi1_small_base


def get_config() -> ConfigDict:
    small = phi1_small_base.get_config()
    config = phi1.get_config()
    config.model = small.model
    config.mesh = small.mesh
    config.micro_batch_size = small.micro_batch_size
    config.init_from = "runs/phi1_small_base@24000"
    return config
