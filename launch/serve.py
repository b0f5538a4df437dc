"""Serves a trained model over HTTP, as OpenAI's completions.

  python launch/serve.py --checkpoint=runs/phi1 --port=8000
  curl localhost:8000/v1/completions -d '{"prompt": "def add(a, b):", "max_tokens": 32}'

A checkpoint is a run's folder, or a Hugging Face folder of a phi model. Requests join the running
batch, and each gets the tokens that it would get alone. It listens on 127.0.0.1 unless --host says
otherwise. If --api_key_file or the variable PHI1_JAX_API_KEY holds a key, clients must send it.
docs/serve.md has more.
"""

import os
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.errors import UserError

try:
    from phi1_jax.serve.server import CompletionServer, ServeConfig, listen
except ImportError as error:
    raise SystemExit(f"error: {error}; install it: pip install 'phi1_jax[serve]'") from error

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a run, or of Hugging Face.")
STEP = flags.DEFINE_integer("step", None, "Which of its checkpoints; the newest by default.", 0)
SERVE = DataclassFlags(ServeConfig)
API_KEY_FILE = flags.DEFINE_string(
    "api_key_file", None, "File with the key that clients must send."
)


def main() -> None:
    script.require(CHECKPOINT)
    run_dir = Path(CHECKPOINT.value)
    name = SERVE.given().get("model_name") or run_dir.resolve().name
    config = SERVE.build(model_name=name)
    api_key = read_api_key()
    sock = listen(config)
    script.start_jax()
    from phi1_jax.generate.generator import Generator

    generator = Generator.from_checkpoint(run_dir, STEP.value, chunk_tokens=8)
    CompletionServer(generator, config, api_key).run(sockets=[sock])


def read_api_key() -> str | None:
    """The key of --api_key_file, else of PHI1_JAX_API_KEY; None if there is neither."""
    if not API_KEY_FILE.value:
        return os.environ.get("PHI1_JAX_API_KEY") or None
    path = Path(API_KEY_FILE.value)
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"--api_key_file={path}: {reason}") from error
    if not key:
        raise UserError(f"--api_key_file={path}: is empty; write the key into it")
    return key


if __name__ == "__main__":
    script.run(main)
