"""What do heads bring that can copy from the start?

The paper's models learn to copy: induction heads appear after billions of tokens of text.
Varies: in how many heads of the first two layers the circuit is placed before training
(phi1_jax/model/induction.py). Fixed: data, steps, model.
"""

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook(), "exercises": Corpus(("exercises",))}
    first, second = pretrain(recipe), finetune(recipe)
    variants = {}
    for n in (0, 1, 2):
        config = {"model.n_induction_heads": n}
        variants[f"{n}_heads"] = (
            Phase(first.mixture, first.steps, config),
            Phase(second.mixture, second.steps, config),
        )
    return Question(recipe, corpora, variants, baseline="0_heads")
