"""The bench counts what it says it counts."""

import pytest
import torch
from test_encoder_tokens import tiny  # noqa: F401

from bench.shared_encoder import as_table
from bench.throughput import forward_flops, record
from pp_resources.models.embedder import Embedder


class Vectors:
    def __init__(self, folder):
        self.embedder = Embedder(folder)

    def predict(self, texts):
        with torch.inference_mode():
            return self.embedder.vectors(texts)


def test_operations_are_those_of_the_matrix_products(tiny):  # noqa: F811
    """A BERT of two layers, width 32, 2 heads, inner width 64: four square products, two inner ones, two of attention a layer."""
    one = Vectors(tiny)
    tokens = one.embedder.tokenizer(["refund my pot"], return_tensors="pt")["input_ids"].shape[1]
    layer = 2 * tokens * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 2 * tokens * tokens * 32
    pooler = 2 * 32 * 32
    assert forward_flops(one, ["refund my pot"]) == pytest.approx(2 * layer + pooler)


def test_a_section_is_replaced_and_the_others_stay(tmp_path, monkeypatch):
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n\n## One\n\nx\n")
    monkeypatch.setattr("bench.throughput.RESULTS", file)
    record("## Cost of an answer", "| 1 |", "first")
    file.write_text(file.read_text() + "\n## Two\n\ny\n")
    record("## Cost of an answer", "| 2 |", "second")
    assert file.read_text() == "# Results\n\n## One\n\nx\n\n## Cost of an answer\n\nsecond\n\n| 2 |\n\n## Two\n\ny\n"


def test_answers_that_one_way_gives_and_the_other_does_not_are_counted():
    figures = {"cold_s": 1.0, "cpu_s": 1.0, "held_mb": 600.0, "each_mb": 50.0, "per_cpu_s": 20.0}
    apart = {**figures, "answers": ["a", "b"]}
    rounds = [{"apart": apart, "shared": {**figures, "held_mb": held, "answers": ["a", "c"]}} for held in (5, 7, 6)]
    table = as_table(rounds, 2, "x")
    assert "Of 2 answers 50.0% have the same text" in table and table.endswith("equal=0.5")
    assert "| memory held (MB) | 600 | 6 |" in table
