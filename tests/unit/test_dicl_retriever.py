"""Examples for an input: against the plainest search there is, and each rule with a case that would break without it."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pp_assets.prompts.dicl.index import Index, Worked
from pp_assets.prompts.dicl.retriever import Choosing, Refresher, Retriever, rough_tokens
from pp_assets.task.similar import known_words
from pp_resources.errors import UserError


def unit(rows: int, seed: int, size: int = 6) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def worked(count: int, labels: int = 3) -> list[Worked]:
    words = ["ant", "bee", "cow", "dog", "elk", "fox", "gnu", "hen", "ibex", "jay"]
    return [Worked(f"e{i:03}", f"{words[i % 10]} {words[i // 10 % 10]} {i}", {"y": i % labels}, str(i % labels)) for i in range(count)]


def at(*cosines: float) -> np.ndarray:
    """Unit vectors with these cosines to the first axis, otherwise apart from each other."""
    rows = np.zeros((len(cosines), len(cosines) + 1), np.float32)
    for i, cosine in enumerate(cosines):
        rows[i, 0], rows[i, i + 1] = cosine, (1 - cosine**2) ** 0.5
    return rows


QUERY = np.eye(1, 9, dtype=np.float32)[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 10**6))
def test_the_nearest_are_those_of_a_full_sort(count: int, wanted: int, seed: int) -> None:
    vectors = unit(count, seed)
    vectors[count // 2 :] = vectors[: count - count // 2]  # ties
    examples = worked(count)
    order = np.random.default_rng(seed).permutation(count)
    index = Index.of([examples[i] for i in order], vectors[order])
    query = unit(1, seed + 1)[0]
    places, cosines = index.nearest(query, wanted)
    exact = (index.matrix @ query).tolist()
    expected = sorted((i for i in range(count) if exact[i] < 0.999), key=lambda i: (-exact[i], index.examples[i].id))[:wanted]
    assert places.tolist() == expected and cosines.tolist() == [exact[i] for i in expected]


def test_the_most_similar_is_last_and_no_label_comes_thrice() -> None:
    labels = ["a", "a", "a", "b", "c"]
    examples = [Worked(f"e{i}", f"text number {i}", {"y": label}, label) for i, label in enumerate(labels)]
    retriever = Retriever(index=Index.of(examples, at(0.9, 0.8, 0.7, 0.6, 0.5)))
    found = retriever.select(QUERY[:6], Choosing(k=4, relevance=1.0))
    assert [one.id for one in found] == ["e4", "e3", "e1", "e0"]
    assert [round(one.similarity, 3) for one in found] == [0.5, 0.6, 0.8, 0.9]
    unlabelled = [Worked(one.id, one.input_text, one.output) for one in examples]
    retriever.swap(Index.of(unlabelled, at(0.9, 0.8, 0.7, 0.6, 0.5)))
    assert [one.id for one in retriever.select(QUERY[:6], Choosing(k=4, relevance=1.0))] == ["e3", "e2", "e1", "e0"]


def test_what_says_the_same_gives_way_to_what_is_new() -> None:
    vectors = at(0.9, 0.9, 0.7)
    vectors[1] = vectors[0] + np.float32([0, 0, 0.01, 0])
    retriever = Retriever(index=Index.of(worked(3), vectors))
    assert [one.id for one in retriever.select(QUERY[:4], Choosing(k=2, relevance=0.5))] == ["e002", "e000"]
    assert [one.id for one in retriever.select(QUERY[:4], Choosing(k=2, relevance=1.0))] == ["e001", "e000"]


def characters(one: Worked) -> int:
    return len(one.input_text)


def test_the_distance_and_the_tokens_are_kept() -> None:
    examples = [Worked("e0", "long " * 30, {}), Worked("e1", "b", {}), Worked("e2", "c", {})]
    retriever = Retriever(index=Index.of(examples, at(0.9, 0.6, 0.3)))
    assert [one.id for one in retriever.select(QUERY[:4], Choosing(max_distance=0.45))] == ["e1", "e0"]
    # What does not fit is passed over, and what comes after it is taken.
    assert [one.id for one in retriever.select(QUERY[:4], Choosing(tokens=2), cost=characters)] == ["e2", "e1"]
    assert retriever.select(QUERY[:4], Choosing(tokens=0), cost=characters) == [] and retriever.select(QUERY[:4], Choosing(k=0)) == []
    assert rough_tokens(examples[0]) > 30


def test_an_item_is_not_shown_to_itself_nor_its_disturbed_copy() -> None:
    texts = ["Where is my parcel?", "hello, where is my parcle", "where is my refund", "where is my parcel"]
    examples = [Worked(f"e{i}", text, {}) for i, text in enumerate(texts)]
    vectors = at(0.99, 0.97, 0.96, 0.95)
    retriever = Retriever(index=Index.of(examples, vectors))
    asked = Choosing(k=2, pool=2)
    assert [one.id for one in retriever.select("where is my PARCEL?", asked, vector=QUERY[:5])] == ["e2"]
    assert [one.id for one in retriever.select(vectors[0], Choosing(k=1, pool=1))] == ["e1"]


def test_known_words_are_those_of_the_rule_for_leaks() -> None:
    found = worked(40)
    assert Index.of(found, unit(40, 1)).known == known_words([one.input_text for one in found]) != frozenset()


def test_a_text_needs_an_encoder_and_an_empty_index_has_nothing() -> None:
    assert Retriever().select("anything") == []
    with pytest.raises(UserError, match="no encoder"):
        Retriever(index=Index.of(worked(2), unit(2, 0))).select("anything")
    with pytest.raises(UserError, match="cannot be chosen so"):
        Choosing(k=30)


def test_choosing_and_exchanging_the_index_may_happen_at_once() -> None:
    indexes = [Index.of(worked(50, 5), unit(50, seed)) for seed in (1, 2)]
    queries = unit(20, 9)
    expected = []
    for index in indexes:
        alone = Retriever(index=index)
        expected.append([[one.id for one in alone.select(q)] for q in queries])
    retriever, stop = Retriever(index=indexes[0]), threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            for index in indexes:
                retriever.swap(index)

    other = threading.Thread(target=exchange)
    other.start()
    try:
        for _ in range(20):
            for i, query in enumerate(queries):
                assert [one.id for one in retriever.select(query)] in (expected[0][i], expected[1][i])
    finally:
        stop.set()
        other.join()


def test_a_refresher_loads_what_is_new_and_outlives_an_outage() -> None:
    state = {"mark": 1, "rows": 2}
    loads = []

    def load() -> Index:
        if state["rows"] is None:
            raise UserError("not there", where="store")
        loads.append(state["rows"])
        return Index.of(worked(state["rows"]), unit(state["rows"], 0))

    retriever = Retriever()
    refresher = Refresher(retriever, lambda: state["mark"], load, seconds=0.01)
    assert refresher.refresh() and not refresher.refresh() and loads == [2]
    refresher.start()
    try:
        state.update(rows=None, mark=2)
        assert wait(lambda: refresher.error is not None) and len(retriever.index) == 2
        state.update(rows=3)
        assert wait(lambda: refresher.error is None and len(retriever.index) == 3)
    finally:
        refresher.close()


def wait(condition) -> bool:
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(500))
