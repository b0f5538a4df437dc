"""Grades solutions as section 4 of the paper does: a language model's marks beside hidden tests.

Examples:
  python launch/evaluate.py --benchmark=unconventional --checkpoint=runs/phi1 \\
      --output=runs/unconventional --allow_code_execution
  python launch/llm_judge.py --results=runs/unconventional/results.jsonl --output=runs/grades
  python launch/llm_judge.py --results=runs/unconventional/results.jsonl --output=runs/grades \\
      --model=NAME --usd_per_million_input=2 --usd_per_million_output=8 --budget_usd=5
                                        (first with --dry_run: requests, tokens, cost)

Without --model: the share of solutions that pass all hidden tests of their problem, and the
likeness to the reference solution's syntax tree. With it also the grades, 0 to 10 after a short
evaluation in words, by the rubric in phi1_jax/evaluate/llm_judge.py. Replies are cached beside the
output: a killed run pays for nothing twice. Writes summary.json, with the paper's table beside,
grades.jsonl and ungraded.jsonl.
"""

from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import api_flags as api
from phi1_jax.cli import script
from phi1_jax.files import write_json

RESULTS = flags.DEFINE_string("results", None, "results.jsonl of launch/evaluate.py.")
BENCHMARK = flags.DEFINE_string(
    "benchmark", "unconventional", "What was solved: unconventional, or a path to problems."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the summary and the grades.")
N_GRADES = flags.DEFINE_integer("n_grades", 3, "Grades for each solution.", 1)
TEMPERATURE = flags.DEFINE_float("temperature", 0.7, "Of the LLM judge.", 0.0)


def main() -> None:
    script.require(RESULTS, OUTPUT)
    if not api.MODEL.value:
        script.refuse_unread([N_GRADES, TEMPERATURE, api], "is for grades: name their --model too")
    from phi1_jax.evaluate import llm_judge
    from phi1_jax.evaluate.benchmarks import read_benchmark

    output = Path(OUTPUT.value)
    problems = read_benchmark(BENCHMARK.value).require_problems()
    solved = llm_judge.read_solved(Path(RESULTS.value), problems)
    if api.DRY_RUN.value:
        with api.open_language_model(output) as model:
            print(model.estimate(llm_judge.requests_for(solved, N_GRADES.value, TEMPERATURE.value)))
        return
    script.make_folder(output, "output")
    summary: dict[str, Any] = {"benchmark": BENCHMARK.value, **llm_judge.offline_scores(solved)}
    if api.MODEL.value:
        with api.open_language_model(output) as model:
            summary["grade"] = llm_judge.grade(
                model, solved, output, n_grades=N_GRADES.value, temperature=TEMPERATURE.value
            )
    summary["paper_section_4"] = llm_judge.PAPER
    write_json(output / "summary.json", summary)
    print(llm_judge.summary_table(summary))


if __name__ == "__main__":
    script.run(main)
