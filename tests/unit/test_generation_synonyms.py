"""Synonyms: guarded, in the same form, never of kept words; and a reason where WordNet is not installed."""

import random
from pathlib import Path

import pytest

from pp_assets.data.generation.synonyms import load, unavailable, with_synonyms
from pp_resources.errors import UserError

needs_wordnet = pytest.mark.skipif(bool(unavailable()), reason="WordNet's data files are not installed")


@needs_wordnet
@pytest.mark.parametrize("word", ["want", "a", "card", "not", "charge", "works", "the"])
def test_words_that_naive_replacement_spoils_are_left_alone(word: str) -> None:
    assert load().synonyms(word) == []


@needs_wordnet
@pytest.mark.parametrize(("word", "synonym"), [("salary", "wage"), ("disappeared", "vanished"), ("cars", "automobiles")])
def test_a_synonym_has_the_same_form(word: str, synonym: str) -> None:
    assert synonym in load().synonyms(word)


@needs_wordnet
def test_kept_words_stay_capitals_stay_and_the_same_seed_gives_the_same_text() -> None:
    text = "Salary vanished, the SALARY of my salary"
    keep = [i >= text.index("my") for i in range(len(text))]
    changed, pairs = with_synonyms(load(), text, keep, random.Random(1), share=1.0)
    assert changed.endswith("my salary") and pairs
    assert changed.startswith("Wage") and "WAGE" in changed
    assert with_synonyms(load(), text, keep, random.Random(1), share=1.0) == (changed, pairs)
    assert with_synonyms(load(), "no so", [False] * 5, random.Random(1)) == ("no so", [])


def test_without_the_data_there_is_a_reason_and_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    assert "wordnet-base" in unavailable(tmp_path)
    with pytest.raises(UserError, match="PP_WORDNET"):
        load(tmp_path)
