"""phi-1-small: 350M parameters, pretrained on CodeTextbook (paper sections 2.3 and 3).

Command:  python launch/train.py --config=configs/phi1_small.py --output=runs/phi1_small \\
            --source=code_textbook=runs/shards/code_textbook --tokenizer=runs/tokenizer
Hardware: 8 x A100 80 GB; by the count of operations about a day at the paper's rate of use.
Expected: the paper's 350M model reaches 20 % pass@1 on HumanEval after this stage, and 45 % after
  finetuning with configs/phi1.py's optimizer (phi-1-small).

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
