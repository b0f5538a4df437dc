"""How much does size bring, on this data?

The paper: 350M parameters reach 45 % on HumanEval, 1.3B 50.6.
Varies: width and depth, about 0.3M to 5M parameters. Fixed: data and steps, so a larger model costs
more compute; and the learning rate, which was tuned for 1.1M.
"""

from phi1_jax.ablation.question import Corpus, Phase, Question, code_textbook, finetune, pretrain
from phi1_jax.cli.recipe import Recipe

# Parameters: (width, layers)
SIZES = {"0.3M": (64, 1), "1.1M": (128, 3), "2.6M": (192, 4), "5.0M": (256, 5)}


def get_question(recipe: Recipe) -> Question:
    corpora = {"code_textbook": code_textbook(), "exercises": Corpus(("exercises",))}
    variants = {}
    for name, (width, layers) in SIZES.items():
        config = {"d_model": width, "d_mlp": 4 * width, "n_layers": layers, "scan_unroll": layers}
        config["n_induction_heads"] = 0  # one layer has no room for them
        fields = {f"model.{field}": value for field, value in config.items()}
        first, second = pretrain(recipe), finetune(recipe)
        variants[name] = (
            Phase(first.mixture, first.steps, fields),
            Phase(second.mixture, second.steps, fields),
        )
    return Question(recipe, corpora, variants, baseline="1.1M")
