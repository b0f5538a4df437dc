"""Does the paper's Figure 2.1 hold on problems that nobody here wrote?

The paper: HumanEval 11 to 16 % on raw code, 16 to 29 on CodeTextbook, 45 to 51 after finetuning on
exercises.
Varies: the data. Fixed: the model, 1.1M parameters. "control" goes on with CodeTextbook for as many
tokens as the exercises have; raw code and CodeTextbook are the models before that, as in the paper.
"""

from dataclasses import replace

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

# 2.6M parameters on half the tokens, in the same time, were no better with an earlier teacher.
FIELDS = {"data.global_batch_size": 8}


def get_question(recipe: Recipe) -> Question:
    # Nearly seven times the quickstart's tokens, more of them exercises, which are read about once.
    # To have seen many is what solves problems; bits per byte need CodeTextbook's replay more.
    recipe = replace(
        recipe,
        n_exercises=7 * recipe.n_exercises,
        pretrain_steps=3 * recipe.pretrain_steps // 2,
        finetune_steps=4 * recipe.finetune_steps,
        replay=recipe.replay / 2,
        n_samples=10,
    )
    corpora = {
        "raw_code": Corpus(("raw_code",)),
        "code_textbook": code_textbook(),
        "exercises": Corpus(("exercises",)),
    }
    first = pretrain(recipe, config=FIELDS)
    variants = {
        "raw_code": (pretrain(recipe, "raw_code", FIELDS),),
        "code_textbook": (first,),
        "control": (first, Phase({"code_textbook": 1.0}, recipe.finetune_steps, FIELDS)),
        "code_exercises": (first, finetune(recipe, config=FIELDS)),
    }
    return Question(recipe, corpora, variants, baseline="control")
