"""Does it matter how many kinds of exercises there are?

The paper: diversity is one of the main difficulties of synthetic data; its exercises were made to
differ by their functions' names.
Varies: the exercises come from all, 1/2, 1/4 or 1/8 of the teacher's programs, or of the first
words of functions' names; each seed draws other ones. Fixed: the number of distinct tokens (a
sixteenth of what there is), steps, pretraining.
"""

from phi1_jax.ablation.question import Change, Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

# Of an exercise of the offline teacher, in the tokenizer of the recipe.
TOKENS_PER_EXERCISE = 116
KINDS = (("program", 1.0), ("program", 0.5), ("program", 0.25), ("program", 0.125),
         ("name", 0.5), ("name", 0.25), ("name", 0.125))  # fmt: skip


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook()}
    variants = {}
    for by, share in KINDS:
        name = f"{by}s_{share:g}" if share < 1 else "all"
        select = Change("select_exercises.py", {"by": by, "kinds": share}, seeded=True)
        tokens = recipe.n_exercises * TOKENS_PER_EXERCISE // 16
        corpora[name] = Corpus(("exercises",), (select,), max_tokens=tokens)
        variants[name] = (pretrain(recipe), finetune(recipe, name))
    return Question(recipe, corpora, variants, baseline="all")
