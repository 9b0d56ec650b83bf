"""What an error says of the words that are known."""

from pp_resources.errors import LISTED, nearest


def test_a_close_word_is_suggested_and_a_long_list_is_cut() -> None:
    assert nearest("colour", ["color", "size"]) == "did you mean 'color'?"
    assert nearest("x", ["b", "a"]) == "known: a, b" and nearest("x", []) == "known: none"
    said = nearest("zzz", [f"{i:03}" for i in range(LISTED + 5)])
    assert said.startswith("known: 000, 001") and said.endswith(f"{LISTED - 1:03} and 5 more")
