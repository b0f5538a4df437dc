"""phi-1-small before finetuning: 350M parameters on CodeTextbook (paper sections 2.3 and 3).

Command:  python launch/train.py --config=configs/phi1_small_base.py \\
            --output=runs/phi1_small_base --source=code_textbook=runs/shards/code_textbook \\
            --tokenizer=runs/tokenizer
Hardware: 8 x A100 80 GB.
Time:     1.1 days to step 24,000 and 1.6 in all, by launch/plan.py with half of the peak used.
Expected: the paper's 350M model reaches 20 % pass@1 on HumanEval after this stage (Figure 2.1).
Then:     configs/phi1_small.py.

The paper gives no hyperparameters for this size; they are phi-1-base's [ours].
"""

from ml_collections import ConfigDict

from configs import phi1_base


def get_config() -> ConfigDict:
    config = phi1_base.get_config()
    config.model.n_layers = 20
    config.model.d_model = 1024
    config.model.d_mlp = 4096
    config.model.n_heads = 16
    config.mesh.data = -1
    config.mesh.fsdp = 1
    config.micro_batch_size = 16
    return config
