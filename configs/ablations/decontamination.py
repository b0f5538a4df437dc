"""Does the model remember the benchmark, or has it learnt?

The paper (section 5, Table 3) takes out exercises whose syntax trees match a HumanEval problem's
at a rate of 0.95 to 0.8 and trains again: 50.6 % on HumanEval becomes 45.1 to 50.6. On problems
without a similar exercise the score even rises at three of the four rates.
Varies: the match rate tau. Fixed: steps, pretraining. Scored apart: the problems with and without a
similar exercise at each tau.
"""

from phi1_jax.ablation.question import Change, Corpus, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

TAUS = (1.0, 0.95, 0.9, 0.85, 0.8)


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook()}
    variants = {}
    for tau in TAUS:
        flags = {"tau": ",".join(map(str, TAUS))}
        change = Change("decontaminate.py", flags, part=f"tau_{tau}", benchmarks=True)
        corpora[f"tau_{tau}"] = Corpus(("exercises_as_written",), (change,))
        variants[f"tau_{tau}"] = (pretrain(recipe), finetune(recipe, f"tau_{tau}"))
    return Question(recipe, corpora, variants, baseline="tau_1.0", similar="tau_1.0")
