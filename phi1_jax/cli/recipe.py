"""The stages that the quickstart and the ablations share, from raw code to scores."""

import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from absl import logging

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.cli.pipeline import Pipeline
from phi1_jax.config_dict import load_config, to_dict

# Of training the quickstart's model, alone on 2 cores; two at once read 5,200 each.
GUESSED_TOKENS_PER_S = 7_500


@dataclass(frozen=True)
class Data:
    """A pipeline, and where its data stages leave what is trained and tested on.

    Attributes:
      own: the held-out problems of the teacher.
      corpora: raw_code, filtered (the better part of it), textbooks, exercises; and
        exercises_as_written, before those that give a problem away were taken out.
    """

    pipeline: Pipeline
    own: Path
    tokenizer: Path
    corpora: dict[str, Path]


@dataclass(frozen=True)
class Recipe:
    """How data, models and scores are made; the defaults are the quickstart's.

    Attributes:
      config: of every training run.
      overrides: of its fields, e.g. {"model.n_layers": 2}.
      source: raw code and prose; see launch/curate.py.
      local: files and folders that `source` names; when they change, all is done anew.
      public: public benchmarks: name -> file of problems.
      n_exercises: exercises to ask for, at least 100; finetuning reads each about once.
      n_problems: problems that the teacher holds out, at least 10.
      pretrain_steps: steps on raw code, and on CodeTextbook.
      finetune_steps: steps on the exercises, and of the control on CodeTextbook.
      max_new_tokens: of a completion.
      filter_quality: False takes all curated code as `filtered`.
      validation_rows: of each source, for ablations' validation loss.
    Raises:
      UserError: a number of them is too small.
    """

    config: Path
    overrides: Mapping[str, object]
    public: Mapping[str, Path]
    source: Sequence[str] = ("stdlib", "prose")
    local: Sequence[Path] = ()
    pool_mb: float = 8
    n_exercises: int = bounded(8_000, ge=100)
    n_textbook_sections: int = 400  # a sixth of the filtered code, as in section 2 of the paper
    n_problems: int = bounded(200, ge=10)
    tau: float = 0.9  # syntax trees this near to a public problem's go
    vocab_size: int = 2048
    pretrain_steps: int = bounded(400, ge=1)
    finetune_steps: int = bounded(1120, ge=1)
    # [ours] The paper finetunes on exercises alone; so small a model then forgets everything else.
    # `ablate.py --question=replay` measures the share.
    replay: float = 0.3
    n_annotated: int = 1000
    embed_tokens: int = 256
    filtered_mb: float = 2.5
    max_new_tokens: int = bounded(160, ge=1)
    n_samples: int = 0  # of each public problem, for ablations' pass@k; 0: greedy only
    batch_size: int = 64  # completions drawn at once; 256 at once take half as long again
    filter_quality: bool = True
    validation_rows: int = bounded(128, ge=0)

    def __post_init__(self) -> None:
        check_bounds(self, "--")

    def tokens(self, steps: int) -> int:
        """That so many steps of training read."""
        data = load_config(self.config, self.overrides).data
        return steps * data.global_batch_size * data.seq_len

    def add_data(self, pipeline: Pipeline) -> Data:
        """Raw code, textbooks and exercises, decontaminated; the tokenizer; the quality filter."""
        curated = pipeline.add(
            "curate",
            "curate.py",
            *(f"--source={source}" for source in self.source),
            f"--pool_mb={self.pool_mb:g}",
            content={"sources": list(self.local)} if self.local else None,
        )
        written = pipeline.add(
            "synthesize",
            "synthesize.py",
            f"--n_exercises={self.n_exercises}",
            f"--n_textbook_sections={self.n_textbook_sections}",
            f"--n_benchmark={self.n_problems}",
        )
        own = written / "benchmark.jsonl"
        # What is trained on, without what gives a problem of any benchmark away.
        clean = {
            "raw_code": curated / "pool.jsonl.zst",
            "filtered": curated / "filtered.jsonl.zst",
            "textbooks": written / "textbooks.jsonl.zst",
            "exercises": written / "exercises.jsonl.zst",
        }
        for name, benchmarks, corpora in (
            # Raw code was not written by the teacher who made the problems.
            ("own", [own], ("textbooks", "exercises")),
            ("public", list(self.public.values()), tuple(clean)),
        ):
            if not benchmarks:
                continue
            folder = pipeline.add(
                f"decontaminate_{name}",
                "decontaminate.py",
                *(f"--corpus={clean[key]}" for key in corpora),
                *(f"--benchmark={problems}" for problems in benchmarks),
                f"--tau={1.0 if name == 'own' else self.tau:g}",
            )
            clean |= {key: folder / clean[key].name for key in corpora}
        # On the synthetic text alone: with the library's code in the sample, 2,048 pieces do not
        # hold the words of the exercises whole (9 % of them are split, against 1.5 %).
        tokenizer = pipeline.add(
            "tokenizer",
            "tokenize_corpus.py",
            f"--corpus={clean['textbooks']}",
            f"--corpus={clean['exercises']}",
            f"--vocab_size={self.vocab_size}",
            "--sample_mb=4",
            output_flag="train_tokenizer",
        )
        as_written = {"exercises_as_written": written / "exercises.jsonl.zst"}
        data = Data(pipeline, own, tokenizer, clean | as_written)
        if self.filter_quality:
            data.corpora["filtered"] = self._add_filter(data)
        return data

    def _add_filter(self, data: Data) -> Path:
        """The quality filter of section 2.1.

        The model trained on raw code is its embedder, the rubric stands in for GPT-4, and the
        better half of the sample counts as good.
        """
        corpus = f"--corpus={data.corpora['filtered']}"
        shards = self.add_shards(data, "raw_code", [data.corpora["raw_code"]])
        model = self.add_training(
            data, "raw_code", {"raw_code": (shards, 1.0)}, self.pretrain_steps
        )
        embeddings = data.pipeline.add(
            "embed",
            "embed.py",
            corpus,
            f"--checkpoint={model}",
            f"--max_tokens={self.embed_tokens}",
        )
        annotated = data.pipeline.add("annotate", "annotate.py", corpus, f"--n={self.n_annotated}")
        classifier = data.pipeline.add(
            "fit_quality",
            "fit_quality.py",
            f"--annotated={annotated / 'annotated.jsonl.zst'}",
            f"--embeddings={embeddings}",
            "--positive_share=0.5",
        )
        folder = data.pipeline.add(
            "filter",
            "filter.py",
            corpus,
            f"--embeddings={embeddings}",
            f"--model={classifier}",
            f"--budget_mb={self.filtered_mb:g}",
        )
        return folder / "filtered.jsonl.zst"

    def add_shards(
        self, data: Data, name: str, corpora: Sequence[Path], max_tokens: int | None = None
    ) -> Path:
        """Token shards of some files; of their beginning only, with `max_tokens`."""
        return data.pipeline.add(
            f"shards_{name}",
            "tokenize_corpus.py",
            *(f"--corpus={path}" for path in corpora),
            f"--tokenizer={data.tokenizer}",
            *([f"--max_tokens={max_tokens}"] if max_tokens else []),
            "--force",  # when the tokenizer is another one, so are the shards
        )

    def add_training(
        self,
        data: Data,
        name: str,
        mixture: Mapping[str, tuple[Path, float]],
        steps: int,
        start: Path | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Path:
        """One training run.

        Args:
          mixture: source -> its shards and its share of the rows.
          start: the run whose weights it starts from.
          overrides: fields of the config, beside the recipe's own.
        """
        fields = {**self.overrides, **(overrides or {}), "steps": steps}
        planned = load_config(self.config, {**fields, "steps": 1 << 30}).optimizer.warmup_steps
        if planned > steps:  # a short trial; nothing but its number of steps was asked for
            fields["optimizer.warmup_steps"] = steps // 10
            message = "%s: the warm-up is shortened from %d to %d steps, for a run of %d"
            logging.warning(message, name, planned, steps // 10, steps)
        config = load_config(self.config, fields)  # refuses what is wrong now, not later
        return data.pipeline.add(
            name,
            "train.py",
            f"--config={self.config}",
            *(f"--config.{field}={value}" for field, value in fields.items()),
            f"--tokenizer={data.tokenizer}",
            *(f"--source={k}={shards}:{weight:g}" for k, (shards, weight) in mixture.items()),
            *([f"--config.init_from={start}"] if start else []),
            tokens=steps * config.data.global_batch_size * config.data.seq_len,
            content={"config": to_dict(config)},
        )

    def add_scores(
        self,
        data: Data,
        name: str,
        benchmark: str,
        models: Mapping[str, str],
        execute: bool,
        samples: bool = False,
    ) -> Path:
        """Bits per byte of the solutions, and pass@1 if `execute`, of models (name -> run).

        Args:
          benchmark: "own", or one of `public`.
          samples: in place of both, `n_samples` samples of each problem for pass@k.
        """
        problems = self.public.get(benchmark)
        if execute:
            how = [
                f"--max_new_tokens={self.max_new_tokens}",
                f"--batch_size={self.batch_size}",
                "--allow_code_execution",
                "--on_overflow=left",  # HumanEval's longest prompts, in a short context
            ]
            if samples:
                how += [
                    "--metrics=pass_at_k",
                    f"--n_samples={self.n_samples}",
                    # [ours] Of 0.2, 0.4, 0.6 and 0.8 the best on MBPP's training split.
                    "--temperature=0.4",
                    "--top_p=0.95",
                ]
        else:
            how = ["--metrics=solution_bits_per_byte"]
        return data.pipeline.add(
            name,
            "evaluate.py",
            f"--benchmark={data.own if problems is None else benchmark}",
            *([f"--problems={problems}"] if problems else []),
            *(f"--checkpoint={name}={run}" for name, run in models.items()),
            *how,
        )


def smoke(recipe: Recipe) -> Recipe:
    """The same at a scale that shows only that it runs, in seconds: scores mean nothing."""
    json = Path(sysconfig.get_paths()["stdlib"], "json")
    model = {"n_layers": 2, "d_mlp": 128, "scan_unroll": 1, "vocab_size": 1024}
    return replace(
        recipe,
        overrides={
            **{f"model.{field}": value for field, value in model.items()},
            "optimizer.warmup_steps": 2,
        },
        public={},
        source=(f"code={json}", f"prose:{json}"),
        local=(),
        n_exercises=300,
        n_textbook_sections=60,
        n_problems=10,
        vocab_size=1024,
        pretrain_steps=4,
        finetune_steps=4,
        filter_quality=False,
        validation_rows=0,  # nothing can be spared of so little
        max_new_tokens=8,
        batch_size=10,
    )
