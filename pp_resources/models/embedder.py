"""Sentence embeddings from an encoder: mean over tokens, unit length, as the sentence-transformers models are meant to be used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from pp_resources.models.bases import find_base
from pp_resources.progress import steps

MAX_TOKENS = 256  # the length all-MiniLM-L6-v2 was published with
BLOCK = 8192  # texts that `write` holds at a time


class Embedder:
    """Embeds texts on the CPU in fp32; texts are batched by length (2.3 times the rate of input order on banking77)."""

    def __init__(self, folder: Path, *, batch_size: int = 64) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.batch_size = batch_size
        self.max_tokens = min(MAX_TOKENS, getattr(self.model.config, "max_position_embeddings", MAX_TOKENS))

    @classmethod
    def of(cls, model_id: str, threads: int) -> "Embedder":
        """That of a base model by its id, on so many threads."""
        torch.set_num_threads(threads)
        return cls(find_base(model_id))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), hidden size)."""
        out = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with steps("embedding", -(-len(order) // self.batch_size)) as advance:
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                out[rows] = self.vectors([texts[i] for i in rows]).numpy()
                advance("")
        return out

    def write(self, texts: Sequence[str], path: Path, *, dtype: str = "float32") -> np.ndarray:
        """The same as an .npy file, which is returned memory-mapped: no more than 8,192 rows are in memory, however many texts there are.
        float16 halves the file and moves no cosine by more than .001."""
        out = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), (len(texts), self.model.config.hidden_size))
        with steps("embedding blocks", -(-len(texts) // BLOCK)) as advance:
            for start in range(0, len(texts), BLOCK):
                out[start : start + BLOCK] = self.embed(texts[start : start + BLOCK])
                advance("")
        out.flush()
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def vectors(self, texts: Sequence[str]) -> torch.Tensor:
        """The same for one batch, with gradients where they are kept."""
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        states = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=-1)
