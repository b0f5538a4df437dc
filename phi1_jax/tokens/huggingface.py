"""Tokenizer files of Hugging Face folders, read and written."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from phi1_jax.errors import UserError
from phi1_jax.files import parse_json, write_json
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.tokenizer import END_OF_TEXT, TOKENIZER_JSON

# CodeGen's additions to GPT-2's pieces, in the order of their ids, 50257 to 50294.
WHITE_SPACE = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]

_CONFIG, _SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
_GENERATION, _MODEL = "generation_config.json", "config.json"
_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/*.jinja")
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_ROLES = [f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
_LISTS = ("additional_special_tokens", "extra_special_tokens")


def read_tokenizer(folder: Path, model: Path | None = None) -> BytePairTokenizer:
    """From tokenizer.json, or from GPT-2's vocab.json and merges.txt, with its special tokens.

    As in transformers, tokenizer_config.json, special_tokens_map.json and added_tokens.json may add
    tokens; vocab.json and merges.txt without such get CodeGen's runs of white space. A completion
    ends at `eos_token_id` of generation_config.json, else of config.json, else at the `eos_token`
    of the tokenizer.

    Args:
      model: the folder of config.json and generation_config.json, if another.
    Raises:
      UserError: there is no tokenizer, or it cannot be read.
    """
    model = model or folder
    names = (_CONFIG, _SPECIAL, *_TEMPLATES)
    paths = [p for name in names for p in sorted(folder.glob(name)) if p.is_file()]
    files = {str(path.relative_to(folder)): _read(path) for path in paths}
    files |= {
        name: _read(model / name) for name in (_GENERATION, _MODEL) if (model / name).exists()
    }
    files[_MODEL] = {k: v for k, v in files.get(_MODEL, {}).items() if k in _IDS}
    try:
        roles = {**files.get(_SPECIAL, {}), **files.get(_CONFIG, {})}
        added = roles.get("added_tokens_decoder", {}).items()
        stated = {token["content"]: {**token, "id": int(index)} for index, token in added}
        if (folder / "added_tokens.json").exists():
            for token, index in _read(folder / "added_tokens.json").items():
                stated.setdefault(token, {"id": int(index)})
        special = [token for name in (*_ROLES, *_LISTS) for token in _tokens(roles.get(name))]
        eos = _tokens(roles.get("eos_token"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder}: {_CONFIG} or a file beside it names no token: {error}"
        ) from error
    if (folder / TOKENIZER_JSON).exists():
        content = (folder / TOKENIZER_JSON).read_bytes()
    else:
        pieces = _read_pieces(folder)
        if not stated:
            logging.warning(
                "%s: no file names added tokens; CodeGen's runs of white space are added, as the"
                " released phi-1 has them",
                folder,
            )
        content = codegen(*pieces, () if stated else WHITE_SPACE).tokenizer_json
    content, ids = _add_tokens(folder, content, stated, special)
    end_of_text = END_OF_TEXT if END_OF_TEXT in ids or not eos else eos[0]
    stop_ids = _stop_ids(files, model) or [ids[token] for token in eos]
    tokenizer = BytePairTokenizer(content, stop_ids, files, end_of_text)
    if wrong := [i for i in tokenizer.stop_ids if not 0 <= i < tokenizer.vocab_size]:
        raise UserError(
            f"{model}: eos_token_id={wrong[0]} is not a token of the tokenizer, which has"
            f" {tokenizer.vocab_size}; correct it in {_GENERATION} or {_MODEL}"
        )
    return tokenizer


def _read(path: Path) -> Any:
    """An object of JSON, or the text of another file."""
    is_json = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        values = parse_json(text) if is_json else text
        json.dumps(values, ensure_ascii=False).encode()  # as it will be written back
    except ValueError as error:
        what = "JSON" if is_json else "text"
        raise UserError(f"{path} is not {what} in UTF-8: {error}") from error
    if is_json and not isinstance(values, dict):
        raise UserError(f"{path} is not an object of JSON")
    return values


def _tokens(value: Any) -> list[str]:
    """The tokens of a field: a name, an object with a name, a list or a dictionary of those."""
    if isinstance(value, Mapping):
        return [value["content"]] if "content" in value else _tokens(list(value.values()))
    if isinstance(value, list):
        return [token for item in value for token in _tokens(item)]
    if value and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return [value] if value else []


def _stop_ids(files: Mapping[str, Any], folder: Path) -> list[int]:
    for name in (_GENERATION, _MODEL):
        value = files.get(name, {}).get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if any(type(i) is not int for i in ids):
            raise UserError(f"{folder / name}: eos_token_id={value!r} must be a number or several")
        if ids:
            return ids
    return []


def _read_pieces(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    try:
        vocab = parse_json((folder / "vocab.json").read_text(encoding="utf-8"))
        text = (folder / "merges.txt").read_text(encoding="utf-8")
        lines = [line for line in text.split("\n") if line and not line.startswith("#version")]
        return vocab, [(left, right) for left, right in map(str.split, lines)]
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} has neither {TOKENIZER_JSON} nor vocab.json with merges.txt; name a folder"
            " that has with --tokenizer"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder}: vocab.json or merges.txt is damaged: {error}") from error


def codegen(
    vocab: dict[str, int], merges: list[tuple[str, str]], white_space: Sequence[str] = WHITE_SPACE
) -> BytePairTokenizer:
    """CodeGen's tokenizer from GPT-2's pieces: byte-level BPE and runs of white space."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    tokenizer.add_tokens([AddedToken(run, normalized=True) for run in white_space])
    return BytePairTokenizer(tokenizer.to_str().encode())


