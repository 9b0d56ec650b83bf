import random

import numpy as np
import pytest
from test_encoder_tokens import tiny  # noqa: F401

from pp_resources.models.bases import MINILM, find_base
from pp_resources.models.embedder import Embedder, write

TEXTS = ["where is my order", "", "please play the red tea pot", "refund", "hello " * 100, "refund"]


@pytest.fixture(scope="module")
def embedder(tiny):  # noqa: F811
    return Embedder(tiny, batch_size=2)


def test_vectors_are_unit_length_in_the_order_of_the_texts(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (6, 32)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert vectors[3] == pytest.approx(vectors[5], abs=1e-5)
    assert embedder.embed(TEXTS[::-1])[::-1] == pytest.approx(vectors, abs=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(embedder):
    vectors = embedder.embed(TEXTS)
    for text, vector in zip(TEXTS, vectors):
        assert np.array_equal(embedder.embed([text])[0], vector)


def test_a_vector_has_the_same_bits_in_any_company():
    """Questions of two to forty words, alone, in parts, in other orders, beside copies of themselves."""
    rng, words = (
        random.Random(0),
        ("where", "is", "my", "order", "of", "two", "red", "lamps", "and", "why", "was", "it", "charged", "again"),
    )
    texts = [" ".join(rng.choice(words) for _ in range(rng.randrange(2, 40))) for _ in range(60)]
    embedder = Embedder(find_base(MINILM))
    known = dict(zip(texts, embedder.embed(texts)))
    for _ in range(4):
        some = rng.choices(texts, k=rng.randrange(1, 40))
        assert all(np.array_equal(vector, known[text]) for text, vector in zip(some, embedder.embed(some)))
    padded = embedder.vectors(texts[:8]).detach().numpy()
    assert padded == pytest.approx(np.stack([known[text] for text in texts[:8]]), abs=1e-5)


def test_a_file_of_vectors_holds_those_of_the_texts(embedder, tmp_path, monkeypatch):
    monkeypatch.setattr("pp_resources.models.embedder.BLOCK", 4)
    assert np.array_equal(write(embedder.embed, TEXTS, tmp_path / "v.npy"), embedder.embed(TEXTS))
    assert write(embedder.embed, [], tmp_path / "none.npy", dtype="float16").shape == (0, 32)


def test_no_texts_give_no_rows(embedder):
    assert embedder.embed([]).shape == (0, 32)


def test_a_text_is_cut_at_what_the_model_can_read(embedder):
    assert embedder.embed(["tea " * 62])[0] == pytest.approx(embedder.embed(["tea " * 300])[0], abs=1e-6)


def test_the_default_encoder_knows_meaning_as_its_authors_published_it():
    like, unlike, text = Embedder(find_base(MINILM)).embed(
        ["That is a very happy person", "Today is a sunny day", "That is a happy person"]
    )
    assert text @ like == pytest.approx(0.943, abs=0.005)
    assert text @ unlike == pytest.approx(0.257, abs=0.005)
