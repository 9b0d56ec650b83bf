"""Kept embeddings are those that would be computed, whoever computed them first, and never more than the file may hold."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_encoder_tokens import tiny  # noqa: F401

from pp_resources.models import kept_vectors
from pp_resources.models.embedder import Embedder
from pp_resources.models.kept_vectors import KeptEmbedder

TEXTS = ["where is my order", "", "please play the red tea pot", "refund", "hello " * 100, "refund"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of a real embedder was given."""
    calls: list[int] = []
    embed = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, texts: [calls.append(len(texts)), embed(self, texts)][1])
    return calls


def kept(file: Path, model: Path, threads: int = 1) -> KeptEmbedder:
    return KeptEmbedder(file, str(model), threads)


def test_a_text_is_embedded_once_and_has_the_vector_that_is_computed(tiny: Path, tmp_path: Path, counted: list[int], monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(kept_vectors, "BLOCK", 4)
    file, texts = tmp_path / "deep" / "v.db", TEXTS
    expected = Embedder.of(str(tiny), 1).embed(texts)
    counted.clear()
    assert np.array_equal(kept(file, tiny).embed(texts[2:4]), expected[2:4]) and counted == [2]
    found = kept(file, tiny).embed(texts)
    assert np.array_equal(found, expected) and found.dtype == np.float32 and sum(counted) == 5
    again = kept(file, tiny)
    assert np.array_equal(again.embed(texts[::-1]), expected[::-1]) and sum(counted) == 5
    assert "_embedder" not in vars(again), "no model is loaded for what is known"
    assert again.embed([]).shape == (0, expected.shape[1])
    assert all(text.encode() not in file.read_bytes() for text in texts if text), "texts are not kept"


def test_other_threads_or_weights_have_vectors_of_their_own(tiny: Path, tmp_path: Path, counted: list[int]) -> None:  # noqa: F811
    import shutil

    from safetensors.numpy import load_file, save_file

    file, other = tmp_path / "v.db", tmp_path / "other"
    shutil.copytree(tiny, other)
    weights = next(other.glob("*.safetensors"))
    save_file({name: value * np.float32(1.5) for name, value in load_file(weights).items()}, weights, metadata={"format": "pt"})
    first, changed = kept(file, tiny).embed(TEXTS[:1]), kept(file, other).embed(TEXTS[:1])
    kept(file, tiny, threads=2).embed(TEXTS[:1])
    assert not np.allclose(first, changed) and counted == [1, 1, 1]


@pytest.mark.slow
def test_processes_share_the_file(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    code = "import sys; from pathlib import Path; from pp_resources.models.kept_vectors import KeptEmbedder as K\n"
    code += "k = K(Path(sys.argv[1]), sys.argv[2], 1)\n"
    code += "print(sum(k.embed([f'text {i + j}' for j in range(8)]).sum() for i in range(0, 80, 4)))"
    command = [sys.executable, "-c", code, str(tmp_path / "v.db"), str(tiny)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert said[0][0] == said[1][0] and not any("cannot be" in err for _, err in said)
    found = kept(tmp_path / "v.db", tiny)
    assert np.array_equal(found.embed(["text 5"]), Embedder.of(str(tiny), 1).embed(["text 5"]))


def test_the_oldest_go_when_the_file_is_full(tiny: Path, tmp_path: Path, counted: list[int], monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(kept_vectors, "MOST_BYTES", 100_000)
    one = kept(tmp_path / "v.db", tiny)
    for start in range(0, 2000, 200):
        one.embed([f"text {i}" for i in range(start, start + 200)])
    assert (tmp_path / "v.db").stat().st_size < 200_000
    counted.clear()
    one.embed(["text 1999", "text 0"])
    assert counted == [1], "the newest is known, the oldest is not"


def test_a_file_that_is_no_store_is_left_alone_and_vectors_are_computed(tiny: Path, tmp_path: Path, caplog) -> None:  # noqa: F811
    file = tmp_path / "v.db"
    file.write_text("my notes " * 200)
    with caplog.at_level(logging.WARNING):
        found = kept(file, tiny).embed(TEXTS[:2])
    assert np.array_equal(found, Embedder.of(str(tiny), 1).embed(TEXTS[:2])) and file.read_text() == "my notes " * 200
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said == ["kept embeddings cannot be read", "embeddings cannot be kept"]
