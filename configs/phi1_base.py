"""phi-1-base: 1.3B parameters, pretrained on CodeTextbook (paper sections 2.1 and 2.3).

Command:  python launch/train.py --config=configs/phi1_base.py --output=runs/phi1_base \\
            --source=code_textbook=runs/shards/code_textbook --tokenizer=runs/tokenizer
          or launch/train_8gpu.sh, or launch/slurm/train.sbatch, with the same arguments.
Hardware: 8 x A100 80 GB.
Time:     4.2 days to step 24,000 and 6.4 in all, by launch/plan.py with half of the peak used; the
  paper took under 4 days (770 A100-hours).
Expected: the checkpoint at step 24,000 is phi-1-base; the paper reports 29 % pass@1 on HumanEval.

Every field of a run stands here; the other configs change what differs. Fields that the paper
leaves open are marked [ours].
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "model": {
                "vocab_size": 51_200,  # CodeGen's 50,295 pieces, padded
                "n_layers": 24,
                "d_model": 2048,
                "d_mlp": 8192,
                "n_heads": 32,
                "rotary_dim": 32,
                "max_seq_len": 2048,
                "attention_dropout": 0.1,
                "residual_dropout": 0.1,
                "rope_theta": 10_000.0,
                "layer_norm_eps": 1e-5,
                "init_std": 0.02,
                "n_induction_heads": 0,
                "compute_dtype": "bfloat16",  # [ours]; the paper used fp16
                "attention": "auto",
                "remat": "dots",
                "scan_unroll": 1,
            },
            "optimizer": {
                "name": "adamw",
                "peak_learning_rate": 1e-3,
                "warmup_steps": 750,
                "schedule_start": 0,  # the first step of an extension, to warm up anew
                "final_learning_rate": 0.0,  # [ours]
                "adam_learning_rate": 1e-3,  # read by muon only
                "weight_decay": 0.1,
                "b1": 0.9,  # [ours]
                "b2": 0.95,  # [ours]
                "eps": 1e-8,  # [ours]
                "clip_norm": 1.0,  # [ours]
            },
            "data": {
                "sources": [],  # --source=NAME=SHARDS
                "tokenizer": "",  # --tokenizer=DIR
                "seq_len": 2048,
                "global_batch_size": 1024,
                "loss_on": "all",  # [ours]
                "packing": "stream",
                "validation_rows": 128,  # of each source, for validation/... [ours]
                "max_rows_without_target": 0.5,  # above: refused [ours]
            },
            # Mesh, micro-batch and remat change speed and memory only. They fit 80 GB by
            # launch/plan.py, with room to spare; not yet measured on GPUs.
            "mesh": {"data": 1, "fsdp": -1, "tensor": 1},
            "checkpoint": {
                "every_steps": 250,  # an hour of 8 A100
                "keep_last": 2,
                "keep_every_steps": 0,
                "keep_steps": (24_000,),
                "best_metric": "",  # a curve's name, such as validation/loss
                "best_mode": "",  # min or max, for a curve that is not a loss
                "keep_best": 1,
                "retries": 0,
            },
            "skip_step": {"window": 64, "gradient_norm_factor": 10.0, "loss_rise": 2.0},  # [ours]
            "steps": 36_000,
            "micro_batch_size": 8,
            "loss_chunks": 1,
            "seed": 0,
            "init_from": "",
            "log_every_steps": 10,
            "eval_every_steps": 1000,
            "max_skipped_steps": 20,
            "peak_tflops": 0.0,
        }
    )
