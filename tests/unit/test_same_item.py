"""When two texts are one item: disturbed copies are, other people's questions are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pp_assets.data.leakage import find_leaks
from pp_assets.task.same_item import SAME, difference, edits
from pp_assets.task.similar import candidates, known_words, nearest

WORDS = "how what where do can i find my card lock unlock order invoice paid friend money sent want love hate it weeks"
KNOWN = frozenset(WORDS.split())


@pytest.mark.parametrize(
    ("text", "copy"),
    [
        ("How do I find my card?", "how do i FIND my card"),
        ("How do I find my lost card?", "How do I fnid my lst card?"),
        ("How do I find my lost card?", "my lost find How card? do I"),
        ("How do I find my card?", "Hello, I hope you can help me. How do I find my card?"),
        ("How do I find my card?", "please help me How do I find my card?"),
        ("Invoice 4412 is not paid yet.", "Invoice 4412 is not payd yet."),
        ("Jennifer sent me money", "Jenniffer sent me money"),
    ],
)
def test_a_disturbed_copy_is_the_same_item(text: str, copy: str) -> None:
    assert difference(text, copy, KNOWN) == difference(copy, text, KNOWN) == SAME


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ("Invoice 4412 is paid", "Invoice 9931 is paid", "number"),
        ("I waited 2 weeks for it", "I waited for it", "number"),
        ("I did get my money", "I did not get my money", "negation"),
        ("I can find my card", "I can't find my card", "negation"),
        ("Why was Alice sent away", "Why was Bob sent away", "name"),
        ("We hear that Alice sued Bob", "We hear that Bob sued Alice", "name"),
        ("I love it", "I hate it", "words"),
        ("How do I find my card?", "How can I find my card?", "words"),
        ("How do I find my card?", "How do I order my card?", "words"),
        ("How long does a transfer take?", "How long does a transfer take from China?", "name"),
        ("", "card", "words"),
    ],
)
def test_what_differs_in_a_number_a_name_a_negation_or_a_known_word_is_not(a: str, b: str, why: str) -> None:
    assert difference(a, b, KNOWN) and difference(b, a, KNOWN)
    if why != "name":
        assert difference(a, b, KNOWN) == why


def test_words_that_mean_the_same_are_the_business_of_the_caller() -> None:
    a, b = "Where can I purchase a new card", "Where can I buy a new card"
    known = KNOWN | {"purchase", "buy", "new"}
    assert difference(a, b, known) == "words"
    assert difference(a, b, known, lambda x, y: {x, y} == {"purchase", "buy"}) == SAME
    assert difference("I do like it now", "I never like it now", known, lambda x, y: True) == "negation"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_the_verdict_does_not_depend_on_the_order_and_a_text_is_itself(a: str, b: str) -> None:
    assert difference(a, a) == SAME
    assert bool(difference(a, b)) == bool(difference(b, a))


@settings(max_examples=100, deadline=None)
@given(st.text("abcd", max_size=7), st.text("abcd", max_size=7))
def test_edits_are_bounded_by_length_and_exchange_counts_once(a: str, b: str) -> None:
    assert abs(len(a) - len(b)) <= edits(a, b) <= max(len(a), len(b)) and edits(a, b) == edits(b, a)
    assert edits("card", "crad") == 1 and edits("", "abc") == 3


def test_candidates_and_the_nearest_are_those_of_every_pair_compared() -> None:
    from pp_assets.task.duplicates import jaccard, normalise, shingles

    texts = [
        "where is my card",
        "Where is my card?",
        "hello, where is my card",
        "something else entirely",
        "some thing else entirely",
        "no",
    ]
    exact = {(i, j): jaccard(shingles(normalise(a)), shingles(normalise(b))) for i, a in enumerate(texts) for j, b in enumerate(texts)}
    found = {(a, b): s for a, b, s in candidates(texts)}
    assert all(found[pair] == exact[pair] for pair in found)
    assert {pair for pair, s in exact.items() if s >= 0.5 and pair[0] < pair[1]} <= set(found)
    assert {(a, b) for a, b, _ in candidates(texts[:3], texts[3:])} == set()
    assert [n.similarity for n in nearest(texts[1:3], texts[:1])] == [exact[1, 0], exact[2, 0]]
    assert nearest(texts, []) == [(0.0, -1)] * len(texts)


def test_a_leak_names_the_held_out_row_that_it_is() -> None:
    held = ["How do I find my lost card?", "My invoice 4412 is wrong"]
    train = ["My invoice 9931 is wrong", "hi there, how do i find my lost card?", "The weather is fine"]
    assert [(leak.place, leak.other) for leak in find_leaks(train, held)] == [(1, 0)]
    assert "card" in known_words(["a card", "my card", "card"]) and "mycard" not in known_words(["mycard"])
