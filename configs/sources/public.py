"""Public data sets and packages that can stand in for the paper's closed data: --source=@NAME.

Command: python launch/curate.py --source=@stackv2_edu --output=runs/curate --tasks=64
         python launch/curate.py --source=@the_stack_dedup:/data/the-stack/python --output=...
         python launch/curate.py --source=@algorithms --source=@toolz --source=@python_tutorial ...

With a path after the name, a copy on disk is read with the same column map. Sizes and licences are
those of the data sets' cards; read the cards before you use the data. Packages are downloaded once,
unpacked in a cache, and neither installed nor run; their licences are those that they state, looked
up on 2026-11-26 (`algoritmia` is left out: AGPL), and travel with each document. --sources=FILE
names another file like this one, --sources.NAME.field=value changes one field.

Fields: `hub` with `subset`, `data_dir` and `split` is what to stream; `package` is what to fetch,
`folder` what to read of it, `sha256` the checksum that its archive must have; `columns` maps a
document's field to a column (`a.b` looks inside a record; `prompt` is put before the text); `where`
keeps the documents whose field has that value; `prose` marks text for readers; `before` says what
must be done first; `unusable` why it cannot be read as it is.
"""

from ml_collections import ConfigDict

_SOFTWARE_HERITAGE = (
    "it has no text, only the ids of files (blob_id): fetch each file from Software Heritage's "
    "bucket (s3://softwareheritage/content/BLOB_ID, gzip), write JSON lines with a column text, "
    "and give that folder as --source=NAME=FOLDER"
)

# Educational Python of the package index: name -> wheel, SHA-256, licence, what it is.
_WHEELS = {
    "algorithms": (
        "algorithms==1.0.1",
        "f45568f40011b264195e7879ef42b043ea1be744479e7b3292a895edef167f64",
        "MIT",
        "data structures and algorithms, 400 files",
    ),
    "andz": (
        "andz==0.1.1",
        "b379765ae4b19a9e71b729e0dd0d1fa2ca26b3b9ee09849dca97e23ca6388bec",
        "MIT",
        "algorithms and data structures of a first course",
    ),
    "pygorithm": (
        "pygorithm==1.0.4",
        "fac49add9d7f769cc357967d99223d311b52acfeec1014e89c24f7f22b618a6a",
        "MIT",
        "algorithms for learners",
    ),
    "boltons": (
        "boltons==26.2.0",
        "41942cbce440211bbcf2487ccdc356964ad674f95a01068b8a0dd7a1d1fed036",
        "BSD-3-Clause",
        "what the standard library lacks",
    ),
    "funcy": (
        "funcy==2.1",
        "290794186530c944f7e444d2e28b98f33a55685f2bfb9b7a61dac564decab8f8",
        "BSD-3-Clause",
        "functional tools",
    ),
    "more_itertools": (
        "more-itertools==11.2.1",
        "35a7377edd1dd6608dcb2cdf534ded55ea32d49448875ad042cd3f879fb1ded0",
        "MIT",
        "iterators, with examples",
    ),
    "mpmath": (
        "mpmath==1.4.1",
        "dc4f0ea2304480d4a9a48a94c1020571558ade522b44a6912efac63a586e140f",
        "BSD-3-Clause",
        "arbitrary-precision arithmetic",
    ),
    "networkx": (
        "networkx==3.6.1",
        "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762",
        "BSD-3-Clause",
        "graph algorithms, 6 MB",
    ),
    "pydash": (
        "pydash==8.1.0",
        "61df790f303288df7da3a766c3ca6ea5a8f3ec882b28712bac8d13573dbaba97",
        "MIT",
        "small utilities, each with an example",
    ),
    "sortedcontainers": (
        "sortedcontainers==2.4.0",
        "a163dcaede0f1c021485e957a39245190e74249897e2ae4b2aa38595db237ee0",
        "Apache-2.0",
        "sorted collections",
    ),
    "sympy": (
        "sympy==1.14.0",
        "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5",
        "BSD-3-Clause",
        "symbolic mathematics, 26 MB",
    ),
    "toolz": (
        "toolz==1.2.0",
        "890f820b1cb8152785aaf9386d8707770110809035800985ca65cb24ce1120ef",
        "BSD-3-Clause",
        "functional tools",
    ),
}


def get_config() -> ConfigDict:
    wheels = {
        name: {
            "package": f"pip:{wheel}",
            "sha256": sha256,
            "licence": licence,
            "size": size,
            "before": "nothing",
        }
        for name, (wheel, sha256, licence, size) in _WHEELS.items()
    }
    return ConfigDict(
        wheels
        | {
            "python_tutorial": {
                "package": "apt:python3.11-doc",  # Debian 12's; apt-cache search names yours
                "folder": "usr/share/doc/python3.11/html/_sources/tutorial",
                "prose": True,
                "licence": "PSF-2.0",
                "size": "Python's tutorial, 17 chapters",
                "before": "apt-get update, on Debian",
            },
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
            # Exercises with tests, for launch/synthesize.py --teacher=public, which executes them.
            "opencodeinstruct": {
                "hub": "nvidia/OpenCodeInstruct",
                "columns": {
                    "id": "id",
                    "prompt": "input",
                    "text": "output",
                    "test": "unit_tests",
                    "domain": "domain",
                },
                "licence": "CC-BY-4.0",
                "size": "5,000,000 rows, 10 assert statements each, written by language models",
                "before": "launch/synthesize.py --teacher=public",
            },
            "kodcode": {
                "hub": "KodCode/KodCode-V1",
                "columns": {
                    "id": "question_id",
                    "prompt": "question",
                    "text": "solution",
                    "test": "test",
                    "style": "style",
                    "subset": "subset",
                },
                "licence": "CC-BY-NC-4.0: not for commercial use",
                "size": "447,000 rows with tests for pytest, written by language models",
                "before": "launch/synthesize.py --teacher=public",
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
