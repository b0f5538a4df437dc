"""What a reply must not hold: refusals, control characters, sections torn or off format."""

import pytest

from phi1_jax.synthesis.exercises import parse_exercise
from phi1_jax.synthesis.replies import ReplyError, parse_section, refuse_refusals

PROSE = "A list holds values in order, and an index finds one of them. " * 4
REFUSALS = [
    "I'm sorry, but as an AI language model I cannot write this section for you.",
    "I\u2019m sorry, but I can\u2019t assist with that request.",
    "Sorry, but I can't help with that.",
    "Unfortunately, I am unable to provide this content.",
    "I cannot create content about this topic.",
    "As an AI, I do not have opinions on textbooks.",
    "I must decline to write about passwords.",
    "I apologize, but I won't be able to write it, since I cannot complete this request.",
]
HARMLESS = [
    "You can't write to a tuple, and an index that is too large raises an error.",
    "Why can I not change a string? Because it is immutable.",
    "Sorry is the word that this game prints when a guess is wrong.",
    "A language model predicts the next word; a dictionary of counts is enough for a small one.",
    "Unfortunately, a list cannot be a key of a dictionary.",
    "Imagine an AI that sorts the letters of its users.",
]


def reason(text, read=parse_section):
    with pytest.raises(ReplyError) as error:
        read(text)
    return error.value.reason


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_are_seen_wherever_models_put_them(refusal):
    for text in (
        f"{refusal}\n" * 4,
        f"# Lists\n\n{refusal}\n\n{PROSE}",
        f"# Lists\n\n{PROSE}\n\n{refusal}",
    ):
        assert reason(text) == "refused"
    exercise = f'```python\ndef f(x):\n    """{refusal}"""\n    return x\n```\n'
    assert reason(exercise, parse_exercise) == "refused"
    assert reason(f"{refusal}\n\n{exercise}", parse_exercise) == "refused"


def test_a_section_begins_after_the_models_thoughts():
    assert parse_section(f"<think>\nHm.\n</think>\n\n# Lists\n\n{PROSE}").startswith("# Lists")


@pytest.mark.parametrize("line", HARMLESS)
def test_prose_that_only_sounds_like_one_is_kept(line):
    refuse_refusals(line)
    assert line in parse_section(f"# Lists\n\n{line}\n\n{PROSE}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"# Lists\n\n{PROSE}\0{PROSE}", "control_character"),
        (f"# Lists\n\n\x1b[1m{PROSE}", "control_character"),
        (f"# Lists\n\n{PROSE}\n\n```python\nx = 1\n" + "x" * 400, "open_code_block"),
        (f"# Lists\n\n{PROSE}\n\n```\n" + "x" * 400, "open_code_block"),
        (f"# Lists\n\n{PROSE}\n\n````python\nx = 1\n```\n", "open_code_block"),
        (f"# Lists\n\n{PROSE}\n\n~~~\nx = 1\n```\n", "open_code_block"),
        (f"# Lists\n\n{PROSE}\n\n```python\nfor x in\n```\n", "code_syntax_error"),
        (f"# Lists\n\n{PROSE}\n\n```Python title=a\nfor x in\n```\n", "code_syntax_error"),
        (f"# Lists\n\n{PROSE}\n\n```py\n>>> f(\n1\n```\n", "code_syntax_error"),
        (PROSE, "no_heading"),
        (f"Certainly! Here is the section.\n\n# Lists\n\n{PROSE}", "no_heading"),
        (f"```markdown\n# Lists\n\n{PROSE}\n```\n", "no_heading"),
        ("# Lists\n\nA list.", "short_section"),
        ("", "short_section"),
    ],
)
def test_a_section_off_format_is_refused_with_the_reason(text, expected):
    assert reason(text) == expected


@pytest.mark.parametrize(
    "block",
    [
        "```python\nfor x in [1]:\n    print(x)\n```",
        "```python\n>>> sum([1, 2])\n3\n>>> for x in []:\n...     print(x)\n```",
        "```pycon\n>>> x = 1\n```",
        "1. First:\n\n    ```python\n    x = 1\n    ```",
        "````python\nx = '''\n```\n'''\n````",
        "```\nName   Age\nAda    36\n```",
        "```bash\npython -c 'print(1'\n```",
        "~~~python\nx = 1\n~~~",
        "The mark ``` alone within a line is no fence: ```x```.",
    ],
)
def test_a_whole_section_is_kept(block):
    text = f"## Lists\n\n{PROSE}\n\n{block}\n\nOn the smallest input nothing happens.\n"
    assert parse_section(text.replace("\n", "\r\n")) == text
    assert parse_section(text.replace("## Lists", "Lists\n=====")).startswith("Lists\n=")


def test_an_exercise_with_a_nul_is_refused_though_its_block_is_whole():
    exercise = '```python\ndef f(x):\n    """Gives x."""\n    return x\n```\n'
    assert parse_exercise(exercise).entry_point == "f"
    assert reason(exercise + "\0", parse_exercise) == "control_character"
    assert reason(exercise.replace("x.", "\0."), parse_exercise) == "control_character"
