"""Writes a run as a repository for the Hugging Face Hub, with its cards, and uploads it.

Look at it first, then upload what lies there, with what was changed by hand:
  python launch/publish.py --checkpoint=runs/phi1 --repo=me/phi1 --scores=runs/humaneval --dry_run
  python launch/publish.py --checkpoint=runs/phi1 --repo=me/phi1 --scores=runs/humaneval

README.md says what the model is, how it was trained, how it scores (launch/evaluate.py's outputs,
with intervals; those of other weights are refused) and its limits; DATA.md what it was trained on,
under which licences, and what decontamination found, all as the stages recorded it. The folder also
loads with AutoModelForCausalLM. The repository is private unless --noprivate; log in with
`hf auth login`, or set HF_TOKEN. Weights that were converted from elsewhere are refused: nothing is
known of their training, and `hf upload me/phi FOLDER` takes their folder with its own card.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.errors import UserError
from phi1_jax.files import read_json_if_whole, write_json

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "DIR or DIR@STEP of a run.")
REPO = flags.DEFINE_string("repo", None, "ACCOUNT/NAME on the Hub.")
SCORES = flags.DEFINE_multi_string("scores", [], "Output of launch/evaluate.py; repeatable.")
LICENCE = flags.DEFINE_string("license", None, "Of the weights, as the Hub names it: apache-2.0.")
OUTPUT = flags.DEFINE_string("output", None, "The folder (default: DIR.hub).")
DTYPE = flags.DEFINE_enum(
    "dtype", None, ("float32", "float16", "bfloat16"), "Of the weights; see launch/convert.py."
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Write the folder only.")
PRIVATE = flags.DEFINE_bool("private", True, "Whether a new repository is private.")
MARKER = "phi1_jax.json"


def main() -> None:
    script.require(CHECKPOINT, REPO)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]{0,95}", REPO.value):
        raise UserError(f"--repo={REPO.value}: give ACCOUNT/NAME, of letters, digits, - _ and .")
    os.environ["JAX_PLATFORMS"] = "cpu"
    if not DRY_RUN.value:
        require_login()
    from phi1_jax.evaluate.saved import sha256
    from phi1_jax.interop.cards import read_scores
    from phi1_jax.interop.opened import OpenModel

    checkpoint = OpenModel(CHECKPOINT.value)
    scores = read_scores([Path(path) for path in SCORES.value], checkpoint.identity)
    written = {
        "checkpoint": checkpoint.identity,
        "step": checkpoint.step,
        "repo": REPO.value,
        "scores": sha256(json.dumps(scores, sort_keys=True)),
        "license": LICENCE.value,
        "dtype": DTYPE.value,
    }
    run_dir = checkpoint.path
    folder = Path(OUTPUT.value) if OUTPUT.value else run_dir.with_name(run_dir.name + ".hub")
    script.make_folder(folder, "output")
    if not any(folder.iterdir()):
        write(folder, run_dir, written, scores)
    else:
        found = read_json_if_whole(folder / MARKER)
        other = [name for name, value in written.items() if found.get(name) != value]
        if "checkpoint" in other or "step" in other:
            raise UserError(
                f"{folder} holds other files than this checkpoint's; name another --output"
            )
        if other:
            raise UserError(
                f"{folder} was written with other {' and '.join(f'--{name}' for name in other)};"
                " delete it to have it written anew, or name another --output"
            )
        print(f"{folder} stays as it is; delete it to have it written anew")
    if not DRY_RUN.value:
        upload(folder)


def write(
    folder: Path,
    run_dir: Path,
    written: Mapping[str, object],
    scores: Sequence[Mapping[str, Any]],
) -> None:
    from phi1_jax.interop.cards import data_card, model_card, read_runs
    from phi1_jax.interop.huggingface import export_run

    try:
        runs = read_runs(run_dir)
        if not runs[-1].corpora:
            raise UserError(
                f"--checkpoint={CHECKPOINT.value}: converted weights, of whose training nothing is"
                " recorded, so a card would be false; a Hugging Face folder goes to the Hub as it"
                f" is, with the card it has: hf upload {REPO.value} FOLDER"
            )
        n_params = export_run(run_dir, folder, int(str(written["step"])), dtype=DTYPE.value)
        card = model_card(REPO.value, n_params, runs, scores, LICENCE.value)
        (folder / "README.md").write_text(card, encoding="utf-8")
        (folder / "DATA.md").write_text(data_card(REPO.value, runs), encoding="utf-8")
        write_json(folder / MARKER, written)  # last: with it the folder is whole
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"{folder}: {n_params:,} parameters; read README.md and DATA.md before you upload")


def require_login() -> None:
    """Raises:
    UserError: no huggingface_hub, or no account.
    """
    try:
        from huggingface_hub import get_token
    except ImportError as error:
        raise UserError("an upload needs `pip install phi1_jax[hub]`; or --dry_run") from error
    if not get_token():
        raise UserError("not logged in: `hf auth login` or HF_TOKEN; or --dry_run")


def upload(folder: Path) -> None:
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        url = api.create_repo(REPO.value, private=PRIVATE.value, exist_ok=True)
        api.upload_folder(
            repo_id=REPO.value, folder_path=folder, commit_message="Upload with phi1_jax"
        )
    except Exception as error:  # of the HTTP library below, which changes with versions
        reason = " ".join(str(error).split())
        raise UserError(f"--repo={REPO.value}: {reason}; {folder} is whole, try again") from error
    print(f"uploaded to {url}")


if __name__ == "__main__":
    script.run(main)
