"""Similarity of texts by the states of an encoder: of whole texts, and token by token as BERTScore does it (Zhang et al. 2020).

BERTScore is written here because the bert-score package fetches its model and its baselines from the hub. No idf weights and no rescaling:
values are not those of published tables, which are of another model anyway. They compare answers of one field with each other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

BATCH = 64


class TextSimilarity:
    """Compares texts with the encoder in `folder`, on its last layer."""

    def __init__(self, folder: Path) -> None:
        from pp_resources.models.embedder import Embedder

        self.embedder = Embedder(folder)

    def cosine(self, answered: Sequence[str], expected: Sequence[str]) -> np.ndarray:
        """Cosine of the sentence embeddings of each pair, -1..1."""
        texts = sorted({*answered, *expected})
        vectors = dict(zip(texts, self.embedder.embed(texts)))
        return np.array([float(vectors[a] @ vectors[e]) for a, e in zip(answered, expected)])

    def bertscore(self, answered: Sequence[str], expected: Sequence[str]) -> np.ndarray:
        """BERTScore F1 of each pair: every token is matched with the most similar one on the other side; 0 for a text without tokens."""
        texts = sorted({*answered, *expected})
        states = dict(zip(texts, self.states(texts)))
        return np.array([_greedy(states[a], states[e]) for a, e in zip(answered, expected)])

    def states(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Unit vectors (tokens, hidden size) of each text without its special tokens."""
        import torch

        tokenizer, found = self.embedder.tokenizer, []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                some = list(texts[start : start + BATCH])
                limits = {"truncation": True, "max_length": self.embedder.max_tokens}
                batch = tokenizer(some, padding=True, return_tensors="pt", return_special_tokens_mask=True, **limits)
                special = batch.pop("special_tokens_mask").bool()
                states = torch.nn.functional.normalize(self.embedder.model(**batch).last_hidden_state, dim=-1)
                kept = batch["attention_mask"].bool() & ~special
                found += [row[mask].numpy() for row, mask in zip(states, kept)]
        return found


def _greedy(answered: np.ndarray, expected: np.ndarray) -> float:
    if not len(answered) or not len(expected):
        return 0.0
    cosines = answered @ expected.T
    precision, recall = float(cosines.max(1).mean()), float(cosines.max(0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
