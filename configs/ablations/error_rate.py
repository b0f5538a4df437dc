"""What do wrong solutions in the exercises cost?

The paper says that its generated data has a high error rate. A later article says that a model
trained on data that is wholly wrong still gave right answers.
Varies: the share of exercises whose solution is wrong, by one small edit each (off by one, a wrong
branch, a wrong value), proved by the exercise's own examples. Fixed: prompts, steps, pretraining.
"""

from phi1_jax.ablation.question import Change, Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook()}
    variants = {}
    for share in SHARES:
        name = f"wrong_{share:g}"
        shares = {"wrong_share": ",".join(f"{share:g}" for share in SHARES)}
        change = Change("corrupt_exercises.py", shares, part=name)
        corpora[name] = Corpus(("exercises",), (change,))
        variants[name] = (pretrain(recipe), finetune(recipe, name))
    return Question(recipe, corpora, variants, baseline="wrong_0")
