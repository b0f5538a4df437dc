"""Tokenizer files of Hugging Face folders: CodeGen's read, and SentencePiece's written."""

import json
from pathlib import Path
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.files import write_json
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.tokenizer import END_OF_TEXT, MODEL, TOKENIZER_JSON, Tokenizer

# CodeGen's additions to GPT-2's pieces, in the order of their ids, 50257 to 50294.
WHITE_SPACE = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]


def read_tokenizer(folder: Path) -> BytePairTokenizer:
    """From tokenizer.json, or from GPT-2's vocab.json and merges.txt with CodeGen's white space.

    Raises:
      UserError: neither is there, or it cannot be read.
    """
    if (folder / TOKENIZER_JSON).exists():
        return BytePairTokenizer((folder / TOKENIZER_JSON).read_bytes())
    try:
        vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        text = (folder / "merges.txt").read_text(encoding="utf-8")
        lines = [line for line in text.split("\n") if line and not line.startswith("#version")]
        merges = [(left, right) for left, right in map(str.split, lines)]
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} has neither {TOKENIZER_JSON} nor vocab.json with merges.txt; name a folder"
            " that has with --tokenizer"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder}: vocab.json or merges.txt is damaged: {error}") from error
    return codegen(vocab, merges)


def codegen(vocab: dict[str, int], merges: list[tuple[str, str]]) -> BytePairTokenizer:
    """CodeGen's tokenizer from GPT-2's pieces: byte-level BPE and runs of white space."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Built

    tokenizer = Built(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    tokenizer.add_tokens([AddedToken(run, normalized=True) for run in WHITE_SPACE])
    return BytePairTokenizer(tokenizer.to_str().encode())


def from_sentencepiece(model: bytes) -> BytePairTokenizer:
    """The same ids from `tokenizers`, for a SentencePiece BPE model that was trained here.

    Pieces get real spaces for SentencePiece's mark, so that a mark in a text stays one: no
    character stands for another, and there is nothing to normalise.
    """
    import sentencepiece
    from tokenizers import Tokenizer as Built
    from tokenizers import decoders, models

    source = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [source.id_to_piece(i) for i in range(source.get_piece_size())]
    plain = [
        not (source.is_byte(i) or source.is_control(i) or source.is_unknown(i))
        for i in range(len(pieces))
    ]
    pieces = [p.replace("\u2581", " ") if ok else p for p, ok in zip(pieces, plain, strict=True)]
    ids = {piece: i for i, piece in enumerate(pieces)}
    # SentencePiece joins neighbours whenever the result is a piece, the one of the lowest id
    # first; here each way to put a piece together is a rule, in the same order.
    merges = [
        (piece[:cut], piece[cut:])
        for i, piece in enumerate(pieces)
        if plain[i]
        for cut in range(1, len(piece))
        if plain[ids.get(piece[:cut], source.unk_id())]
        and plain[ids.get(piece[cut:], source.unk_id())]
    ]
    tokenizer = Built(
        models.BPE(ids, merges, unk_token=pieces[source.unk_id()], byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([END_OF_TEXT])
    return BytePairTokenizer(tokenizer.to_str().encode())


def write_tokenizer(source: Path, folder: Path, max_seq_len: int) -> Tokenizer:
    """Writes what `AutoTokenizer` loads.

    Args:
      source: the tokenizer folder of a run.
      max_seq_len: the model's context.
    Returns:
      The tokenizer that was written.
    """
    tokenizer = load_tokenizer(source)
    if not isinstance(tokenizer, BytePairTokenizer):
        tokenizer = from_sentencepiece((source / MODEL).read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_JSON).write_bytes(tokenizer.tokenizer_json)
    config: dict[str, Any] = {
        # Not CodeGenTokenizer, which would build CodeGen's rules again whatever the file says.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "model_max_length": max_seq_len,
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", config)
    return tokenizer
