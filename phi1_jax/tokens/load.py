"""A saved tokenizer, of either kind."""

import hashlib
from pathlib import Path

from phi1_jax.errors import UserError
from phi1_jax.files import parse_json
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.sentencepiece_bpe import SentencePieceTokenizer
from phi1_jax.tokens.tokenizer import END_OF_TEXT, INFO, MODEL, TOKENIZER_JSON, Tokenizer


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Loads what `save` wrote.

    Raises:
      UserError: no tokenizer there, or a model file that is not the one that was saved.
    """
    folder = Path(folder)
    try:
        info = parse_json((folder / INFO).read_text(encoding="utf-8"))
        name = {"sentencepiece": MODEL, "byte_pair": TOKENIZER_JSON}[info["kind"]]
        model = (folder / name).read_bytes()
        expected = info["fingerprint"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder}: no tokenizer here ({Path(error.filename).name})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / INFO}: damaged; train the tokenizer again") from error
    if hashlib.sha256(model).hexdigest() != expected:
        raise UserError(f"{folder / name}: not the model that {INFO} describes; train it again")
    if name == MODEL:
        return SentencePieceTokenizer(model)
    return BytePairTokenizer(
        model,
        info.get("stop_ids", ()),
        info.get("files"),
        info.get("end_of_text", END_OF_TEXT),
    )


def save_for_training(source: Path, target: Path) -> None:
    """Saves a tokenizer into a run, whose documents end in end of text: completions do as well."""
    tokenizer = load_tokenizer(source)
    if isinstance(tokenizer, BytePairTokenizer):
        tokenizer.stop_ids |= {tokenizer.eot_id}
    tokenizer.save(target)
