"""A saved tokenizer, of either kind."""

import hashlib
from pathlib import Path

from phi1_jax.errors import UserError
from phi1_jax.files import find_model, is_hugging_face, parse_json
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.huggingface import from_sentencepiece, read_tokenizer
from phi1_jax.tokens.sentencepiece_bpe import SentencePieceTokenizer
from phi1_jax.tokens.tokenizer import END_OF_TEXT, INFO, MODEL, TOKENIZER_JSON, Tokenizer


def find_tokenizer(place: Path | str) -> Path:
    """The folder of a tokenizer, which may be named by the run that has it."""
    folder = find_model(place)
    inside = folder / "tokenizer"
    return inside if inside.is_dir() else folder


def load_tokenizer(place: Path | str) -> Tokenizer:
    """Loads what `save` wrote into a folder or a run's, or what transformers wrote.

    Raises:
      UserError: no tokenizer there, or a model file that is not the one that was saved.
    """
    folder = find_tokenizer(place)
    alone = (folder / TOKENIZER_JSON).is_file() and not (folder / INFO).exists()
    if alone or is_hugging_face(folder):
        return read_tokenizer(folder)
    try:
        info = parse_json((folder / INFO).read_text(encoding="utf-8"))
        name = {"sentencepiece": MODEL, "byte_pair": TOKENIZER_JSON}[info["kind"]]
        model = (folder / name).read_bytes()
        expected = info["fingerprint"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{folder}: no tokenizer here; name a folder with {INFO}, of ours, or {TOKENIZER_JSON}"
        ) from error
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


def load_byte_pair(place: Path | str) -> BytePairTokenizer:
    """The same as Hugging Face's library runs it, to be written for others."""
    tokenizer = load_tokenizer(place)
    if isinstance(tokenizer, BytePairTokenizer):
        return tokenizer
    return from_sentencepiece((find_tokenizer(place) / MODEL).read_bytes())


def save_for_training(source: Path, target: Path) -> None:
    """Saves a tokenizer into a run, whose documents end in end of text: completions do as well."""
    tokenizer = load_tokenizer(source)
    if isinstance(tokenizer, BytePairTokenizer):
        tokenizer.stop_ids |= {tokenizer.eot_id}
    tokenizer.save(target)
