"""Sentence embeddings from the encoder that comes with the project, in the engine's threads."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pp_gateway.serve.build import Builder
from pp_gateway.serve.engine import Batcher
from pp_gateway.serve.said import Refused
from pp_resources.models.bases import find_base

MOST_CHARS = 20_000  # of a text
SECONDS = 30.0


class Vector(NamedTuple):
    """A unit vector (float32) and how many tokens were read."""

    values: np.ndarray
    tokens: int


class Embeddings:
    """The encoder is loaded when it is first asked."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._model_id = ""
        self._model: Any = None
        self._batcher: Batcher | None = None

    async def embed(self, model_id: str, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text. Raises Refused for a text that is too long, Failed where too many wait."""
        for place, text in enumerate(texts):
            if len(text) > MOST_CHARS:
                raise Refused(413, "input_too_long", f"input {place} has {len(text)} characters, more than {MOST_CHARS}", param="input")
        if self._batcher is None or self._model_id != model_id:
            self._model_id, self._model = model_id, None
            self._batcher = Batcher(self._builder.engine, self._embed, most=64, wait=0.0, depth=1024)
        waiting = [self._batcher.submit(text) for text in texts]
        try:
            async with asyncio.timeout(SECONDS):
                return list(await asyncio.gather(*waiting))
        finally:
            for one in waiting:
                one.cancel()

    def _embed(self, texts: Sequence[str]) -> list[Vector]:
        if self._model is None:
            from pp_resources.models.embedder import Embedder

            self._model = Embedder(find_base(self._model_id))
        counts = [len(ids) for ids in self._model.tokenizer(list(texts), truncation=True, max_length=self._model.max_tokens)["input_ids"]]
        return [Vector(values, count) for values, count in zip(self._model.embed(texts), counts, strict=True)]
