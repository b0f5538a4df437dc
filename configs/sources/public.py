"""Public data sets that can stand in for the paper's closed ones; use them as --source=@NAME.

Command: python launch/curate.py --source=@stackv2_edu --output=runs/curate --tasks=64
         python launch/curate.py --source=@the_stack_dedup:/data/the-stack/python --output=...

With a path after the name, a copy on disk is read with the same column map. Sizes and licences are
those of the data sets' cards; read the cards before you use the data. --sources=FILE names another
file like this one, --sources.NAME.field=value changes one field.

Fields: `hub` with `subset`, `data_dir` and `split` is what to stream; `columns` maps a document's
field to a column (`a.b` looks inside a record; `prompt` is put before the text); `where` keeps the
documents whose field has that value; `prose` marks text for readers; `before` says what must be
done first; `unusable` why it cannot be read as it is.
"""

from ml_collections import ConfigDict

_SOFTWARE_HERITAGE = (
    "it has no text, only the ids of files (blob_id): fetch each file from Software Heritage's "
    "bucket (s3://softwareheritage/content/BLOB_ID, gzip), write JSON lines with a column text, "
    "and give that folder as --source=NAME=FOLDER"
)


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "the_stack_dedup": {
                "hub": "bigcode/the-stack-dedup",
                "data_dir": "data/python",
                "columns": {
                    "text": "content",
                    "id": "hexsha",
                    "path": "max_stars_repo_path",
                    "repository": "max_stars_repo_name",
                    "licence": "max_stars_repo_licenses",
                    "language": "lang",
                },
                "where": {"language": "Python"},
                "licence": "permissive, named for each file",
                "size": "the paper's pool: The Stack's Python, near-deduplicated",
                "before": "accept its terms on its page, then `hf auth login`",
            },
            "stackv2_edu": {
                "hub": "common-pile/stackv2_edu_filtered",
                "columns": {"text": "text", "id": "id", "licence": "metadata.license"},
                "licence": "open, named for each file",
                "size": "many languages; what does not parse as Python is dropped as syntax_error",
                "before": "nothing: the easiest start",
            },
            "stackexchange": {
                "hub": "common-pile/stackexchange_filtered",
                "columns": {"text": "text", "id": "id", "licence": "metadata.license"},
                "prose": True,
                "licence": "CC-BY-SA, version named for each post",
                "size": "all sites; keep StackOverflow's by a copy of its files",
                "before": "nothing",
            },
            "python_edu": {
                "hub": "HuggingFaceTB/smollm-corpus",
                "subset": "python-edu",
                "licence": "ODC-By; each file its own",
                "unusable": _SOFTWARE_HERITAGE,
            },
            "stack_edu": {
                "hub": "HuggingFaceTB/stack-edu",
                "subset": "Python",
                "licence": "each file its own",
                "unusable": _SOFTWARE_HERITAGE,
            },
            "cosmopedia": {
                "hub": "HuggingFaceTB/cosmopedia",
                "subset": "stanford",
                "columns": {"text": "text", "audience": "audience"},
                "prose": True,
                "licence": "Apache-2.0",
                "size": "one of eight subsets; set --sources.cosmopedia.subset for another",
                "before": "nothing",
            },
            "cosmopedia_v2": {
                "hub": "HuggingFaceTB/smollm-corpus",
                "subset": "cosmopedia-v2",
                "columns": {"text": "text", "audience": "audience"},
                "prose": True,
                "licence": "ODC-By",
                "before": "nothing",
            },
            "code_exercises": {
                "hub": "jinaai/code_exercises",
                "columns": {"prompt": "problem", "text": "solution"},
                "licence": "CC-BY-NC-SA-4.0: not for commercial use",
                "size": "1,468,146 exercises",
                "before": "nothing",
            },
            "tiny_codes": {
                "hub": "nampdn-ai/tiny-codes",
                "columns": {
                    "prompt": "prompt",
                    "text": "response",
                    "language": "programming_language",
                },
                "where": {"language": "Python"},
                "prose": True,
                "licence": "MIT",
                "size": "1.63M rows in many languages",
                "before": "it may ask for a login: accept its terms, then `hf auth login`",
            },
            "open_phi_textbooks": {
                "hub": "open-phi/textbooks",
                "columns": {"text": "markdown", "topic": "topic"},
                "prose": True,
                "before": "its card names no licence that we know of: ask",
            },
            "textbook_quality": {
                "hub": "vikp/textbook_quality_programming",
                "columns": {"text": "markdown", "topic": "topic"},
                "prose": True,
                "size": "11,650 books, 472 MB, about 115M tokens",
                "before": "its card names no licence that we know of: ask",
            },
            # For launch/annotate.py --annotator=labels, in place of GPT-4's labels.
            "stack_annotations": {
                "hub": "devngho/the-stack-llm-annotations-v2",
                "columns": {"text": "text", "label": "score", "language": "lang"},
                "where": {"language": "Python"},
                "licence": "MIT for the scores; each file its own",
                "size": "629,986 rows in many languages",
                "before": "nothing",
            },
        }
    )
