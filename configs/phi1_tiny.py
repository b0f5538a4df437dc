"""A phi-1 of about 1M parameters that shows the paper's effect on a laptop's CPU.

Command:  make quickstart, which trains it on raw code, on CodeTextbook, and from the latter on
            CodeExercises; or one run, as for the larger models:
          python launch/train.py --config=configs/phi1_tiny.py --output=runs/tiny \\
            --source=code=runs/quickstart/shards_raw_code --tokenizer=runs/quickstart/tokenizer
Hardware: 2 CPU cores.
Expected: the figure in README.md; `make quickstart` prints the table.

Departures from the paper, for the sake of minutes instead of days: Muon, no dropout, short rows
that start with a document, 30 % CodeTextbook in the finetuning mixture ("replay"), and heads that
can copy from the start.
"""

from ml_collections import ConfigDict

from configs import phi1_base


def get_config() -> ConfigDict:
    config = phi1_base.get_config()
    config.model.vocab_size = 2048
    config.model.n_layers = 3
    config.model.d_model = 128
    config.model.d_mlp = 512
    config.model.n_heads = 4
    config.model.rotary_dim = 16
    config.model.max_seq_len = 512
    config.model.n_induction_heads = 2  # they would not appear in so few tokens
    config.model.attention_dropout = 0.0
    config.model.residual_dropout = 0.0
    config.model.compute_dtype = "auto"
    config.model.remat = "none"
    config.model.scan_unroll = 3  # 70 ms a step against 75, on 2 cores
    config.optimizer.name = "muon"
    config.optimizer.peak_learning_rate = 0.012
    config.optimizer.adam_learning_rate = 3e-3
    # Muon's steps have a fixed size: without decay the pretrained weights grow, and finetuning,
    # which starts from them, learns more slowly than from scratch.
    config.optimizer.weight_decay = 0.1
    config.optimizer.warmup_steps = 20
    config.data.seq_len = 256  # nine prompts of ten in HumanEval and MBPP are longer than 128
    # In so few steps their number counts: 8 rows reach no better scores with a third more tokens.
    config.data.global_batch_size = 4
    config.data.loss_on = "all"
    config.data.packing = "documents"
    config.data.validation_rows = 0  # every row counts in so small a corpus
    config.eval_every_steps = 0
    config.mesh.data = -1
    config.mesh.fsdp = 1
    # What is kept of two rows stays in a core's cache: a step of figure21's 8 rows takes 166 ms in
    # place of 200.
    config.micro_batch_size = 2
    config.checkpoint.every_steps = 250
    config.checkpoint.keep_steps = (0,)  # the untrained model
    config.steps = 500
    return config