def _add_tokens(
    folder: Path, content: bytes, stated: Mapping[str, Mapping[str, Any]], special: Sequence[str]
) -> tuple[bytes, dict[str, int]]:
    """Adds the tokens that a tokenizer.json lacks; the same bytes if it lacks none.

    Args:
      stated: fields of tokens that have an id.
      special: names of special tokens; a new one gets the next id.
    Returns:
      The file, and the id of every token.
    """
    from tokenizers import Tokenizer

    try:
        values = json.loads(content)
        ids = Tokenizer.from_str(content.decode()).get_vocab(with_added_tokens=True)
        added = {token["content"]: token for token in values.get("added_tokens", [])}
    except Exception as error:  # the library's errors have no common type
        raise UserError(f"{folder / TOKENIZER_JSON} is not a tokenizer: {error}") from error
    before = json.dumps(values)
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    for token, fields in stated.items():
        ids.setdefault(token, fields["id"])
        added.setdefault(token, {**plain, **fields, "content": token})
    for token in special:
        ids.setdefault(token, max(ids.values()) + 1)
        added.setdefault(token, {**plain, "id": ids[token], "content": token})["special"] = True
    values["added_tokens"] = sorted(added.values(), key=lambda token: token["id"])
    if json.dumps(values) != before:
        content = json.dumps(values, ensure_ascii=False).encode()
    tokenizer = Tokenizer.from_str(content.decode())
    found = tokenizer.get_vocab(with_added_tokens=True)
    for name, token in added.items():
        if found[name] != token["id"]:
            raise UserError(
                f"{folder}: the added token {name!r} has id {token['id']} in one file and would be"
                f" {found[name]}; ids of added tokens follow those of the pieces without a gap"
            )
    if n := tokenizer.num_special_tokens_to_add(is_pair=False):
        logging.warning("%s: transformers puts %d token(s) around a text; not done here", folder, n)
    return content, found


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


def write_tokenizer(tokenizer: BytePairTokenizer, folder: Path, max_seq_len: int) -> None:
    """Writes what `AutoTokenizer` loads, and generation_config.json.

    What a Hugging Face folder brought with it is written back: chat template, names of special
    tokens, settings of generation. A tokenizer without a token for padding gets the end of text for
    it [ours: the released phi-1 has none, so that transformers cannot pad a batch].

    Args:
      max_seq_len: the model's context.
    """
    end = tokenizer.end_of_text
    files = {name: value for name, value in tokenizer.files.items() if name != _MODEL}
    config = files.get(_CONFIG) or dict.fromkeys(("bos_token", "eos_token", "unk_token"), end)
    pad = _tokens({**files.get(_SPECIAL, {}), **config}.get("pad_token")) or [end]
    config = {k: v for k, v in config.items() if k != "auto_map"}
    if isinstance(config.get("extra_special_tokens"), list):  # releases before 5 fail on a list
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    files[_CONFIG] = {
        # Its default, the right, would have batches go on after the padding: only the pipeline of
        # releases from 5 on turns it for a model that generates.
        "padding_side": "left",
        **config,
        # Not CodeGenTokenizer, which would ignore the file and build CodeGen's rules again.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad[0],
        "model_max_length": max_seq_len,
        # Releases before 5 give token_type_ids too, if not told, and the model refuses those.
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,  # it would change the text
    }
    ids = special_ids(tokenizer)
    generation = files.get(_GENERATION) or {"_from_model_config": True, **ids}
    files[_GENERATION] = {**generation, "eos_token_id": _one_or_list(tokenizer)}
    if files[_GENERATION].get("pad_token_id") is None:
        files[_GENERATION]["pad_token_id"] = tokenizer.ids[pad[0]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_JSON).write_bytes(tokenizer.tokenizer_json)
    for name, value in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if name.endswith(".json"):
            write_json(folder / name, value)
        else:
            (folder / name).write_text(value, encoding="utf-8")


def special_ids(tokenizer: BytePairTokenizer) -> dict[str, Any]:
    """`bos_token_id` and the like for a config.json: what it once said, or the end of text."""
    kept = tokenizer.files.get(_MODEL) or {"bos_token_id": tokenizer.eot_id}
    # No pad_token_id of ours: that row of the embedding would get no gradient in transformers.
    if kept.get("eos_token_id") is None:
        kept = {**kept, "eos_token_id": _one_or_list(tokenizer)}
    return kept


def _one_or_list(tokenizer: BytePairTokenizer) -> int | list[int]:
    ids = sorted(tokenizer.stop_ids)
    return ids[0] if len(ids) == 1 else ids
