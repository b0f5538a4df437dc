"""Which part of the data brings the score?

The paper (Figure 2.1, and the 350M models of section 2): HumanEval 12.2 % on raw code, 17.7 on
filtered code, 20.1 with textbooks, 45 after finetuning on exercises.
Varies: the data. Fixed: the model, and the steps of both phases, for every variant alike.
"""

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe


def get_question(recipe: Recipe) -> Question:
    corpora = {
        "raw_code": Corpus(("raw_code",)),
        "filtered_code": Corpus(("filtered",)),
        "code_textbook": code_textbook(),
        "exercises": Corpus(("exercises",)),
    }
    first = {name: pretrain(recipe, name) for name in corpora}

    def more(name: str) -> Phase:
        return Phase({name: 1.0}, recipe.finetune_steps)

    variants = {
        "raw_code": (first["raw_code"], more("raw_code")),
        "filtered_code": (first["filtered_code"], more("filtered_code")),
        "code_textbook": (first["code_textbook"], more("code_textbook")),
        "code_exercises": (first["code_textbook"], finetune(recipe)),
    }
    return Question(recipe, corpora, variants, baseline="raw_code")
