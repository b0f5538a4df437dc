"""Does finetuning bring out what the exercises do not contain?

The paper (section 3): after finetuning on exercises the model is better also at what they lack.
In one variant no exercise uses `while`, and CodeTextbook does. Scored apart: the problems whose
solution uses it. Varies: before finetuning; after as many steps more on CodeTextbook; after
finetuning without `while`; with it. Fixed: pretraining, steps.
"""

from dataclasses import replace

from phi1_jax.ablation.question import (
    Change,
    Corpus,
    Phase,
    Question,
    code_textbook,
    finetune,
    pretrain,
)
from phi1_jax.cli.recipe import Recipe

CONSTRUCT = "while"


def get_question(recipe: Recipe) -> Question:
    # About one problem of ten needs it.
    recipe = replace(recipe, n_problems=2 * recipe.n_problems)
    corpora = {
        "code_textbook": code_textbook(),
        "exercises": Corpus(("exercises",)),
        f"without_{CONSTRUCT}": Corpus(
            ("exercises",), (Change("select_exercises.py", {"without": [CONSTRUCT]}),)
        ),
    }
    first = pretrain(recipe)
    variants = {
        "before": (first,),
        "code_textbook": (first, Phase({"code_textbook": 1.0}, recipe.finetune_steps)),
        f"without_{CONSTRUCT}": (first, finetune(recipe, f"without_{CONSTRUCT}")),
        "all_exercises": (first, finetune(recipe)),
    }
    return Question(recipe, corpora, variants, baseline="before", construct=CONSTRUCT)
