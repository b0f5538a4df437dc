"""Every setting of a run as frozen dataclasses, and all checks on them.

Launch scripts turn an ml-collections config into a `RunConfig` with `config_dict.from_dict`;
nothing past that point sees a ConfigDict. Fields marked [ours] are choices that the paper leaves
open.
"""

import math
from dataclasses import astuple, dataclass, field
from typing import Literal, NoReturn

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.errors import UserError

# Share of a GPU's memory that JAX takes for arrays, and that plans count on; the rest is for CUDA,
# its kernels and NCCL.
USABLE_MEMORY = 0.92


@dataclass(frozen=True)
class ModelConfig:
    """The transformer of section 2.3. Defaults are phi-1's, 1.3B."""

    vocab_size: int = bounded(51_200, ge=1)  # rows of the embedding: CodeGen's 50,295, padded
    n_layers: int = bounded(24, ge=1)
    d_model: int = bounded(2048, ge=1)
    d_mlp: int = bounded(8192, ge=1)
    n_heads: int = bounded(32, ge=1)
    rotary_dim: int = bounded(32, ge=1)  # leading dimensions of each head that rotate
    max_seq_len: int = bounded(2048, ge=1)  # context in tokens
    attention_dropout: float = bounded(0.1, ge=0, lt=1)  # on attention weights
    residual_dropout: float = bounded(0.1, ge=0, lt=1)  # on the outputs of attention and MLP
    rope_theta: float = bounded(10_000.0, gt=0, lt=math.inf)
    layer_norm_eps: float = bounded(1e-5, gt=0, lt=math.inf)
    init_std: float = bounded(0.02, gt=0, lt=math.inf)
    # Heads of each of the first two layers that begin as a circuit that copies (model/induction.py)
    # [ours].
    n_induction_heads: int = 0
    # bfloat16 [ours: the paper used fp16]; auto is bfloat16 on accelerators, float32 on CPU.
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    # auto is, on a GPU in bfloat16, cudnn; with dropout on attention, which cudnn has not, flash
    # (model/flash.py); else xla.
    attention: Literal["auto", "xla", "cudnn", "flash"] = "auto"
    # What the backward pass recomputes: nothing, all but the matmul results, or whole blocks.
    remat: Literal["none", "dots", "full"] = "none"
    scan_unroll: int = bounded(1, ge=1)  # blocks per iteration of the compiled loop over layers

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers for dropout."""
        return self.attention_dropout > 0 or self.residual_dropout > 0

    def __post_init__(self) -> None:
        check_bounds(self, "config field model.")
        name, width, n = self.attention, self.d_head, self.n_induction_heads
        if self.d_model % self.n_heads:
            _refuse(f"model.d_model={self.d_model}", f"a multiple of model.n_heads={self.n_heads}")
        if self.rotary_dim % 2 or self.rotary_dim > width:
            _refuse(f"model.rotary_dim={self.rotary_dim}", f"even, at most the head width {width}")
        room = self.n_layers >= 2 and self.rotary_dim < width
        if n and not (room and 0 < n <= self.n_heads // 2):
            _refuse(
                f"model.n_induction_heads={n}",
                f"0, or from 1 to half of model.n_heads={self.n_heads} with at least two layers"
                f" (model.n_layers={self.n_layers}) and model.rotary_dim={self.rotary_dim} below"
                f" the head width {width}",
            )
        for wrong, expected in (
            (name == "cudnn" and (width % 8 != 0 or width > 128),
             f"xla: cudnn needs a head width that 8 divides, at most 128, not {width}"),
            (name == "flash" and width not in (16, 32, 64, 128),
             f"xla: flash needs a head width of 16, 32, 64 or 128, not {width}"),
            (name in ("cudnn", "flash") and self.compute_dtype == "float32",
             f"xla, or model.compute_dtype=bfloat16: {name} computes in half precision only"),
            (name == "cudnn" and self.attention_dropout > 0,
             "xla, or model.attention_dropout=0: cudnn has no dropout"),
        ):  # fmt: skip
            if wrong:
                _refuse(f"model.attention={name}", expected)


@dataclass(frozen=True)
class OptimizerConfig:
    """Linear warm-up, then linear decay (section 2.3)."""

    name: Literal["adamw", "muon"] = "adamw"  # muon [ours]: on the matrices, Adam on the rest
    peak_learning_rate: float = bounded(1e-3, gt=0, lt=math.inf)
    warmup_steps: int = bounded(750, ge=0)
    # The step from which warm-up and decay run (anew): where a finished run is extended [ours].
    schedule_start: int = bounded(0, ge=0)
    final_learning_rate: float = bounded(0.0, ge=0, lt=math.inf)  # [ours]
    # Learning rate of embedding, head, biases and norms under muon [ours].
    adam_learning_rate: float = bounded(1e-3, gt=0, lt=math.inf)
    weight_decay: float = bounded(0.1, ge=0, lt=math.inf)
    b1: float = bounded(0.9, ge=0, lt=1)  # [ours]
    b2: float = bounded(0.95, ge=0, lt=1)  # [ours]
    eps: float = bounded(1e-8, gt=0, lt=math.inf)  # [ours]
    clip_norm: float = bounded(1.0, gt=0)  # global norm of the gradient; inf: no limit [ours]

    def __post_init__(self) -> None:
        check_bounds(self, "config field optimizer.")


@dataclass(frozen=True)
class SourceConfig:
    """One folder of token shards in the mixture."""

    name: str
    path: str
    weight: float = bounded(1.0, gt=0, le=1e100)  # share of the rows, relative to the others
    epochs: float = bounded(0.0, ge=0, lt=math.inf)  # above 0, in place of weight: passes over it

    def __post_init__(self) -> None:
        if not self.name:
            _refuse("data.sources name=''", "a word")
        check_bounds(self, f"config field data.sources {self.name!r} ")


@dataclass(frozen=True)
class DataConfig:
    """What is read: documents joined by <|endoftext|> and cut at `seq_len` (section 2.3)."""

    sources: tuple[SourceConfig, ...] = ()
    tokenizer: str = ""  # folder of the tokenizer that made the shards
    seq_len: int = bounded(2048, ge=2)
    global_batch_size: int = bounded(1024, ge=1)  # sequences per optimizer step, on all devices
    loss_on: Literal["all", "solutions"] = "all"  # [ours]; solutions: not on exercises' prompts
    # stream: rows start anywhere, as in the paper. documents [ours]: rows start with a document, so
    # that a context which holds few exercises does not cut most of them.
    packing: Literal["stream", "documents"] = "stream"
    # Rows of each source that are never trained on, for curves of loss and bits per byte.
    validation_rows: int = bounded(0, ge=0)
    # Share of the rows that may have no target (loss_on=solutions, a prompt longer than a row).
    max_rows_without_target: float = bounded(0.5, ge=0, le=1)

    def __post_init__(self) -> None:
        check_bounds(self, "config field data.")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            _refuse(f"data.sources={names}", "named once each")


@dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; one axis may be -1, all that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = astuple(self)
        if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            _refuse(f"mesh={sizes}", "sizes of at least 1, with at most one -1")


@dataclass(frozen=True)
class SkipStepConfig:
    """Which steps are skipped, beside those without finite gradient [ours]; train/skip_step.py."""

    window: int = bounded(64, ge=1)  # kept steps that a step is compared with
    gradient_norm_factor: float = 10.0  # times the median norm for such errors; 0: no limit
    loss_rise: float = bounded(2.0, ge=0)  # nats above the most that its sources cost; 0: none

    def __post_init__(self) -> None:
        check_bounds(self, "config field skip_step.")
        factor = self.gradient_norm_factor
        if factor != 0 and not factor > 1:  # nor NaN
            _refuse(f"skip_step.gradient_norm_factor={factor}", "0 or above 1")


@dataclass(frozen=True)
class CheckpointConfig:
    """When a checkpoint is written, and which are kept."""

    every_steps: int = bounded(1000, ge=1)
    keep_last: int = bounded(3, ge=1)  # how many of the newest are kept
    # Multiples of it are saved and kept; 0: only the last ones.
    keep_every_steps: int = bounded(0, ge=0)
    keep_steps: tuple[int, ...] = ()  # saved and kept at any age
    # A curve of metrics.jsonl, such as train/loss; the steps with its best points are kept.
    best_metric: str = ""
    best_mode: Literal["", "min", "max"] = ""  # "": min, for curves of loss and bits per byte
    keep_best: int = bounded(1, ge=1)  # how many of the best are kept; read only with best_metric
    # Failed saves in a row that a run survives; it tries again after a tenth of every_steps.
    retries: int = bounded(0, ge=0)

    def __post_init__(self) -> None:
        check_bounds(self, "config field checkpoint.")
        if any(step < 0 for step in self.keep_steps):
            _refuse(f"checkpoint.keep_steps={self.keep_steps}", "steps from 0 on")
        is_loss = "loss" in self.best_metric or "bits_per_byte" in self.best_metric
        if self.best_metric and not is_loss and self.best_mode == "":
            _refuse(
                "checkpoint.best_mode=''",
                f"min or max with checkpoint.best_metric={self.best_metric}: which is better?",
            )


@dataclass(frozen=True)
class RunConfig:
    """One training run: pretraining, or finetuning with `init_from`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    skip_step: SkipStepConfig = field(default_factory=SkipStepConfig)
    steps: int = bounded(36_000, ge=1)
    # Sequences a device computes at once; 0 is all of its share, without accumulation.
    micro_batch_size: int = bounded(0, ge=0)
    # Pieces of each row whose logits exist at a time: less memory, for the head's time again.
    loss_chunks: int = bounded(1, ge=1)
    seed: int = bounded(0, ge=0, lt=1 << 32)
    init_from: str = ""  # a checkpoint folder whose weights start this run
    log_every_steps: int = bounded(10, ge=1)
    eval_every_steps: int = bounded(0, ge=0)  # 0: no evaluation while training
    max_skipped_steps: int = bounded(20, ge=1)  # stop after so many skipped steps in a row
    peak_tflops: float = bounded(0.0, ge=0, lt=math.inf)  # of one device, for MFU; 0: look it up

    def __post_init__(self) -> None:
        check_bounds(self, "config field ")
        if self.data.validation_rows and not self.eval_every_steps:
            rows = self.data.validation_rows
            _refuse("eval_every_steps=0", f"above 0 with data.validation_rows={rows}")
        # Steps without a point on the curve are no candidates: with others there would be none.
        metric, saves = self.checkpoint.best_metric, self.checkpoint.every_steps
        name = "log_every_steps" if metric.startswith("train/") else "eval_every_steps"
        every = getattr(self, name)
        if metric and (every == 0 or (saves % every and every % saves)):
            _refuse(
                f"checkpoint.every_steps={saves}",
                f"a multiple or a divisor of {name}={every} (above 0) for best_metric={metric}",
            )
        seq_len, context = self.data.seq_len, self.model.max_seq_len
        if seq_len > context:
            _refuse(f"data.seq_len={seq_len}", f"at most model.max_seq_len={context}")
        if seq_len % self.loss_chunks:
            _refuse(f"loss_chunks={self.loss_chunks}", f"a divisor of data.seq_len={seq_len}")
        start, warmup = self.optimizer.schedule_start, self.optimizer.warmup_steps
        if start + warmup > self.steps:
            most = f"at most steps={self.steps} - optimizer.schedule_start={start}"
            _refuse(f"optimizer.warmup_steps={warmup}", most)


def _refuse(given: str, expected: str) -> NoReturn:
    raise UserError(f"config field {given} must be {expected}")
