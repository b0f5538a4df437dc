"""A phi-1 of 34M parameters for the GPU that Colab lends: a T4 (16 GB) or an L4 (24 GB).

Command:  python launch/train.py --config=configs/phi1_colab.py --output=runs/colab \\
            --source=code_textbook=runs/quickstart/shards_code_textbook:1 \\
            --source=code_exercises=runs/quickstart/shards_code_exercises:1 \\
            --tokenizer=runs/quickstart/tokenizer
          on the quickstart's data, or on shards of your own.
Hardware: 1 x L4; on a T4, which has no bfloat16, add --config.model.compute_dtype=float32.
Time:     6 minutes on an L4 and 2 hours on a T4, by launch/plan.py --machine=l4 and --machine=t4;
            870,000 tokens a second on an H200 (with 27M parameters), after 90 s of compiling.
Expected: with --config.model.vocab_size=2048, which the quickstart's tokenizer fills (27M
            parameters), after 709 steps on 40,000 exercises, 6 of HumanEval's 164 problems
            greedily, and 1.43 bits per byte of the solutions (docs/scale.md).

Departures from the paper as in configs/phi1_tiny.py: Muon, no dropout, a short context.
"""

from ml_collections import ConfigDict

from configs import phi1_tiny


def get_config() -> ConfigDict:
    config = phi1_tiny.get_config()
    config.model.vocab_size = 8192
    config.model.n_layers = 8
    config.model.d_model = 512
    config.model.d_mlp = 2048
    config.model.n_heads = 8
    config.model.rotary_dim = 32
    config.model.n_induction_heads = 0  # not yet tried at this size
    config.model.scan_unroll = 1
    config.optimizer.warmup_steps = 100
    config.data.seq_len = 512
    config.data.global_batch_size = 64
    config.data.validation_rows = 64
    config.eval_every_steps = 500
    config.micro_batch_size = 16
    config.checkpoint.every_steps = 500
    config.steps = 3_000
    return config
