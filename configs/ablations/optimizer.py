"""AdamW, as in the paper, or Muon?

The paper trains with AdamW; the tiny models of this project use Muon.
Varies: the optimizer of both phases, AdamW at three learning rates, Muon at the recipe's. Fixed:
data, steps, model.
"""

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

OPTIMIZERS = {
    "muon": {"optimizer.name": "muon"},
    **{
        f"adamw_{rate:g}": {"optimizer.name": "adamw", "optimizer.peak_learning_rate": rate}
        for rate in (1e-3, 3e-3, 1e-2)
    },
}


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook(), "exercises": Corpus(("exercises",))}
    first, second = pretrain(recipe), finetune(recipe)
    variants = {
        name: (
            Phase(first.mixture, first.steps, config),
            Phase(second.mixture, second.steps, config),
        )
        for name, config in OPTIMIZERS.items()
    }
    return Question(recipe, corpora, variants, baseline="muon")
