"""The size at which this project's speed is compared with torch's on a CPU; not a recipe.

Command:  python launch/benchmark.py all --config=configs/bench_cpu.py --baseline=torch \\
            --problems=HumanEval.jsonl.gz
Hardware: 2 CPU cores.
Expected: benchmarks/README.md.
"""

from ml_collections import ConfigDict

from configs import phi1_base


def get_config() -> ConfigDict:
    config = phi1_base.get_config()
    config.model.vocab_size = 8192
    config.model.n_layers = 8
    config.model.d_model = 512
    config.model.d_mlp = 2048
    config.model.n_heads = 8
    config.model.max_seq_len = 512
    config.model.attention_dropout = 0.0
    config.model.residual_dropout = 0.0
    config.model.compute_dtype = "float32"
    config.model.remat = "none"
    config.model.scan_unroll = 8  # 0.92 of the time of a scan on 2 cores
    config.data.seq_len = 512
    config.data.global_batch_size = 4
    config.data.validation_rows = 0
    config.eval_every_steps = 0
    config.mesh.data = -1
    config.mesh.fsdp = 1
    config.micro_batch_size = 0
    return config
