"""What models write around code and answers, in the dresses that real ones use."""

import pytest

from phi1_jax.llm_client.replies import code_blocks, json_objects, python_blocks, without_thinking

CODE = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{CODE}```",
        f"Sure:\n\n```Python\n{CODE}```\nBye.",
        f"``` python\n{CODE}```",
        f"```python3\n{CODE}```",
        f"```py3\n{CODE}```",
        f"```python3.11 title=x\n{CODE}```",
        f"```{{.python .numberLines}}\n{CODE}```",
        f"````python\n{CODE}````",
        f"~~~python\n{CODE}~~~",
        f"```\n{CODE}```",
        "  ```python\n  def f(x):\n      return x\n  ```",
        "1. So:\n\n    ```python\n    def f(x):\n        return x\n    ```",
        f"```python\n{CODE}```".replace("\n", "\r\n"),
        f"```text\nf\n```\n```python\n{CODE}```\n```\n3\n```",
        f"A `word` and ```inline``` code.\n```python\n{CODE}```",
        "10. ```python\n    def f(x):\n        return x\n    ```",
        f"**The code:** ```python\n{CODE}```\nNot so: ```inline```",
        f"```python\n{CODE}```<|im_end|>",
        f"```solution.py\n{CODE}``` Hope that helps!",
    ],
)
def test_python_is_found_in_every_fence(text):
    assert [block.code for block in python_blocks(text)] == [CODE]


def test_a_fence_inside_a_docstring_is_code():
    code = 'def f():\n    """F.\n\n    ```\n    f()\n    ```\n    """\n'
    (block,) = code_blocks(f"```python\n{code}```")
    assert (block.code, block.closed) == (code, True)
    (block,) = code_blocks(f"````\n```\n{CODE}````")
    assert block.code == f"```\n{CODE}"


def test_a_block_that_does_not_end_says_so():
    for rest in ("~~~\n", "```python\nthe next"):
        (block,) = code_blocks(f"```python\n{CODE}{rest}")
        assert not block.closed


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("<think>\nmaybe\n</think>\n\n# Title", "# Title"),
        ("maybe\n</think>\nanswer", "answer"),
        ("<Thinking>a</Thinking>\n<think>b</think>c", "c"),
        ("[THINK]a[/THINK]\n<seed:think>b</seed:think>c", "c"),
        ("<think>never ends", ""),
        ("no thought", "no thought"),
        ("The tag <think> and </think> in prose", "The tag <think> and </think> in prose"),
        pytest.param(" " * 200_000, " " * 200_000, id="blanks alone take no hours"),
    ],
)
def test_thoughts_are_left_out(text, rest):
    assert without_thinking(text) == rest


def test_json_objects_are_decoded_not_matched():
    text = 'x { y {"a": "}{", "b": {"c": 1}} and {"d": "two\nlines"} [{"e": 1}] {bad}'
    assert list(json_objects(text)) == [
        {"a": "}{", "b": {"c": 1}}, {"d": "two\nlines"}, {"e": 1}
    ]  # fmt: skip
    assert list(json_objects(r'{"a": "\d \\d \u00e9 \u \" \n"}')) == [
        {"a": '\\d \\d \xe9 \\u " \n'}
    ]
    assert list(json_objects("{" * 5_000)) == []
