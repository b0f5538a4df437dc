"""Is the same data sixteen times as good as new data once?

The paper: phi-1 sees CodeTextbook about 8 times and CodeExercises about 17 times.
Varies: how many distinct tokens of exercises there are, so that the same steps read them 1, 2, 4, 8
or 16 times. Fixed: steps, pretraining.
"""

from phi1_jax.ablation.question import Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

EPOCHS = (1, 2, 4, 8, 16)


def get_question(recipe: Recipe) -> Question:
    read = recipe.tokens(recipe.finetune_steps) * (1 - recipe.replay)
    corpora = {"code_textbook": code_textbook()}
    variants = {}
    for epochs in EPOCHS:
        name = f"epochs_{epochs}"
        corpora[name] = Corpus(("exercises",), max_tokens=round(read / epochs))
        variants[name] = (pretrain(recipe), finetune(recipe, name))
    return Question(recipe, corpora, variants, baseline="epochs_1")
