"""How much of CodeTextbook belongs in the finetuning mixture?

The paper finetunes on exercises alone. A model of 1M parameters then forgets what else it has read:
some CodeTextbook in each batch keeps it.
Varies: the share of CodeTextbook in finetuning. Fixed: steps, pretraining.
"""

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, pretrain
from phi1_jax.cli.recipe import Recipe

SHARES = (0.0, 0.05, 0.15, 0.3, 0.5)


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook(), "exercises": Corpus(("exercises",))}
    variants = {}
    for share in SHARES:
        mixture = {"exercises": 1 - share} | ({"code_textbook": share} if share else {})
        second = Phase(mixture, recipe.finetune_steps)
        variants[f"replay_{share:g}"] = (pretrain(recipe), second)
    return Question(recipe, corpora, variants, baseline="replay_0")
