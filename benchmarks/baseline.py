"""The baseline: `PhiForCausalLM` of transformers on torch, imported by no other file.

It gets the same weights, tokens, optimizer and cores, and may use all that it offers, eager and
compiled. Each of the ways that run here runs on its own, and the fastest takes part in the final.
"""

import copy
import gc
import importlib.util
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Row
from benchmarks.timing import matmul_size, take_turns
from phi1_jax.config import ModelConfig, OptimizerConfig
from phi1_jax.errors import UserError
from phi1_jax.interop.huggingface import config_values, write_folder
from phi1_jax.model.phi import compute_dtype

MODES = ("eager", "compiled")
Call = Callable[[], Any]
Way = tuple[str, Callable[[], Call]]  # its name, and a function that builds what is called
# What to pass to `set_attn_implementation`, and the context to run it in.
Attention = tuple[str, Callable[[], AbstractContextManager[Any]]]


def require() -> None:
    """Raises a UserError if torch or transformers is missing."""
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(
            f"--baseline=torch needs {' and '.join(missing)}: `make bench` has an environment with"
            " both (or pip install torch==2.13.0 'transformers>=5'); --baseline=none goes without"
        )


def load_model(config: ModelConfig, params: Mapping[str, Any] | None) -> Any:
    """A `PhiForCausalLM` in float32 with our weights, in the host's memory.

    Without weights it has random ones of its own, on the device.
    """
    import torch
    from transformers import AutoModelForCausalLM, PhiConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if params is None:
        with torch.device(_device()):
            return AutoModelForCausalLM.from_config(PhiConfig(**config_values(config)))
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), config, params, {"eos_token_id": 0})
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def attentions(wanted: tuple[str, ...] = ()) -> dict[str, Attention]:
    """The implementations by name.

    Args:
      wanted: names to keep; none keeps all.
    Raises:
      UserError: there is none of a wanted name.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    found: dict[str, Attention] = {"eager": ("eager", nullcontext), "sdpa": ("sdpa", nullcontext)}
    for name, backend in SDPBackend.__members__.items():
        if name not in ("ERROR", "OVERRIDEABLE"):
            kernel = name.removesuffix("_ATTENTION").lower()
            found[f"sdpa {kernel}"] = ("sdpa", partial(sdpa_kernel, backend))
    if unknown := set(wanted) - set(found):
        raise UserError(f"--baseline_attentions={unknown.pop()}: name some of {', '.join(found)}")
    return {name: found[name] for name in wanted or found}


def training_steps(
    config: ModelConfig,
    optimizer: OptimizerConfig,
    params: Mapping[str, Any] | None,
    batches: np.ndarray,
    wanted: tuple[str, ...] = (),
) -> Callable[[str], Iterator[Way]]:
    """The ways to train: with each implementation of attention.

    Args:
      batches: int[n, b, t + 1], taken in turn.
      wanted: of `attentions`; none is all.
    Returns:
      A function of the mode (one of `MODES`). Each way builds a model of its own; a call makes a
      step (forward, backward, clipping, fused AdamW) and returns its loss.
    """
    import torch

    device = _device()
    tokens = [torch.tensor(batch, dtype=torch.long, device=device) for batch in batches]
    dtype = _dtype(config)
    initial = None if params is None else load_model(config, params)

    def make(mode: str, implementation: str, context: Callable[[], Any]) -> Callable[[], float]:
        model = copy.deepcopy(initial) if initial else load_model(config, None)
        model = model.to(device).train()
        model.set_attn_implementation(implementation)
        matrices = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim < 2]
        adamw = torch.optim.AdamW(
            [{"params": matrices}, {"params": others, "weight_decay": 0.0}],
            weight_decay=optimizer.weight_decay,
            lr=optimizer.peak_learning_rate / max(1, optimizer.warmup_steps),
            betas=(optimizer.b1, optimizer.b2),
            eps=optimizer.eps,
            fused=True,
        )

        def loss_of(rows: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = model(rows[:, :-1], use_cache=False).logits
            targets = rows[:, 1:].flatten()
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets)

        run = torch.compile(loss_of) if mode == "compiled" else loss_of
        turn = 0

        def step() -> float:
            nonlocal turn
            with context():
                loss = run(tokens[turn % len(tokens)])
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer.clip_norm)
            adamw.step()
            adamw.zero_grad(set_to_none=True)
            turn += 1
            return loss.item()  # waits for the device

        return step

    def ways(mode: str) -> Iterator[Way]:
        for name, attention in attentions(wanted).items():
            yield f"torch {mode}, {name}", partial(make, mode, *attention)

    return ways


Prompts = Sequence[Sequence[int]]


def decoders(
    config: ModelConfig,
    params: Mapping[str, Any],
    modes: tuple[str, ...] = MODES,
    wanted: tuple[str, ...] = (),
) -> Callable[[Prompts, int], Iterator[Way]]:
    """Ways to generate greedily, of prompts of b and a number of new tokens: int[b, new tokens].

    Eager: with a dynamic and a static cache, each with every implementation of attention.
    Compiled: with a static cache, and the implementations that choose their kernel themselves. All
    share one model. Shorter prompts are padded on the left; no token ends a row.
    """
    import torch
    from transformers import CompileConfig

    model = load_model(config, params).to(_device(), _dtype(config)).eval()
    model.generation_config.eos_token_id = None
    # Transformers compiles decoding by itself on a GPU only, unless told so.
    forced = CompileConfig()
    forced._compile_all_devices = True
    static = {"cache_implementation": "static"}
    ways_to_cache: dict[tuple[str, str], dict[str, Any]] = {
        ("eager", "dynamic"): {"disable_compile": True},
        ("eager", "static"): {**static, "disable_compile": True},
        ("compiled", "static"): {**static, "compile_config": forced},
    }

    def generate(
        options: dict[str, Any],
        implementation: str,
        context: Callable[[], Any],
        prompts: Prompts,
        new_tokens: int,
    ) -> np.ndarray:
        if model.config._attn_implementation != implementation:
            model.set_attn_implementation(implementation)
        width = max(map(len, prompts))
        tokens = torch.zeros((len(prompts), width), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompts):
            tokens[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        with torch.inference_mode(), context():
            whole = model.generate(
                tokens.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
                **options,
            )
        return whole[:, width:].cpu().numpy()

    def ways(prompts: Prompts, new_tokens: int) -> Iterator[Way]:
        for (mode, cache), options in ways_to_cache.items():
            for name, (implementation, context) in attentions(wanted).items():
                if mode in modes and (mode == "eager" or context is nullcontext):
                    call = partial(generate, options, implementation, context, prompts, new_tokens)
                    yield f"torch {mode}, {cache} cache, {name}", lambda call=call: call

    return ways


def select_fastest(
    case: str,
    ways: Iterable[Way],
    check: Callable[[str, Any], Mapping[str, Any]],
    calls: int = 1,
) -> Generator[Row, None, tuple[dict[str, Call], Mapping[str, Any]]]:
    """Yields a row for each way, also for one that does not run here or has no room.

    Args:
      check: of a name and the first call's result; the values of its row.
      calls: timed ones.
    Returns:
      The fastest by its name (empty if none runs), and its values.
    """
    best = float("inf")
    fastest: dict[str, Call] = {}
    kept: Mapping[str, Any] = {}
    for name, make in ways:
        candidate = None
        try:
            candidate = make()
            values = check(name, candidate())
            timed = take_turns({name: candidate}, calls, block=calls, warm=False)
            seconds = timed[name].median_s
        except RuntimeError as error:
            yield Row(case, name, None, values={"why": str(error).split(".")[0][:80]})
        else:
            yield Row(case, f"{name} (screening)", seconds, calls=calls, values=values)
            if seconds < best:
                best, fastest, kept = seconds, {name: candidate}, values
        del candidate
        free()
    return fastest, kept


def same_tokens(
    config: ModelConfig, want: np.ndarray
) -> Callable[[str, np.ndarray], dict[str, float]]:
    """Compares what a baseline generated with ours; in half precision near ties fall either way.

    Raises, when called:
      AssertionError: in float32, one token is another.
    """

    def check(name: str, found: np.ndarray) -> dict[str, float]:
        same = float((found == want).mean())
        if same < 1 and compute_dtype(config) == np.float32:
            raise AssertionError(f"{name}: only {same:.4f} of its tokens are ours")
        return {"same_tokens": same}

    return check


def data_loader(tokens_n: np.ndarray, rows: int, seq_len: int) -> Iterator[Any]:
    """Shuffled batches of rows from a memory map, without end."""
    import torch

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return (len(tokens_n) - 1) // seq_len

        def __getitem__(self, index: int) -> torch.Tensor:
            start = index * seq_len
            return torch.from_numpy(tokens_n[start : start + seq_len + 1].astype(np.int32))

    loader = torch.utils.data.DataLoader(Rows(), rows, shuffle=True, drop_last=True)
    while True:
        yield from loader


def matmul_flops(config: ModelConfig) -> float:
    """FLOP/s of torch's matmul of the size and type that `timing.rooflines` takes for JAX's."""
    import torch

    n = matmul_size()
    a, b = (torch.randn(n, n, dtype=_dtype(config), device=_device()) for _ in range(2))

    def matmul() -> None:
        torch.matmul(a, b)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return 2 * n**3 / take_turns({"matmul": matmul}, calls=10)["matmul"].median_s


def free() -> None:
    """Gives the memory of dropped models back."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # of what CUDA has, if it was ever used


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(config: ModelConfig) -> Any:
    import torch

    return getattr(torch, str(compute_dtype(config)))
