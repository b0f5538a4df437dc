"""Every setting of a run as frozen dataclasses, and all checks on them.

Launch scripts turn an ml-collections config into a `RunConfig` with `config_dict.from_dict`;
nothing past that point sees a ConfigDict. Fields marked [ours] are choices that the paper leaves
open.
"""

import math
from dataclasses import astuple, dataclass, field
from typing import Literal

from phi1_jax.errors import UserError

# Share of a GPU's memory that JAX takes for arrays, and that plans count on; the rest is for CUDA,
# its kernels and NCCL.
USABLE_MEMORY = 0.92


@dataclass(frozen=True)
class ModelConfig:
    """The transformer of section 2.3. Defaults are phi-1's, 1.3B."""

    vocab_size: int = 51_200  # rows of the embedding; CodeGen's 50,295 pieces, padded
    n_layers: int = 24
    d_model: int = 2048
    d_mlp: int = 8192
    n_heads: int = 32
    rotary_dim: int = 32  # leading dimensions of each head that rotate
    max_seq_len: int = 2048  # context in tokens
    attention_dropout: float = 0.1  # on attention weights, while training
    residual_dropout: float = 0.1  # on the outputs of attention and MLP, while training
    rope_theta: float = 10_000.0
    layer_norm_eps: float = 1e-5
    init_std: float = 0.02
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
    scan_unroll: int = 1  # blocks per iteration of the compiled loop over layers

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers for dropout."""
        return self.attention_dropout > 0 or self.residual_dropout > 0

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "n_layers", "d_model", "d_mlp", "n_heads", "rotary_dim")
        for name in (*sizes, "max_seq_len", "scan_unroll"):
            _check(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "at least 1")
        _check(
            self.d_model % self.n_heads == 0,
            "model.d_model",
            self.d_model,
            f"a multiple of model.n_heads={self.n_heads}",
        )
        _check(
            self.rotary_dim % 2 == 0 and self.rotary_dim <= self.d_head,
            "model.rotary_dim",
            self.rotary_dim,
            f"even and at most the head width {self.d_head}",
        )
        self._check_induction_heads()
        for name in ("attention_dropout", "residual_dropout"):
            rate = getattr(self, name)
            _check(0 <= rate < 1, f"model.{name}", rate, "in [0, 1)")
        for name in ("rope_theta", "layer_norm_eps", "init_std"):
            number = getattr(self, name)
            _check(0 < number < math.inf, f"model.{name}", number, "above 0")
        name, width = self.attention, self.d_head
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
            _check(not wrong, "model.attention", name, expected)

    def _check_induction_heads(self) -> None:
        n = self.n_induction_heads
        fits = 0 <= n <= self.n_heads // 2
        room = n == 0 or (self.n_layers >= 2 and self.rotary_dim < self.d_head)
        _check(
            fits and room,
            "model.n_induction_heads",
            n,
            f"0, or from 1 to half of model.n_heads={self.n_heads} with at least two layers"
            f" (model.n_layers={self.n_layers}) and model.rotary_dim={self.rotary_dim} below the"
            f" head width {self.d_head}",
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """Linear warm-up, then linear decay (section 2.3)."""

    name: Literal["adamw", "muon"] = "adamw"  # muon [ours]: on the matrices, Adam on the rest
    peak_learning_rate: float = 1e-3
    warmup_steps: int = 750
    # The step from which warm-up and decay run (anew): where a finished run is extended [ours].
    schedule_start: int = 0
    final_learning_rate: float = 0.0  # [ours]
    # Learning rate of embedding, head, biases and norms under muon [ours].
    adam_learning_rate: float = 1e-3
    weight_decay: float = 0.1
    b1: float = 0.9  # [ours]
    b2: float = 0.95  # [ours]
    eps: float = 1e-8  # [ours]
    clip_norm: float = 1.0  # global norm of the gradient [ours]

    def __post_init__(self) -> None:
        for name in ("peak_learning_rate", "adam_learning_rate", "eps"):
            number = getattr(self, name)
            _check(0 < number < math.inf, f"optimizer.{name}", number, "above 0 and finite")
        _check(self.clip_norm > 0, "optimizer.clip_norm", self.clip_norm, "above 0; inf for none")
        for name in ("warmup_steps", "schedule_start", "weight_decay", "final_learning_rate"):
            number = getattr(self, name)
            _check(0 <= number < math.inf, f"optimizer.{name}", number, "0 or more, and finite")
        for name in ("b1", "b2"):
            _check(
                0 <= getattr(self, name) < 1, f"optimizer.{name}", getattr(self, name), "in [0, 1)"
            )


@dataclass(frozen=True)
class SourceConfig:
    """One folder of token shards in the mixture."""

    name: str
    path: str
    weight: float = 1.0  # share of the sequences, relative to the other sources
    epochs: float = 0.0  # above 0, in place of weight: passes over it in the whole run

    def __post_init__(self) -> None:
        field = f"data.sources {self.name!r}"
        _check(self.name != "", "data.sources name", repr(self.name), "a word")
        _check(0 <= self.epochs < math.inf, f"{field} epochs", self.epochs, "0 or more, and finite")
        _check(0 < self.weight < math.inf, f"{field} weight", self.weight, "above 0 and finite")


@dataclass(frozen=True)
class DataConfig:
    """What is read: documents joined by <|endoftext|> and cut at `seq_len` (section 2.3)."""

    sources: tuple[SourceConfig, ...] = ()
    tokenizer: str = ""  # folder of the tokenizer that made the shards
    seq_len: int = 2048
    global_batch_size: int = 1024  # sequences per step, over all devices and accumulation steps
    loss_on: Literal["all", "solutions"] = "all"  # [ours]; solutions: not on exercises' prompts
    # stream: rows start anywhere, as in the paper. documents [ours]: rows start with a document, so
    # that a context which holds few exercises does not cut most of them.
    packing: Literal["stream", "documents"] = "stream"
    # Rows of each source that are never trained on, for curves of loss and bits per byte.
    validation_rows: int = 0
    # Share of the rows that may have no target (loss_on=solutions, a prompt longer than a row).
    max_rows_without_target: float = 0.5

    def __post_init__(self) -> None:
        _check(self.seq_len >= 2, "data.seq_len", self.seq_len, "at least 2")
        _check(self.validation_rows >= 0, "data.validation_rows", self.validation_rows, "0 or more")
        _check(
            self.global_batch_size >= 1, "data.global_batch_size", self.global_batch_size, ">= 1"
        )
        share = self.max_rows_without_target
        _check(0 <= share <= 1, "data.max_rows_without_target", share, "from 0 to 1")
        names = [source.name for source in self.sources]
        _check(len(set(names)) == len(names), "data.sources", names, "named once each")


@dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; one axis may be -1, all that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = astuple(self)
        _check(
            all(size >= 1 or size == -1 for size in sizes) and sizes.count(-1) <= 1,
            "mesh",
            sizes,
            "sizes of at least 1, with at most one -1",
        )


@dataclass(frozen=True)
class SkipStepConfig:
    """Which steps are skipped, beside those without finite gradient [ours]; train/skip_step.py."""

    window: int = 64  # kept steps that a step is compared with
    gradient_norm_factor: float = 10.0  # times the median norm for such errors; 0: no limit
    loss_rise: float = 2.0  # nats above what the step's sources cost at most; 0: no limit

    def __post_init__(self) -> None:
        _check(self.window >= 1, "skip_step.window", self.window, "at least 1")
        factor = self.gradient_norm_factor
        _check(factor == 0 or factor > 1, "skip_step.gradient_norm_factor", factor, "0 or above 1")
        _check(self.loss_rise >= 0, "skip_step.loss_rise", self.loss_rise, "0 or more")


@dataclass(frozen=True)
class CheckpointConfig:
    """When a checkpoint is written, and which are kept."""

    every_steps: int = 1000
    keep_last: int = 3  # how many of the newest are kept
    keep_every_steps: int = 0  # multiples of it are kept; 0: none beyond the last ones
    keep_steps: tuple[int, ...] = ()  # kept at any age
    # A curve of metrics.jsonl, such as train/loss; the steps with its best points are kept.
    best_metric: str = ""
    best_mode: Literal["", "min", "max"] = ""  # "": min, for curves of loss and bits per byte
    keep_best: int = 1  # how many of the best are kept; read only with best_metric
    # Failed saves in a row that a run survives; it tries again after a tenth of every_steps.
    retries: int = 0

    def __post_init__(self) -> None:
        for name in ("every_steps", "keep_last", "keep_best"):
            _check(getattr(self, name) >= 1, f"checkpoint.{name}", getattr(self, name), ">= 1")
        for name in ("keep_every_steps", "retries"):
            _check(getattr(self, name) >= 0, f"checkpoint.{name}", getattr(self, name), ">= 0")
        _check(
            all(step >= 0 for step in self.keep_steps),
            "checkpoint.keep_steps",
            self.keep_steps,
            "steps from 0 on",
        )
        is_loss = "loss" in self.best_metric or "bits_per_byte" in self.best_metric
        _check(
            not self.best_metric or is_loss or self.best_mode != "",
            "checkpoint.best_mode",
            repr(self.best_mode),
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
    steps: int = 36_000
    # Sequences a device computes at once; 0 is all of its share, without accumulation.
    micro_batch_size: int = 0
    # Pieces of each row whose logits exist at a time: less memory, for the head's time again.
    loss_chunks: int = 1
    seed: int = 0
    init_from: str = ""  # a checkpoint folder whose weights start this run
    log_every_steps: int = 10
    eval_every_steps: int = 0  # 0: no evaluation while training
    max_skipped_steps: int = 20  # stop after so many skipped steps in a row
    peak_tflops: float = 0.0  # of one device, for MFU; 0: the data sheet's, for devices known

    def __post_init__(self) -> None:
        for name in ("steps", "log_every_steps", "max_skipped_steps"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("micro_batch_size", "eval_every_steps"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _check(0 <= self.seed < 1 << 32, "seed", self.seed, "from 0 to 4,294,967,295")
        _check(0 <= self.peak_tflops < math.inf, "peak_tflops", self.peak_tflops, "0 or more")
        _check(
            self.eval_every_steps > 0 or not self.data.validation_rows,
            "eval_every_steps",
            self.eval_every_steps,
            f"above 0 with data.validation_rows={self.data.validation_rows}",
        )
        # Steps without a point on the curve are no candidates: with others there would be none.
        metric, saves = self.checkpoint.best_metric, self.checkpoint.every_steps
        name = "log_every_steps" if metric.startswith("train/") else "eval_every_steps"
        every = getattr(self, name)
        _check(
            metric == "" or (every > 0 and (saves % every == 0 or every % saves == 0)),
            "checkpoint.every_steps",
            saves,
            f"a multiple or a divisor of {name}={every} (above 0) for best_metric={metric}",
        )
        _check(
            self.data.seq_len <= self.model.max_seq_len,
            "data.seq_len",
            self.data.seq_len,
            f"at most model.max_seq_len={self.model.max_seq_len}",
        )
        _check(
            self.loss_chunks >= 1 and self.data.seq_len % self.loss_chunks == 0,
            "loss_chunks",
            self.loss_chunks,
            f"a divisor of data.seq_len={self.data.seq_len}",
        )
        start, warmup = self.optimizer.schedule_start, self.optimizer.warmup_steps
        _check(
            start + warmup <= self.steps,
            "optimizer.warmup_steps",
            warmup,
            f"at most steps={self.steps}"
            + (f" - optimizer.schedule_start={start}" if start else ""),
        )


def _check(ok: bool, name: str, value: object, expected: str) -> None:
    if not ok:
        raise UserError(f"config field {name}={value} must be {expected}")
