"""A model that is there to be read: a run, one of its steps, or a Hugging Face folder as it is."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

from phi1_jax.config import ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.files import file_sha256, find_model, is_hugging_face
from phi1_jax.interop import config_json
from phi1_jax.interop.safetensors import find_tensors
from phi1_jax.run import folder as run_folder
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.tokenizer import Tokenizer, check_vocabulary


class OpenModel:
    """Where a model is; each part is read when it is first asked for, and JAX starts with `params`.

    Args:
      place: a run's folder, RUN@STEP, or a Hugging Face folder.
      step: of the run; None is the one that `place` names, or the newest.
    Raises:
      UserError: two different steps; and when a part is read, that it is missing or damaged.
    """

    def __init__(self, place: Path | str, step: int | None = None) -> None:
        folder, named = run_folder.split_step(str(place))
        if None not in (step, named) and step != named:
            raise UserError(f"{place}: step={step} is another step; name one")
        self.path = find_model(folder)
        self._is_hugging_face = is_hugging_face(self.path)
        self._step = named if step is None else step

    @cached_property
    def config(self) -> ModelConfig:
        if self._is_hugging_face:
            return config_json.read_config(self.path)
        return run_folder.read_model_config(self.path)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        tokenizer = load_tokenizer(self.path)
        check_vocabulary(tokenizer, self.config.vocab_size)
        return tokenizer

    @cached_property
    def step(self) -> int:
        """The one that was asked for, or the newest; 0 of a Hugging Face folder."""
        if not self._is_hugging_face:
            run_folder.read_config(self.path)  # names the folder if it is none
            return run_folder.committed_step(self.path, self._step)
        if self._step:
            raise UserError(f"{self.path} is a Hugging Face folder: it has no step {self._step}")
        return 0

    @cached_property
    def identity(self) -> str:
        """Changes when the weights do: a hash of the hashes of their files."""
        if not self._is_hugging_face:
            return file_sha256(self.path / run_folder.COMMITS / f"{self.step}.json")
        files = {tensor.file for tensor in find_tensors(self.path).values()}
        hashes = [file_sha256(file) for file in (self.path / "config.json", *sorted(files))]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def params(self, shardings: Any = None) -> Any:
        """The parameters, float32 on the devices.

        Args:
          shardings: a tree like the parameters, or one for all; None puts everything on the first
            device.
        """
        step = self.step  # first: it refuses a folder that lacks it
        if not self._is_hugging_face:
            from phi1_jax.run.checkpoint import load_params

            return load_params(self.path, step, shardings)
        import jax

        from phi1_jax.interop.huggingface import read_folder

        return jax.device_put(read_folder(self.path)[1], shardings or jax.devices()[0])


def load_model(
    place: Path | str, step: int | None = None, shardings: Any = None
) -> tuple[ModelConfig, Any]:
    """The config and the parameters of a model; the arguments are those of `OpenModel`."""
    model = OpenModel(place, step)
    return model.config, model.params(shardings)
