import numpy as np
import pytest
from test_encoder_tokens import tiny  # noqa: F401

from pp_resources.models.bases import MINILM, find_base
from pp_resources.models.embedder import Embedder

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
        assert embedder.embed([text])[0] == pytest.approx(vector, abs=1e-5)


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
