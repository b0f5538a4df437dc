"""Does executing the exercises pay?

Beyond the paper, which trains on exercises as the teacher wrote them.
Varies: which exercises of a teacher who errs in half of them are kept: all; those that run; those
whose examples hold. The errors are those of `error_rate`. Fixed: steps, pretraining. What is kept
differs in number, and so in how often it is seen.
"""

from phi1_jax.ablation.question import Change, Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

WRONG = Change("corrupt_exercises.py", {"wrong_share": "0.5"}, part="wrong_0.5")
KEPT = {"as_written": "parses", "executed": "runs", "verified": "doctest_passes"}


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook()}
    variants = {}
    for name, verdict in KEPT.items():
        select = Change("select_exercises.py", {"require": verdict})
        corpora[name] = Corpus(("exercises",), (WRONG, select))
        variants[name] = (pretrain(recipe), finetune(recipe, name))
    return Question(recipe, corpora, variants, baseline="as_written")
