"""JSON files that are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a reader sees either the old file or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    # Half a surrogate, of a file's name say, becomes its escape in JSON: \udce9.
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())  # or a power cut may leave the new name with no content
    temporary.replace(path)
