import pytest

from phi1_jax.generate.stopping import find_end, printable


def end_of(tokenizer, ids, stop, chunk, limit=1000):
    """Looks for the end after every `chunk` tokens, as the generator does."""
    for n in range(chunk, len(ids) + chunk, chunk):
        if end := find_end(tokenizer, ids[:n], n - chunk, limit, stop):
            return end
    return None


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 32])
@pytest.mark.parametrize(
    ("text", "stop", "want"),
    [
        ("return x\ndef g", ["\ndef"], ("return x", 12, "stop")),
        ("\n\nreturn x", ["\n\n"], ("", 2, "stop")),
        # Of two, the one complete first counts, and the text ends where it begins.
        ("ab END c STOP", ["STOP", "END"], ("ab ", 6, "stop")),
        ("abcabd", ["abd", "cabd"], ("ab", 6, "stop")),
        ("aXbXX", ["XX", "Xb"], ("a", 3, "stop")),
        ("é€😀#", ["#"], ("é€😀", 10, "stop")),
        ("é€😀#", ["€"], ("é", 5, "stop")),
    ],
)
def test_stop_strings_whatever_the_chunk(byte_tokenizer, chunk, text, stop, want):
    ids = [*byte_tokenizer.encode(text), *byte_tokenizer.encode(" more")]
    assert end_of(byte_tokenizer, ids, stop, chunk) == want


@pytest.mark.parametrize("chunk", [1, 3, 32])
def test_end_of_text(byte_tokenizer, chunk):
    ids = [*byte_tokenizer.encode("abc"), 256, *byte_tokenizer.encode("STOP")]
    assert end_of(byte_tokenizer, ids, ["STOP"], chunk) == ("abc", 4, "eos")
    assert end_of(byte_tokenizer, ids, ["bc"], chunk) == ("a", 3, "stop")


@pytest.mark.parametrize("chunk", [1, 3, 32])
def test_length(byte_tokenizer, chunk):
    ids = byte_tokenizer.encode("abcdefgh")
    assert end_of(byte_tokenizer, ids, ["g"], chunk, limit=6) == ("abcdef", 6, "length")
    assert end_of(byte_tokenizer, ids, ["f"], chunk, limit=6) == ("abcde", 6, "stop")
    assert end_of(byte_tokenizer, ids, ["x"], chunk, limit=9) is None


def test_what_is_shown_is_never_taken_back(byte_tokenizer):
    text, stop = "a\n\nde é 😀\ndef g(): pass", ["\ndef", "\n\n\n"]
    ids = byte_tokenizer.encode(text)
    final = find_end(byte_tokenizer, ids, 0, 1000, stop)
    shown = ""
    for n in range(1, final.n_tokens):
        now = printable(byte_tokenizer.decode(ids[:n]), stop)
        assert now.startswith(shown)
        shown = now
    assert final.text.startswith(shown) and len(final.text) - len(shown) <= 1
