"""Fails unless the quickstart's result reaches its bars: `check_quickstart.py SUMMARY_JSON`."""

import json
import sys
from pathlib import Path

MIN_PASS_AT_1 = 0.80
MIN_GAIN = 0.40
MIN_PROBLEMS = 200
MAX_SECONDS = 480


def main(path: Path) -> None:
    summary = json.loads(path.read_text(encoding="utf-8"))
    scores = summary["pass_at_1"]
    gain = scores["code_exercises"] - scores["code_textbook"]
    checks = {
        f"code_exercises {scores['code_exercises']:.3f} >= {MIN_PASS_AT_1}": (
            scores["code_exercises"] >= MIN_PASS_AT_1
        ),
        f"gain over code_textbook {gain:.3f} >= {MIN_GAIN}": gain >= MIN_GAIN,
        f"problems {summary['n_problems']} >= {MIN_PROBLEMS}": (
            summary["n_problems"] >= MIN_PROBLEMS
        ),
    }
    for text, ok in checks.items():
        print(f"{'ok' if ok else 'SHORT'}: {text}")
    # Reported, not judged: it depends on the machine and on what else runs there.
    seconds = summary["total_seconds"]
    print(f"{'ok' if seconds <= MAX_SECONDS else 'SLOW'}: {seconds} s, meant to be {MAX_SECONDS}")
    sys.exit(not all(checks.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
