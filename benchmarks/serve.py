"""Tokens per second of launch/serve.py with few and many clients, and of `transformers serve`."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openai

from benchmarks.decode import random_params
from benchmarks.report import OURS, Options, Row, compare
from benchmarks.timing import Timing, launch
from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.interop.huggingface import write_folder
from phi1_jax.run.checkpoint import write_model
from phi1_jax.run.folder import TOKENIZER
from phi1_jax.tokens.huggingface import write_tokenizer
from phi1_jax.tokens.load import load_byte_pair
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

PEER = "transformers serve"
START_TIMEOUT_S = 600


def measure(
    config: RunConfig,
    options: Options,
    clients: Sequence[int],
    prompt_tokens: int,
    new_tokens: int,
) -> Iterator[Row]:
    """A case for each number of clients, each of which sends one greedy request a call.

    The model is random, the prompts are texts of about `prompt_tokens` tokens, and what counts are
    the tokens that the servers say they made. A server is alone on the machine while it is timed.
    """
    model = config.model
    # On disk, not in a /tmp that may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        run_dir, hf = Path(name, "run"), Path(name, "hf")
        texts = [f"def f{i}(x):\n    return x + {i}\n" for i in range(1000)]
        tokenizer = train_tokenizer(texts, min(290, model.vocab_size))
        tokenizer.save(Path(name, "tokenizer"))
        ids = tokenizer.encode("".join(texts))
        prompts = [
            tokenizer.decode(ids[i * prompt_tokens : (i + 1) * prompt_tokens])
            for i in range(max(clients))
        ]
        params = random_params(config)
        write_model(run_dir, model, params, Path(name, "tokenizer"))
        commands = {
            OURS: [launch("serve.py"), f"--checkpoint={run_dir}", f"--batch_size={max(clients)}"]
        }
        if options.baseline:
            write_folder(hf, model, params, {"eos_token_id": tokenizer.eot_id})
            write_tokenizer(load_byte_pair(run_dir / TOKENIZER), hf, model.max_seq_len)
            commands[PEER] = [
                *("-m", "transformers.cli.transformers", "serve", str(hf)),
                *("--continuous-batching", "--dtype=float32"),
            ]
        names = {OURS: run_dir.name, PEER: str(hf)}
        rest = (prompts, clients, new_tokens, options.calls)
        found = {
            variant: asyncio.run(_time(command, names[variant], *rest))
            for variant, command in commands.items()
        }
    for n in clients:
        timings = {variant: times[n][0] for variant, times in found.items()}
        values: Mapping[str, Mapping[str, Any]] = {
            variant: {"tokens_per_s": times[n][1] / times[n][0].median_s}
            for variant, times in found.items()
        }
        yield from compare(f"{n} clients, {prompt_tokens} + {new_tokens} tokens", timings, values)


async def _time(
    command: Sequence[str],
    model: str,
    prompts: Sequence[str],
    clients: Sequence[int],
    new_tokens: int,
    calls: int,
) -> dict[int, tuple[Timing, float]]:
    """For each number of clients the times of the calls, and the tokens of one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    client = openai.AsyncOpenAI(base_url=url, api_key="none", timeout=START_TIMEOUT_S)

    async def ask(prompt: str) -> int:
        reply = await client.completions.create(
            model=model, prompt=prompt, max_tokens=new_tokens, temperature=0
        )
        assert reply.usage
        return reply.usage.completion_tokens

    found = {}
    server = subprocess.Popen([sys.executable, *command, f"--port={port}"], stdout=sys.stderr)
    try:
        await _until_ready(server, client)
        for n in clients:
            times, made = [], []
            for _ in range(1 + max(2, calls // 4)):
                start = time.perf_counter()
                made.append(sum(await asyncio.gather(*map(ask, prompts[:n]))))
                times.append(time.perf_counter() - start)
            assert len(set(made)) == 1, f"greedy requests gave other tokens again: {made}"
            found[n] = Timing(times[0], tuple(times[1:])), float(made[0])
    finally:
        await client.close()
        server.terminate()
        server.wait()
    return found


async def _until_ready(server: subprocess.Popen, client: openai.AsyncOpenAI) -> None:
    """Raises:
    UserError: the server ended, or does not answer in time.
    """
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and server.poll() is None:
        try:
            await client.models.list(timeout=5)
        except openai.APIConnectionError:
            await asyncio.sleep(0.2)
        else:
            return
    raise UserError(f"{' '.join(map(str, server.args))}: did not start; see its output above")  # type: ignore[arg-type]
