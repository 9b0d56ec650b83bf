"""Unit vectors around known middles: what clusters are tried on."""

import numpy as np


def blobs(
    sizes: list[int], *, wide: float = 0.08, size: int = 32, seed: int = 0, first: int = 0
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """(vectors, ids, the group of each row); group i lies around axis `first` + i."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    vectors = (np.eye(size)[labels + first] + wide * rng.normal(size=(len(labels), size))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, [f"{first + g}-{seed}-{i}" for i, g in enumerate(labels.tolist())], labels
